//! What Wakeful says to a live run that is no reason to start another: the patrol's nudges, and that a budget is
//! nearly spent. A message waits in the
//! run's inbox until its agent has read it, and ends with the run; unlike a wakeup it makes no follow-up. Messages are
//! events of their run and have no table of their own.

use serde_json::{Value as Json, json as object};
use wakeful_domain::id::RunId;
use wakeful_domain::time::Timestamp;

use crate::ops::run_events::{self, NewRunEvent};
use crate::ops::runs;
use crate::{Refusal, Tx};

/// The event that is a message of kind `nudge`.
pub const NUDGED: &str = "nudged";
/// The event that is a message of kind `budget`.
const WARNED: &str = "budget_warned";
/// The kind of a message about a budget that is nearly spent.
pub(crate) const BUDGET: &str = "budget";
/// The event that a message was read.
const READ: &str = "message_read";
/// At most this many are shown at once, the oldest first.
const SHOWN_MAX: usize = 100;

/// Something said to a live run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    /// `nudge` or `budget`.
    pub kind: &'static str,
    pub at: Timestamp,
    pub text: String,
}

/// An event that is a nudge with this id and text.
pub fn nudge(id: &str, text: &str, told: String, silent_s: u64) -> NewRunEvent {
    let data = object!({ "silent_s": silent_s, "tier": 1, "message": { "id": id, "text": text } });
    NewRunEvent::warn(NUDGED, told, data)
}

/// An event that tells of a budget.
pub(crate) fn budget(message: &Message) -> NewRunEvent {
    let data = object!({ "message": { "id": message.id, "text": message.text } });
    NewRunEvent::warn(WARNED, message.text.clone(), data)
}

const OF_RUN: &str = "
    select type, at, data
    from run_events
    where run_id = $1
      and type in ('nudged', 'budget_warned', 'message_read')
    order by seq";

/// What a live run has been told and has not read; nothing once it is over.
pub async fn unread(tx: &mut Tx, run: RunId) -> Result<Vec<Message>, Refusal> {
    let run = runs::get(tx, run).await?;
    if !run.status.is_live() {
        return Ok(Vec::new());
    }
    let mut unread = of_run(tx, run.id).await?;
    unread.retain(|(_, is_read)| !is_read);
    Ok(unread.into_iter().map(|(message, _)| message).take(SHOWN_MAX).collect())
}

/// All messages of a run, each with whether it was read.
async fn of_run(tx: &mut Tx, run: RunId) -> Result<Vec<(Message, bool)>, Refusal> {
    let mut messages: Vec<(Message, bool)> = Vec::new();
    for mut row in tx.query(OF_RUN, &[run.into()]).await? {
        let (kind, at, data): (String, Timestamp, Json) = (row.get()?, row.get()?, row.json()?);
        let word = |name: &str| data["message"][name].as_str().unwrap_or_default().to_owned();
        let id = word("id");
        match kind.as_str() {
            // One of an earlier build is told by its event alone.
            NUDGED if id.is_empty() => {}
            WARNED => messages.push((Message { id, kind: BUDGET, at, text: word("text") }, false)),
            NUDGED => messages.push((Message { id, kind: "nudge", at, text: word("text") }, false)),
            _ => messages.iter_mut().filter(|(message, _)| message.id == id).for_each(|(_, is_read)| *is_read = true),
        }
    }
    Ok(messages)
}

/// Messages that the agent of a live run has read.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    pub now: Timestamp,
    pub run: RunId,
    pub fence: i64,
    pub messages: Vec<String>,
}

/// Notes that a live run has read messages, which is a sign of life; gives those that it was never told. Doing it twice
/// changes nothing.
pub async fn mark_read(tx: &mut Tx, request: &ReadRequest) -> Result<Vec<String>, Refusal> {
    let run = runs::get_live(tx, request.run, request.fence).await?;
    runs::heard(tx, request.now, run.id, run.fence).await?;
    let known = of_run(tx, run.id).await?;
    let mut unknown = Vec::new();
    for id in &request.messages {
        match known.iter().find(|(message, _)| message.id == *id) {
            Some((_, true)) => {}
            Some((message, false)) => {
                let told = NewRunEvent::plain(
                    READ,
                    format!("read the {} {id}", message.kind),
                    object!({ "message": { "id": id } }),
                );
                run_events::append(tx, run.id, request.now, &told).await?;
            }
            None => unknown.push(id.clone()),
        }
    }
    Ok(unknown)
}
