//! Counts over a company, for the statistics route, and over the whole store, for `/metrics`.

use wakeful_domain::id::{CompanyId, WakeupId};
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::Standing;

use crate::ops::{standing, wakeups};
use crate::{Refusal, Tx};

/// How many there are of what.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    pub wakeups: Vec<(String, i64)>,
    pub runs: Vec<(String, i64)>,
    pub oldest_pending_at: Option<Timestamp>,
    /// Wakes of schedules that were not made because there was nothing to do.
    pub wakes_avoided: i64,
}

const WAKEUPS: &str = "
    select status, count(*)
    from wakeups
    where company_id = $1
    group by status
    order by status";
const RUNS: &str = "
    select status, count(*)
    from runs
    where company_id = $1
    group by status
    order by status";
const OLDEST: &str = "
    select min(requested_at)
    from wakeups
    where status = 'pending'
      and company_id = $1";

const AVOIDED: &str = "
    select cast(coalesce(sum(wakes_avoided), 0) as bigint)
    from schedules
    where $1 = '' or company_id = $1";

/// Counts of one company.
pub async fn count(tx: &mut Tx, company: CompanyId) -> Result<Stats, Refusal> {
    let scope = company.to_string();
    let mut stats = Stats::default();
    for mut row in tx.query(WAKEUPS, &[(&scope).into()]).await? {
        stats.wakeups.push((row.get()?, row.get()?));
    }
    for mut row in tx.query(RUNS, &[(&scope).into()]).await? {
        stats.runs.push((row.get()?, row.get()?));
    }
    stats.wakes_avoided = tx.query_one(AVOIDED, &[(&scope).into()]).await?.get()?;
    stats.oldest_pending_at = tx.query_one(OLDEST, &[(&scope).into()]).await?.get()?;
    Ok(stats)
}

const PENDING_BY_LANE: &str = "
    select min(id), count(*), min(requested_at)
    from wakeups
    where status = 'pending'
      and ($1 = '' or company_id = $1)
    group by agent_id, task_id, eligible
    order by min(id)
    limit 10000";

/// The pending wakeups of a lane, those that are due and others apart.
#[derive(Debug, Clone)]
pub struct Pending {
    /// How one of them stands.
    pub standing: Standing,
    pub count: i64,
    pub oldest_at: Timestamp,
}

/// Every lane with pending wakeups, of one company or of all.
pub async fn pending(tx: &mut Tx, company: Option<CompanyId>) -> Result<Vec<Pending>, Refusal> {
    let scope = company.map(|id| id.to_string()).unwrap_or_default();
    let mut lanes = Vec::new();
    for mut row in tx.query(PENDING_BY_LANE, &[(&scope).into()]).await? {
        let (id, count, oldest_at): (WakeupId, i64, Timestamp) = (row.get()?, row.get()?, row.get()?);
        let wakeup = wakeups::get(tx, id).await?;
        lanes.push(Pending { standing: standing::of(tx, &wakeup).await?, count, oldest_at });
    }
    Ok(lanes)
}

const CLAIMED: &str = "
    select count(*)
    from wakeups
    where status = 'claimed'";
const DEAD_LETTERS: &str = "
    select count(*)
    from wakeups
    where status = 'failed'";
const BYTES: &str = "
    select {store_bytes}";

/// What is cheap to ask of a store of any size: each comes from an index that holds no more than is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    pub claimed: i64,
    pub dead_letters: i64,
    /// Of the whole store.
    pub bytes: i64,
    /// Wakes of schedules that were not made because there was nothing to do.
    pub wakes_avoided: i64,
}

/// The gauges of the whole store.
pub async fn gauges(tx: &mut Tx) -> Result<Gauges, Refusal> {
    Ok(Gauges {
        claimed: tx.query_one(CLAIMED, &[]).await?.get()?,
        dead_letters: tx.query_one(DEAD_LETTERS, &[]).await?.get()?,
        bytes: tx.query_one(BYTES, &[]).await?.get()?,
        wakes_avoided: tx.query_one(AVOIDED, &["".into()]).await?.get()?,
    })
}
