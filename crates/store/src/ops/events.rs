//! The company's event stream: appended in the transaction of what it tells, read by cursor.
//! A reader with a cursor never misses a row because a lower number committed later.

use std::fmt;
use std::str::FromStr;

use serde_json::Value as Json;
use wakeful_domain::id::CompanyId;
use wakeful_domain::time::Timestamp;

use crate::value::json;
use crate::{Error, Refusal, Row, Tx};

/// A place in the stream. Opaque to clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    txid: i64,
    seq: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.txid, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is not a cursor of this stream: use the `id` of an event as it was given");
        let (txid, seq) = text.split_once('-').ok_or_else(refused)?;
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|number| *number >= 0).ok_or_else(refused);
        Ok(Cursor { txid: number(txid)?, seq: number(seq)? })
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub cursor: Cursor,
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

const AFTER: &str = "
    select txid, seq, company_id, at, type, subject, data
    from events
    where company_id = $1
      and (txid > $2 or (txid = $2 and seq > $3))
      and {committed}
    order by txid, seq
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
    order by txid, seq
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
    Ok(Event {
        cursor: Cursor { txid: row.get()?, seq: row.get()? },
        company: row.get()?,
        at: row.get()?,
        kind: row.get()?,
        subject: row.get()?,
        data: row.json()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form_and_a_wrong_one_is_refused() {
        let cursor = Cursor { txid: 3, seq: 41 };
        assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        for text in ["", "5", "a-b", "-1-2", "1-2-3"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
