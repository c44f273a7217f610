//! Secrets, sealed: this module sees no value, only what the engine's vault made of it.

use serde_json::json as object;
use wakeful_domain::id::CompanyId;
use wakeful_domain::secret::Secret;
use wakeful_domain::time::Timestamp;

use crate::ops::filter::Page;
use crate::{Error, Refusal, Row, Tx};

/// A value as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Nonce and ciphertext, Base64.
    pub text: String,
    /// Which master key sealed it.
    pub key_id: String,
}

const PUT: &str = "
    insert into secrets (company_id, name, sealed, key_id, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $5)
    on conflict (company_id, name) do update
    set sealed = excluded.sealed,
      key_id = excluded.key_id,
      updated_at = excluded.updated_at";

/// Keeps a secret; an earlier value of the name is gone.
pub async fn put(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    name: &str,
    sealed: &Sealed,
) -> Result<Secret, Refusal> {
    let parameters = [company.into(), name.into(), (&sealed.text).into(), (&sealed.key_id).into(), now.into()];
    tx.execute(PUT, &parameters).await?;
    find(tx, company, name).await?.ok_or_else(|| unknown(name))
}

const FIND: &str = "
    select company_id, name, created_at, updated_at
    from secrets
    where company_id = $1
      and name = $2";

/// Keeps a new secret; one of the same name is a conflict.
pub async fn insert(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    name: &str,
    sealed: &Sealed,
) -> Result<Secret, Refusal> {
    if find(tx, company, name).await?.is_some() {
        let told = format!("there is a secret `{name}` already: replace it with PUT …/secrets/{name}");
        return Err(Refusal::conflict("secret_exists", told, object!({ "name": name })));
    }
    put(tx, now, company, name, sealed).await
}

const COUNT: &str = "select count(*) from secrets where key_id <> $1";

/// How many secrets were sealed under another master key than this one.
pub async fn count_of_other_keys(tx: &mut Tx, key_id: &str) -> Result<i64, Refusal> {
    Ok(tx.query_one(COUNT, &[key_id.into()]).await?.get()?)
}

/// What is known of a secret without its value.
pub async fn find(tx: &mut Tx, company: CompanyId, name: &str) -> Result<Option<Secret>, Error> {
    tx.query_first(FIND, &[company.into(), name.into()]).await?.map(read).transpose()
}

fn read(mut row: Row) -> Result<Secret, Error> {
    Ok(Secret { company: row.get()?, name: row.get()?, created_at: row.get()?, updated_at: row.get()? })
}

const LIST: &str = "
    select company_id, name, created_at, updated_at
    from secrets
    where company_id = $1
      and name > $2
    order by name
    limit $3";

/// A page of a company's secrets, by name.
pub async fn list(tx: &mut Tx, company: CompanyId, after: &str, limit: i64) -> Result<Page<Secret>, Refusal> {
    let rows = tx.query(LIST, &[company.into(), after.into(), (limit + 1).into()]).await?;
    let mut items = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let has_more = items.len() as i64 > limit;
    items.truncate(usize::try_from(limit).unwrap_or(0));
    let next_cursor = items.last().filter(|_| has_more).map(|secret| secret.name.clone());
    Ok(Page { items, next_cursor })
}

const REMOVE: &str = "delete from secrets where company_id = $1 and name = $2";

/// Removes a secret. Agents that refer to it cannot be started until there is one of that name again.
pub async fn remove(tx: &mut Tx, company: CompanyId, name: &str) -> Result<(), Refusal> {
    match tx.execute(REMOVE, &[company.into(), name.into()]).await? {
        0 => Err(unknown(name)),
        _ => Ok(()),
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::NotFound { noun: "secret", key: name.to_owned() }
}

const SEALED: &str = "select sealed, key_id from secrets where company_id = $1 and name = $2";

/// The sealed value of a secret, if there is one of that name.
pub async fn sealed(tx: &mut Tx, company: CompanyId, name: &str) -> Result<Option<Sealed>, Refusal> {
    let Some(mut row) = tx.query_first(SEALED, &[company.into(), name.into()]).await? else { return Ok(None) };
    Ok(Some(Sealed { text: row.get()?, key_id: row.get()? }))
}
