//! The world of one seed: the store, the one source of chance, the time that only the world moves, and the one way in
//! which anybody writes. After each write the mirror is brought up to date and the ledger compares.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use wakeful_domain::id::{Id, IdSource, Kind, RunId};
use wakeful_domain::time::Timestamp;
use wakeful_store::{Commit, Direct, Error, Operation, Refusal};

use crate::deed::Deed;
use crate::heard::Heard;
use crate::invariants::{Broken, OPERATION_WORKS};
use crate::ledger::{Ledger, Written};
use crate::mirror::{self, Mirror};
use crate::node::Node;
use crate::shim::Shim;
use crate::temper::Temper;
use crate::town::Town;
use crate::trace::{START, Trace};

/// What the caller of an operation hears.
#[derive(Debug)]
pub enum Answer<T> {
    Done(T),
    Refused(Refusal),
    /// It may have been carried out or not.
    Nothing,
}

impl<T> Answer<T> {
    pub fn done(self) -> Option<T> {
        match self {
            Answer::Done(value) => Some(value),
            Answer::Refused(_) | Answer::Nothing => None,
        }
    }
}

/// One seed's world.
pub struct World {
    pub store: Direct,
    pub chance: Rng,
    pub now: Timestamp,
    pub temper: Temper,
    pub mirror: Mirror,
    pub ledger: Ledger,
    pub trace: Trace,
    pub town: Town,
    pub nodes: Vec<Node>,
    /// The launches of each run, on the machine of the node that made them.
    pub shims: BTreeMap<RunId, Vec<Shim>>,
    /// Which node a run was claimed by, and until when it is taken to be in good hands.
    pub homes: BTreeMap<RunId, Home>,
    /// Whether faults may still happen.
    pub is_troubled: bool,
    ids: IdSource,
}

/// Where a run lives.
#[derive(Debug, Clone, Copy)]
pub struct Home {
    pub node: usize,
    pub lease_until: Timestamp,
}

impl World {
    /// An empty world; `town::found` peoples it.
    pub fn new(mut store: Direct, seed: u64) -> Result<World, Broken> {
        store.write("sim.watch", &(), |tx, ()| Box::pin(mirror::watch(tx)), Commit::Kept).map_err(unexpected)?;
        let mut chance = Rng::with_seed(seed);
        let temper = Temper::draw(&mut chance, &mut Rng::with_seed(!seed));
        let nodes = (0..temper.nodes).map(|number| Node::new(number, &mut chance, &temper)).collect();
        Ok(World {
            store,
            temper,
            nodes,
            ids: IdSource::new(chance.u64(..)),
            chance,
            now: START,
            mirror: Mirror::default(),
            ledger: Ledger::default(),
            trace: Trace::default(),
            town: Town::default(),
            shims: BTreeMap::new(),
            homes: BTreeMap::new(),
            is_troubled: true,
        })
    }

    pub fn id<K: Kind>(&mut self) -> Id<K> {
        self.ids.next(self.now)
    }

    /// Short name of a thing.
    pub fn name<K: Kind>(&mut self, id: Id<K>) -> String {
        self.trace.name(id)
    }

    pub fn tell(&mut self, told: &str) {
        self.trace.tell(self.now, told);
    }

    pub fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Whether something of `share` in a thousand happens now.
    pub fn happens(&mut self, share: u32) -> bool {
        self.chance.u32(0..1_000) < share
    }

    /// Whether the next thing is about subscriptions. Lives that know none are as they were before there were any.
    pub fn is_about_subscriptions(&mut self) -> bool {
        self.temper.subscribing > 0 && self.happens(self.temper.subscribing)
    }

    /// One of these, if there are any.
    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.chance.usize(0..all.len())].clone()) }
    }

    fn commit(&mut self) -> Commit {
        let faults = if self.is_troubled { self.temper.commit_faults } else { 0 };
        if !self.happens(faults) {
            Commit::Kept
        } else if self.chance.bool() {
            Commit::Lost
        } else {
            Commit::Unanswered
        }
    }

    /// Carries out an operation, as any part of the server does, and holds it against the ledger.
    pub fn write<A, T: Heard>(
        &mut self,
        told: &str,
        deed: Deed,
        arguments: &A,
        operation: Operation<A, T>,
    ) -> Result<Answer<T>, Broken> {
        let commit = self.commit();
        let (answer, is_kept) = match self.store.write("sim", arguments, operation, commit) {
            Ok(value) => (Answer::Done(value), true),
            Err(Refusal::Store(Error::Engine { what: "commit", .. })) if commit != Commit::Kept => {
                (Answer::Nothing, commit == Commit::Unanswered)
            }
            Err(Refusal::Store(error)) => return Err(Broken::new(OPERATION_WORKS, format!("{told}: {error}"))),
            Err(refusal) => (Answer::Refused(refusal), false),
        };
        let told_back = match &answer {
            Answer::Done(value) => Some(value.told()),
            Answer::Refused(_) | Answer::Nothing => None,
        };
        let heard = match (&answer, is_kept) {
            (Answer::Done(value), _) => value.told().to_string(),
            (Answer::Refused(refusal), _) => format!("refused {}", code_of(refusal)),
            (Answer::Nothing, true) => "no answer, kept".to_owned(),
            (Answer::Nothing, false) => "no answer, lost".to_owned(),
        };
        let heard = self.trace.shortened(&heard);
        self.trace.tell(self.now, &format!("{told}: {heard}"));
        let (changes, violations) = self.mirror.look(&mut self.store).map_err(unexpected)?;
        if let Some(violation) = violations.into_iter().next() {
            return Err(Broken { invariant: violation.invariant, detail: format!("{told}: {}", violation.subject) });
        }
        let refusal = match &answer {
            Answer::Refused(refusal) => Some(code_of(refusal)),
            Answer::Done(_) | Answer::Nothing => None,
        };
        let written = Written { deed: &deed, is_kept, refusal, told: told_back.as_ref() };
        self.ledger.check(&written, &changes, &self.mirror)?;
        Ok(answer)
    }

    /// Looks something up.
    pub fn read<A, T>(&mut self, arguments: &A, operation: Operation<A, T>) -> Result<T, Broken> {
        self.store.read("sim", arguments, operation).map_err(unexpected)
    }
}

/// What callers branch on.
pub fn code_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound { .. } => "not_found",
        Refusal::Conflict { code, .. } | Refusal::TooMany { code, .. } => code,
        Refusal::Invalid { .. } => "invalid",
        Refusal::Store(_) => "store",
    }
}

fn unexpected(refusal: Refusal) -> Broken {
    Broken::new(OPERATION_WORKS, refusal.to_string())
}
