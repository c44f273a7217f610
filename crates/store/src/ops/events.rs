//! The company's event stream: appended in the transaction of what it tells, read by cursor.
//! A reader with a cursor never misses a row because a lower number committed later.

use serde_json::Value as Json;
use uuid::Uuid;
use wakeful_domain::id::{CompanyId, EventId};
use wakeful_domain::time::Timestamp;

use crate::value::json;
use crate::{Error, Refusal, Row, Tx};

/// A place in the stream: behind the event with this id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    txid: i64,
    seq: i64,
}

/// Bits of an event's id that hold the place of its row.
const SEQ_BITS: u32 = 40;
/// Bits of the transaction's number that stand in the variant half of the id; the rest is above.
const TXID_LOW_BITS: u32 = 22;

impl Cursor {
    /// Behind the event of this row.
    pub(crate) fn at_row(txid: i64, seq: i64) -> Cursor {
        Cursor { txid, seq }
    }

    /// The id of the event at this place: a UUIDv7 that holds the place, so that it is a cursor too.
    pub fn id(self, at: Timestamp) -> EventId {
        let (txid, seq) = (self.txid.unsigned_abs(), self.seq.unsigned_abs());
        let ms = u128::from(at.as_millis().unsigned_abs()) & ((1 << 48) - 1);
        let high = u128::from(txid >> TXID_LOW_BITS) & 0xfff;
        let low = (u128::from(txid & ((1 << TXID_LOW_BITS) - 1)) << SEQ_BITS) | u128::from(seq & ((1 << SEQ_BITS) - 1));
        EventId::from_uuid(Uuid::from_u128((ms << 80) | (7 << 76) | (high << 64) | (0b10 << 62) | low))
    }
}

impl From<EventId> for Cursor {
    fn from(id: EventId) -> Cursor {
        let bits = id.uuid().as_u128();
        let high = (bits >> 64) as i64 & 0xfff;
        let low = (bits >> SEQ_BITS) as i64 & ((1 << TXID_LOW_BITS) - 1);
        Cursor { txid: (high << TXID_LOW_BITS) | low, seq: bits as i64 & ((1 << SEQ_BITS) - 1) }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub company: CompanyId,
    pub at: Timestamp,
    pub kind: String,
    /// The id of what it is about.
    pub subject: String,
    pub data: Json,
}

const APPEND: &str = "
    insert into events (company_id, at, type, subject, data)
    values ($1, $2, $3, $4, $5)";

/// Adds an event about `subject`.
pub async fn append(
    tx: &mut Tx,
    company: CompanyId,
    at: Timestamp,
    kind: &str,
    subject: &str,
    data: &Json,
) -> Result<(), Error> {
    tx.execute(APPEND, &[company.into(), at.into(), kind.into(), subject.into(), json(data)]).await?;
    Ok(())
}

const APPEND_KNOWN: &str = "
    insert into events (company_id, at, type, subject, data)
    values ($1, $2, $3, $4, $5)
    returning txid, seq";

/// The same, for one who has to name the event.
pub(crate) async fn append_known(
    tx: &mut Tx,
    company: CompanyId,
    at: Timestamp,
    kind: &str,
    subject: &str,
    data: &Json,
) -> Result<EventId, Error> {
    let parameters = [company.into(), at.into(), kind.into(), subject.into(), json(data)];
    let mut row = tx.query_one(APPEND_KNOWN, &parameters).await?;
    Ok(Cursor { txid: row.get()?, seq: row.get()? }.id(at))
}

const AFTER: &str = "
    select txid, seq, company_id, at, type, subject, data
    from events
    where company_id = $1
      and {behind_cursor}
      and {committed}
    order by {event_order}
    limit $4";

/// The events behind `cursor`, oldest first.
pub async fn after(tx: &mut Tx, company: CompanyId, cursor: Cursor, limit: i64) -> Result<Vec<Event>, Refusal> {
    let parameters = [company.into(), cursor.txid.into(), cursor.seq.into(), limit.into()];
    let rows = tx.query(AFTER, &parameters).await?;
    Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
}

const ABOUT: &str = "
    select txid, seq, company_id, at, type, subject, data
    from events
    where subject = $1
      and {committed}
    order by {event_order}
    limit 500";

/// The events about one thing, oldest first.
pub async fn about(tx: &mut Tx, subject: &str) -> Result<Vec<Event>, Refusal> {
    let rows = tx.query(ABOUT, &[subject.into()]).await?;
    Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
}

const LAST: &str = "
    select txid, seq
    from events
    where company_id = $1
      and {committed}
    order by txid desc, seq desc
    limit 1";

/// The end of the stream as it is now.
pub async fn last(tx: &mut Tx, company: CompanyId) -> Result<Cursor, Refusal> {
    match tx.query_first(LAST, &[company.into()]).await? {
        Some(mut row) => Ok(Cursor { txid: row.get()?, seq: row.get()? }),
        None => Ok(Cursor::default()),
    }
}

fn read(mut row: Row) -> Result<Event, Error> {
    let cursor = Cursor { txid: row.get()?, seq: row.get()? };
    let company = row.get()?;
    let at = row.get()?;
    Ok(Event { id: cursor.id(at), company, at, kind: row.get()?, subject: row.get()?, data: row.json()? })
}

/// Rows of transactions that were open together have numbers that lie no further apart.
const SEQ_SLACK: i64 = 10_000;
/// What is of no interest is passed over with its data unread, once.
const FATES: &str = "
    select txid, seq, type,
      case when type in ('wakeup.accepted', 'wakeup.skipped', 'wakeup.coalesced', 'wakeup.completed', 'wakeup.failed',
        'wakeup.cancelled', 'wakeup.expired', 'wakeup.retry_scheduled', 'schedule.fired', 'schedule.missed')
      then data end
    from events
    where seq > $1
      and {behind_cursor}
      and {committed}
    order by {event_order}
    limit $4";

/// An event of any company as `/metrics` sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub cursor: Cursor,
    pub kind: String,
    /// If it tells the fate of a wakeup or a slot.
    pub fate: Option<Json>,
}

/// The events of all companies behind `cursor`, oldest first.
pub async fn fates_after(tx: &mut Tx, cursor: Cursor, limit: i64) -> Result<Vec<Told>, Refusal> {
    let parameters = [(cursor.seq - SEQ_SLACK).into(), cursor.txid.into(), cursor.seq.into(), limit.into()];
    let mut told = Vec::new();
    for mut row in tx.query(FATES, &parameters).await? {
        let cursor = Cursor { txid: row.get()?, seq: row.get()? };
        told.push(Told { cursor, kind: row.get()?, fate: row.json_option()? });
    }
    Ok(told)
}

const NEWEST: &str = "
    select txid, seq
    from events
    where {committed}
    order by seq desc
    limit 1";

/// The end of all streams as they are now.
pub async fn newest(tx: &mut Tx) -> Result<Cursor, Refusal> {
    match tx.query_first(NEWEST, &[]).await? {
        Some(mut row) => Ok(Cursor { txid: row.get()?, seq: row.get()? }),
        None => Ok(Cursor::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_event_is_its_place() {
        for cursor in [
            Cursor { txid: 0, seq: 1 },
            Cursor { txid: (1 << 34) - 1, seq: (1 << 40) - 1 },
            Cursor { txid: 5_000_000, seq: 77 },
        ] {
            let id = cursor.id(Timestamp::from_millis(1_800_000_000_000));
            assert_eq!(Cursor::from(id), cursor);
            assert_eq!(id.uuid().get_version_num(), 7);
        }
    }
}
