//! Runs as rows: made by a claim, read, moved on. Every write of a run names its fence; a late one changes nothing.
//! How a run ends is `finish`; lists are `run_lists`.

use serde_json::{Value as Json, json as object};
use wakeful_domain::agent::Agent;
use wakeful_domain::id::{AgentId, CompanyId, RunId, ScheduleId, TaskId};
use wakeful_domain::run::{LogSummary, ProcessIdentity, Run, RunStatus, SessionChoice, StopRequest, Workspace};
use wakeful_domain::time::Timestamp;
use wakeful_domain::usage::Usage;
use wakeful_domain::wakeup::{SCHEDULE_KEY, Source as WakeupSource, Wakeup};

use crate::ops::agents::adapter_type;
use crate::ops::claim::ClaimRequest;
use crate::ops::run_events::NewRunEvent;
use crate::ops::spending::{self, Spent};
use crate::ops::{events, run_events};
use crate::value::{json, json_option, task_key};
use crate::{Error, Refusal, Row, Tx};

pub(super) const COLUMNS: &str = "id, company_id, agent_id, task_id, adapter, fence, status, error_code, error, exit_code, signal, \
    session_before, session_after, session_choice, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, \
    cost_micros, model, provider, billing, summary, result, stop, workspace, process, last_output_at, last_event_at, \
    log_bytes, log_lines, log_sha256, log_truncated, created_at, started_at, finished_at, pinned_at, log_removed_at";

pub(super) fn read(mut row: Row) -> Result<Run, Error> {
    Ok(Run {
        id: row.get()?,
        company: row.get()?,
        agent: row.get()?,
        task: row.task()?,
        adapter: row.get()?,
        fence: row.get()?,
        status: row.name()?,
        error_code: row.get()?,
        error: row.get()?,
        exit_code: row.get()?,
        signal: row.get()?,
        session_before: row.get()?,
        session_after: row.get()?,
        session_choice: row.json_option()?,
        usage: Usage {
            input_tokens: row.get()?,
            output_tokens: row.get()?,
            cache_read_tokens: row.get()?,
            cache_write_tokens: row.get()?,
        },
        cost_micros: row.get()?,
        model: row.get()?,
        provider: row.get()?,
        billing: row.get()?,
        summary: row.get()?,
        result: row.json_option()?,
        stop: row.json_option()?,
        workspace: row.json_option()?,
        process: row.json_option()?,
        last_output_at: row.get()?,
        last_event_at: row.get()?,
        log: LogSummary { bytes: row.get()?, lines: row.get()?, sha256: row.get()?, truncated: row.get()? },
        created_at: row.get()?,
        started_at: row.get()?,
        finished_at: row.get()?,
        pinned_at: row.get()?,
        log_removed_at: row.get()?,
    })
}

const INSERT: &str = "
    insert into runs (id, company_id, agent_id, task_id, adapter, fence, status, created_at, token_hash,
      lead_source, schedule_id)
    values ($1, $2, $3, $4, $5, $6, 'starting', $7, $8, $9, $10)";

/// The schedule whose slot made a wakeup, if one did.
fn schedule_of(wakeup: &Wakeup) -> Option<ScheduleId> {
    match wakeup.source {
        WakeupSource::Schedule | WakeupSource::Timer => wakeup.context.get(SCHEDULE_KEY)?.as_str()?.parse().ok(),
        _ => None,
    }
}

/// Makes the run of a batch that this wakeup leads.
pub(crate) async fn insert(
    tx: &mut Tx,
    request: &ClaimRequest,
    agent: &Agent,
    task: Option<TaskId>,
    fence: i64,
    lead: Option<&Wakeup>,
) -> Result<(), Error> {
    let parameters = [
        request.run.into(),
        agent.company.into(),
        agent.id.into(),
        task_key(task),
        adapter_type(&agent.adapter).into(),
        fence.into(),
        request.now.into(),
        (&request.token_hash).into(),
        lead.map(|lead| lead.source.as_str()).into(),
        lead.and_then(schedule_of).into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    Ok(())
}

/// The run with this id, if there is one.
pub(crate) async fn find(tx: &mut Tx, id: RunId) -> Result<Option<Run>, Error> {
    let sql = format!("select {COLUMNS} from runs where id = $1");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// The run with this id.
pub async fn get(tx: &mut Tx, id: RunId) -> Result<Run, Refusal> {
    find(tx, id).await?.ok_or_else(|| Refusal::not_found(id))
}

/// The run, if it is live under this fence; its row is locked until the transaction ends.
pub(crate) async fn get_live(tx: &mut Tx, id: RunId, fence: i64) -> Result<Run, Refusal> {
    let sql = format!("select {COLUMNS} from runs where id = $1 {{for_update}}");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    let run = found.ok_or_else(|| Refusal::not_found(id))?;
    if run.fence == fence && run.status.is_live() {
        return Ok(run);
    }
    Err(Refusal::conflict(
        "fenced",
        format!("the run is {} and takes no more writes under fence {fence}", run.status),
        object!({ "status": run.status, "fence": run.fence }),
    ))
}

/// Late writes kept of one run; a leftover loop may send them without end.
const LATE_MAX: i64 = 20;
/// More of a late write is not kept.
const LATE_BYTES_MAX: usize = 16 * 1024;

const LATE: &str = "
    select count(*)
    from run_events
    where run_id = $1
      and type = 'late'";

/// Adds an event to a run that takes no more writes: what came too late is shown, never applied.
pub async fn note_late(tx: &mut Tx, now: Timestamp, id: RunId, message: &str, brought: &Json) -> Result<(), Refusal> {
    let kept: i64 = tx.query_one(LATE, &[id.into()]).await?.get()?;
    if kept >= LATE_MAX {
        return Ok(());
    }
    let bytes = brought.to_string().len();
    let data = if bytes > LATE_BYTES_MAX { object!({ "bytes_not_kept": bytes }) } else { brought.clone() };
    Ok(run_events::append(tx, id, now, &NewRunEvent::warn("late", message, data)).await?)
}

/// The run whose token has this hash. The token is good while the run is live; afterwards it only
/// tells whose late write is being refused.
pub async fn by_token(tx: &mut Tx, hash: &str) -> Result<Option<Run>, Refusal> {
    let sql = format!("select {COLUMNS} from runs where token_hash = $1");
    Ok(tx.query_first(&sql, &[hash.into()]).await?.map(read).transpose()?)
}

/// Every live run.
pub async fn live(tx: &mut Tx) -> Result<Vec<Run>, Refusal> {
    let sql = format!("select {COLUMNS} from runs where status in ('starting', 'running') order by id");
    Ok(tx.query(&sql, &[]).await?.into_iter().map(read).collect::<Result<_, _>>()?)
}

/// A process has been started for a run.
#[derive(Debug, Clone)]
pub struct Started {
    pub now: Timestamp,
    pub run: RunId,
    pub fence: i64,
    /// `None` for a service, which is no process of ours.
    pub process: Option<ProcessIdentity>,
    pub session_before: Option<String>,
    pub session_choice: SessionChoice,
    pub workspace: Workspace,
}

const STARTED: &str = "
    update runs
    set status = 'running',
      process = $3,
      session_before = $4,
      session_choice = $5,
      workspace = $6,
      started_at = coalesce(started_at, $7),
      last_event_at = $7
    where id = $1
      and fence = $2
      and status in ('starting', 'running')";

/// Moves a run to `running`. A second start within the run (a fresh session) keeps its start time.
/// Returns the run as it was before: a stop may have been asked for meanwhile.
pub async fn started(tx: &mut Tx, start: &Started) -> Result<Run, Refusal> {
    let run = get_live(tx, start.run, start.fence).await?;
    let parameters = [
        start.run.into(),
        start.fence.into(),
        json_option(start.process.as_ref()),
        (&start.session_before).into(),
        json(&start.session_choice),
        json(&start.workspace),
        start.now.into(),
    ];
    tx.execute(STARTED, &parameters).await?;
    let data = object!({
        "agent": run.agent,
        "pid": start.process.as_ref().map(|process| process.pid),
        "session": start.session_choice,
        "workspace": start.workspace,
    });
    if run.status == RunStatus::Starting {
        events::append(tx, run.company, start.now, "run.running", &run.id.to_string(), &data).await?;
    }
    let SessionChoice { choice, reason } = &start.session_choice;
    let told = match &start.process {
        Some(process) if run.process.as_ref() == Some(process) => {
            format!("process {} was found again: it has gone on without the server", process.pid)
        }
        Some(process) => format!("process {} started, session {}: {reason}", process.pid, choice.as_str()),
        None => format!("the service is called, session {}: {reason}", choice.as_str()),
    };
    run_events::append(tx, run.id, start.now, &NewRunEvent::plain("running", told, data)).await?;
    Ok(run)
}

const RENEW_TOKEN: &str = "
    update runs
    set token_hash = $3
    where id = $1
      and fence = $2
      and status in ('starting', 'running')";

/// Gives a live run another token; the old one is no good any more.
pub async fn renew_token(tx: &mut Tx, id: RunId, fence: i64, hash: &str) -> Result<(), Refusal> {
    get_live(tx, id, fence).await?;
    tx.execute(RENEW_TOKEN, &[id.into(), fence.into(), hash.into()]).await?;
    Ok(())
}

/// Adds an event to a live run.
pub async fn note(tx: &mut Tx, now: Timestamp, id: RunId, fence: i64, event: &NewRunEvent) -> Result<(), Refusal> {
    get_live(tx, id, fence).await?;
    Ok(run_events::append(tx, id, now, event).await?)
}

/// What the output of a run has brought since the last look.
#[derive(Debug, Clone)]
pub struct Observed {
    pub now: Timestamp,
    pub run: RunId,
    pub fence: i64,
    pub log_bytes: i64,
    pub log_lines: i64,
    /// The number of the last log record that was read.
    pub read_seq: i64,
    pub events: Vec<NewRunEvent>,
    /// What the agent has used so far, as far as its output tells.
    pub usage: Option<Usage>,
    pub cost_micros: Option<i64>,
}

const READ_SEQ: &str = "select read_seq from runs where id = $1";
const OBSERVED: &str = "
    update runs
    set log_bytes = $3,
      log_lines = $4,
      read_seq = $5,
      last_output_at = $6,
      last_event_at = case when $7 > 0 then $6 else last_event_at end,
      silence_tier = case when silence_tier < 3 then 0 else silence_tier end,
      input_tokens = $8,
      output_tokens = $9,
      cache_read_tokens = $10,
      cache_write_tokens = $11,
      cost_micros = $12
    where id = $1
      and fence = $2
      and status in ('starting', 'running')";

/// Notes what was read of a run's log. What an earlier server has noted is not noted again.
pub async fn observed(tx: &mut Tx, seen: &Observed) -> Result<Spent, Refusal> {
    let run = get_live(tx, seen.run, seen.fence).await?;
    let read_seq: i64 = tx.query_one(READ_SEQ, &[run.id.into()]).await?.get()?;
    // The last line of a log may end without a record of its own.
    if read_seq > seen.read_seq || (read_seq == seen.read_seq && seen.events.is_empty()) {
        return Ok(Spent::default());
    }
    // After a restart the output is read again from its beginning.
    let usage = seen.usage.filter(|usage| usage.total() > run.usage.total()).unwrap_or(run.usage);
    let cost_micros = seen.cost_micros.max(run.cost_micros);
    let parameters = [
        run.id.into(),
        seen.fence.into(),
        seen.log_bytes.into(),
        seen.log_lines.into(),
        seen.read_seq.into(),
        seen.now.into(),
        (seen.events.len() as i64).into(),
        usage.input_tokens.into(),
        usage.output_tokens.into(),
        usage.cache_read_tokens.into(),
        usage.cache_write_tokens.into(),
        cost_micros.into(),
    ];
    tx.execute(OBSERVED, &parameters).await?;
    for event in &seen.events {
        run_events::append(tx, run.id, seen.now, event).await?;
    }
    let data = object!({ "agent": run.agent, "log_bytes": seen.log_bytes, "log_lines": seen.log_lines });
    events::append(tx, run.company, seen.now, "run.log", &run.id.to_string(), &data).await?;
    match (usage, cost_micros) == (run.usage, run.cost_micros) {
        true => Ok(Spent::default()),
        false => spending::used(tx, seen.now, &run, &Run { usage, cost_micros, ..run.clone() }).await,
    }
}

/// The number of the last log record whose events are in the store.
pub async fn read_seq(tx: &mut Tx, run: RunId) -> Result<i64, Refusal> {
    Ok(tx.query_one(READ_SEQ, &[run.into()]).await?.get()?)
}

/// What an agent reports while it works.
#[derive(Debug, Clone)]
pub struct Progress {
    pub now: Timestamp,
    pub run: RunId,
    pub fence: i64,
    pub message: Option<String>,
    pub usage: Option<Usage>,
    pub data: Option<Json>,
}

const PROGRESS: &str = "
    update runs
    set last_event_at = $3,
      silence_tier = case when silence_tier < 3 then 0 else silence_tier end,
      input_tokens = $4,
      output_tokens = $5,
      cache_read_tokens = $6,
      cache_write_tokens = $7
    where id = $1
      and fence = $2
      and status in ('starting', 'running')";

/// Notes what an agent reports while it works. Usage is the total so far, not an increment.
pub async fn progress(tx: &mut Tx, progress: &Progress) -> Result<(Run, Spent), Refusal> {
    let run = get_live(tx, progress.run, progress.fence).await?;
    let usage = progress.usage.unwrap_or(run.usage);
    let parameters = [
        run.id.into(),
        progress.fence.into(),
        progress.now.into(),
        usage.input_tokens.into(),
        usage.output_tokens.into(),
        usage.cache_read_tokens.into(),
        usage.cache_write_tokens.into(),
    ];
    tx.execute(PROGRESS, &parameters).await?;
    let message = progress.message.clone().unwrap_or_else(|| "progress".into());
    let data = object!({ "agent": run.agent, "message": message, "data": progress.data, "usage": progress.usage });
    events::append(tx, run.company, progress.now, "run.progress", &run.id.to_string(), &data).await?;
    let details = progress.data.clone().unwrap_or_else(|| object!({}));
    run_events::append(tx, run.id, progress.now, &NewRunEvent::plain("progress", message, details)).await?;
    let after = get(tx, run.id).await?;
    let spent = spending::used(tx, progress.now, &run, &after).await?;
    Ok((get(tx, run.id).await?, spent))
}

const HEARD: &str = "
    update runs
    set last_event_at = $3,
      silence_tier = case when silence_tier < 3 then 0 else silence_tier end
    where id = $1
      and fence = $2
      and status in ('starting', 'running')";

/// Notes that the agent of a live run has said something, whatever it was.
pub(crate) async fn heard(tx: &mut Tx, now: Timestamp, run: RunId, fence: i64) -> Result<(), Error> {
    tx.execute(HEARD, &[run.into(), fence.into(), now.into()]).await?;
    Ok(())
}

const SILENCE_TIER: &str = "select silence_tier from runs where id = $1";

/// How far the silence of a run has been acted upon.
pub async fn silence_tier(tx: &mut Tx, run: RunId) -> Result<i64, Refusal> {
    Ok(tx.query_one(SILENCE_TIER, &[run.into()]).await?.get()?)
}

/// Something is done about the silence of a run.
#[derive(Debug, Clone)]
pub struct Silence {
    pub now: Timestamp,
    pub run: RunId,
    pub fence: i64,
    /// See [`wakeful_domain::silence::Step::tier`].
    pub tier: i64,
    pub event: NewRunEvent,
}

const SET_SILENCE_TIER: &str = "
    update runs
    set silence_tier = $3
    where id = $1
      and fence = $2
      and silence_tier < $3";

/// Notes it, once per tier; tells whether it was the first time.
pub async fn note_silence(tx: &mut Tx, silence: &Silence) -> Result<bool, Refusal> {
    let run = get_live(tx, silence.run, silence.fence).await?;
    let parameters = [run.id.into(), silence.fence.into(), silence.tier.into()];
    let is_first = tx.execute(SET_SILENCE_TIER, &parameters).await? > 0;
    if is_first {
        run_events::append(tx, run.id, silence.now, &silence.event).await?;
    }
    Ok(is_first)
}

const REQUEST_STOP: &str = "
    update runs
    set stop = $2
    where id = $1
      and status in ('starting', 'running')";

/// Notes durably that a run is to stop. The first request stands, but a cancel beats a pause.
pub async fn request_stop(tx: &mut Tx, id: RunId, stop: &StopRequest) -> Result<Run, Refusal> {
    let sql = format!("select {COLUMNS} from runs where id = $1 {{for_update}}");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    let run = found.ok_or_else(|| Refusal::not_found(id))?;
    if !run.status.is_live() {
        return Err(Refusal::conflict(
            "run_terminal",
            format!("the run is {} already", run.status),
            object!({ "status": run.status }),
        ));
    }
    let is_cancel = !stop.puts_back && !stop.stalled;
    if run.stop.as_ref().is_none_or(|standing| (standing.puts_back || standing.stalled) && is_cancel) {
        tx.execute(REQUEST_STOP, &[id.into(), json_option(Some(stop))]).await?;
        let told = NewRunEvent::plain("stop_requested", format!("asked to stop: {}", stop.reason), json_value(stop));
        run_events::append(tx, id, stop.at, &told).await?;
    }
    get(tx, id).await
}

fn json_value(stop: &StopRequest) -> Json {
    serde_json::to_value(stop).unwrap_or(Json::Null)
}

const LIVE_OF_AGENT: &str = "
    select id
    from runs
    where agent_id = $1
      and status in ('starting', 'running')";
const LIVE_OF_COMPANY: &str = "
    select id
    from runs
    where company_id = $1
      and status in ('starting', 'running')";

/// Notes that every live run of an agent is to stop, and tells which.
pub async fn stop_all_of_agent(tx: &mut Tx, agent: AgentId, stop: &StopRequest) -> Result<Vec<RunId>, Refusal> {
    let rows = tx.query(LIVE_OF_AGENT, &[agent.into()]).await?;
    stop_each(tx, rows, stop).await
}

/// Notes that every live run of a company is to stop, and tells which.
pub async fn stop_all_of_company(tx: &mut Tx, company: CompanyId, stop: &StopRequest) -> Result<Vec<RunId>, Refusal> {
    let rows = tx.query(LIVE_OF_COMPANY, &[company.into()]).await?;
    stop_each(tx, rows, stop).await
}

async fn stop_each(tx: &mut Tx, rows: Vec<Row>, stop: &StopRequest) -> Result<Vec<RunId>, Refusal> {
    let mut stopped = Vec::with_capacity(rows.len());
    for mut row in rows {
        let id: RunId = row.get()?;
        match request_stop(tx, id, stop).await {
            Ok(_) => stopped.push(id),
            // It has ended by itself meanwhile.
            Err(Refusal::Conflict { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(stopped)
}
