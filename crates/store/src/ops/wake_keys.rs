//! Idempotency keys of wakes: the same key and body give the first wakeup, a different body is refused.

use std::time::Duration;

use wakeful_domain::id::{CompanyId, WakeupId};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, Wakeup};

use crate::ops::request_keys::{self, RequestKey};
use crate::ops::wake::Wake;
use crate::ops::wakeups;
use crate::{Refusal, Tx};

const BY_KEY: &str = "
    select id, request_hash, finished_at
    from wakeups
    where company_id = $1
      and idempotency_key = $2";
const FORGET_KEY: &str = "update wakeups set idempotency_key = null where id = $1";

/// A key is kept this long after its wakeup has its fate.
const KEY_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// The first wakeup under the same key. A different request under it is refused.
pub(crate) async fn earlier(tx: &mut Tx, company: CompanyId, wake: &Wake) -> Result<Option<Wakeup>, Refusal> {
    let Some(key) = &wake.idempotency_key else { return Ok(None) };
    if let Some(counted) = counted_under_key(tx, company, wake).await? {
        return Ok(Some(counted));
    }
    let Some(mut row) = tx.query_first(BY_KEY, &[company.into(), key.into()]).await? else { return Ok(None) };
    let id: WakeupId = row.get()?;
    let hash: Option<String> = row.get()?;
    let finished_at: Option<Timestamp> = row.get()?;
    if finished_at.is_some_and(|at| at + KEY_KEPT <= wake.now) {
        tx.execute(FORGET_KEY, &[id.into()]).await?;
        return Ok(None);
    }
    if hash != wake.request_hash {
        return Err(Refusal::invalid(
            "idempotency_key",
            format!("`{key}` was used for another request ({id}): use a new key, or send the same body"),
        ));
    }
    Ok(Some(wakeups::get(tx, id).await?))
}

/// The key of a timer that was counted on another wakeup: it has no row of its own to keep it.
fn key_of_counted(wake: &Wake) -> Option<RequestKey> {
    let (key, hash) = (wake.idempotency_key.as_ref()?, wake.request_hash.as_ref()?);
    (wake.source == Source::Timer).then(|| RequestKey { key: format!("timer:{key}"), request_hash: hash.clone() })
}

/// Keeps the key of a timer that was counted on an earlier wakeup.
pub(crate) async fn keep_counted(tx: &mut Tx, wake: &Wake, counted_on: &Wakeup) -> Result<(), Refusal> {
    match key_of_counted(wake) {
        Some(key) => request_keys::keep(tx, wake.now, Some(counted_on.company), &key, &counted_on.id.to_string()).await,
        None => Ok(()),
    }
}

async fn counted_under_key(tx: &mut Tx, company: CompanyId, wake: &Wake) -> Result<Option<Wakeup>, Refusal> {
    let Some(key) = key_of_counted(wake) else { return Ok(None) };
    match request_keys::find(tx, Some(company), &key).await? {
        Some(id) => Ok(Some(wakeups::get(tx, id.parse().unwrap_or(wake.id)).await?)),
        None => Ok(None),
    }
}
