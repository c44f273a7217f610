//! One live run, from its claim to its end: [`start`] prepares and launches it, [`follow`] listens
//! to its shim, [`conclude`] judges and ends it, [`adopt`] finds it again after a restart.

mod adopt;
mod conclude;
mod follow;
mod place;
mod reading;
mod start;

use tokio::sync::watch;
use wakeful_domain::run::Run;
use wakeful_store::ops::claim::Claimed;

use crate::engine::{Engine, LiveRun};

pub(crate) use adopt::recover;
pub(crate) use start::keep_report;

/// What a run's task listens to.
struct Lines {
    stop: watch::Receiver<Option<String>>,
}

/// Starts a claimed run and follows it to its end.
pub(crate) fn spawn_claimed(engine: &Engine, claimed: Claimed, token: String) {
    let run = claimed.run.clone();
    spawn(engine, &run, move |engine, lines| async move { start::start(&engine, claimed, token, lines).await });
}

/// Finds a live run's shim again and follows it to its end.
pub(crate) fn spawn_adopted(engine: &Engine, run: Run) {
    let found = run.clone();
    spawn(engine, &run, move |engine, lines| async move { adopt::adopt(&engine, found, lines).await });
}

/// Registers the run before anything can ask about it, and forgets it when its task is over.
fn spawn<F, T>(engine: &Engine, run: &Run, task: F)
where
    F: FnOnce(Engine, Lines) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let stop = watch::Sender::new(run.stop.as_ref().map(|stop| stop.reason.clone()));
    let lines = Lines { stop: stop.subscribe() };
    let id = run.id;
    engine.live().insert(id, LiveRun { stop, log: watch::Sender::new(0) });
    let work = task(engine.clone(), lines);
    let engine = engine.clone();
    engine.clone().spawn(async move {
        tokio::select! {
            () = work => {}
            // The run goes on with its shim; the next server finds it again.
            () = engine.stopping() => {}
        }
        engine.live().remove(&id);
        // The place it had on this host is free.
        engine.inner.nudge.changed();
    });
}
