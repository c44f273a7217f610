//! The dispatcher's beat: look, start what may start, sleep until something is due or someone
//! nudges. The hint is armed before the look, so nothing that comes in between is missed. A slow
//! sweep exists only as a safety net and counts what it had to repair.

use std::time::Duration;

use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::Host;
use wakeful_store::Refusal;
use wakeful_store::ops::claim::ClaimRequest;
use wakeful_store::ops::dispatch::{Dispatched, dispatch};
use wakeful_store::ops::runs;
use wakeful_store::ops::timers::TimerReport;

use crate::engine::Engine;
use crate::meters::Meter;
use crate::pressure::LOOK_AGAIN;
use crate::token::{TokenKind, hash_of, mint};
use crate::{clock, run};

/// Between sweeps while a run is live.
const SWEEP_BUSY: Duration = Duration::from_secs(30);
/// Between sweeps while nothing is.
const SWEEP_IDLE: Duration = Duration::from_secs(5 * 60);
/// After an error of the store.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// Runs claimed in one transaction.
const CLAIMS_MAX: usize = 16;

impl Engine {
    /// The next look of the dispatcher comes this long behind the last at the latest, whether or not there is anything to do.
    pub fn beats_within(&self) -> Duration {
        if self.live().is_empty() { SWEEP_IDLE } else { SWEEP_BUSY }
    }

    /// Asks the dispatcher for a beat, whatever is due.
    pub fn beat_soon(&self) {
        self.inner.nudge.changed();
    }
}

/// Dispatches until the engine stops.
pub async fn run(engine: &Engine) {
    let mut swept_at = clock::monotonic();
    let mut is_sweep = false;
    loop {
        let looked = match look(engine).await {
            Ok(look) => {
                engine.inner.recovering.looked();
                look
            }
            Err(refusal) => {
                engine.inner.room.after(&refusal);
                tracing::error!("the dispatcher could not read the store and tries again: {refusal}");
                Look { started: 0, next_at: Some(clock::now() + PAUSE_AFTER_ERROR) }
            }
        };
        if is_sweep {
            let repaired = looked.started + adopt_forgotten(engine).await;
            (0..repaired).for_each(|_| engine.inner.meters.count(Meter::SweepRepairs));
            swept_at = clock::monotonic();
        }
        engine.inner.meters.beat(clock::now());
        // Counted from the last sweep: a busy server, nudged all the time, is swept too.
        let sweep_at = swept_at + engine.beats_within();
        let due_in = looked.next_at.map(|at| at.since(clock::now()));
        is_sweep = tokio::select! {
            biased;
            () = engine.stopping() => return,
            () = tokio::time::sleep_until(sweep_at.into()) => true,
            () = engine.inner.nudge.dispatch() => false,
            () = tokio::time::sleep(due_in.unwrap_or(SWEEP_IDLE)) => false,
        };
    }
}

struct Look {
    started: usize,
    next_at: Option<Timestamp>,
}

/// Does all that is due, then starts all that may start.
async fn look(engine: &Engine) -> Result<Look, Refusal> {
    if engine.held().is_some() {
        // Somebody who lets it go on nudges.
        return Ok(Look { started: 0, next_at: None });
    }
    let mut started = 0;
    // One at first: most nudges are about a single wake, and preparing claims has a cost.
    let mut wanted = 1;
    loop {
        let now = clock::now();
        let host = engine.host();
        let claims = prepare(engine, host, wanted, now);
        let (timers, claimed) = dispatched(engine, now, claims).await?;
        started += claimed;
        engine.inner.meters.beat(clock::now());
        let has_more_timers = timers.next_at.is_some_and(|at| at <= now);
        if claimed < wanted && !has_more_timers {
            // Nobody tells when memory comes free.
            let again = host.pressure.map(|_| now + LOOK_AGAIN);
            return Ok(Look { started, next_at: timers.next_at.into_iter().chain(again).min() });
        }
        wanted = CLAIMS_MAX;
    }
}

/// One transaction, and then the start of what it claimed.
async fn dispatched(
    engine: &Engine,
    now: Timestamp,
    claims: Vec<(ClaimRequest, String)>,
) -> Result<(TimerReport, usize), Refusal> {
    let (requests, tokens): (Vec<_>, Vec<_>) = claims.into_iter().unzip();
    let Dispatched { budgets, fired, woken, timers, claimed } =
        engine.db().write("dispatch", (now, requests), |tx, told| Box::pin(dispatch(tx, told))).await?;
    engine.after_budgets(&budgets);
    engine.after_firing(&fired);
    engine.inner.recovering.fired(&fired);
    let count = claimed.len();
    for (claimed, token) in claimed.into_iter().zip(tokens) {
        engine.inner.meters.runs.claimed(&claimed.run, &claimed.wakeups);
        run::spawn_claimed(engine, claimed, token);
    }
    if count > 0 || woken > 0 || timers.expired > 0 || fired.schedules > 0 {
        engine.inner.nudge.told();
    }
    Ok((timers, count))
}

/// Ids and tokens for up to `wanted` runs, as far as this host has room for them.
fn prepare(engine: &Engine, host: Host, wanted: usize, now: Timestamp) -> Vec<(ClaimRequest, String)> {
    let room = if host.starts_nothing() { 0 } else { host.live_runs_max.saturating_sub(host.live_runs).min(wanted) };
    let claim = |_| match mint(TokenKind::Run) {
        Ok(token) => Some((ClaimRequest { now, run: engine.new_id(), token_hash: hash_of(&token) }, token)),
        Err(error) => {
            tracing::error!("the system has no randomness to give, so no run can be started: {error}");
            None
        }
    };
    (0..room).map_while(claim).collect()
}

/// Live runs of the store that no task follows; only a bug of ours leaves any.
async fn adopt_forgotten(engine: &Engine) -> usize {
    let live = match engine.db().read("run.live", (), |tx, ()| Box::pin(runs::live(tx))).await {
        Ok(live) => live,
        Err(refusal) => {
            tracing::error!("the sweep could not read the live runs: {refusal}");
            return 0;
        }
    };
    let forgotten: Vec<_> = live.into_iter().filter(|run| !engine.live().contains_key(&run.id)).collect();
    let count = forgotten.len();
    for found in forgotten {
        tracing::warn!(run.id = %found.id, "run {} was followed by nobody; it is now", found.id);
        run::spawn_adopted(engine, found);
    }
    count
}
