//! The ledger: what must have happened. It keeps rows of its own, changes them by its own reading of wakes.md, and
//! after every step they must be those of the store. Where the specification leaves a choice (which of two equals
//! starts, where jitter falls) it checks that the choice was allowed and follows it.
//!
//! Shares nothing with the domain but the names of things: a rule that is wrong there is not wrong here too.

mod accept;
mod children;
mod compare;
mod dispatch;
mod finish;
mod guards;
mod hours;
mod mail;
mod meddle;
mod subscriptions;
mod tasks;
mod why;

use std::collections::{BTreeMap, BTreeSet};

use wakeful_domain::id::{AgentId, CompanyId, RunId, SubscriptionId, TaskId, WakeupId};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::WakeupStatus;

use crate::deed::Deed;
use crate::heard::Told;
use crate::invariants::{
    Broken, FATE_IS_FINAL, OLD_FENCE_CHANGES_NOTHING, OPERATION_WORKS, REFUSED_CHANGES_NOTHING, require,
};
use crate::mirror::{Changes, Mirror, Wakeup};

pub use why::Reason;

/// What must be in the store.
#[derive(Debug, Default)]
pub struct Ledger {
    pub rows: Mirror,
    /// The first request under each key.
    keys: BTreeMap<(CompanyId, String), (WakeupId, Option<String>)>,
    /// The first request of each timer that was counted on another wakeup.
    counted_keys: BTreeMap<(CompanyId, String), (WakeupId, Option<String>)>,
    /// When runs were started for what other runs caused, by the root of the chain.
    root_runs: BTreeMap<(WakeupId, RunId), Timestamp>,
    /// What waits for somebody to be assigned to a task, in order.
    kept: Vec<(TaskId, children::Kept)>,
    /// The live runs that have closed their own task, and whether all children of its parent were closed then.
    closed_by: BTreeMap<RunId, bool>,
    /// Runs of children whose ends were not told, since something of theirs is to be tried again.
    untold: BTreeSet<RunId>,
    /// What each run was started for first of all.
    leads: BTreeMap<RunId, WakeupId>,
    /// Agents that are not there any more.
    deleted: BTreeSet<AgentId>,
    /// What each subscription was told at last.
    last_told: BTreeMap<SubscriptionId, String>,
    /// How many wakeups each run has completed, for the figures.
    pub completed: u64,
}

/// An operation, carried out or not, and what its caller heard.
#[derive(Debug)]
pub struct Written<'a> {
    pub deed: &'a Deed,
    pub is_kept: bool,
    pub refusal: Option<&'static str>,
    pub told: Option<&'a Told>,
}

impl Ledger {
    /// Takes the store as it is.
    pub fn begin(&mut self, mirror: &Mirror) {
        self.rows = mirror.clone();
    }

    /// Holds what an operation changed against what it should have changed.
    pub fn check(&mut self, written: &Written<'_>, changes: &Changes, mirror: &Mirror) -> Result<(), Broken> {
        if matches!(written.deed, Deed::Late) {
            let told = || format!("it was {written:?} and touched {:?}", changes.tables);
            let is_fenced = written.refusal == Some("fenced") && changes.tables.is_empty();
            // A commit that failed on purpose says nothing about what would have been answered.
            let is_silent = written.refusal.is_none() && written.told.is_none() && changes.tables.is_empty();
            return require(is_fenced || is_silent, OLD_FENCE_CHANGES_NOTHING, told);
        }
        self.check_fates(written.deed, changes)?;
        if !written.is_kept {
            require(changes.tables.is_empty(), REFUSED_CHANGES_NOTHING, || format!("touched {:?}", changes.tables))?;
        }
        self.apply(written, mirror)?;
        compare::rows(written.deed, &self.rows, mirror)
    }

    /// A terminal wakeup is not even touched in what the mirror sees of it.
    fn check_fates(&self, deed: &Deed, changes: &Changes) -> Result<(), Broken> {
        for (id, before, after) in &changes.wakeups {
            let Some(before) = before.as_ref().filter(|row| row.status.is_terminal()) else { continue };
            let retried = matches!(deed, Deed::Retry { wakeup, .. } if wakeup == id);
            // One row counts the ticks that a live run has satisfied.
            let is_counted = matches!(deed, Deed::Accept(_) | Deed::AcceptAll(_))
                && before.status == WakeupStatus::Coalesced
                && after.as_ref().is_some_and(|after| *after == Wakeup { count: after.count, ..before.clone() });
            let is_right =
                Some(before) == after.as_ref() || retried && before.status == WakeupStatus::Failed || is_counted;
            require(is_right, FATE_IS_FINAL, || format!("{id} was {before:?} and is {after:?} after {deed:?}"))?;
        }
        Ok(())
    }

    /// Does to the ledger's rows what the operation should have done, and holds the answer against that.
    fn apply(&mut self, written: &Written<'_>, mirror: &Mirror) -> Result<(), Broken> {
        match written.deed {
            Deed::Accept(wake) => self.accept(written, wake),
            Deed::AcceptAll(wakes) => self.accept_all(written, wakes),
            Deed::Dispatch { now, requests } => self.dispatch(written, *now, requests, mirror),
            Deed::Started(run) => self.started(written, *run),
            Deed::Acknowledge(request) => self.acknowledge(written, request),
            Deed::Finish(request) => self.finish(written, request, mirror),
            Deed::Cancel { now, wakeup } => self.cancel(written, *now, *wakeup),
            Deed::Retry { now, wakeup } => self.retry(written, *now, *wakeup),
            Deed::AgentState { now, agent, event, stop, is_deleted } => {
                self.agent_state(written, *now, *agent, *event, stop.as_ref(), *is_deleted, mirror)
            }
            Deed::CompanyState { company, state, stop } => self.company_state(written, *company, *state, stop.as_ref()),
            Deed::Stop { run, stop } => self.stop(written, *run, stop),
            Deed::AgentChange { now, agent, change } => self.agent_change(written, *now, *agent, change),
            Deed::CompanyChange { company, change } => self.company_change(written, *company, change),
            Deed::TaskInsert { origin, task, blocked_by } => {
                self.task_insert(written, origin, task, blocked_by, mirror)
            }
            Deed::TaskChange { origin, task, change } => self.task_change(written, origin, *task, change, mirror),
            Deed::Comment { origin, task, mentioned, reopen } => {
                self.comment(written, origin, *task, mentioned, *reopen, mirror)
            }
            Deed::Send { origin, letter } => self.send(written, origin, letter, mirror),
            Deed::ReadOutside { now, message } => self.read_outside(written, *now, *message),
            Deed::Subscribe(declaration) => self.declare(written, declaration, mirror),
            Deed::Unsubscribe(id) => self.unsubscribe(written, *id),
            Deed::Publish { origin, publication } => self.publish(written, origin, publication, mirror),
            Deed::CheckOut(request) => self.check_out(written, request, mirror),
            Deed::LetGo(request) => self.let_go(written, request),
            Deed::Tell | Deed::Late => Ok(()),
        }
    }
}

/// The caller was answered as the ledger expects: with this refusal, or with none.
fn expect(written: &Written<'_>, refusal: Option<&'static str>) -> Result<(), Broken> {
    let is_answered = written.refusal.is_some() || written.told.is_some();
    let is_right = !is_answered || written.refusal == refusal;
    require(is_right, OPERATION_WORKS, || format!("expected refusal {refusal:?}, found {written:?}"))
}

/// What orders wakeups: an hour of waiting is worth a hundred steps of priority.
fn rank_of(due_at: Timestamp, priority: i64) -> i64 {
    due_at.as_micros() + (100 - priority) * 36_000_000
}
