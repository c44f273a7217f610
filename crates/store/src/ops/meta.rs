//! Facts about the store itself.

use crate::{Refusal, Tx};

const GET: &str = "select value from meta where key = $1";
const PUT: &str = "
    insert into meta (key, value)
    values ($1, $2)
    on conflict (key) do update set value = excluded.value";

/// What is noted under `key`.
pub async fn get(tx: &mut Tx, key: &str) -> Result<Option<String>, Refusal> {
    match tx.query_first(GET, &[key.into()]).await? {
        Some(mut row) => Ok(Some(row.get()?)),
        None => Ok(None),
    }
}

/// Notes `value` under `key`.
pub async fn put(tx: &mut Tx, key: &str, value: &str) -> Result<(), Refusal> {
    tx.execute(PUT, &[key.into(), value.into()]).await?;
    Ok(())
}
