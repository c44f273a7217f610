//! One live run, from its claim to its end: [`start`] prepares and launches it, [`follow`] listens
//! to its shim, [`conclude`] judges and ends it, [`adopt`] finds it again after a restart.

mod adopt;
mod conclude;
mod conversation;
mod files;
mod follow;
mod http;
mod place;
mod reading;
mod start;
mod strays;

use std::time::Duration;

use tokio::sync::watch;
use wakeful_domain::id::RunId;
use wakeful_domain::run::Run;
use wakeful_runner::adapters::reported;
use wakeful_store::Refusal;
use wakeful_store::ops::claim::Claimed;
use wakeful_store::ops::finish::FinishRequest;

use crate::engine::Engine;
use crate::live::{Lines, LiveRun};
use crate::patrol;

pub(crate) use adopt::{last_launch, recover};
pub(crate) use files::write_private;
pub(crate) use start::Refused;
pub(crate) use strays::end_strays;

impl Engine {
    /// Keeps what a run reports about its own end until its process is gone, as if it had written it to its
    /// result file.
    pub async fn keep_report(&self, run: &Run, report: &serde_json::Value) -> std::io::Result<()> {
        files::keep_report(&self.run_dir(run.id), report)
    }

    /// Ends the run of a service with what it reports. It is over when this returns.
    pub async fn finish_service(&self, run: &Run, report: &serde_json::Value) -> Result<Run, Refusal> {
        let outcome = reported(&report.to_string()).map_err(|problem| Refusal::invalid("body", problem))?;
        let log = conclude::log_of(self, run.id).await;
        self.finish(FinishRequest { log, ..conclude::request(self, run, outcome) }).await
    }
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
    let (live, lines) = LiveRun::begin(run);
    let in_flight = lines.in_flight.subscribe();
    let id = run.id;
    engine.live().insert(id, live);
    let work = task(engine.clone(), lines);
    let registered = Registered { engine: engine.clone(), id };
    engine.spawn(async move {
        let engine = &registered.engine;
        tokio::select! {
            () = work => engine.inner.archive.take(id),
            () = patrol::watch(engine, id) => {}
            // The run goes on with its shim; the next server finds it again.
            () = let_go(engine, in_flight) => {}
        }
    });
}

/// A run's place among the live ones; it is given up however its task ends.
struct Registered {
    engine: Engine,
    id: RunId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.engine.live().remove(&self.id);
        // The place it had on this host is free.
        self.engine.inner.nudge.changed();
    }
}

/// How long a stop waits for a service's answer, which nobody could take later.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Resolves when the server stops and nothing is in flight that would be lost with it.
async fn let_go(engine: &Engine, mut in_flight: watch::Receiver<bool>) {
    engine.stopping().await;
    // It does not matter whether the answer came, its task went, or the patience is over.
    tokio::time::timeout(ANSWER_PATIENCE, in_flight.wait_for(|is_in_flight| !is_in_flight)).await.ok();
}
