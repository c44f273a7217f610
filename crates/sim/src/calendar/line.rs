//! One schedule in the ledger: what its settings alone say must have a row, and the rows it has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wakeful_domain::schedule::{CatchUp, SlotStatus};
use wakeful_domain::time::Timestamp;

use super::nominal::Timing;
use super::rows::{Row, Standing};
use crate::invariants::{Broken, EVERY_SLOT_HAS_ITS_ROW, NO_SLOT_TWICE, SLOTS_AS_THE_POLICY_SAYS, require};

/// A slot that is no later was not missed.
const ON_TIME: Duration = Duration::from_secs(10);
/// Between two looks of nodes whose clocks nobody has set.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Line {
    pub timing: Timing,
    pub catch_up: CatchUp,
    pub stale_after: Option<Duration>,
    pub has_hours: bool,
    pub created: Timestamp,
    pub starts: Option<Timestamp>,
    pub ends: Option<Timestamp>,
    pub max_fires: Option<i64>,
    /// By how much it fires after its slots.
    pub offset: Duration,
    pub state: String,
    /// Every slot up to here has its row.
    pub settled: Timestamp,
    /// The nominal times that have come while it was active.
    pub due: BTreeSet<Timestamp>,
    pub rows: BTreeMap<Timestamp, Row>,
    /// Those that a person asked for: beside the slots, also if one is at the same moment.
    pub by_hand: BTreeSet<Timestamp>,
    /// How many of them fired.
    pub fires: i64,
}

impl Line {
    /// Where its slots begin.
    pub fn start(&self) -> Timestamp {
        self.starts.map_or(self.created, |at| at - Duration::from_micros(1)).max(self.created)
    }

    fn times(&self, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let until = self.ends.map_or(until, |ends| ends.min(until));
        self.timing.between(self.starts.unwrap_or(self.created), after, until)
    }

    /// Takes a row as it stands now.
    pub fn put(&mut self, slot: Timestamp, row: Option<&Row>) {
        let before = match row {
            Some(row) => self.rows.insert(slot, row.clone()),
            None => self.rows.remove(&slot),
        };
        let fires = |row: Option<&Row>| i64::from(row.is_some_and(|row| row.status == SlotStatus::Fired));
        self.fires += fires(row) - fires(before.as_ref());
    }

    /// The slot to come; none once it has fired as often as it may, or is over.
    pub fn next(&self) -> Option<Timestamp> {
        let is_over = self.max_fires.is_some_and(|most| self.fires >= most);
        let next = self.timing.next(self.starts.unwrap_or(self.created), self.settled);
        next.filter(|slot| !is_over && self.ends.is_none_or(|ends| *slot <= ends))
    }

    /// The nominal times that a row stands for; one that a person asked for may stand for none.
    pub fn covered(&self, slot: Timestamp, row: &Row) -> Vec<Timestamp> {
        self.times(slot - Duration::from_micros(1), row.last)
    }

    /// A dispatcher has looked at `now`, and has entered these rows.
    pub fn looked(&mut self, now: Timestamp, new: &[(Timestamp, Row)], store: Option<&Standing>) -> Result<(), Broken> {
        let told = |line: &Line, what: &str| {
            let settings = Line { due: BTreeSet::new(), rows: BTreeMap::new(), ..line.clone() };
            format!("{what} at {now}: {new:?} by {settings:?}")
        };
        let mut come = match self.state.as_str() {
            "active" if self.next().is_some() => self.times(self.settled, now - self.offset),
            _ => Vec::new(),
        };
        if let (Some(_), Some(last)) = (self.max_fires, store.and_then(|store| store.last_slot)) {
            // It need not look beyond what may be its last fire.
            come.retain(|at| *at <= last);
        }
        // Only after a clock was set back are there any.
        let later = self.rows.range(self.settled + Duration::from_micros(1)..);
        let already: BTreeSet<Timestamp> = later.flat_map(|(slot, row)| self.covered(*slot, row)).collect();
        let wanted: Vec<Timestamp> = come.iter().copied().filter(|at| !already.contains(at)).collect();
        let mut entered: Vec<Timestamp> = Vec::new();
        for (slot, row) in new {
            let covered = self.covered(*slot, row);
            let is_right =
                covered.len() as i64 == row.count && covered.first() == Some(slot) && covered.last() == Some(&row.last);
            require(is_right, EVERY_SLOT_HAS_ITS_ROW, || {
                told(self, &format!("the row at {slot} stands for other slots"))
            })?;
            entered.extend(covered);
        }
        require(entered.iter().all(|at| !already.contains(at)), NO_SLOT_TWICE, || told(self, "a second row"))?;
        require(entered == wanted, EVERY_SLOT_HAS_ITS_ROW, || told(self, &format!("{} have come", wanted.len())))?;
        self.judge(now, new).map_err(|what| Broken::new(SLOTS_AS_THE_POLICY_SAYS, told(self, what)))?;
        self.settled = come.last().copied().unwrap_or(self.settled).max(self.settled);
        self.due.extend(come);
        Ok(())
    }

    /// Whether what was late was caught up with as the settings say.
    fn judge(&self, now: Timestamp, new: &[(Timestamp, Row)]) -> Result<(), &'static str> {
        let lateness = |slot: Timestamp| now.since(slot + self.offset);
        let is_stale = |slot: Timestamp| self.stale_after.is_some_and(|most| lateness(slot) > most);
        let fires =
            |row: &Row| row.status != SlotStatus::Missed && row.reason.as_deref() != Some("outside_active_hours");
        let late = new.iter().filter(|(slot, row)| lateness(*slot) > ON_TIME && fires(row)).count();
        let most = match self.catch_up {
            CatchUp::Skip => 0,
            CatchUp::Latest => 1,
            CatchUp::All => 25,
        };
        for (slot, row) in new {
            if row.count == 1 && is_stale(*slot) && row.reason.as_deref() != Some("stale") {
                return Err("what is stale is not missed");
            }
            if row.count > 1 && row.status != SlotStatus::Missed {
                return Err("several slots were not missed, in one row");
            }
        }
        let was_down = new.iter().any(|(slot, _)| lateness(*slot) > ON_TIME);
        let is_missed = |row: &Row| row.status == SlotStatus::Missed && row.reason.as_deref() != Some("stale");
        let missed = new.iter().filter(|(_, row)| is_missed(row)).count();
        let newest = new.last().filter(|(slot, row)| !self.has_hours && row.count == 1 && !is_stale(*slot));
        if late > most {
            return Err("more was caught up with than the policy lets");
        }
        if missed > 0 && !was_down {
            return Err("something was missed while nobody was away");
        }
        if newest.is_some_and(|(_, row)| !fires(row)) && self.catch_up != CatchUp::Skip && self.rows.is_empty() {
            return Err("the newest was not caught up with");
        }
        Ok(())
    }

    /// Its settings have changed: it goes on from now.
    pub fn changed(&mut self, now: Timestamp, state: &str) {
        self.settled = self.settled.max(now);
        self.state = state.into();
    }

    /// The clock was set back: what was said to be missed and has not come yet is forgotten.
    pub fn rewound(&mut self, now: Timestamp) -> bool {
        if self.settled <= now + CLOCK_SLACK {
            return false;
        }
        self.settled = now.max(self.start());
        true
    }
}
