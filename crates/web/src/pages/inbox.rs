//! The inbox: what needs a person, each with the one thing to do about it. What went well never comes here.

use askama::Template;
use serde::Deserialize;

use super::{Shown, page};
use crate::call::query;
use crate::frame::{Frame, looks_back};
use crate::pieces;
use crate::seen::{Attempt, List, Mail, Names, Wakeup, page_of};
use crate::visit::Visit;

/// Shown of each kind at most.
const SHOWN: &str = "50";

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    frame: Frame,
    escalations: Vec<Escalation>,
    dead_letters: Vec<Wakeup>,
    mail: Vec<Mail>,
    deliveries: Vec<Delivery>,
    has_agents: bool,
    names: Names,
}

/// What a person has to know or decide.
#[derive(Debug, Deserialize)]
struct Escalation {
    id: String,
    kind: String,
    severity: String,
    subject: String,
    title: String,
    detail: String,
    count: i64,
    last_at: String,
}

/// A notification that a channel did not take.
#[derive(Debug, Deserialize)]
struct Delivery {
    id: String,
    channel: String,
    attempts: i64,
    /// The last attempts, oldest first.
    log: Vec<Attempt>,
    finished_at: Option<String>,
}

/// Anything, when only whether there is one matters.
#[derive(Debug, Deserialize)]
struct One {}

impl Escalation {
    /// The page of what it is about, if it has one.
    fn about(&self) -> Option<String> {
        page_of(&self.subject)
    }

    fn kind_words(&self) -> String {
        self.kind.replace('_', " ")
    }

    /// The agent that starts nothing more on a lane until a person says so.
    fn stopped_agent(&self) -> Option<&str> {
        (self.kind == "circuit_open").then_some(self.subject.as_str())
    }
}

impl InboxPage {
    fn is_empty(&self) -> bool {
        self.escalations.is_empty()
            && self.dead_letters.is_empty()
            && self.mail.is_empty()
            && self.deliveries.is_empty()
            && self.frame.attention.missed.is_empty()
    }
}

/// Shows what needs a person.
pub async fn show(visit: Visit) -> Shown {
    let frame =
        Frame::around(&visit, "inbox", "escalation wakeup schedule notification agent message").await?.titled("Inbox");
    let calls = &visit.calls;
    let now = wakeful_engine::clock::now().to_jiff();
    let back = looks_back(now);
    let of = |list: &str, pairs: &[(&str, &str)]| visit.of_company(&format!("{list}{}", query(pairs)));
    let escalations: List<Escalation> = calls.get(&of("escalations", &[("status", "open"), ("limit", SHOWN)])).await?;
    let unseen = ("acknowledged", "false");
    let failed = [("status", "failed"), unseen, ("since", back.as_str()), ("limit", SHOWN)];
    let dead_letters: List<Wakeup> = calls.get(&of("wakeups", &failed)).await?;
    let mail: List<Mail> = calls.get(&of("messages", &[("to", "user"), ("unread", "true"), ("limit", SHOWN)])).await?;
    let failed = [("status", "failed"), unseen, ("limit", SHOWN)];
    let deliveries: List<Delivery> = calls.get(&of("deliveries", &failed)).await?;
    let agents: List<One> = calls.get(&of("agents", &[("limit", "1")])).await?;
    let ids =
        dead_letters.items.iter().flat_map(|wakeup| [Some(wakeup.agent.as_str()), wakeup.task.as_deref()]).flatten();
    let senders = mail.items.iter().map(|message| message.from.id.as_str());
    let channels = deliveries.items.iter().map(|delivery| delivery.channel.as_str());
    let names = Names::of(calls, &visit.company, ids.chain(senders).chain(channels).collect()).await?;
    page(&InboxPage {
        frame,
        escalations: escalations.items,
        dead_letters: dead_letters.items,
        mail: mail.items,
        deliveries: deliveries.items,
        has_agents: !agents.items.is_empty(),
        names,
    })
}
