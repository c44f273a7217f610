//! Following a live run: the shim's reports come in, the log is read as it grows, the adapter's
//! reader turns it into events, a stop goes out. Ends when the process tree is proven gone.

use std::path::Path;
use std::time::{Duration, Instant};

use wakeful_domain::run::{ProcessIdentity, Run};
use wakeful_runner::adapters::{Adapter, Reader};
use wakeful_runner::process::{Attached, ExitRecord, Found, Identity, Update, find, sweep};
use wakeful_store::Refusal;
use wakeful_store::ops::run_events::NewRunEvent;
use wakeful_store::ops::runs;

use super::reading::LogFollower;
use super::{Lines, conclude};
use crate::clock;
use crate::context::RunContext;
use crate::engine::Engine;

/// Between two looks at a shim that lives but does not answer.
const SILENT_PAUSE: Duration = Duration::from_secs(5);

/// How following ended.
pub(super) enum Followed {
    /// The run is over.
    Ended,
    /// The session does not exist: start once more, afresh.
    SessionUnknown { error: String },
}

/// Follows launch `number` of a run to its end, and ends the run unless it is to be started once more.
pub(super) async fn follow(
    engine: &Engine,
    run: &Run,
    adapter: Adapter,
    context: &RunContext,
    attached: Attached,
    number: u32,
    lines: &mut Lines,
) -> Followed {
    let dir = engine.run_dir(run.id);
    let reader = adapter.reader(&context.adapter, context.session.as_ref(), Path::new(&context.workspace.cwd));
    let mut log = match LogFollower::begin(engine, run, &dir, reader).await {
        Ok(log) => log,
        Err(refusal) => {
            tracing::error!(run.id = %run.id, "run {} cannot be followed: {refusal}", run.id);
            return Followed::Ended;
        }
    };
    let ended = listen(engine, run, context, attached, number, lines, &mut log).await;
    match ended {
        Some(record) => conclude::conclude(engine, run, *record, log).await,
        None => {
            conclude::lost(engine, run, log).await;
            Followed::Ended
        }
    }
}

/// Judges a launch that ended while no server followed it.
pub(super) async fn follow_ended(
    engine: &Engine,
    run: &Run,
    adapter: Adapter,
    context: &RunContext,
    record: ExitRecord,
) -> Followed {
    let dir = engine.run_dir(run.id);
    let reader: Box<dyn Reader> =
        adapter.reader(&context.adapter, context.session.as_ref(), Path::new(&context.workspace.cwd));
    match LogFollower::begin(engine, run, &dir, reader).await {
        Ok(log) => conclude::conclude(engine, run, record, log).await,
        Err(refusal) => {
            tracing::error!(run.id = %run.id, "run {} cannot be ended: {refusal}", run.id);
            Followed::Ended
        }
    }
}

/// Listens until the exit record is there; `None` when the shim died and its tree was swept.
async fn listen(
    engine: &Engine,
    run: &Run,
    context: &RunContext,
    mut attached: Attached,
    number: u32,
    lines: &mut Lines,
    log: &mut LogFollower,
) -> Option<Box<ExitRecord>> {
    send_stop(&attached, lines);
    loop {
        let update = tokio::select! {
            update = attached.next() => update,
            changed = lines.stop.changed() => {
                if changed.is_ok() {
                    send_stop(&attached, lines);
                    continue;
                }
                // The engine forgot the run: nobody will ask for a stop any more.
                attached.next().await
            }
            () = reached(log.note_at()) => {
                log.write(engine, run).await;
                continue;
            }
        };
        match update {
            Update::Started(identity) => note_started(engine, run, context, &identity).await,
            Update::Output { .. } => log.read_on(engine, run).await,
            // The exit record that follows says the same.
            Update::StartFailed(_) => {}
            Update::Stuck { pids } => {
                let told = format!("processes {pids:?} outlive KILL; the run stays live until they are gone");
                note(engine, run, NewRunEvent::warn("stuck", told, serde_json::json!({ "pids": pids }))).await;
            }
            Update::Exited(record) => return Some(record),
            Update::Gone => match found_again(engine, run, number).await {
                Found::Running(again) => {
                    attached = again;
                    send_stop(&attached, lines);
                }
                Found::Ended(record) => return Some(record),
                Found::Died(_) | Found::NeverStarted => return None,
            },
        }
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn send_stop(attached: &Attached, lines: &mut Lines) {
    if let Some(stop) = lines.stop.borrow_and_update().as_ref()
        && let Err(error) = attached.stop(&stop.reason, None)
    {
        tracing::warn!("a shim could not be told to stop, and is asked again once it answers: {error}");
    }
}

/// Asks the disk and `/proc` what became of a shim whose connection closed. A dead shim's tree is
/// ended before this returns.
pub(super) async fn found_again(engine: &Engine, run: &Run, number: u32) -> Found {
    loop {
        match find(&engine.run_dir(run.id), number).await {
            Ok(Found::Died(death)) if !death.rebooted => match sweep(&run.id.to_string()).await {
                Ok(swept) => {
                    if !swept.pids.is_empty() {
                        let told = format!("the shim died; {} processes it left were ended", swept.pids.len());
                        note(engine, run, NewRunEvent::warn("swept", told, serde_json::json!({ "pids": swept.pids })))
                            .await;
                    }
                    return Found::Died(death);
                }
                Err(error) => tracing::error!(run.id = %run.id, "run {} is not proven gone: {error}", run.id),
            },
            Ok(found) => return found,
            Err(error) => tracing::error!(run.id = %run.id, "run {} cannot be found again yet: {error}", run.id),
        }
        tokio::time::sleep(SILENT_PAUSE).await;
    }
}

async fn note_started(engine: &Engine, run: &Run, context: &RunContext, identity: &Identity) {
    let started = runs::Started {
        now: clock::now(),
        run: run.id,
        fence: run.fence,
        process: ProcessIdentity {
            pid: identity.pid,
            start_time: identity.start_time,
            boot_id: identity.boot_id.clone(),
        },
        session_before: context.session.as_ref().map(|session| session.display_id.clone()),
        session_choice: context.session_choice.clone(),
        workspace: context.workspace.clone(),
    };
    let written = engine.write("run.started", started, |tx, started| Box::pin(runs::started(tx, started))).await;
    if let Ok(Run { stop: Some(stop), .. }) = &written {
        // It may have been asked for before anyone listened.
        engine.signal_stop(run.id, &stop.reason);
    }
    report(run, "its start", written.map(|_| ()));
}

/// Adds an event to a run; one that cannot be kept is in the server's own log.
pub(super) async fn note(engine: &Engine, run: &Run, event: NewRunEvent) {
    let arguments = (clock::now(), run.id, run.fence, event);
    let written = engine
        .write("run.note", arguments, |tx, (now, run, fence, event)| {
            Box::pin(runs::note(tx, *now, *run, *fence, event))
        })
        .await;
    report(run, "an event", written);
}

/// A run that has ended meanwhile takes no more notes; anything else is worth a line.
pub(super) fn report(run: &Run, what: &str, written: Result<(), Refusal>) {
    match written {
        Ok(()) | Err(Refusal::Conflict { .. }) => {}
        Err(refusal) => tracing::error!(run.id = %run.id, "run {}: {what} could not be kept: {refusal}", run.id),
    }
}
