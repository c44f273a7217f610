//! Notifications and their deliveries in answers.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wakeful_domain::delivery::{Attempt, Delivery, DeliveryStatus};
use wakeful_domain::notification::{Level, Notification, NotificationKind};

/// What people were told.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationView {
    pub id: String,
    pub at: String,
    pub company: String,
    /// `action`, `heartbeat`, `schedule`, `escalation` or `test`.
    #[schema(value_type = String)]
    pub kind: NotificationKind,
    /// `info`, `warning` or `critical`.
    #[schema(value_type = String)]
    pub level: Level,
    pub title: String,
    pub text: String,
    #[schema(value_type = Object)]
    pub metadata: Value,
    pub agent: Option<String>,
    pub run: Option<String>,
    pub schedule: Option<String>,
    /// How often the same came again and was not told.
    pub repeats: i64,
    /// When somebody saw it.
    pub read_at: Option<String>,
}

impl From<Notification> for NotificationView {
    fn from(Notification { id, at, notice, repeats, read_at }: Notification) -> Self {
        NotificationView {
            id: id.to_string(),
            at: at.to_string(),
            company: notice.company.to_string(),
            kind: notice.kind,
            level: notice.level,
            title: notice.title,
            text: notice.text,
            metadata: notice.metadata,
            agent: notice.agent.map(|id| id.to_string()),
            run: notice.run.map(|id| id.to_string()),
            schedule: notice.schedule.map(|id| id.to_string()),
            repeats,
            read_at: read_at.map(|at| at.to_string()),
        }
    }
}

/// What people were told, and what became of it in each channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationDetail {
    #[serde(flatten)]
    pub notification: NotificationView,
    pub deliveries: Vec<DeliveryView>,
}

/// One notification on its way through one channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    pub id: String,
    pub company: String,
    pub channel: String,
    pub notification: String,
    /// `pending`, `sending`, `delivered` (the receiver said so), `failed` or `cancelled`.
    #[schema(value_type = String)]
    pub status: DeliveryStatus,
    /// Since it was made, or asked for again.
    pub attempts: i64,
    /// The last attempts, oldest first: `{at, ok, detail, duration_ms}`.
    #[schema(value_type = Vec<Object>)]
    pub log: Vec<Attempt>,
    /// When the next attempt is due.
    pub due_at: Option<String>,
    pub created_at: String,
    pub finished_at: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        DeliveryView {
            id: delivery.id.to_string(),
            company: delivery.company.to_string(),
            channel: delivery.channel.to_string(),
            notification: delivery.notification.to_string(),
            status: delivery.status,
            attempts: delivery.attempts,
            log: delivery.log,
            due_at: delivery.due_at.map(|at| at.to_string()),
            created_at: delivery.created_at.to_string(),
            finished_at: delivery.finished_at.map(|at| at.to_string()),
        }
    }
}
