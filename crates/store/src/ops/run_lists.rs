//! Lists of runs: by what they are, what started them, when, and what they have said. Every one walks an index from the
//! newest; a search for text looks at so many of the newest and no more.

use wakeful_domain::id::{AgentId, CompanyId, kind};
use wakeful_domain::run::{Run, RunStatus};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::Source;

use crate::ops::filter::{List, Page};
use crate::ops::runs::{COLUMNS, read};
use crate::{Refusal, Tx, dialect};

/// A text is searched for in so many of a company's newest runs: some tens of milliseconds.
pub const SEARCHED_MAX: i64 = 10_000;

/// Which statuses a list is narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    One(RunStatus),
    Live,
    Ended,
}

/// What a list of runs is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub company: Option<CompanyId>,
    pub status: Option<StatusFilter>,
    pub agent: Option<AgentId>,
    pub task: Option<String>,
    /// Of the wakeup that leads the batch.
    pub source: Option<Source>,
    /// By `created_at`: from `since` on, and before `until`.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// What the summary, the error or its code holds, in either case.
    pub text: Option<String>,
}

const NEWEST: &str = "
    select count(*), min(id)
    from (
      select id
      from runs
      where company_id = $1
      order by id desc
      limit $2) as newest";

/// From the index of live runs, which are few: by the company there are many.
const LIVE: &str = "id in (select live.id from runs as live where live.status in ('starting', 'running'))";

/// How many runs of a company a text is searched for in, and the oldest of them.
pub async fn searched(tx: &mut Tx, company: CompanyId) -> Result<(i64, Option<String>), Refusal> {
    let mut row = tx.query_one(NEWEST, &[company.into(), SEARCHED_MAX.into()]).await?;
    Ok((row.get()?, row.get()?))
}

/// A page of runs.
pub async fn list(tx: &mut Tx, filter: &RunFilter, cursor: Option<String>, limit: i64) -> Result<Page<Run>, Refusal> {
    let mut list = List::of(COLUMNS, "runs")
        .and_if("company_id = $", filter.company)
        .and_if("agent_id = $", filter.agent)
        .and_if("task_id = $", filter.task.clone())
        .and_if("lead_source = $", filter.source.map(Source::as_str))
        .in_time::<kind::Run>("created_at", filter.since, filter.until);
    list = match filter.status {
        Some(StatusFilter::One(status)) => list.of_status(status.as_str()).and_when(LIVE, status.is_live()),
        Some(StatusFilter::Live) => list.and_when(LIVE, true),
        Some(StatusFilter::Ended) => list.and_when("finished_at is not null", true),
        None => list,
    };
    if let (Some(text), Some(company)) = (&filter.text, filter.company) {
        let (_, oldest) = searched(tx, company).await?;
        let sought =
            "(summary {ilike} $ escape '\\' or error {ilike} $ escape '\\' or error_code {ilike} $ escape '\\')";
        list = list.and_if("id >= $", oldest).and(sought, dialect::containing(text));
    }
    Ok(list.page(tx, cursor, limit, read, |run| run.id.to_string()).await?)
}
