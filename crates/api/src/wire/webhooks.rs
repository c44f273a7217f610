//! Webhooks in requests and answers, and what was told through them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wakeful_domain::webhook::{Receipt, ReceiptStatus, Scheme, Webhook};

use super::agents::present;

/// Whom a webhook wakes for whatever is told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTarget {
    /// Id or name of the agent.
    pub agent: String,
    /// Id or key of the task that it is woken about.
    pub task: Option<String>,
}

/// A webhook to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Unique in the company.
    pub name: String,
    /// `standard` (Standard Webhooks; the default), `github` or `bearer`.
    #[schema(value_type = Option<String>)]
    pub scheme: Option<Scheme>,
    pub target: Option<WebhookTarget>,
}

/// Changes to a webhook; what is absent stays, `null` takes away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookPatch {
    pub name: Option<String>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub target: Option<Option<WebhookTarget>>,
}

/// A new secret for a webhook.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateRequest {
    /// How long the old secret works on, `24h` if absent.
    pub overlap: Option<String>,
}

/// Where others tell Wakeful what happens.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookView {
    pub id: String,
    pub company: String,
    pub name: String,
    /// Where callers post to.
    pub url: String,
    /// `standard`, `github` or `bearer`.
    #[schema(value_type = String)]
    pub scheme: Scheme,
    pub target: Option<WebhookTargetView>,
    /// What callers have to know; shown when it is made, never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Until then the secret before works, too.
    pub old_secret_until: Option<String>,
    pub received: i64,
    /// Callers that did not know the secret; of a flood ten a second are counted.
    pub refused: i64,
    pub last_received_at: Option<String>,
    pub last_refused_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// Whom a webhook wakes.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookTargetView {
    pub agent: String,
    pub task: Option<String>,
}

impl WebhookView {
    pub fn new(of: Webhook, secret: Option<String>) -> Self {
        let task = of.task.map(|task| task.to_string());
        WebhookView {
            url: format!("/hooks/{}", of.id),
            id: of.id.to_string(),
            company: of.company.to_string(),
            name: of.name,
            scheme: of.scheme,
            target: of.agent.map(|agent| WebhookTargetView { agent: agent.to_string(), task }),
            secret,
            old_secret_until: of.old_until.map(|at| at.to_string()),
            received: of.received,
            refused: of.refused,
            last_received_at: of.last_received_at.map(|at| at.to_string()),
            last_refused_at: of.last_refused_at.map(|at| at.to_string()),
            created_at: of.created_at.to_string(),
            updated_at: of.updated_at.to_string(),
        }
    }
}

/// Something that was told through a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReceiptView {
    pub id: String,
    pub webhook: String,
    /// `accepted`, `duplicate`, `ignored` (nobody waited) or `skipped` (who was to be woken cannot be).
    #[schema(value_type = String)]
    pub status: ReceiptStatus,
    pub event: Option<String>,
    /// How many subscriptions it matched.
    pub matched: i64,
    /// The wakeup of the webhook's own target.
    pub wakeup: Option<String>,
    /// The earlier one that it repeats.
    pub repeats: Option<String>,
    pub bytes: i64,
    /// Whether it can be told once more.
    pub has_data: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Value>,
    pub at: String,
}

impl From<Receipt> for ReceiptView {
    fn from(of: Receipt) -> Self {
        ReceiptView {
            id: of.id.to_string(),
            webhook: of.webhook.to_string(),
            status: of.status,
            event: of.event,
            matched: of.matched,
            wakeup: of.wakeup.map(|wakeup| wakeup.to_string()),
            repeats: of.repeats.map(|earlier| earlier.to_string()),
            bytes: of.bytes,
            has_data: of.has_data,
            data: None,
            at: of.at.to_string(),
        }
    }
}
