//! Counts over a company or the whole store, for the statistics route and `/metrics`.

use wakeful_domain::id::CompanyId;
use wakeful_domain::time::Timestamp;

use crate::{Refusal, Tx};

/// How many there are of what.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    pub wakeups: Vec<(String, i64)>,
    pub runs: Vec<(String, i64)>,
    pub oldest_pending_at: Option<Timestamp>,
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
    stats.oldest_pending_at = tx.query_one(OLDEST, &[(&scope).into()]).await?.get()?;
    Ok(stats)
}
