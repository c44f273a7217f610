//! Sessions of the console that were ended before their time. Others are kept nowhere: a cookie says itself until when it is
//! good.

use wakeful_domain::time::Timestamp;

use crate::{Error, Refusal, Tx};

const FORGET: &str = "
    delete from ended_sessions
    where until <= $1";
const INSERT: &str = "
    insert into ended_sessions (id, until)
    values ($1, $2)
    on conflict (id) do nothing";

/// Ends a session that would be good until `until`, and forgets those that are good no more anyway.
pub async fn insert(tx: &mut Tx, now: Timestamp, id: &str, until: Timestamp) -> Result<(), Refusal> {
    tx.execute(FORGET, &[now.into()]).await?;
    tx.execute(INSERT, &[id.into(), until.into()]).await?;
    Ok(())
}

const FIND: &str = "
    select 1
    from ended_sessions
    where id = $1";

/// Whether a session was ended.
pub async fn has(tx: &mut Tx, id: &str) -> Result<bool, Error> {
    Ok(tx.query_first(FIND, &[id.into()]).await?.is_some())
}
