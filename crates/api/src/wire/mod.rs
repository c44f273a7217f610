//! Types of requests and answers only: what stands in the contract, field by field.
//! Ids and times are text here, as they are in JSON.

mod agents;
mod attention;
mod budgets;
mod channels;
mod companies;
mod costs;
mod declarations;
mod escalations;
mod hidden;
mod mail;
mod notifications;
mod projects;
mod restore;
mod retention;
mod runs;
mod schedules;
mod secrets;
mod subscriptions;
mod tasks;
mod timeline;
mod tokens;
mod wakeups;
mod webhooks;

use serde::Serialize;
use utoipa::ToSchema;
use wakeful_store::ops::{events, filter};

pub use agents::*;
pub use attention::*;
pub use budgets::*;
pub use channels::*;
pub use companies::*;
pub use costs::*;
pub use declarations::*;
pub use escalations::*;
pub use mail::*;
pub use notifications::*;
pub use projects::*;
pub use restore::*;
pub use retention::*;
pub use runs::*;
pub use schedules::*;
pub use secrets::*;
pub use subscriptions::*;
pub use tasks::*;
pub use timeline::*;
pub use tokens::*;
pub use wakeups::*;
pub use webhooks::*;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where to go on; null at the end.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of rows, each as the contract shows it.
    pub fn of<R>(page: filter::Page<R>, show: impl FnMut(R) -> T) -> Page<T> {
        Page { items: page.items.into_iter().map(show).collect(), next_cursor: page.next_cursor }
    }
}

/// A request without a word.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A list that is given whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct Whole<T> {
    pub items: Vec<T>,
}

/// What something is called.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamedView {
    pub id: String,
    /// Of a task its key and title; of a run or a wakeup its agent and the key of its task.
    pub name: String,
}

/// Something that happened in a company.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventView {
    pub id: String,
    pub at: String,
    pub company: String,
    pub r#type: String,
    /// The id of what it is about.
    pub subject: String,
    pub data: serde_json::Value,
}

impl From<events::Event> for EventView {
    fn from(event: events::Event) -> Self {
        EventView {
            id: event.id.to_string(),
            at: event.at.to_string(),
            company: event.company.to_string(),
            r#type: event.kind,
            subject: event.subject,
            data: event.data,
        }
    }
}
