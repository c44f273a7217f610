//! One webhook: its address and secret, whom it wakes, what was told through it, and that once more.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::{Shown, page};
use crate::call::query;
use crate::choices::{self, Choice};
use crate::frame::Frame;
use crate::pieces;
use crate::seen::List;
use crate::visit::Visit;

/// Receipts of one page.
const SHOWN: &str = "50";

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    frame: Frame,
    webhook: Webhook,
    receipts: Vec<Receipt>,
    next: Option<String>,
    /// The one that is looked into.
    opened: Option<Receipt>,
    agents: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
struct Webhook {
    id: String,
    name: String,
    url: String,
    scheme: String,
    target: Option<Target>,
    old_secret_until: Option<String>,
    received: i64,
    refused: i64,
    last_received_at: Option<String>,
    last_refused_at: Option<String>,
    created_at: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    agent: String,
    task: Option<String>,
}

/// Something that was told.
#[derive(Debug, Deserialize)]
struct Receipt {
    id: String,
    status: String,
    event: Option<String>,
    matched: i64,
    wakeup: Option<String>,
    repeats: Option<String>,
    bytes: i64,
    has_data: bool,
    #[serde(default)]
    data: Option<Value>,
    at: String,
}

impl Receipt {
    /// How the state is drawn: the API's word with the colour of what it means.
    fn drawn(&self) -> &str {
        if self.status == "accepted" { "delivered" } else { &self.status }
    }

    fn pretty(&self) -> String {
        self.data.as_ref().and_then(|data| serde_json::to_string_pretty(data).ok()).unwrap_or_default()
    }
}

impl WebhookPage {
    fn target_agent(&self) -> &str {
        self.webhook.target.as_ref().map_or("", |target| &target.agent)
    }

    fn target_task(&self) -> &str {
        self.webhook.target.as_ref().and_then(|target| target.task.as_deref()).unwrap_or_default()
    }
}

/// Shows a webhook.
pub async fn show(visit: Visit) -> Shown {
    let calls = &visit.calls;
    let webhook: Webhook = calls.get(&format!("/webhooks/{}", visit.id)).await?;
    let frame = Frame::around(&visit, "subscriptions", "webhook").await?.titled(&webhook.name);
    let asked = query(&[("limit", SHOWN), ("cursor", &visit.asked("cursor"))]);
    let receipts: List<Receipt> = calls.get(&format!("/webhooks/{}/receipts{asked}", webhook.id)).await?;
    let opened = match visit.asked_id("receipt") {
        Some(id) => calls.find::<Receipt>(&format!("/receipts/{id}")).await?,
        None => None,
    };
    let agents = choices::agents(&visit).await?;
    let next = receipts.next_cursor.map(|cursor| query(&[("cursor", &cursor)]));
    page(&WebhookPage { frame, webhook, receipts: receipts.items, next, opened, agents })
}
