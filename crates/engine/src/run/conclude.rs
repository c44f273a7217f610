//! The end of an execution: the adapter's judgement, what the shim saw, and the one transaction
//! that ends the run. A store that does not answer is asked again: the result must not be lost.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::{LogSummary, Run};
use wakeful_runner::adapters::{Conclusion, Exit};
use wakeful_runner::process::ExitRecord;
use wakeful_runner::process::log::close_after_death;
use wakeful_store::Refusal;
use wakeful_store::ops::finish::FinishRequest;
use wakeful_store::ops::run_events::NewRunEvent;

use super::follow::{Followed, note};
use super::reading::LogFollower;
use super::start::RESULT_FILE;
use crate::clock;
use crate::engine::Engine;

/// Between tries to write the end of a run.
const PAUSE: Duration = Duration::from_secs(1);
/// More of a result file is not read.
const RESULT_BYTES_MAX: u64 = 1024 * 1024;

/// Judges a launch whose tree is gone, and ends the run unless it is to be started once more.
pub(super) async fn conclude(engine: &Engine, run: &Run, record: ExitRecord, mut log: LogFollower) -> Followed {
    log.read_to_end(engine, run).await;
    let outcome = match judge(engine, run, &record, &mut log) {
        Conclusion::Done(outcome) => *outcome,
        Conclusion::SessionUnknown { error } => return Followed::SessionUnknown { error },
    };
    end(engine, run, outcome, Some(&record)).await;
    Followed::Ended
}

fn judge(engine: &Engine, run: &Run, record: &ExitRecord, log: &mut LogFollower) -> Conclusion {
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
    if record.stop.is_some() {
        // A stop that is durable on the run makes this a cancel; otherwise someone else ended the shim,
        // as a machine does that shuts down, and the wakeups had no fair chance.
        let told = "the run was stopped from outside, not by a request; its wakeups wait for the next run";
        return done(with_what_is_known(log.reader.so_far(), Outcome::ended(End::Lost, "drained", told)));
    }
    if record.timed_out {
        let told = "the run took longer than limits.max_duration_s allows and was stopped";
        return done(with_what_is_known(log.reader.so_far(), Outcome::ended(End::TimedOut, "timed_out", told)));
    }
    let result_file = result_file(&engine.run_dir(run.id));
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

/// What the agent left as its result file. Anything but a plain file is none: opening a pipe would wait for ever.
fn result_file(dir: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::open(dir.join(RESULT_FILE), flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(RESULT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ends a run whose shim died; its tree has been ended already.
pub(super) async fn lost(engine: &Engine, run: &Run, mut log: LogFollower) {
    log.read_to_end(engine, run).await;
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

fn request(engine: &Engine, run: &Run, outcome: Outcome) -> FinishRequest {
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
