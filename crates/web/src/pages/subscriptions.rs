//! Subscriptions: who is woken when what happens. With them the webhooks by which others tell what happens, and a form
//! that publishes to a topic.

use std::collections::BTreeMap;

use askama::Template;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Shown, page};
use crate::call::query;
use crate::choices::{self, Choice};
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{List, Names};
use crate::visit::Visit;

/// Subscriptions of one page.
const SHOWN: &str = "50";
/// Webhooks that are shown; a company with more looks for them by the command line.
const WEBHOOKS_SHOWN: &str = "200";

#[derive(Template)]
#[template(path = "subscriptions.html")]
struct SubscriptionsPage {
    frame: Frame,
    filter: Filter,
    subscriptions: Vec<Subscription>,
    next: Option<String>,
    agents: Vec<Choice>,
    /// `None` for whoever may not see them.
    webhooks: Option<Vec<Webhook>>,
    names: Names,
}

/// What is asked for, as it stands in the address.
#[derive(Debug)]
struct Filter {
    agent: String,
    topic: String,
    /// `open`, `ended` or `all`; those that wait if nothing is said.
    state: String,
}

impl Filter {
    fn is_set(&self) -> bool {
        !self.agent.is_empty() || !self.topic.is_empty() || self.state != "open"
    }

    /// The parameters of the page's own address, or those that the API takes.
    fn query(&self, cursor: &str, is_of_page: bool) -> String {
        let state = if self.state == "all" && !is_of_page { "" } else { &self.state };
        let limit = if is_of_page { "" } else { SHOWN };
        query(&[("agent", &self.agent), ("topic", &self.topic), ("state", state), ("cursor", cursor), ("limit", limit)])
    }
}

/// Who is woken when what happens.
#[derive(Debug, Deserialize)]
struct Subscription {
    id: String,
    agent: String,
    task: Option<String>,
    /// One pair: the kind, and which one.
    source: BTreeMap<String, String>,
    on: Vec<String>,
    filter: Map<String, Value>,
    once: bool,
    debounce_ms: Option<i64>,
    timeout_ms: Option<i64>,
    key: Option<String>,
    state: String,
    end_reason: Option<String>,
    matches: i64,
    wakeups: i64,
    last_match_at: Option<String>,
}

/// Where others tell what happens.
#[derive(Debug, Deserialize)]
struct Webhook {
    id: String,
    name: String,
    url: String,
    scheme: String,
    target: Option<WebhookTarget>,
    received: i64,
    refused: i64,
    last_received_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WebhookTarget {
    agent: String,
}

impl Subscription {
    fn source(&self) -> (&str, &str) {
        self.source.iter().next().map(|(kind, id)| (kind.as_str(), id.as_str())).unwrap_or_default()
    }

    /// What kind of thing is waited for, in words that its name follows.
    fn source_words(&self) -> &'static str {
        match self.source().0 {
            "run" => "the run",
            "task" => "the task",
            "children" => "what is part of",
            "agent" => "the agent",
            "topic" => "the topic",
            "webhook" => "the webhook",
            _ => "something",
        }
    }

    /// The page of what is waited for, if it has one.
    fn source_path(&self) -> Option<String> {
        let (kind, id) = self.source();
        let page = match kind {
            "run" => "runs",
            "task" | "children" => "tasks",
            "agent" => "agents",
            "webhook" => "subscriptions/webhooks",
            _ => return None,
        };
        Some(format!("{page}/{id}"))
    }

    fn filter_text(&self) -> String {
        Value::Object(self.filter.clone()).to_string()
    }

    /// How it fires, in words.
    fn manner(&self) -> String {
        let mut words = vec![if self.once { "once".to_owned() } else { "each time".to_owned() }];
        words.extend(self.debounce_ms.map(|ms| format!("together after {} of quiet", pieces::duration(ms))));
        words.extend(self.timeout_ms.map(|ms| format!("or after {} without", pieces::duration(ms))));
        words.join(", ")
    }
}

impl SubscriptionsPage {
    /// The name of what is waited for.
    fn source_name<'a>(&'a self, subscription: &'a Subscription) -> &'a str {
        let (kind, id) = subscription.source();
        match kind {
            "topic" => id,
            "webhook" => {
                let mut all = self.webhooks.iter().flatten();
                all.find(|webhook| webhook.id == id).map_or_else(|| pieces::short(id), |webhook| &webhook.name)
            }
            _ => self.names.name(id),
        }
    }
}

/// Shows subscriptions, newest first.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "subscriptions", "webhook topic wakeup agent").await?;
    let state = Some(visit.asked("state")).filter(|state| !state.is_empty()).unwrap_or("open".into());
    let filter = Filter { agent: visit.asked("agent"), topic: visit.asked("topic"), state };
    let asked = filter.query(&visit.asked("cursor"), false);
    let list: List<Subscription> = visit.calls.get(&visit.of_company(&format!("subscriptions{asked}"))).await?;
    let webhooks: Option<List<Webhook>> =
        visit.calls.find(&visit.of_company(&format!("webhooks?limit={WEBHOOKS_SHOWN}"))).await?;
    let webhooks = webhooks.map(|list| list.items);
    let sources = list.items.iter().filter(|one| one.source().0 != "topic").map(|one| one.source().1);
    let woken = list.items.iter().flat_map(|one| [Some(one.agent.as_str()), one.task.as_deref()]).flatten();
    let targets = webhooks.iter().flatten().filter_map(|one| one.target.as_ref()).map(|target| target.agent.as_str());
    let names = Names::of(&visit.calls, &visit.company, sources.chain(woken).chain(targets).collect()).await?;
    let agents = choices::agents(&visit).await?;
    let next = list.next_cursor.map(|cursor| filter.query(&cursor, true));
    page(&SubscriptionsPage {
        frame: frame.titled("Subscriptions"),
        filter,
        subscriptions: list.items,
        next,
        agents,
        webhooks,
        names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_subscription_is_said_in_words() {
        let one: Subscription = serde_json::from_value(json!({
            "id": "sub_1", "agent": "agt_1", "task": null, "source": {"topic": "deploys"}, "on": ["topic.published"],
            "filter": {"env": "test"}, "once": true, "debounce_ms": 5_000, "timeout_ms": 600_000, "key": null,
            "state": "open", "end_reason": null, "matches": 0, "wakeups": 0, "last_match_at": null
        }))
        .unwrap();
        assert_eq!(one.source(), ("topic", "deploys"));
        assert_eq!(one.source_path(), None);
        assert_eq!(one.manner(), "once, together after 5 s of quiet, or after 10 min without");
        assert_eq!(one.filter_text(), r#"{"env":"test"}"#);
    }
}
