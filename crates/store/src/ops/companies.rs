//! Companies: made, read, changed, paused.

use serde_json::json as object;
use wakeful_domain::company::{Company, CompanyState};
use wakeful_domain::id::CompanyId;
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::ops::{events, quiet_hours, ready, schedules};
use crate::value::name;
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str = "id, slug, name, time_zone, max_concurrent_runs, max_runs_per_root_hour, state, state_reason, live_runs, created_at, updated_at";

fn read(mut row: Row) -> Result<Company, Error> {
    Ok(Company {
        id: row.get()?,
        slug: row.get()?,
        name: row.get()?,
        time_zone: row.get()?,
        max_concurrent_runs: row.get()?,
        max_runs_per_root_hour: row.get()?,
        state: row.name()?,
        state_reason: row.get()?,
        live_runs: row.get()?,
        created_at: row.get()?,
        updated_at: row.get()?,
    })
}

const INSERT: &str = "
    insert into companies (id, slug, name, time_zone, max_concurrent_runs, state, created_at, updated_at,
      max_runs_per_root_hour)
    values ($1, $2, $3, $4, $5, $6, $7, $7, $8)";

/// Makes a company.
pub async fn insert(tx: &mut Tx, company: &Company) -> Result<(), Refusal> {
    if by_key(tx, &company.slug).await?.is_some() {
        return Err(Refusal::conflict(
            "slug_taken",
            format!("there is a company `{}` already: choose another slug", company.slug),
            object!({ "slug": company.slug }),
        ));
    }
    let parameters = [
        company.id.into(),
        (&company.slug).into(),
        (&company.name).into(),
        (&company.time_zone).into(),
        company.max_concurrent_runs.into(),
        name(&company.state),
        company.created_at.into(),
        company.max_runs_per_root_hour.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    Ok(())
}

/// The company with this id or slug.
pub async fn by_key(tx: &mut Tx, key: &str) -> Result<Option<Company>, Error> {
    let sql = format!("select {COLUMNS} from companies where id = $1 or slug = $1");
    tx.query_first(&sql, &[key.into()]).await?.map(read).transpose()
}

/// The company with this id.
pub async fn get(tx: &mut Tx, id: CompanyId) -> Result<Company, Refusal> {
    let found = by_key(tx, &id.to_string()).await?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// A page of companies, or of the one that `only` names.
pub async fn list(
    tx: &mut Tx,
    only: Option<CompanyId>,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Company>, Refusal> {
    let list = List::of(COLUMNS, "companies").and_if("id = $", only);
    Ok(list.page(tx, cursor, limit, read, |company| company.id.to_string()).await?)
}

/// Changes to a company; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct CompanyChange {
    pub name: Option<String>,
    pub max_concurrent_runs: Option<i64>,
    pub max_runs_per_root_hour: Option<i64>,
    pub time_zone: Option<String>,
}

const UPDATE: &str = "
    update companies
    set name = $2,
      max_concurrent_runs = $3,
      time_zone = $4,
      max_runs_per_root_hour = $5,
      updated_at = $6
    where id = $1";

const LOCK: &str = "select id from companies where id = $1 {for_update}";

/// Changes a company.
pub async fn change(tx: &mut Tx, now: Timestamp, id: CompanyId, change: &CompanyChange) -> Result<Company, Refusal> {
    if change.time_zone.is_some() {
        quiet_hours::lock_waiting(tx, id).await?;
    }
    let rezoned = match change.time_zone.is_some() {
        true => schedules::lock_of_company(tx, id).await?,
        false => Vec::new(),
    };
    tx.lock(LOCK, &[id.into()]).await?;
    let company = get(tx, id).await?;
    let parameters = [
        id.into(),
        change.name.as_ref().unwrap_or(&company.name).into(),
        change.max_concurrent_runs.unwrap_or(company.max_concurrent_runs).into(),
        change.time_zone.as_ref().unwrap_or(&company.time_zone).into(),
        change.max_runs_per_root_hour.unwrap_or(company.max_runs_per_root_hour).into(),
        now.into(),
    ];
    tx.execute(UPDATE, &parameters).await?;
    if change.time_zone.is_some() {
        // What waits for the hours of the old zone is looked at again.
        for agent in quiet_hours::waiting(tx, id).await? {
            quiet_hours::look_again(tx, now, id, agent).await?;
        }
        schedules::look_again(tx, now, &rezoned).await?;
    }
    ready::refresh_company(tx, id).await?;
    get(tx, id).await
}

const SET_STATE: &str = "
    update companies
    set state = $2,
      state_reason = $3,
      updated_at = $4
    where id = $1";

/// Pauses or resumes a company.
pub async fn set_state(
    tx: &mut Tx,
    now: Timestamp,
    id: CompanyId,
    state: CompanyState,
    reason: Option<&str>,
) -> Result<Company, Refusal> {
    get(tx, id).await?;
    tx.execute(SET_STATE, &[id.into(), name(&state), reason.into(), now.into()]).await?;
    ready::refresh_company(tx, id).await?;
    events::append(tx, id, now, "company.status", &id.to_string(), &object!({ "state": state, "reason": reason }))
        .await?;
    get(tx, id).await
}
