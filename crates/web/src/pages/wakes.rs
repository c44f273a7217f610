//! The ledger of wakes: every cause that was ever accepted, and what became of it.

use askama::Template;
use wakeful_domain::wakeup::{Source, WakeupStatus};

use super::{Shown, page};
use crate::call::query;
use crate::choices::{self, Choice};
use crate::frame::Frame;
use crate::seen::{List, Names, Wakeup};
use crate::visit::Visit;
use crate::{pieces, span};

#[derive(Template)]
#[template(path = "wakes.html")]
struct WakesPage {
    frame: Frame,
    filter: Filter,
    wakeups: Vec<Wakeup>,
    names: Names,
    agents: Vec<Choice>,
    /// The parameters of the page behind this one.
    older: Option<String>,
}

/// What is asked for, as it stands in the address.
#[derive(Debug)]
struct Filter {
    status: String,
    agent: String,
    task: String,
    source: String,
    since: String,
}

impl Filter {
    fn of(visit: &Visit) -> Filter {
        let asked = |name| visit.asked(name);
        Filter {
            status: asked("status"),
            agent: asked("agent"),
            task: asked("task"),
            source: asked("source"),
            since: asked("since"),
        }
    }

    fn is_set(&self) -> bool {
        [&self.status, &self.agent, &self.task, &self.source, &self.since].iter().any(|value| !value.is_empty())
    }

    /// The parameters with a time for the span: `since` is a span in the page's address, and a time for the API.
    fn parameters(&self, since: &str, cursor: &str) -> String {
        query(&[
            ("status", &self.status),
            ("agent", &self.agent),
            ("task", &self.task),
            ("source", &self.source),
            ("since", since),
            ("cursor", cursor),
        ])
    }

    /// The page's address without the task.
    fn without_task(&self) -> String {
        query(&[("status", &self.status), ("agent", &self.agent), ("source", &self.source), ("since", &self.since)])
    }
}

impl WakesPage {
    fn statuses(&self) -> impl Iterator<Item = &'static str> {
        WakeupStatus::ALL.iter().map(|(name, _)| *name)
    }

    fn sources(&self) -> impl Iterator<Item = &'static str> {
        Source::ALL.iter().map(|(name, _)| *name)
    }

    fn spans(&self) -> &'static [(&'static str, &'static str)] {
        span::SPANS
    }
}

/// Shows wakeups, newest first.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "wakes", "wakeup run").await?.titled("Wakes");
    let filter = Filter::of(&visit);
    let since = span::begin(&filter.since, wakeful_engine::clock::now().to_jiff());
    let asked = filter.parameters(&since, &visit.asked("cursor"));
    let list: List<Wakeup> = visit.calls.get(&visit.of_company(&format!("wakeups{asked}"))).await?;
    let agents = choices::agents(&visit).await?;
    let of_wakeups = list.items.iter().flat_map(|wakeup| [Some(wakeup.agent.as_str()), wakeup.task.as_deref()]);
    let filtered = (!filter.task.is_empty()).then_some(filter.task.as_str());
    let names = Names::of(&visit.calls, &visit.company, of_wakeups.flatten().chain(filtered).collect()).await?;
    let older = list.next_cursor.map(|cursor| filter.parameters(&filter.since, &cursor));
    page(&WakesPage { frame, filter, wakeups: list.items, names, agents, older })
}
