//! What a start has found and made good: live runs of the life before, slots that came while nobody was there, and
//! whether the store is sound. Told once in the log, and by `GET /server` as long as the server runs.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;
use wakeful_store::ops::firing::Fired;
use wakeful_store::ops::invariants;

use crate::clock;
use crate::engine::Engine;

/// What became of a live run of the life before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundAgain {
    /// Its shim lives, and its log is read on.
    Attached,
    /// It ended meanwhile and left its exit record.
    EndedMeanwhile,
    /// Its shim died: what it has left behind is ended, and the run is `lost`.
    Died,
    /// It was claimed, but its agent was never started: its wakeups go back.
    NeverStarted,
    /// A service does its work.
    Service,
}

/// The counts of a recovery.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recovery {
    pub live_runs: usize,
    pub attached: usize,
    pub ended_meanwhile: usize,
    pub died: usize,
    pub never_started: usize,
    pub services: usize,
    /// Slots that the first look of the dispatcher fired, and those that it says were missed.
    pub slots_fired: u64,
    pub slots_missed: u64,
    /// Invariants of the store that do not hold; null until they are checked.
    pub violations: Option<usize>,
    /// From the start until all of this was known; null until then.
    pub took_ms: Option<u64>,
}

impl Recovery {
    fn counted(&self) -> usize {
        self.attached + self.ended_meanwhile + self.died + self.never_started + self.services
    }
}

#[derive(Debug, Default)]
struct State {
    counts: Recovery,
    has_begun: bool,
    has_looked: bool,
}

/// A recovery under way, and then what came of it.
#[derive(Debug, Default)]
pub(crate) struct Recovering {
    state: Mutex<State>,
    changed: Notify,
}

impl Recovering {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// How many live runs the store names.
    pub fn begin(&self, live_runs: usize) {
        self.change(|state| (state.has_begun, state.counts.live_runs) = (true, live_runs));
    }

    /// What became of one of them. Later ones are no part of the recovery.
    pub fn found(&self, found: FoundAgain) {
        self.change(|state| {
            let counts = &mut state.counts;
            if counts.counted() == counts.live_runs {
                return;
            }
            match found {
                FoundAgain::Attached => counts.attached += 1,
                FoundAgain::EndedMeanwhile => counts.ended_meanwhile += 1,
                FoundAgain::Died => counts.died += 1,
                FoundAgain::NeverStarted => counts.never_started += 1,
                FoundAgain::Service => counts.services += 1,
            }
        });
    }

    /// What schedules did, as long as the dispatcher has not done all that was due.
    pub fn fired(&self, fired: &Fired) {
        self.change(|state| {
            if !state.has_looked {
                state.counts.slots_fired += fired.fires as u64;
                state.counts.slots_missed += fired.missed;
            }
        });
    }

    /// The dispatcher has done all that was due.
    pub fn looked(&self) {
        self.change(|state| state.has_looked = true);
    }

    fn is_known(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.has_begun && state.has_looked && state.counts.counted() == state.counts.live_runs
    }
}

impl Engine {
    /// What this start has found, as far as it is known.
    pub fn recovery(&self) -> Recovery {
        self.inner.recovering.state.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }
}

/// Waits until everything is found again and what was due is done, checks the store, and tells.
pub(crate) async fn report(engine: &Engine) {
    let (began, recovering) = (clock::monotonic(), &engine.inner.recovering);
    while !recovering.is_known() {
        tokio::select! {
            () = engine.stopping() => return,
            () = recovering.changed.notified() => {}
        }
    }
    let violations = engine.db().read("invariants.check", (), |tx, ()| Box::pin(invariants::check(tx))).await;
    let violations = violations.map_err(|refusal| tracing::error!("the store could not be checked: {refusal}")).ok();
    for violation in violations.iter().flatten() {
        tracing::error!("{}: {} ({})", violation.invariant.name, violation.invariant.statement, violation.subject);
    }
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    recovering.change(|state| {
        (state.counts.violations, state.counts.took_ms) = (violations.map(|found| found.len()), Some(took_ms));
    });
    let told = engine.recovery();
    tracing::info!(
        attached = told.attached,
        ended_meanwhile = told.ended_meanwhile,
        died = told.died,
        never_started = told.never_started,
        services = told.services,
        slots_fired = told.slots_fired,
        slots_missed = told.slots_missed,
        violations = told.violations,
        "everything is found again after {took_ms} ms: {} live runs of before, {} slots fired and {} missed",
        told.live_runs,
        told.slots_fired,
        told.slots_missed
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_every_run_is_found_and_all_that_was_due_is_done() {
        let recovering = Recovering::default();
        recovering.looked();
        assert!(!recovering.is_known(), "nobody has said how many there are");
        recovering.begin(2);
        recovering.found(FoundAgain::Attached);
        assert!(!recovering.is_known());
        recovering.found(FoundAgain::Died);
        assert!(recovering.is_known());
        // One that the sweep finds later is no part of it.
        recovering.found(FoundAgain::Attached);
        let state = recovering.state.lock().unwrap();
        assert_eq!((state.counts.attached, state.counts.died), (1, 1));
    }
}
