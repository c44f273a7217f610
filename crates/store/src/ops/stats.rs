//! Counts over a company or the whole store, for the statistics route and `/metrics`.

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
    where $1 = '' or company_id = $1
    group by status
    order by status";
const RUNS: &str = "
    select status, count(*)
    from runs
    where $1 = '' or company_id = $1
    group by status
    order by status";
const OLDEST: &str = "
    select min(requested_at)
    from wakeups
    where status = 'pending'
      and ($1 = '' or company_id = $1)";

const AVOIDED: &str = "
    select cast(coalesce(sum(wakes_avoided), 0) as bigint)
    from schedules
    where $1 = '' or company_id = $1";

/// Counts of one company, or of all.
pub async fn count(tx: &mut Tx, company: Option<CompanyId>) -> Result<Stats, Refusal> {
    let scope = company.map(|id| id.to_string()).unwrap_or_default();
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
    select min(id), count(*)
    from wakeups
    where company_id = $1
      and status = 'pending'
    group by agent_id, task_id, eligible
    order by min(id)
    limit 10000";

/// For every lane with pending wakeups (due ones and others apart): how one of them stands, and how many there are.
pub async fn pending(tx: &mut Tx, company: CompanyId) -> Result<Vec<(Standing, i64)>, Refusal> {
    let mut lanes = Vec::new();
    for mut row in tx.query(PENDING_BY_LANE, &[company.into()]).await? {
        let (id, count): (WakeupId, i64) = (row.get()?, row.get()?);
        let wakeup = wakeups::get(tx, id).await?;
        lanes.push((standing::of(tx, &wakeup).await?, count));
    }
    Ok(lanes)
}
