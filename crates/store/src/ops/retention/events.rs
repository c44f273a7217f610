//! Events of companies: the oldest go, and a reader whose cursor lies before them is told that there is a gap.

use serde::{Deserialize, Serialize};
use wakeful_domain::id::{CompanyId, EventId};
use wakeful_domain::time::Timestamp;

use super::PAGE;
use crate::ops::events::{self, Cursor, Event};
use crate::ops::meta;
use crate::{Refusal, Tx};

/// Up to where they are gone.
const REMOVED: &str = "events_removed";

/// The last place that is gone, and when it was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Gone {
    txid: i64,
    seq: i64,
    at: Timestamp,
}

const OLDEST: &str = "select txid, seq, at from events order by seq limit $1";
const REMOVE: &str = "delete from events where seq <= $1";
// One from the future was told by a clock that was wrong: it goes with its neighbours.
const FIRST_KEPT: &str = "
    select seq, at
    from events
    where at >= $1
      and at <= $2
    order by seq
    limit 1";
const COUNT: &str = "select count(*) from events where seq < $1";
const BEYOND: &str = "select at from events order by seq desc limit 1 offset $1";

async fn gone(tx: &mut Tx) -> Result<Option<Gone>, Refusal> {
    let text = meta::get(tx, REMOVED).await?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// How many would go, and when the oldest of those that stay was told.
pub async fn count(tx: &mut Tx, now: Timestamp, cut: Timestamp) -> Result<(u64, Option<Timestamp>), Refusal> {
    let (first, oldest) = match tx.query_first(FIRST_KEPT, &[cut.into(), now.into()]).await? {
        Some(mut row) => (row.get()?, Some(row.get()?)),
        None => (i64::MAX, None),
    };
    let count: i64 = tx.query_one(COUNT, &[first.into()]).await?.get()?;
    Ok((count.unsigned_abs(), oldest))
}

/// When the newest event was told that is beyond this number.
pub async fn beyond(tx: &mut Tx, number: u64) -> Result<Option<Timestamp>, Refusal> {
    let found = tx.query_first(BEYOND, &[i64::try_from(number).unwrap_or(i64::MAX).into()]).await?;
    Ok(found.map(|mut row| row.get()).transpose()?)
}

/// Removes a bite of the oldest that were told before `cut`; gives how many went.
pub async fn remove(tx: &mut Tx, now: Timestamp, cut: Timestamp) -> Result<u64, Refusal> {
    let mut last = gone(tx).await?;
    let mut upto = None;
    for mut row in tx.query(OLDEST, &[PAGE.into()]).await? {
        let place = Gone { txid: row.get()?, seq: row.get()?, at: row.get()? };
        if (cut..=now).contains(&place.at) {
            break;
        }
        upto = Some(place.seq);
        let is_later = last.is_none_or(|last| (place.txid, place.seq) > (last.txid, last.seq));
        last = if is_later { Some(place) } else { last };
    }
    let Some((upto, last)) = upto.zip(last) else { return Ok(0) };
    let count = tx.execute(REMOVE, &[upto.into()]).await?;
    meta::put(tx, REMOVED, &serde_json::json!(last).to_string()).await?;
    Ok(count)
}

/// What a reader finds behind its cursor.
#[derive(Debug, Clone)]
pub struct Found {
    /// What lay between the cursor and this event is gone, or the cursor is of a store that was replaced: the reader goes
    /// on behind it.
    pub gap: Option<EventId>,
    pub events: Vec<Event>,
}

const LAST: &str = "select txid, seq, at from events order by txid desc, seq desc limit 1";

/// The events behind a cursor, and whether some before them are missing.
pub async fn after(tx: &mut Tx, company: CompanyId, cursor: Cursor, limit: i64) -> Result<Found, Refusal> {
    let place = |gone: &Gone| Cursor::at_row(gone.txid, gone.seq);
    let gone = gone(tx).await?;
    // A reader from the very beginning asks for what is there.
    if cursor != Cursor::default()
        && let Some(gone) = gone.filter(|gone| cursor < place(gone))
    {
        let events = events::after(tx, company, place(&gone), limit).await?;
        return Ok(Found { gap: Some(place(&gone).id(gone.at)), events });
    }
    let events = events::after(tx, company, cursor, limit).await?;
    if !events.is_empty() {
        return Ok(Found { gap: None, events });
    }
    // Ahead of all that ever was: its store had other numbers.
    let last = match tx.query_first(LAST, &[]).await? {
        Some(mut row) => Some(Gone { txid: row.get()?, seq: row.get()?, at: row.get()? }),
        None => gone,
    };
    let gap = last.filter(|last| cursor > place(last) && gone.is_none_or(|gone| cursor > place(&gone)));
    Ok(Found { gap: gap.map(|last| place(&last).id(last.at)), events })
}
