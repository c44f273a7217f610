//! Mail in requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_domain::actor::Actor;
use wakeful_domain::mail::{Message, MessageKind, PEOPLE};

/// A message to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Id or name of an agent, which is woken; `user` for people, who are notified.
    pub to: String,
    /// At most 200 characters.
    pub subject: Option<String>,
    /// At most 64 KiB.
    pub body: String,
    /// Id of a message that this one answers or goes on from.
    pub thread: Option<String>,
    /// `note` (default), `request`, `escalation`; `nudge`: a word to a live run, which wakes nobody and lapses with it.
    #[schema(value_type = Option<String>)]
    pub kind: Option<MessageKind>,
    /// The task that it is about, by id or key: its reader is woken there.
    pub task: Option<String>,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailView {
    pub id: String,
    pub company: String,
    #[schema(value_type = Object)]
    pub from: Actor,
    /// The run that wrote it, if one did.
    pub from_run: Option<String>,
    /// Id of an agent, or `user`.
    pub to: String,
    pub subject: Option<String>,
    pub body: String,
    /// Id of the first message of its thread.
    pub thread: String,
    #[schema(value_type = String)]
    pub kind: MessageKind,
    pub task: Option<String>,
    /// What wakes its reader with it.
    pub wakeup: Option<String>,
    pub created_at: String,
    /// When its reader's run has acknowledged it; null while it is unread.
    pub acked_at: Option<String>,
    pub acked_by: Option<String>,
}

impl From<Message> for MailView {
    fn from(message: Message) -> Self {
        MailView {
            id: message.id.to_string(),
            company: message.company.to_string(),
            from: message.from,
            from_run: message.from_run.map(|run| run.to_string()),
            to: message.to.map_or_else(|| PEOPLE.to_owned(), |agent| agent.to_string()),
            subject: Some(message.subject).filter(|subject| !subject.is_empty()),
            body: message.body,
            thread: message.thread.to_string(),
            kind: message.kind,
            task: message.task.map(|task| task.to_string()),
            wakeup: message.wakeup.map(|wakeup| wakeup.to_string()),
            created_at: message.created_at.to_string(),
            acked_at: message.acked_at.map(|at| at.to_string()),
            acked_by: message.acked_by.map(|run| run.to_string()),
        }
    }
}
