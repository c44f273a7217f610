//! Following a live run: the shim's reports come in, the log is read as it grows, the adapter's
//! reader turns it into events, a stop goes out. Ends when the process tree is proven gone.

use std::time::{Duration, Instant};

use wakeful_domain::actor::Actor;
use wakeful_domain::escalation::{EscalationKind, Severity};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::run::{ProcessIdentity, Run};
use wakeful_runner::adapters::Adapter;
use wakeful_runner::process::{Attached, ExitRecord, Found, Identity, StartFailure, Update, find, sweep};
use wakeful_store::Refusal;
use wakeful_store::ops::escalations::{self, Raise};
use wakeful_store::ops::run_events::NewRunEvent;
use wakeful_store::ops::runs;

use super::conclude;
use super::conversation::Conversation;
use super::reading::LogFollower;
use crate::clock;
use crate::context::RunContext;
use crate::engine::Engine;
use crate::live::Lines;

/// Between two looks at a shim that lives but does not answer.
const SILENT_PAUSE: Duration = Duration::from_secs(5);
/// Between two tries to reach the store.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

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
    let mut log = LogFollower::begin(engine, run, adapter, context, number).await;
    let talk = Conversation::begin(engine, run, adapter, context, &attached).await;
    let ended = listen(engine, run, talk, attached, number, lines, &mut log).await;
    match ended {
        Heard::Ended(record) => conclude::conclude(engine, run, *record, log).await,
        Heard::Died => {
            conclude::lost(engine, run, log).await;
            Followed::Ended
        }
        Heard::StartFailed(failure) => {
            conclude::end(engine, run, Outcome::failed(&failure.code, failure.message), None).await;
            Followed::Ended
        }
    }
}

/// How listening ended.
enum Heard {
    Ended(Box<ExitRecord>),
    /// The shim died and its tree was swept.
    Died,
    /// The shim could not even take the launch.
    StartFailed(StartFailure),
}

/// Listens until the tree is gone, one way or the other.
async fn listen(
    engine: &Engine,
    run: &Run,
    mut talk: Conversation<'_>,
    mut attached: Attached,
    number: u32,
    lines: &mut Lines,
    log: &mut LogFollower,
) -> Heard {
    let mut start_failure = None;
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
            Some(input) = lines.input.recv() => {
                talk.say(&attached, input);
                continue;
            }
            () = reached(talk.due_at()) => {
                talk.due(engine, run, &attached).await;
                continue;
            }
        };
        match update {
            Update::Started(identity) => {
                note_started(engine, run, talk.context, Some(&identity)).await;
                // Not before: starting one takes the processor from the agent that is being started.
                engine.inner.shims.prepare();
            }
            Update::Output { .. } => {
                log.read_on(engine, run).await;
                let taken = log.taken();
                talk.heard(engine, run, log.reader.as_ref(), taken, &attached).await;
            }
            Update::InputTaken { id } => {
                talk.written(engine, run, &id).await;
                talk.heard(engine, run, log.reader.as_ref(), Vec::new(), &attached).await;
            }
            Update::InputRefused { id, reason } => talk.refused(engine, run, &id, &reason).await,
            // The exit record that follows says the same, if the disk takes it.
            Update::StartFailed(failure) => start_failure = Some(failure),
            Update::LogSlow { for_ms } => log_slow(engine, run, for_ms).await,
            Update::LogCaughtUp { after_ms } => log_caught_up(engine, run, after_ms).await,
            Update::Stuck { pids } => {
                let told = format!("processes {pids:?} outlive KILL; the run stays live until they are gone");
                note(engine, run, NewRunEvent::warn("stuck", &*told, serde_json::json!({ "pids": pids }))).await;
                escalate_stuck(engine, run, told).await;
            }
            Update::Exited(record) => return Heard::Ended(record),
            Update::Gone => match found_again(engine, run, number).await {
                Found::Running(again) => {
                    attached = again;
                    send_stop(&attached, lines);
                    talk.say_again(&attached);
                }
                Found::Ended(record) => return Heard::Ended(record),
                Found::Died(_) | Found::NeverStarted => {
                    return start_failure.map_or(Heard::Died, Heard::StartFailed);
                }
            },
        }
    }
}

/// The disk is slow for the log of a run: nothing more is started on it until it has caught up. Said once by each shim,
/// and again to a server that attaches to it.
async fn log_slow(engine: &Engine, run: &Run, for_ms: u64) {
    if note_slow_disk(engine, run, true) {
        return;
    }
    let told = format!(
        "the disk has not taken the run's log for {:.1} s; nothing is lost, the agent waits once its pipe is full",
        for_ms as f64 / 1_000.0
    );
    note(engine, run, NewRunEvent::warn("log_slow", told, serde_json::json!({ "for_ms": for_ms }))).await;
}

async fn log_caught_up(engine: &Engine, run: &Run, after_ms: u64) {
    note_slow_disk(engine, run, false);
    let told = format!("the disk takes the run's log again, after {:.1} s", after_ms as f64 / 1_000.0);
    note(engine, run, NewRunEvent::plain("log_caught_up", told, serde_json::json!({ "after_ms": after_ms }))).await;
}

/// Tells whether it was slow before.
fn note_slow_disk(engine: &Engine, run: &Run, is_slow: bool) -> bool {
    let mut live = engine.live();
    live.get_mut(&run.id).is_some_and(|live| std::mem::replace(&mut live.has_slow_disk, is_slow))
}

/// A person is told of what no signal ends. It is resolved with the end of the run.
async fn escalate_stuck(engine: &Engine, run: &Run, detail: String) {
    let raise = Raise {
        id: engine.new_id(),
        now: clock::now(),
        company: run.company,
        kind: EscalationKind::Stuck,
        severity: Severity::Critical,
        key: escalations::stuck_key(run.id),
        subject: run.id.to_string(),
        title: "a run cannot be ended".into(),
        detail,
        actor: Actor::system(),
    };
    let raised = engine.write("run.escalate_stuck", (run.proof(), raise), |tx, (run, raise)| {
        Box::pin(escalations::raise_of_run(tx, *run, raise))
    });
    report(run, "an escalation", raised.await);
}

pub(super) async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn send_stop(attached: &Attached, lines: &mut Lines) {
    if let Some(reason) = lines.stop.borrow_and_update().as_ref()
        && let Err(error) = attached.stop(reason, None)
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
                        let told = match swept.pids.len() {
                            1 => "the shim died; the process it left was ended".to_owned(),
                            count => format!("the shim died; the {count} processes it left were ended"),
                        };
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

/// Notes that the agent works; `identity` is its process, if it is one.
pub(super) async fn note_started(engine: &Engine, run: &Run, context: &RunContext, identity: Option<&Identity>) {
    let started = runs::Started {
        now: clock::now(),
        run: run.id,
        fence: run.fence,
        process: identity.map(|identity| ProcessIdentity {
            pid: identity.pid,
            start_time: identity.start_time,
            boot_id: identity.boot_id.clone(),
        }),
        session_before: context.session.as_ref().map(|session| session.display_id.clone()),
        session_choice: context.session_choice.clone(),
        workspace: context.workspace.clone(),
    };
    loop {
        let written =
            engine.write("run.started", started.clone(), |tx, started| Box::pin(runs::started(tx, started))).await;
        match written {
            // A stop may have been asked for before anyone listened.
            Ok(Run { stop: Some(stop), .. }) => return engine.signal_stop(run.id, &stop.reason),
            Err(Refusal::Store(_)) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
            written => return report(run, "its start", written.map(|_| ())),
        }
    }
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
