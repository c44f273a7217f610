//! The events of one run, numbered from 1 without a gap.

use serde_json::Value as Json;
use wakeful_domain::id::RunId;
use wakeful_domain::time::Timestamp;

use crate::value::{Value, json};
use crate::{Error, Refusal, Tx};

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEvent {
    pub seq: i64,
    pub at: Timestamp,
    pub kind: String,
    /// `info`, `warn` or `error`.
    pub level: String,
    pub message: String,
    pub data: Json,
}

/// An event to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRunEvent {
    pub kind: String,
    pub level: &'static str,
    pub message: String,
    pub data: Json,
}

impl NewRunEvent {
    /// An event of level `info`.
    pub fn plain(kind: &str, message: impl Into<String>, data: Json) -> Self {
        Self { kind: kind.into(), level: "info", message: message.into(), data }
    }

    /// An event of level `warn`.
    pub fn warn(kind: &str, message: impl Into<String>, data: Json) -> Self {
        Self { level: "warn", ..Self::plain(kind, message, data) }
    }
}

/// Longer messages are cut.
const MESSAGE_BYTES_MAX: usize = 4_096;

const NEXT_SEQ: &str = "
    update runs
    set event_seq = event_seq + 1
    where id = $1
    returning event_seq";
const APPEND: &str = "
    insert into run_events (run_id, seq, at, type, level, message, data)
    values ($1, $2, $3, $4, $5, $6, $7)";

/// Adds an event to a run.
pub async fn append(tx: &mut Tx, run: RunId, at: Timestamp, event: &NewRunEvent) -> Result<(), Error> {
    let Some(mut row) = tx.query_first(NEXT_SEQ, &[run.into()]).await? else { return Ok(()) };
    let seq: i64 = row.get()?;
    let cut = event.message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let parameters = [
        run.into(),
        seq.into(),
        at.into(),
        (&event.kind).into(),
        event.level.into(),
        (&event.message[..cut]).into(),
        json(&event.data),
    ];
    tx.execute(APPEND, &parameters).await?;
    Ok(())
}

const AFTER: &str = "
    select seq, at, type, level, message, data
    from run_events
    where run_id = $1
      and seq > $2
    order by seq
    limit $3";

/// The events of a run behind `seq`.
pub async fn after(tx: &mut Tx, run: RunId, seq: i64, limit: i64) -> Result<Vec<RunEvent>, Refusal> {
    rows(tx, AFTER, &[run.into(), seq.into(), limit.into()]).await
}

const COURSE: &str = "
    select seq, at, type, level, message, data
    from run_events
    where run_id = $1
      and type <> 'tool_result'
    order by seq
    limit $2";

/// The first events of a run, without what its tools returned: that explains nothing, and there may be much of it.
pub async fn course(tx: &mut Tx, run: RunId, limit: i64) -> Result<Vec<RunEvent>, Refusal> {
    rows(tx, COURSE, &[run.into(), limit.into()]).await
}

async fn rows(tx: &mut Tx, sql: &'static str, parameters: &[Value<'_>]) -> Result<Vec<RunEvent>, Refusal> {
    let mut events = Vec::new();
    for mut row in tx.query(sql, parameters).await? {
        events.push(RunEvent {
            seq: row.get()?,
            at: row.get()?,
            kind: row.get()?,
            level: row.get()?,
            message: row.get()?,
            data: row.json()?,
        });
    }
    Ok(events)
}
