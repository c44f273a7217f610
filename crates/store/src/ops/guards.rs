//! Guards against loops: runs counted by the root of their chain of causes, and the circuit of a lane whose runs
//! fail in a row. What they stop waits or is skipped with a reason, and a person is told once.

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::escalation::{EscalationKind, Severity};
use wakeful_domain::id::{AgentId, CompanyId, EscalationId, RunId, TaskId, WakeupId};
use wakeful_domain::lane::{CIRCUIT_FAILURES, after_failure};
use wakeful_domain::run::Run;
use wakeful_domain::time::Timestamp;

use crate::ops::escalations::{self, Raise};
use crate::ops::{events, ready};
use crate::value::{json, task_key};
use crate::{Error, Refusal, Tx};

use std::time::Duration;

/// A chain of causes longer than this is a loop.
pub(crate) const DEPTH_MAX: i64 = 32;
/// Over which runs of one root are counted.
const HOUR: Duration = Duration::from_secs(3_600);

const COUNT_ROOT: &str = "
    select count(*), (select max_runs_per_root_hour from companies where id = $3)
    from root_runs
    where root_id = $1
      and at > $2";

/// What is wrong with one more wake of this chain, in words; `None` if it is no loop.
pub(crate) async fn loop_of(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    root: WakeupId,
    depth: i64,
) -> Result<Option<String>, Error> {
    if depth == 0 {
        return Ok(None);
    }
    if depth > DEPTH_MAX {
        return Ok(Some(format!("its chain of causes is longer than {DEPTH_MAX}")));
    }
    let since = now - HOUR;
    let mut row = tx.query_one(COUNT_ROOT, &[root.into(), since.into(), company.into()]).await?;
    let (count, max): (i64, i64) = (row.get()?, row.get()?);
    Ok((count >= max).then(|| format!("{count} runs came from one root within an hour (max_runs_per_root_hour)")))
}

/// Tells the operator once that a chain was cut.
pub(crate) async fn raise_loop(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    wakeup: WakeupId,
    root: WakeupId,
    why: &str,
) -> Result<(), Refusal> {
    let raise = Raise {
        id: EscalationId::from_uuid(wakeup.uuid()),
        now,
        company,
        kind: EscalationKind::LoopLimit,
        severity: Severity::High,
        key: format!("loop_limit:{root}"),
        subject: root.to_string(),
        title: "agents wake each other without end".into(),
        detail: format!("further wakeups of root {root} are skipped: {why}; the first of them is {wakeup}"),
        actor: Actor::system(),
    };
    escalations::raise(tx, &raise).await.map(|_| ())
}

const COUNT_RUN: &str = "
    insert into root_runs (root_id, run_id, at)
    select distinct root_id, run_id, cast($2 as bigint)
    from wakeups
    where run_id = $1
      and status = 'claimed'
      and depth > 0
    on conflict (root_id, run_id) do nothing";
const FORGET_OLD: &str = "
    delete from root_runs
    where run_id in (select run_id from root_runs where at <= $1 order by at limit $2)
      and at <= $1";

/// Counts a run for the roots of what it was started for.
pub(crate) async fn count_run(tx: &mut Tx, now: Timestamp, run: RunId) -> Result<(), Error> {
    tx.execute(COUNT_RUN, &[run.into(), now.into()]).await?;
    tx.execute(FORGET_OLD, &[(now - HOUR).into(), FORGOTTEN_MAX.into()]).await?;
    Ok(())
}

/// Runs that are forgotten when one is counted: more than one, so that nothing piles up.
const FORGOTTEN_MAX: i64 = 20;

const STREAK: &str = "
    select failed_at, circuit_opened_at
    from lanes
    where agent_id = $1
      and task_id = $2";
const NOTE_FAILURE: &str = "
    update lanes
    set failures = failures + 1,
      failed_at = $3,
      circuit_opened_at = $4
    where agent_id = $1
      and task_id = $2";
const NOTE_SUCCESS: &str = "
    update lanes
    set failures = 0,
      failed_at = '[]'
    where agent_id = $1
      and task_id = $2
      and failures > 0";

/// Notes a success: the streak of failures is over.
pub(crate) async fn note_success(tx: &mut Tx, run: &Run) -> Result<(), Error> {
    tx.execute(NOTE_SUCCESS, &[run.agent.into(), task_key(run.task)]).await?;
    Ok(())
}

/// Notes a failure; too many in a row open the lane's circuit. The caller brings the hot index up to date.
pub(crate) async fn note_failure(
    tx: &mut Tx,
    now: Timestamp,
    run: &Run,
    agent_name: &str,
    escalation: EscalationId,
) -> Result<(), Refusal> {
    let mut row = tx.query_one(STREAK, &[run.agent.into(), task_key(run.task)]).await?;
    let (failed_at, opened_at): (Vec<Timestamp>, Option<Timestamp>) = (row.json()?, row.get()?);
    let streak = after_failure(failed_at, now);
    let opens = opened_at.is_none() && streak.opens_circuit;
    let opened_at = opened_at.or(opens.then_some(now));
    let parameters = [run.agent.into(), task_key(run.task), json(&streak.failed_at), opened_at.into()];
    tx.execute(NOTE_FAILURE, &parameters).await?;
    if !opens {
        return Ok(());
    }
    let lane = match run.task {
        Some(task) => format!("on task {task}"),
        None => "outside any task".into(),
    };
    let raise = Raise {
        id: escalation,
        now,
        company: run.company,
        kind: EscalationKind::CircuitOpen,
        severity: Severity::High,
        key: circuit_key(run.agent, run.task),
        subject: run.agent.to_string(),
        title: format!("{agent_name} failed {CIRCUIT_FAILURES} times in a row {lane}"),
        detail: format!(
            "nothing more is started on this lane until `wakeful agent resume {agent_name}` or an explicit retry; the last run was {}: {}",
            run.id,
            run.error.as_deref().unwrap_or("see its log")
        ),
        actor: Actor::system(),
    };
    escalations::raise(tx, &raise).await.map(|_| ())
}

fn circuit_key(agent: AgentId, task: Option<TaskId>) -> String {
    format!("circuit_open:{agent}:{}", task.map(|task| task.to_string()).unwrap_or_default())
}

const OPEN_CIRCUITS: &str = "
    select task_id
    from lanes
    where agent_id = $1
      and circuit_opened_at is not null
    order by task_id";
const CLOSE_CIRCUIT: &str = "
    update lanes
    set circuit_opened_at = null,
      failures = 0,
      failed_at = '[]'
    where agent_id = $1
      and task_id = $2
      and circuit_opened_at is not null";

/// Closes every open circuit of an agent, whose row the caller has locked.
pub(crate) async fn close_circuits(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    agent: AgentId,
) -> Result<(), Refusal> {
    for mut row in tx.query(OPEN_CIRCUITS, &[agent.into()]).await? {
        close_circuit(tx, now, company, agent, row.task()?).await?;
    }
    Ok(())
}

/// Closes the circuit of one lane, if it is open. The caller has locked the agent.
pub(crate) async fn close_circuit(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    agent: AgentId,
    task: Option<TaskId>,
) -> Result<(), Refusal> {
    if tx.execute(CLOSE_CIRCUIT, &[agent.into(), task_key(task)]).await? == 0 {
        return Ok(());
    }
    escalations::resolve_key(tx, now, company, &circuit_key(agent, task), "resumed").await?;
    let data = object!({ "agent": agent, "task": task, "circuit": "closed" });
    events::append(tx, company, now, "agent.status", &agent.to_string(), &data).await?;
    ready::refresh(tx, company, agent, task).await?;
    Ok(())
}
