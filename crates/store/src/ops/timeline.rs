//! What was going on in a company from one time to another, in few columns: runs, what woke them, and slots of which nothing
//! came. Each part is bounded, and read from an index of its own.

use wakeful_domain::id::{AgentId, CompanyId, RunId, ScheduleId, TaskId, WakeupId, kind};
use wakeful_domain::run::RunStatus;
use wakeful_domain::schedule::SlotStatus;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, WakeupStatus};

use crate::ops::filter::List;
use crate::{Error, Refusal, Row, Tx};

/// Runs, wakeups, and slots in one answer: more cannot be told apart on any screen.
pub const EACH_MAX: i64 = 2_000;

/// A run that was live at some time of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSpan {
    pub id: RunId,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub status: RunStatus,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// A wakeup that was requested in the window, or waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeMark {
    pub id: WakeupId,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub source: Source,
    pub status: WakeupStatus,
    pub requested_at: Timestamp,
    pub due_at: Timestamp,
    pub run: Option<RunId>,
    /// When its run was claimed.
    pub claimed_at: Option<Timestamp>,
}

/// A slot in the window of which nothing came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedSlot {
    pub schedule: ScheduleId,
    pub name: String,
    pub slot_at: Timestamp,
    pub status: SlotStatus,
    pub reason: Option<String>,
}

/// All of it, each newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    pub runs: Vec<RunSpan>,
    pub wakeups: Vec<WakeMark>,
    pub missed: Vec<MissedSlot>,
    /// There was more of something.
    pub is_truncated: bool,
}

/// The timeline of a company from one time to another, both included.
pub async fn of(tx: &mut Tx, company: CompanyId, from: Timestamp, to: Timestamp) -> Result<Timeline, Refusal> {
    let mut timeline = Timeline {
        runs: runs(tx, company, from, to).await?,
        wakeups: wakeups(tx, company, from, to).await?,
        missed: missed(tx, company, from, to).await?,
        is_truncated: false,
    };
    let most = usize::try_from(EACH_MAX).unwrap_or(usize::MAX);
    let Timeline { runs, wakeups, missed, .. } = &timeline;
    timeline.is_truncated = runs.len() > most || wakeups.len() > most || missed.len() > most;
    timeline.runs.truncate(most);
    timeline.wakeups.truncate(most);
    timeline.missed.truncate(most);
    Ok(timeline)
}

const LIVE: &str = "
    select id, agent_id, task_id, status, created_at, started_at, finished_at
    from runs
    where company_id = $1
      and id in (
        select live.id
        from runs as live
        where live.status in ('starting', 'running'))
      and created_at <= $2
    order by id desc
    limit $3";
const ENDED: &str = "
    select id, agent_id, task_id, status, created_at, started_at, finished_at
    from runs
    where company_id = $1
      and finished_at >= $2
      and created_at <= $3
    order by finished_at desc
    limit $4";

async fn runs(tx: &mut Tx, company: CompanyId, from: Timestamp, to: Timestamp) -> Result<Vec<RunSpan>, Error> {
    let most = EACH_MAX + 1;
    let mut rows = tx.query(LIVE, &[company.into(), to.into(), most.into()]).await?;
    rows.extend(tx.query(ENDED, &[company.into(), from.into(), to.into(), most.into()]).await?);
    let mut spans = rows.into_iter().map(span).collect::<Result<Vec<_>, Error>>()?;
    spans.sort_by_key(|span| std::cmp::Reverse(span.id));
    Ok(spans)
}

fn span(mut row: Row) -> Result<RunSpan, Error> {
    Ok(RunSpan {
        id: row.get()?,
        agent: row.get()?,
        task: row.task()?,
        status: row.name()?,
        created_at: row.get()?,
        started_at: row.get()?,
        finished_at: row.get()?,
    })
}

const MARK: &str = "id, agent_id, task_id, source, status, requested_at, due_at, run_id, \
    (select runs.created_at from runs where runs.id = wakeups.run_id)";
/// Of what waits so much is looked at: with more of it a line for each means nothing.
const PENDING_SEEN_MAX: i64 = 10_000;
/// From the index of what waits, to which agents and any task lead.
const PENDING: &str = "
    select id, agent_id, task_id, source, status, requested_at, due_at, run_id, cast(null as bigint)
    from (
      select id, agent_id, task_id, source, status, requested_at, due_at, run_id
      from wakeups
      where agent_id in (
        select id
        from agents
        where company_id = $1)
        and task_id >= ''
        and status = 'pending'
      limit $2) as waiting
    where requested_at < $3
    limit $4";

async fn wakeups(tx: &mut Tx, company: CompanyId, from: Timestamp, to: Timestamp) -> Result<Vec<WakeMark>, Error> {
    let end = Timestamp::from_micros(to.as_micros().saturating_add(1));
    let requested = List::of(MARK, "wakeups").and("company_id = $", company).in_time::<kind::Wakeup>(
        "requested_at",
        Some(from),
        Some(end),
    );
    let mut marks = requested.page(tx, None, EACH_MAX + 1, mark, |mark| mark.id.to_string()).await?.items;
    let room = (EACH_MAX + 1).saturating_sub(i64::try_from(marks.len()).unwrap_or(EACH_MAX));
    let parameters = [company.into(), PENDING_SEEN_MAX.into(), from.into(), room.into()];
    for row in tx.query(PENDING, &parameters).await? {
        marks.push(mark(row)?);
    }
    Ok(marks)
}

fn mark(mut row: Row) -> Result<WakeMark, Error> {
    Ok(WakeMark {
        id: row.get()?,
        agent: row.get()?,
        task: row.task()?,
        source: row.name()?,
        status: row.name()?,
        requested_at: row.get()?,
        due_at: row.get()?,
        run: row.get()?,
        claimed_at: row.get()?,
    })
}

const MISSED: &str = "
    select schedules.id, schedules.name, slots.slot_at, slots.status, slots.reason
    from schedules
    join slots on slots.schedule_id = schedules.id
    where schedules.company_id = $1
      and slots.slot_at >= $2
      and slots.slot_at <= $3
      and slots.status in ('missed', 'skipped', 'failed')
    order by slots.slot_at desc, schedules.id
    limit $4";

async fn missed(tx: &mut Tx, company: CompanyId, from: Timestamp, to: Timestamp) -> Result<Vec<MissedSlot>, Error> {
    let parameters = [company.into(), from.into(), to.into(), (EACH_MAX + 1).into()];
    let rows = tx.query(MISSED, &parameters).await?.into_iter();
    rows.map(|mut row| {
        Ok(MissedSlot {
            schedule: row.get()?,
            name: row.get()?,
            slot_at: row.get()?,
            status: row.name()?,
            reason: row.get()?,
        })
    })
    .collect()
}
