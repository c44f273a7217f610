//! A new subscription: what is waited for is chosen first, then only what can come of that is offered.

use askama::Template;

use super::{Shown, page};
use crate::choices::{self, Choice};
use crate::frame::Frame;
use crate::visit::Visit;

/// A kind of thing that can be waited for.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    title: &'static str,
    label: &'static str,
    hint: &'static str,
    /// What can come of it; the first is what is usually waited for.
    events: &'static [&'static str],
}

const RUNS: &[&str] = &["run.finished", "run.succeeded", "run.failed"];
const KINDS: &[Kind] = &[
    Kind {
        name: "topic",
        title: "A topic",
        label: "Topic",
        hint: "A name that anybody of the company may publish to.",
        events: &["topic.published"],
    },
    Kind {
        name: "agent",
        title: "An agent",
        label: "Agent",
        hint: "Whose runs are waited for.",
        events: &["run.finished", "run.succeeded", "run.failed", "agent.state_changed"],
    },
    Kind {
        name: "task",
        title: "A task",
        label: "Task",
        hint: "Its key or id, as T-12.",
        events: &[
            "task.closed",
            "task.status_changed",
            "task.commented",
            "run.finished",
            "run.succeeded",
            "run.failed",
        ],
    },
    Kind {
        name: "children",
        title: "Parts of a task",
        label: "Task",
        hint: "Key or id of the task above them.",
        events: &[
            "children.all_closed",
            "children.any_closed",
            "task.closed",
            "task.status_changed",
            "task.commented",
            "run.finished",
            "run.succeeded",
            "run.failed",
        ],
    },
    Kind {
        name: "webhook",
        title: "A webhook",
        label: "Webhook",
        hint: "Its name or id.",
        events: &["webhook.received"],
    },
    Kind { name: "run", title: "A run", label: "Run", hint: "Its id.", events: RUNS },
];

#[derive(Template)]
#[template(path = "subscription_new.html")]
struct NewSubscriptionPage {
    frame: Frame,
    kind: &'static Kind,
    /// Which one, if the address says.
    named: String,
    agent: String,
    agents: Vec<Choice>,
}

impl NewSubscriptionPage {
    fn kinds(&self) -> &'static [Kind] {
        KINDS
    }
}

/// Shows the form for one kind of source.
pub async fn show(visit: Visit) -> Shown {
    // No events: what is being written stays as it is.
    let frame = Frame::around(&visit, "subscriptions", "").await?.titled("New subscription");
    let asked = visit.asked("source");
    let kind = KINDS.iter().find(|kind| kind.name == asked).unwrap_or(&KINDS[0]);
    let agents = choices::agents(&visit).await?;
    page(&NewSubscriptionPage { frame, kind, named: visit.asked("name"), agent: visit.asked("agent"), agents })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeful_domain::subscription::EventName;

    #[test]
    fn only_what_happens_is_offered() {
        for kind in KINDS {
            for event in kind.events {
                assert!(event.parse::<EventName>().is_ok(), "{event}");
            }
        }
    }
}
