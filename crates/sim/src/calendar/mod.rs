//! A life of schedules: several nodes look for what is due, ask gates and answer late, twice or never; people make,
//! change and remove schedules; clocks jump, nobody is there for hours, and every other operation is one crash or
//! another. The [`ledger`] reckons from the settings alone which nominal times must have a row.
//!
//! Lives of their own, beside those of the town: here nearly every step is about a slot, so a million crashes fit.

mod deeds;
mod ledger;
mod line;
mod nominal;
mod rows;

use std::time::Duration;

use fastrand::Rng;
use wakeful_domain::id::{AgentId, CompanyId, Id, IdSource, Kind, RunId};
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::invariants;
use wakeful_store::ops::questions::{Answered, Question};
use wakeful_store::{Commit, Direct, Error, Operation, Refusal};

use crate::invariants::{Broken, OPERATION_WORKS};
use crate::life::{Failed, Lived, Place, TAIL_LINES, open};
use crate::trace::{START, Trace};
use ledger::{Deed, Ledger};

/// The store's own invariants look at every row, so only now and then.
const STEPS_BETWEEN_CHECKS: u32 = 25;
/// A life begins within so many days, so that many see a change of clocks.
const DAYS_OF_BEGINNINGS: u64 = 330;

/// A server: what its clock is ahead by, and what it knows; a crash leaves it none of that.
#[derive(Debug, Default)]
struct Node {
    skew_s: i64,
    questions: Vec<Question>,
    /// The last that was given.
    answer: Option<Answered>,
}

/// The world of such a life.
struct Calendar {
    store: Direct,
    chance: Rng,
    now: Timestamp,
    trace: Trace,
    ids: IdSource,
    ledger: Ledger,
    nodes: Vec<Node>,
    company: CompanyId,
    agents: Vec<AgentId>,
    runs: Vec<(RunId, i64)>,
    /// Share of operations in a thousand in which there is a crash.
    crash_share: u32,
    crashes: u64,
    /// Whether nobody is there for hours now and then, and whether clocks are set: each hides what shows without it.
    has_downtimes: bool,
    has_clocks_set: bool,
}

/// Lives one life of schedules.
pub fn live_by_schedules(seed: u64, steps: u32, place: Place<'_>) -> Result<Lived, Box<Failed>> {
    let failed = |step, broken, tail| Box::new(Failed { seed, steps, step, broken, tail, flag: " --schedules" });
    let mut calendar = match open(place).and_then(|store| Calendar::new(store, seed)) {
        Ok(calendar) => calendar,
        Err(broken) => return Err(failed(0, broken, Vec::new())),
    };
    match calendar.live(steps) {
        Ok((wakeups, runs)) => Ok(Lived {
            trace: calendar.trace.text().to_owned(),
            steps: calendar.trace.step,
            wakeups,
            runs,
            slots: calendar.ledger.slots(),
            crashes: calendar.crashes,
        }),
        Err(broken) => Err(failed(calendar.trace.step, broken, calendar.trace.tail(TAIL_LINES))),
    }
}

impl Calendar {
    fn new(mut store: Direct, seed: u64) -> Result<Calendar, Broken> {
        store.write("watch", &(), |tx, ()| Box::pin(rows::watch(tx)), Commit::Kept).map_err(unexpected)?;
        let mut chance = Rng::with_seed(seed);
        let now = START + Duration::from_secs(chance.u64(0..DAYS_OF_BEGINNINGS * 86_400));
        let mut ids = IdSource::new(seed);
        let company = ids.next(now);
        let nodes =
            (0..chance.usize(1..=3)).map(|_| Node { skew_s: chance.i64(-20..=20), ..Node::default() }).collect();
        let crash_share = if chance.u32(0..5) == 0 { chance.u32(0..300) } else { chance.u32(500..900) };
        let (has_downtimes, has_clocks_set) = (chance.u32(0..2) == 0, chance.u32(0..3) == 0);
        Ok(Calendar {
            store,
            chance,
            now,
            trace: Trace::default(),
            ids,
            ledger: Ledger::default(),
            nodes,
            company,
            agents: Vec::new(),
            runs: Vec::new(),
            crash_share,
            crashes: 0,
            has_downtimes,
            has_clocks_set,
        })
    }

    fn live(&mut self, steps: u32) -> Result<(usize, usize), Broken> {
        self.found()?;
        for step in 1..=steps {
            self.trace.step = step;
            self.step()?;
            if step % STEPS_BETWEEN_CHECKS == 0 {
                self.check_store()?;
            }
        }
        self.trace.step += 1;
        self.calm()?;
        self.check_store()?;
        let made = self.read(&(), |tx, ()| Box::pin(rows::made(tx)))?;
        self.ledger.close(&made)?;
        Ok((made.len(), self.runs.len()))
    }

    fn id<K: Kind>(&mut self) -> Id<K> {
        self.ids.next(self.now)
    }

    fn clock(&self, node: usize) -> Timestamp {
        Timestamp::from_micros(self.now.as_micros() + self.nodes[node].skew_s * 1_000_000)
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.chance.usize(0..all.len())].clone()) }
    }

    /// Carries out an operation of a node, which may crash in the middle of it or before it has the answer.
    fn write<A, T>(
        &mut self,
        node: usize,
        deed: Deed,
        arguments: &A,
        operation: Operation<A, T>,
    ) -> Result<Option<T>, Broken> {
        let commit = match self.chance.u32(0..1_000) < self.crash_share {
            false => Commit::Kept,
            true if self.chance.bool() => Commit::Lost,
            true => Commit::Unanswered,
        };
        let answer = self.store.write("sim", arguments, operation, commit);
        let (value, is_kept, told) = match answer {
            Ok(value) => (Some(value), true, "done".to_owned()),
            Err(Refusal::Store(Error::Engine { what: "commit", .. })) if commit != Commit::Kept => {
                self.crashes += 1;
                self.nodes[node] = Node { skew_s: self.nodes[node].skew_s, ..Node::default() };
                (None, commit == Commit::Unanswered, format!("crashed, {commit:?}"))
            }
            Err(Refusal::Store(error)) => return Err(Broken::new(OPERATION_WORKS, format!("{deed:?}: {error}"))),
            Err(refusal) => (None, false, refusal.to_string()),
        };
        self.trace.tell(self.now, &format!("node {node} {deed:?}: {told}"));
        let touched = self.store.write("look", &(), |tx, ()| Box::pin(rows::look(tx)), Commit::Kept);
        self.ledger.check(&deed, is_kept, &touched.map_err(unexpected)?)?;
        Ok(value)
    }

    fn read<A, T>(&mut self, arguments: &A, operation: Operation<A, T>) -> Result<T, Broken> {
        self.store.read("sim", arguments, operation).map_err(unexpected)
    }

    fn check_store(&mut self) -> Result<(), Broken> {
        let violations = self.read(&(), |tx, ()| Box::pin(invariants::check(tx)))?;
        match violations.into_iter().next() {
            None => Ok(()),
            Some(violation) => Err(Broken { invariant: violation.invariant, detail: violation.subject }),
        }
    }
}

fn unexpected(refusal: Refusal) -> Broken {
    Broken::new(OPERATION_WORKS, refusal.to_string())
}
