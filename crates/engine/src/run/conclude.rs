//! The end of an execution: the adapter's judgement, what the shim saw, and the one transaction
//! that ends the run. A store that does not answer is asked again: the result must not be lost.

use std::time::Duration;

use wakeful_domain::id::RunId;
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::{LogSummary, Run};
use wakeful_runner::adapters::{Conclusion, Exit};
use wakeful_runner::process::log::{close_after_death, summary_of_log};
use wakeful_runner::process::{ExitRecord, Limit};
use wakeful_store::Refusal;
use wakeful_store::ops::finish::FinishRequest;
use wakeful_store::ops::run_events::NewRunEvent;

use super::files::{result_file, scrub_result_file};
use super::follow::{Followed, note};
use super::reading::LogFollower;
use crate::clock;
use crate::engine::Engine;

/// Between tries to write the end of a run.
const PAUSE: Duration = Duration::from_secs(1);
/// Judges a launch whose tree is gone, and ends the run unless it is to be started once more.
pub(super) async fn conclude(engine: &Engine, run: &Run, record: ExitRecord, mut log: LogFollower) -> Followed {
    log.read_to_end(engine, run).await;
    let outcome = match judge(engine, run, &record, &mut log) {
        Conclusion::Done(outcome) => *outcome,
        Conclusion::SessionUnknown { error } => return Followed::SessionUnknown { error },
    };
    note_leftovers(engine, run, &record).await;
    if record.log.lost_bytes > 0 {
        let told =
            format!("{} bytes of the agent's output are lost: the disk did not take them", record.log.lost_bytes);
        let data = serde_json::json!({ "bytes": record.log.lost_bytes });
        note(engine, run, NewRunEvent::warn("output_lost", told, data)).await;
    }
    end(engine, run, outcome, Some(&record)).await;
    Followed::Ended
}

fn judge(engine: &Engine, run: &Run, record: &ExitRecord, log: &mut LogFollower) -> Conclusion {
    let result_file = taken_result_file(engine, run);
    let done = |outcome| Conclusion::Done(Box::new(outcome));
    let with_what_is_known = |known: Outcome, judged: Outcome| Outcome {
        end: judged.end,
        error_code: judged.error_code,
        error: judged.error,
        ..known
    };
    if let Some(failure) = &record.start_failed {
        return done(Outcome::failed(&failure.code, failure.message.clone()));
    }
    // What was finished before the stop came is judged as what it is; whether it stands is up to who asked for the stop.
    if record.stop.is_some() && !log.reader.has_ended() {
        // A stop that is durable on the run makes this a cancel; otherwise someone else ended the shim,
        // as a machine does that shuts down, and the wakeups had no fair chance.
        let told = "the run was stopped from outside, not by a request; its wakeups wait for the next run";
        return done(with_what_is_known(log.reader.so_far(), Outcome::ended(End::Lost, "drained", told)));
    }
    if let Some(limit) = record.limit_hit() {
        return done(with_what_is_known(log.reader.so_far(), beyond(limit)));
    }
    let exit = Exit { code: record.code, signal: record.signal, result_file, at: record.ended_at };
    let conclusion = log.reader.conclude(&exit);
    match conclusion {
        Conclusion::Done(outcome) if record.out_of_memory && outcome.end == End::Failed => {
            let told = "the system killed the agent because memory ran out";
            done(with_what_is_known(*outcome, Outcome::failed("out_of_memory", told)))
        }
        Conclusion::Done(outcome) => done(log.heard(*outcome, exit.result_file.as_deref())),
        Conclusion::SessionUnknown { error } => Conclusion::SessionUnknown { error },
    }
}

/// How a run ends that reached a limit.
fn beyond(limit: Limit) -> Outcome {
    match limit {
        Limit::WallTime => Outcome::ended(
            End::TimedOut,
            "timed_out",
            "the run took longer than limits.max_duration_s allows and was stopped",
        ),
        Limit::FirstOutput => Outcome::failed(
            "no_first_output",
            "the agent wrote nothing within limits.first_output_s after its start and was stopped",
        ),
        Limit::Memory => {
            Outcome::failed("out_of_memory", "the run took more memory than limits.max_memory_mb allows and was ended")
        }
        Limit::Pids => Outcome::failed(
            "too_many_processes",
            "the run wanted more processes than limits.max_processes allows and was ended",
        ),
    }
}

/// What the agent left as its result file, without secrets. The file itself then holds none any more.
fn taken_result_file(engine: &Engine, run: &Run) -> Option<String> {
    let dir = engine.run_dir(run.id);
    let left = result_file(&dir)?;
    let scrubbed = engine.scrubber(run.id).text(&left).into_owned();
    if let Err(error) = scrub_result_file(&dir, &scrubbed) {
        tracing::warn!(run.id = %run.id, "secrets may stand in the result file of run {}: {error}", run.id);
    }
    Some(scrubbed)
}

/// Notes what the run left to be ended, which changes nothing about its outcome.
async fn note_leftovers(engine: &Engine, run: &Run, record: &ExitRecord) {
    let told = match record.held_open {
        Some(1) => "a process that the agent left behind did not end by itself and was ended".to_owned(),
        Some(count) => format!("{count} processes that the agent left behind did not end by themselves and were ended"),
        None if record.ended_after_finish => {
            "the agent had said its last word, went on living, and was ended; its result stands".to_owned()
        }
        None => return,
    };
    let data = serde_json::json!({ "held_open": record.held_open, "ended_after_finish": record.ended_after_finish });
    note(engine, run, NewRunEvent::warn("left_behind", told, data)).await;
}

/// Ends a run whose shim died; its tree has been ended already.
pub(super) async fn lost(engine: &Engine, run: &Run, mut log: LogFollower) {
    log.read_to_end(engine, run).await;
    // How it would have judged itself does not count, but what it wrote must not stay as it is.
    taken_result_file(engine, run);
    let told = "the process that watched over the run died, so how the agent ended is not known";
    let dir = engine.run_dir(run.id);
    // It reads the whole log for its sum.
    let closed = tokio::task::spawn_blocking(move || close_after_death(&dir, told)).await;
    let summary = match closed.map_err(std::io::Error::other).flatten() {
        Ok(summary) => Some(summary_of(&summary)),
        Err(error) => {
            tracing::warn!(run.id = %run.id, "the gap in the log of run {} could not be marked: {error}", run.id);
            None
        }
    };
    log.read_to_end(engine, run).await;
    let known = log.reader.so_far();
    let outcome =
        Outcome { end: End::Lost, error_code: Some("process_lost".into()), error: Some(told.into()), ..known };
    let summary = summary.unwrap_or_else(|| log.summary());
    let request = FinishRequest { log: Some(summary), ..request(engine, run, outcome) };
    finish(engine, run, request).await;
}

/// What the log of a run without a process comes to.
pub(crate) async fn log_of(engine: &Engine, run: RunId) -> Option<LogSummary> {
    let dir = engine.run_dir(run);
    let summed = tokio::task::spawn_blocking(move || summary_of_log(&dir)).await;
    match summed.map_err(std::io::Error::other).flatten() {
        Ok(summary) => Some(summary_of(&summary)),
        Err(error) => {
            tracing::warn!(run.id = %run, "the log of run {run} could not be summed up: {error}");
            None
        }
    }
}

/// Ends a run without a process.
pub(super) async fn end_service(engine: &Engine, run: &Run, outcome: Outcome) {
    let log = log_of(engine, run.id).await;
    let request = FinishRequest { log, ..request(engine, run, outcome) };
    finish(engine, run, request).await;
}

/// Ends a run with this outcome.
pub(super) async fn end(engine: &Engine, run: &Run, outcome: Outcome, record: Option<&ExitRecord>) {
    let mut request = request(engine, run, outcome);
    if let Some(record) = record {
        request.exit_code = record.code.map(i64::from);
        request.signal = record.signal.map(i64::from);
        request.log = Some(summary_of(&record.log));
    }
    finish(engine, run, request).await;
}

fn summary_of(log: &wakeful_runner::process::LogSummary) -> LogSummary {
    LogSummary {
        bytes: i64::try_from(log.bytes).unwrap_or(i64::MAX),
        lines: i64::try_from(log.lines).unwrap_or(i64::MAX),
        sha256: Some(log.sha256.clone()),
        truncated: log.truncated,
    }
}

/// The request that ends a run now.
pub(crate) fn request(engine: &Engine, run: &Run, outcome: Outcome) -> FinishRequest {
    FinishRequest {
        now: clock::now(),
        draw: engine.draw(),
        id_seed: engine.seed(),
        run: run.id,
        fence: run.fence,
        outcome,
        exit_code: None,
        signal: None,
        log: None,
    }
}

async fn finish(engine: &Engine, run: &Run, request: FinishRequest) {
    loop {
        match engine.finish(request.clone()).await {
            Ok(ended) => {
                tracing::info!(run.id = %run.id, run.status = %ended.status, "run {} {}", run.id, ended.status);
                return;
            }
            Err(Refusal::Store(error)) => {
                tracing::error!(run.id = %run.id, "the end of run {} could not be written and is tried again: {error}", run.id);
                tokio::time::sleep(PAUSE).await;
            }
            Err(refusal) => {
                tracing::warn!(run.id = %run.id, "the end of run {} came too late: {refusal}", run.id);
                return;
            }
        }
    }
}

/// Notes on the run that its session is gone and that it starts afresh.
pub(super) async fn note_fresh_start(engine: &Engine, run: &Run, error: &str) {
    let told = format!("the session does not exist any more, so the agent starts once more with a fresh one: {error}");
    note(engine, run, NewRunEvent::warn("session_unknown", told, serde_json::json!({ "error": error }))).await;
}
