//! Runs: a list whose filters are its address.

use askama::Template;

use super::{Shown, page};
use crate::call::query;
use crate::choices::{self, Choice};
use crate::frame::Frame;
use crate::seen::{List, Names, Run};
use crate::visit::Visit;
use crate::{pieces, span};

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    frame: Frame,
    filter: Filter,
    runs: Vec<Run>,
    names: Names,
    agents: Vec<Choice>,
    next: Option<String>,
}

/// What is asked for, as it stands in the address.
#[derive(Debug)]
struct Filter {
    status: String,
    agent: String,
    task: String,
    source: String,
    since: String,
    until: String,
    q: String,
}

const STATUSES: &[&str] =
    &["live", "ended", "starting", "running", "succeeded", "failed", "timed_out", "cancelled", "lost"];

impl Filter {
    fn of(visit: &Visit) -> Filter {
        let asked = |name| visit.asked(name);
        Filter {
            status: asked("status"),
            agent: asked("agent"),
            task: asked("task"),
            source: asked("source"),
            since: asked("since"),
            until: asked("until"),
            q: asked("q"),
        }
    }

    fn is_set(&self) -> bool {
        [&self.status, &self.agent, &self.task, &self.source, &self.since, &self.until, &self.q]
            .iter()
            .any(|value| !value.is_empty())
    }

    /// The parameters with a time for the span: `since` is a span in the page's address, and a time for the API.
    fn parameters(&self, since: &str, cursor: &str) -> String {
        let Filter { status, agent, task, source, until, q, .. } = self;
        query(&[
            ("status", status),
            ("agent", agent),
            ("task", task),
            ("source", source),
            ("since", since),
            ("until", until),
            ("q", q),
            ("cursor", cursor),
        ])
    }
}

impl RunsPage {
    fn statuses(&self) -> &'static [&'static str] {
        STATUSES
    }

    fn spans(&self) -> &'static [(&'static str, &'static str)] {
        span::SPANS
    }

    fn sources(&self) -> impl Iterator<Item = &'static str> {
        wakeful_domain::wakeup::Source::ALL.iter().map(|(name, _)| *name)
    }
}

/// Shows runs, newest first.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "runs", "run").await?.titled("Runs");
    let filter = Filter::of(&visit);
    let since = span::begin(&filter.since, wakeful_engine::clock::now().to_jiff());
    let asked = filter.parameters(&since, &visit.asked("cursor"));
    let list: List<Run> = visit.calls.get(&visit.of_company(&format!("runs{asked}"))).await?;
    let agents = choices::agents(&visit).await?;
    let ids = list.items.iter().flat_map(|run| [Some(run.agent.as_str()), run.task.as_deref()]).flatten().collect();
    let names = Names::of(&visit.calls, &visit.company, ids).await?;
    let next = list.next_cursor.map(|cursor| filter.parameters(&filter.since, &cursor));
    page(&RunsPage { frame, filter, runs: list.items, names, agents, next })
}
