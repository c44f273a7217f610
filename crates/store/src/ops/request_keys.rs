//! `Idempotency-Key` of requests that make something other than a wakeup: the same key and
//! body give the thing that was made first.

use wakeful_domain::id::{CompanyId, Id, Kind};
use wakeful_domain::time::Timestamp;

use crate::{Refusal, Tx};

/// A key and what the request under it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    pub key: String,
    pub request_hash: String,
}

const FIND: &str = "
    select request_hash, resource_id
    from request_keys
    where company_id = $1
      and key = $2";

/// The id of what was made under the key. A different request under it is refused.
pub async fn find(tx: &mut Tx, company: Option<CompanyId>, key: &RequestKey) -> Result<Option<String>, Refusal> {
    let scope = company.map(|id| id.to_string()).unwrap_or_default();
    let Some(mut row) = tx.query_first(FIND, &[scope.into(), (&key.key).into()]).await? else { return Ok(None) };
    let hash: String = row.get()?;
    if hash != key.request_hash {
        return Err(Refusal::invalid(
            "Idempotency-Key",
            format!("`{}` was used for another request: use a new key, or send the same body", key.key),
        ));
    }
    Ok(Some(row.get()?))
}

/// The id of what was made under the key before. If nothing was, notes that `id` is what is made under it now.
pub async fn made_before<K: Kind>(
    tx: &mut Tx,
    now: Timestamp,
    company: Option<CompanyId>,
    key: Option<&RequestKey>,
    id: Id<K>,
) -> Result<Option<Id<K>>, Refusal> {
    let Some(key) = key else { return Ok(None) };
    match find(tx, company, key).await? {
        Some(earlier) => Ok(Some(earlier.parse().unwrap_or(id))),
        None => keep(tx, now, company, key, &id.to_string()).await.map(|()| None),
    }
}

const KEEP: &str = "
    insert into request_keys (company_id, key, request_hash, resource_id, created_at)
    values ($1, $2, $3, $4, $5)";

/// Notes what was made under the key.
pub async fn keep(
    tx: &mut Tx,
    now: Timestamp,
    company: Option<CompanyId>,
    key: &RequestKey,
    resource: &str,
) -> Result<(), Refusal> {
    let scope = company.map(|id| id.to_string()).unwrap_or_default();
    let parameters = [scope.into(), (&key.key).into(), (&key.request_hash).into(), resource.into(), now.into()];
    tx.execute(KEEP, &parameters).await?;
    Ok(())
}
