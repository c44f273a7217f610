//! Guards against loops: the circuit of a lane whose runs fail in a row, and runs counted by the root of their chain.

use std::time::Duration;

use wakeful_domain::id::RunId;
use wakeful_domain::time::Timestamp;

use super::Ledger;
use crate::mirror::{LaneRow, Wakeup};

/// A chain of causes longer than this is a loop.
const DEPTH_MAX: i64 = 32;
const HOUR: Duration = Duration::from_secs(3_600);
/// So many failures within this time, with no success between them, open a circuit.
const FAILURES_MAX: usize = 5;
const FAILURES_WITHIN: Duration = Duration::from_secs(1_800);

/// A run of the lane has failed.
pub(super) fn failed(lane: &mut LaneRow, now: Timestamp) {
    lane.failures += 1;
    let first = (lane.failed_at.len() + 1).saturating_sub(FAILURES_MAX);
    lane.failed_at.drain(..first);
    let oldest = lane.failed_at.first().copied().unwrap_or(now);
    let is_burst = lane.failed_at.len() + 1 == FAILURES_MAX && now.since(oldest) <= FAILURES_WITHIN;
    if is_burst && lane.circuit_opened_at.is_none() {
        lane.circuit_opened_at = Some(now);
    }
    // Kept to the millisecond.
    lane.failed_at.push(Timestamp::from_millis(now.as_millis()));
}

/// A run of the lane has succeeded.
pub(super) fn succeeded(lane: &mut LaneRow) {
    lane.failures = 0;
    lane.failed_at.clear();
}

/// Somebody lets an open circuit close.
pub(super) fn closed(lane: &mut LaneRow) {
    if lane.circuit_opened_at.take().is_some() {
        succeeded(lane);
    }
}

impl Ledger {
    /// Whether one more wake of this chain is too many.
    pub(super) fn is_loop(&self, row: &Wakeup, now: Timestamp) -> bool {
        let within = self.root_runs.iter().filter(|((root, _), at)| *root == row.root && **at > now - HOUR);
        let most = self.rows.companies[&row.company].runs_per_root_hour;
        row.depth > DEPTH_MAX || row.depth > 0 && within.count() as i64 >= most
    }

    /// A run counts for every chain that it was started for.
    pub(super) fn count_for_roots(&mut self, run: RunId, now: Timestamp) {
        let batch: Vec<_> = self.rows.batches.get(&run).into_iter().flatten().collect();
        let caused = batch.iter().map(|id| &self.rows.wakeups[id]).filter(|row| row.depth > 0);
        let roots: Vec<_> = caused.map(|row| row.root).collect();
        if !roots.is_empty() {
            // What a clock has put more than an hour back is forgotten, whatever another clock says.
            self.root_runs.retain(|_, at| *at > now - HOUR);
        }
        self.root_runs.extend(roots.into_iter().map(|root| ((root, run), now)));
    }
}
