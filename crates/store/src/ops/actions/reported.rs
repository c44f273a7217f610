//! What an action has told people about, by its own keys, so that it is not told again.

use std::collections::BTreeMap;

use wakeful_domain::id::ScheduleId;
use wakeful_domain::time::Timestamp;

use crate::{Error, Tx};

const ALL: &str = "
    select key, at
    from reported
    where schedule_id = $1";

/// What has been told, and when it was last.
pub(super) async fn all(tx: &mut Tx, schedule: ScheduleId) -> Result<BTreeMap<String, Timestamp>, Error> {
    let mut found = BTreeMap::new();
    for mut row in tx.query(ALL, &[schedule.into()]).await? {
        found.insert(row.get()?, row.get()?);
    }
    Ok(found)
}

const KEEP: &str = "
    insert into reported (schedule_id, key, at)
    values ($1, $2, $3)
    on conflict (schedule_id, key) do update
    set at = excluded.at";

/// Notes that something is told now.
pub(super) async fn keep(tx: &mut Tx, now: Timestamp, schedule: ScheduleId, key: &str) -> Result<(), Error> {
    tx.execute(KEEP, &[schedule.into(), key.into(), now.into()]).await.map(|_| ())
}

const FORGET: &str = "
    delete from reported
    where schedule_id = $1
      and key = $2";

/// What is gone is new when it returns.
pub(super) async fn forget(tx: &mut Tx, schedule: ScheduleId, key: &str) -> Result<(), Error> {
    tx.execute(FORGET, &[schedule.into(), key.into()]).await.map(|_| ())
}
