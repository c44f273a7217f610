//! The end of a run: one transaction over run, wakeups, session, usage, task, lane, counters,
//! hot index and events. There is no state in which a crash leaves half of it.

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{Agent, AgentState};
use wakeful_domain::escalation::{EscalationKind, Severity};
use wakeful_domain::failure::{FailureClass, remedy_for};
use wakeful_domain::id::{IdSource, RunId, TaskId};
use wakeful_domain::outcome::{End, Outcome, SessionChange};
use wakeful_domain::run::{LogSummary, Run, RunEvent};
use wakeful_domain::settle::{Claimed, Ending, Fate};
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, Wakeup, WakeupStatus, rank};

use crate::ops::escalations::Raise;
use crate::ops::run_events::NewRunEvent;
use crate::ops::{
    agents, assignments, children, escalations, events, guards, last_words, mail, ready, run_events, runs, sessions,
    spending, stuck, subscriptions, tasks, wakeups,
};
use crate::value::{json_option, task_key};
use crate::{Error, Refusal, Tx};

/// What is known when a run ends.
#[derive(Debug, Clone)]
pub struct FinishRequest {
    pub now: Timestamp,
    /// 0..1: the one draw of chance for back-off and spread.
    pub draw: f64,
    /// Ids of what follows come from it.
    pub id_seed: u64,
    pub run: RunId,
    pub fence: i64,
    pub outcome: Outcome,
    pub exit_code: Option<i64>,
    pub signal: Option<i64>,
    pub log: Option<LogSummary>,
}

/// Ends a run, once. A run that has ended already is a conflict `fenced`.
pub async fn finish(tx: &mut Tx, request: &FinishRequest) -> Result<Run, Refusal> {
    let run = runs::get(tx, request.run).await?;
    let held = ready::lock_run(tx, &run).await?;
    let agent = agents::get(tx, run.agent).await?;
    let run = runs::get_live(tx, request.run, request.fence).await?;
    let outcome = overruled(&run, &request.outcome);
    let ending = Ending {
        outcome: &outcome,
        stop: run.stop.as_ref(),
        policy: &agent.retry,
        now: request.now,
        draw: request.draw,
    };
    write_run(tx, &run, request, &outcome).await?;
    if let Some(until) = ending.quota_until() {
        agents::park_account(tx, &agent, until).await?;
    }
    let mut ids = IdSource::new(request.id_seed);
    let settled = settle_wakeups(tx, &run, &agent, request, &ending, &mut ids).await?;
    mail::after_run(tx, request.now, &run, outcome.end == End::Succeeded).await?;
    let session = sessions::SessionEnd {
        agent: run.agent,
        adapter: &run.adapter,
        task: run.task,
        run: run.id,
        change: &outcome.session,
        start: run.session_choice.as_ref().map(|choice| choice.choice),
        succeeded: outcome.end == End::Succeeded,
        error: outcome.error.as_deref(),
        tokens: outcome.usage.unwrap_or(run.usage).total(),
        now: request.now,
    };
    sessions::end_run(tx, &session).await?;
    let ended = runs::get(tx, run.id).await?;
    guard(tx, &ended, &agent, &ending, &mut ids).await?;
    release(tx, &run, &held, &ending).await?;
    children::after_run(tx, request.now, &mut ids, &ended, settled.goes_on).await?;
    if settled.is_given_up {
        stuck::after_dead_letter(tx, request.now, &mut ids, &ended).await?;
    }
    spending::ended(tx, request.now, &run, &ended).await?;
    last_words::tell(tx, request.now, &mut ids, &ended, &agent.name).await?;
    tell(tx, &ended, request.now).await?;
    subscriptions::happening::run_ended(tx, request.now, &ended).await?;
    Ok(ended)
}

/// A stop request beats whatever the agent said at last, but that it has succeeded although its budget is spent; what it
/// used is counted all the same.
fn overruled(run: &Run, outcome: &Outcome) -> Outcome {
    match &run.stop {
        Some(stop) if stop.spent && outcome.end == End::Succeeded => outcome.clone(),
        Some(stop) if stop.stalled => Outcome {
            end: End::Failed,
            error_code: Some("stalled".into()),
            error: Some(stop.reason.clone()),
            ..outcome.clone()
        },
        Some(stop) if outcome.end != End::Cancelled => Outcome {
            end: End::Cancelled,
            error_code: Some(if stop.puts_back { "paused" } else { "cancelled" }.into()),
            error: Some(stop.reason.clone()),
            ..outcome.clone()
        },
        Some(_) | None => outcome.clone(),
    }
}

const WRITE: &str = "
    update runs
    set status = $3,
      error_code = $4,
      error = $5,
      exit_code = $6,
      signal = $7,
      session_after = $8,
      input_tokens = $9,
      output_tokens = $10,
      cache_read_tokens = $11,
      cache_write_tokens = $12,
      cost_micros = $13,
      model = $14,
      provider = $15,
      billing = $16,
      summary = $17,
      result = $18,
      log_bytes = $19,
      log_lines = $20,
      log_sha256 = $21,
      log_truncated = $22,
      finished_at = $23
    where id = $1
      and fence = $2
      and status in ('starting', 'running')";

async fn write_run(tx: &mut Tx, run: &Run, request: &FinishRequest, outcome: &Outcome) -> Result<(), Refusal> {
    let status = run.status.after(RunEvent::Ended(outcome.end)).unwrap_or(run.status);
    let usage = outcome.usage.unwrap_or(run.usage);
    let log = request.log.as_ref().unwrap_or(&run.log);
    let session_after = match &outcome.session {
        SessionChange::Keep => run.session_before.clone(),
        SessionChange::Clear => None,
        SessionChange::Set(session) => Some(session.display_id.clone()),
    };
    let parameters = [
        run.id.into(),
        request.fence.into(),
        status.as_str().into(),
        (&outcome.error_code).into(),
        (&outcome.error).into(),
        request.exit_code.into(),
        request.signal.into(),
        session_after.into(),
        usage.input_tokens.into(),
        usage.output_tokens.into(),
        usage.cache_read_tokens.into(),
        usage.cache_write_tokens.into(),
        outcome.cost_micros.or(run.cost_micros).into(),
        (&outcome.model).into(),
        (&outcome.provider).into(),
        (&outcome.billing).into(),
        (&outcome.summary).into(),
        json_option(outcome.result.as_ref()),
        log.bytes.into(),
        log.lines.into(),
        (&log.sha256).into(),
        log.truncated.into(),
        request.now.into(),
    ];
    tx.execute(WRITE, &parameters).await?;
    Ok(())
}

const COMPLETE: &str = "
    update wakeups
    set status = 'completed',
      status_reason = null,
      error_code = null,
      error = null,
      finished_at = $2
    where run_id = $1
      and status = 'claimed'";
const TELL_COMPLETED: &str = "
    insert into events (company_id, at, type, subject, data)
    select company_id, $2, 'wakeup.completed', id, $3
    from wakeups
    where run_id = $1
      and status = 'claimed'
    order by requested_at, id";

/// What became of a run's wakeups, taken together.
#[derive(Debug, Default)]
struct Settled {
    /// Some of them are tried again, by whoever has the task.
    goes_on: bool,
    /// Some of them are dead letters.
    is_given_up: bool,
}

async fn settle_wakeups(
    tx: &mut Tx,
    run: &Run,
    agent: &Agent,
    request: &FinishRequest,
    ending: &Ending<'_>,
    ids: &mut IdSource,
) -> Result<Settled, Refusal> {
    let mut settled = Settled::default();
    if ending.outcome.end == End::Succeeded {
        let data = object!({ "run": run.id, "agent": run.agent }).to_string();
        tx.execute(TELL_COMPLETED, &[run.id.into(), request.now.into(), data.into()]).await?;
        tx.execute(COMPLETE, &[run.id.into(), request.now.into()]).await?;
        return Ok(settled);
    }
    let task = match run.task {
        Some(task) => tasks::find(tx, task).await?,
        None => None,
    };
    let reassigned = match &task {
        Some(task) if assignments::is_reassigned(tx, run.id).await? => Some(task),
        Some(_) | None => None,
    };
    let is_closed = task.as_ref().is_some_and(|task| task.status.is_closed());
    for wakeup in wakeups::of_run(tx, run.id).await? {
        if wakeup.status != WakeupStatus::Claimed || wakeup.run != Some(run.id) {
            continue;
        }
        let fate = ending.fate(Claimed {
            attempt: wakeup.attempt,
            max_attempts: wakeup.max_attempts,
            expires_at: wakeup.expires_at,
        });
        let is_handed_on = assignments::is_handed_on(wakeup.source);
        let is_read = wakeup.source == Source::Message && mail::is_read_outside(tx, wakeup.id).await?;
        match (reassigned, fate) {
            (Some(task), Fate::Pending { .. }) => {
                hand_on(tx, run, &wakeup, task, ending, ids).await?;
                settled.goes_on |= task.assignee.is_some();
            }
            (Some(task), Fate::Failed) if is_handed_on && task.assignee.is_some() => {
                hand_on(tx, run, &wakeup, task, ending, ids).await?;
                settled.goes_on = true;
            }
            // Nothing would ever take it up again.
            (None, Fate::Pending { .. }) if agent.state == AgentState::Terminated => {
                settle_wakeup(tx, run, &wakeup, Fate::Cancelled, ending).await?;
            }
            (None, Fate::Pending { .. }) if is_closed && assignments::ends_with_task(wakeup.source) => {
                call_off(tx, run, &wakeup, "task_closed", ending).await?;
            }
            (None, Fate::Pending { .. }) if is_read => call_off(tx, run, &wakeup, "acknowledged", ending).await?,
            (_, fate) => {
                settle_wakeup(tx, run, &wakeup, fate, ending).await?;
                settled.goes_on |= matches!(fate, Fate::Pending { .. });
                settled.is_given_up |= matches!(fate, Fate::Failed);
            }
        }
    }
    Ok(settled)
}

const END_WAKEUP: &str = "
    update wakeups
    set status = $2,
      status_reason = $3,
      error_code = $4,
      error = $5,
      finished_at = $6
    where id = $1
      and status = 'claimed'";
const PUT_BACK: &str = "
    update wakeups
    set status = 'pending',
      status_reason = $2,
      error_code = $3,
      error = $4,
      attempt = attempt - $5,
      due_at = $6,
      eligible_at = $6,
      rank = $7,
      eligible = $8,
      run_id = null,
      lead = 0
    where id = $1
      and status = 'claimed'";

async fn settle_wakeup(
    tx: &mut Tx,
    run: &Run,
    wakeup: &Wakeup,
    fate: Fate,
    ending: &Ending<'_>,
) -> Result<(), Refusal> {
    let (code, error) = (&ending.outcome.error_code, &ending.outcome.error);
    let subject = wakeup.id.to_string();
    let end = |status: WakeupStatus, reason: &'static str| {
        [wakeup.id.into(), status.as_str().into(), reason.into(), code.into(), error.into(), ending.now.into()]
    };
    let mut data = object!({ "run": run.id, "agent": run.agent, "error_code": code, "attempt": wakeup.attempt });
    let kind = match fate {
        Fate::Completed => {
            tx.execute(END_WAKEUP, &end(WakeupStatus::Completed, "completed")).await?;
            "wakeup.completed"
        }
        Fate::Cancelled => {
            tx.execute(END_WAKEUP, &end(WakeupStatus::Cancelled, "run_cancelled")).await?;
            "wakeup.cancelled"
        }
        Fate::Failed => {
            tx.execute(END_WAKEUP, &end(WakeupStatus::Failed, "dead_letter")).await?;
            "wakeup.failed"
        }
        Fate::Pending { due_at, counted } => {
            let parameters = [
                wakeup.id.into(),
                code.as_deref().unwrap_or("put_back").into(),
                code.into(),
                error.into(),
                i64::from(!counted).into(),
                due_at.into(),
                rank(due_at, wakeup.priority).into(),
                (due_at <= ending.now).into(),
            ];
            tx.execute(PUT_BACK, &parameters).await?;
            data["due_at"] = object!(due_at);
            data["counted"] = object!(counted);
            "wakeup.retry_scheduled"
        }
    };
    events::append(tx, run.company, ending.now, kind, &subject, &data).await?;
    Ok(())
}

/// The agent's task is another's now: what was to be tried again is called off, and what others have to say goes to
/// the new assignee.
async fn hand_on(
    tx: &mut Tx,
    run: &Run,
    wakeup: &Wakeup,
    task: &Task,
    ending: &Ending<'_>,
    ids: &mut IdSource,
) -> Result<(), Refusal> {
    call_off(tx, run, wakeup, "reassigned", ending).await?;
    assignments::reissue(tx, ending.now, ids, task, wakeup).await
}

/// Cancels a wakeup that would have been tried again.
async fn call_off(
    tx: &mut Tx,
    run: &Run,
    wakeup: &Wakeup,
    reason: &'static str,
    ending: &Ending<'_>,
) -> Result<(), Refusal> {
    let (code, error) = (&ending.outcome.error_code, &ending.outcome.error);
    let status = WakeupStatus::Cancelled.as_str();
    let parameters = [wakeup.id.into(), status.into(), reason.into(), code.into(), error.into(), ending.now.into()];
    tx.execute(END_WAKEUP, &parameters).await?;
    Ok(wakeups::tell_cancelled(tx, ending.now, run.company, wakeup.id, run.agent, reason).await?)
}

/// Notes how the run ended on its lane's streak of failures, and tells the operator what no retry mends.
async fn guard(tx: &mut Tx, run: &Run, agent: &Agent, ending: &Ending<'_>, ids: &mut IdSource) -> Result<(), Refusal> {
    for key in [escalations::stuck_key(run.id), escalations::silent_key(run.id)] {
        escalations::resolve_key(tx, ending.now, run.company, &key, "ended").await?;
    }
    if ending.outcome.end == End::Succeeded {
        guards::note_success(tx, run).await?;
        let of_agent = format!("permanent_failure:{}:", agent.id);
        escalations::resolve_all_under(tx, ending.now, run.company, &of_agent, "succeeded").await?;
    } else if ending.counts_as_failure() {
        guards::note_failure(tx, ending.now, run, &agent.name, ids.next(ending.now)).await?;
    }
    if ending.class() != Some(FailureClass::Permanent) {
        return Ok(());
    }
    let code = run.error_code.as_deref().unwrap_or("failed");
    let remedy = remedy_for(code).map(|remedy| format!("; to mend it, {remedy}")).unwrap_or_default();
    let raise = Raise {
        id: ids.next(ending.now),
        now: ending.now,
        company: run.company,
        kind: EscalationKind::PermanentFailure,
        severity: Severity::High,
        key: format!("permanent_failure:{}:{code}", agent.id),
        subject: run.id.to_string(),
        title: format!("{} cannot run: {}", agent.name, code.replace('_', " ")),
        detail: format!("{}{remedy}", run.error.as_deref().unwrap_or("see the log of the run")),
        actor: Actor::system(),
    };
    escalations::raise(tx, &raise).await.map(|_| ())
}

const RELEASE_LANE: &str = "
    update lanes
    set live_run_id = null
    where agent_id = $1
      and task_id = $2
      and live_run_id = $3";
const RELEASE_AGENT: &str = "
    update agents
    set live_runs = live_runs - 1,
      runs_total = runs_total + 1,
      tokens_total = tokens_total + $2,
      cost_micros_total = cost_micros_total + $3
    where id = $1";
const RELEASE_COMPANY: &str = "
    update companies
    set live_runs = live_runs - 1
    where id = $1";

async fn release(tx: &mut Tx, run: &Run, held: &[TaskId], ending: &Ending<'_>) -> Result<(), Error> {
    tx.execute(RELEASE_LANE, &[run.agent.into(), task_key(run.task), run.id.into()]).await?;
    let tokens = ending.outcome.usage.unwrap_or(run.usage).total();
    let totals = [run.agent.into(), tokens.into(), ending.outcome.cost_micros.or(run.cost_micros).unwrap_or(0).into()];
    tx.execute(RELEASE_AGENT, &totals).await?;
    for task in held {
        tasks::release(tx, *task, run.id).await?;
        ready::refresh_task(tx, run.company, *task, run.agent).await?;
        ready::refresh_lane(tx, run.agent, Some(*task)).await?;
    }
    tx.execute(RELEASE_COMPANY, &[run.company.into()]).await?;
    ready::refresh(tx, run.company, run.agent, run.task).await
}

async fn tell(tx: &mut Tx, run: &Run, now: Timestamp) -> Result<(), Error> {
    let data = object!({
        "agent": run.agent,
        "task": run.task,
        "status": run.status,
        "error_code": run.error_code,
        "error": run.error,
        "summary": run.summary,
    });
    events::append(tx, run.company, now, "run.finished", &run.id.to_string(), &data).await?;
    let told = match &run.error {
        Some(error) => format!("{}: {error}", run.status),
        None => run.status.to_string(),
    };
    let level = if run.error.is_some() { "error" } else { "info" };
    run_events::append(tx, run.id, now, &NewRunEvent { level, ..NewRunEvent::plain("finished", told, data) }).await
}
