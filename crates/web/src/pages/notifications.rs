//! Notifications: what people were told, unread first; the channels that it goes through; what became of it there.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::{Shown, channel_edit, page};
use crate::call::query;
use crate::choices;
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{Attempt, List};
use crate::visit::Visit;

/// Shown of each at most.
const SHOWN: &str = "50";
const DELIVERY_STATUSES: &[&str] = &["pending", "sending", "delivered", "failed", "cancelled"];

#[derive(Template)]
#[template(path = "notifications.html")]
struct NotificationsPage {
    frame: Frame,
    unread: Vec<Notification>,
    has_more_unread: bool,
    /// Those that somebody has seen.
    seen: Vec<Notification>,
    next: Option<String>,
    /// `None` for whoever may not see them.
    channels: Option<Vec<Channel>>,
    deliveries: Vec<Delivery>,
    next_deliveries: Option<String>,
    /// The state of deliveries that is asked for.
    status: String,
    /// The delivery that is looked into.
    opened: Option<Delivery>,
}

/// What people were told.
#[derive(Debug, Deserialize)]
struct Notification {
    id: String,
    at: String,
    kind: String,
    level: String,
    title: String,
    text: String,
    metadata: Value,
    agent: Option<String>,
    run: Option<String>,
    schedule: Option<String>,
    repeats: i64,
    read_at: Option<String>,
}

/// Where notifications go besides the inbox.
#[derive(Debug, Deserialize)]
pub struct Channel {
    pub id: String,
    pub name: String,
    /// One pair: the kind, and its settings. What only its owner may know stands there by name.
    pub target: Value,
    pub filter: Value,
    state: String,
    state_reason: Option<String>,
}

/// One notification on its way through one channel.
#[derive(Debug, Deserialize)]
struct Delivery {
    id: String,
    channel: String,
    notification: String,
    status: String,
    attempts: i64,
    log: Vec<Attempt>,
    due_at: Option<String>,
    created_at: String,
    finished_at: Option<String>,
}

impl Notification {
    /// How much it matters: of an escalation as the inbox says it, which knows more steps than channels do.
    fn drawn(&self) -> &str {
        let severity = self.metadata["severity"].as_str();
        severity.unwrap_or(if self.level == "warning" { "medium" } else { &self.level })
    }

    /// The page of what it is about, if it has one.
    fn about(&self) -> Option<String> {
        let run = self.run.as_ref().map(|id| format!("runs/{id}"));
        let schedule = self.schedule.as_ref().map(|id| format!("schedules/{id}"));
        run.or(schedule).or(self.agent.as_ref().map(|id| format!("agents/{id}")))
    }
}

impl Channel {
    pub fn kind(&self) -> &str {
        channel_edit::kind_of(&self.target)
    }

    /// What it lets through, in JSON; empty for all.
    fn filter_text(&self) -> String {
        let is_empty = self.filter.as_object().is_none_or(serde_json::Map::is_empty);
        if is_empty { String::new() } else { self.filter.to_string() }
    }

    fn target_text(&self) -> String {
        channel_edit::shown(&self.target)
    }
}

impl Delivery {
    /// What the last attempt said, if it failed.
    fn failure(&self) -> Option<&str> {
        let last = self.log.last().filter(|attempt| !attempt.ok)?;
        Some(&last.detail)
    }

    /// Whether it may be asked for again.
    fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "failed" | "cancelled")
    }
}

impl NotificationsPage {
    fn statuses(&self) -> &'static [&'static str] {
        DELIVERY_STATUSES
    }

    fn channel_name<'a>(&'a self, id: &'a str) -> &'a str {
        let found = self.channels.iter().flatten().find(|channel| channel.id == id);
        found.map_or_else(|| pieces::short(id), |channel| &channel.name)
    }
}

/// Shows what people were told.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "notifications", "notification escalation").await?.titled("Notifications");
    let calls = &visit.calls;
    let of = |list: &str, pairs: &[(&str, &str)]| visit.of_company(&format!("{list}{}", query(pairs)));
    let unread: List<Notification> = calls.get(&of("notifications", &[("unread", "true"), ("limit", SHOWN)])).await?;
    let cursor = visit.asked("cursor");
    let all: List<Notification> = calls.get(&of("notifications", &[("cursor", &cursor), ("limit", SHOWN)])).await?;
    let channels: Option<List<Channel>> = calls.find(&of("channels", &[("limit", "200")])).await?;
    let status = visit.asked("status");
    let asked = [("status", status.as_str()), ("cursor", &visit.asked("deliveries")), ("limit", SHOWN)];
    let deliveries: List<Delivery> = calls.get(&of("deliveries", &asked)).await?;
    let opened = match visit.asked_id("delivery") {
        Some(id) => calls.find::<Delivery>(&format!("/deliveries/{id}")).await?,
        None => None,
    };
    let next_deliveries =
        deliveries.next_cursor.map(|cursor| query(&[("status", status.as_str()), ("deliveries", &cursor)]));
    page(&NotificationsPage {
        frame,
        has_more_unread: unread.next_cursor.is_some(),
        unread: unread.items,
        seen: all.items.into_iter().filter(|one| one.read_at.is_some()).collect(),
        next: all.next_cursor.map(|cursor| query(&[("cursor", &cursor)])),
        channels: channels.map(|list| list.items),
        deliveries: deliveries.items,
        next_deliveries,
        status,
        opened,
    })
}
