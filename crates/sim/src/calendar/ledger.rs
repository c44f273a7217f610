//! The ledger of schedules: after every step, what it has touched is what the step was to touch.

use std::collections::{BTreeMap, BTreeSet};

use wakeful_domain::id::ScheduleId;
use wakeful_domain::schedule::SlotStatus;
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::questions::Answered;

use super::line::Line;
use super::rows::{Row, Standing, Touched};
use crate::invariants::{
    Broken, EVERY_SLOT_HAS_ITS_ROW, FIRES_ARE_COUNTED, NEXT_IS_RIGHT, NO_SLOT_TWICE, NOTHING_ELSE_CHANGES,
    OLD_FENCE_CHANGES_NOTHING, REFUSED_CHANGES_NOTHING, SLOTS_AS_THE_POLICY_SAYS, require,
};

/// What was asked of the store.
#[derive(Debug)]
pub enum Deed {
    Look(Timestamp),
    Ask,
    Answer(Answered),
    Make(ScheduleId, Box<Line>),
    Change(Timestamp, ScheduleId, &'static str),
    ByHand(Timestamp, ScheduleId),
    Remove(ScheduleId),
    Rewind(Timestamp),
    /// Nothing about schedules.
    Other,
}

/// All schedules, those that are gone too.
#[derive(Debug, Default)]
pub struct Ledger {
    pub lines: BTreeMap<ScheduleId, Line>,
    removed: Vec<Line>,
}

impl Ledger {
    /// Holds what an operation touched against what it should have.
    pub fn check(&mut self, deed: &Deed, is_kept: bool, touched: &Touched) -> Result<(), Broken> {
        if !is_kept {
            return require(touched.is_empty(), REFUSED_CHANGES_NOTHING, || format!("{deed:?} touched {touched:?}"));
        }
        let mut rewound = Vec::new();
        match deed {
            Deed::Make(id, line) => {
                self.lines.insert(*id, (**line).clone());
            }
            Deed::Remove(id) => {
                let is_whole = touched.slots.iter().all(|(of, _, row)| of == id && row.is_none());
                require(is_whole, NOTHING_ELSE_CHANGES, || format!("{id} is removed: {touched:?}"))?;
                self.removed.extend(self.lines.remove(id));
                return Ok(());
            }
            Deed::Change(now, id, state) => {
                if let Some(line) = self.lines.get_mut(id) {
                    line.changed(*now, state);
                }
            }
            Deed::Look(now) => self.looked(*now, touched)?,
            Deed::Rewind(now) => rewound = self.rewound(*now),
            Deed::Ask | Deed::Answer(_) | Deed::ByHand(..) | Deed::Other => {}
        }
        for (id, slot, row) in &touched.slots {
            let Some(line) = self.lines.get_mut(id) else {
                return Err(Broken::new(NOTHING_ELSE_CHANGES, format!("{id} has a slot, and does not exist")));
            };
            let before = line.rows.get(slot);
            permit(deed, line, (*id, *slot), before, row.as_ref())?;
            line.put(*slot, row.as_ref());
            if matches!(deed, Deed::ByHand(..)) {
                line.by_hand.insert(*slot);
            }
        }
        for line in rewound.iter().filter_map(|id| self.lines.get(id)) {
            let missed = line
                .rows
                .range(line.settled..)
                .find(|(slot, row)| **slot > line.settled && row.status == SlotStatus::Missed);
            require(missed.is_none(), SLOTS_AS_THE_POLICY_SAYS, || format!("missed before its time: {missed:?}"))?;
        }
        for (id, standing) in &touched.schedules {
            let line = self.lines.get_mut(id).zip(standing.as_ref());
            let Some((line, standing)) = line else { continue };
            stands(deed, line, standing)
                .map_err(|broken| Broken { detail: format!("{id} after {deed:?}: {}", broken.detail), ..broken })?;
        }
        Ok(())
    }

    fn looked(&mut self, now: Timestamp, touched: &Touched) -> Result<(), Broken> {
        for (id, line) in &mut self.lines {
            let of_line = touched.slots.iter().filter(|(of, slot, _)| of == id && !line.rows.contains_key(slot));
            let new: Vec<(Timestamp, Row)> =
                of_line.filter_map(|(_, slot, row)| row.clone().map(|row| (*slot, row))).collect();
            let standing =
                touched.schedules.iter().find(|(of, _)| of == id).and_then(|(_, standing)| standing.as_ref());
            line.looked(now, &new, standing)?;
        }
        Ok(())
    }

    /// Tells which schedules go on from now.
    fn rewound(&mut self, now: Timestamp) -> Vec<ScheduleId> {
        let mut rewound = Vec::new();
        for (id, line) in &mut self.lines {
            if !line.rewound(now) {
                continue;
            }
            let kept = |slot: &Timestamp, row: &Row| *slot > now && row.status != SlotStatus::Missed;
            let later: BTreeSet<Timestamp> =
                line.rows.iter().filter(|(slot, row)| kept(slot, row)).map(|(slot, _)| *slot).collect();
            line.due.retain(|at| *at <= now || later.contains(at));
            rewound.push(*id);
        }
        rewound
    }

    /// At the end, from scratch: what has come has its row, once, and what was made was made by a slot.
    pub fn close(&self, made: &[(String, String)]) -> Result<(), Broken> {
        let mut by_slots: BTreeMap<(&str, String), usize> = BTreeMap::new();
        let asked = self.asked();
        require(asked.is_empty(), EVERY_SLOT_HAS_ITS_ROW, || format!("still asked: {asked:?}"))?;
        for line in self.lines.values().chain(&self.removed) {
            let mut covered: BTreeMap<Timestamp, usize> = BTreeMap::new();
            for (slot, row) in &line.rows {
                let one = usize::from(!line.by_hand.contains(slot));
                line.covered(*slot, row).into_iter().for_each(|at| *covered.entry(at).or_default() += one);
                let is_fired = row.status == SlotStatus::Fired;
                if let Some(wakeup) = row.wakeup {
                    *by_slots.entry(("wakeup", wakeup.to_string())).or_default() += usize::from(is_fired);
                }
                if let Some(task) = row.task {
                    *by_slots.entry(("task", task.to_string())).or_default() += usize::from(is_fired);
                }
            }
            let twice = covered.iter().find(|(_, count)| **count > 1);
            require(twice.is_none(), NO_SLOT_TWICE, || format!("{twice:?} of {line:?}"))?;
            let missing = line.due.iter().find(|at| !covered.contains_key(at));
            require(missing.is_none(), EVERY_SLOT_HAS_ITS_ROW, || format!("{missing:?} of {line:?}"))?;
        }
        let twice = by_slots.iter().find(|(_, fires)| **fires > 1);
        require(twice.is_none(), NO_SLOT_TWICE, || format!("two slots fired {twice:?}"))?;
        for (what, id) in made {
            let is_known = what != "assigned" && by_slots.contains_key(&(what.as_str(), id.clone()));
            require(is_known, NO_SLOT_TWICE, || format!("no slot has made {what} {id}, or it came twice"))?;
        }
        let count = by_slots.len();
        require(made.len() == count, EVERY_SLOT_HAS_ITS_ROW, || {
            format!("{count} were made by slots, {} are there", made.len())
        })
    }

    /// The slots that are being asked about.
    pub fn asked(&self) -> Vec<(ScheduleId, Timestamp, &Row)> {
        let all = self.lines.iter().flat_map(|(id, line)| line.rows.iter().map(|(slot, row)| (*id, *slot, row)));
        all.filter(|(.., row)| row.status == SlotStatus::Asked).collect()
    }

    /// How many slots had their row.
    pub fn slots(&self) -> u64 {
        self.lines
            .values()
            .chain(&self.removed)
            .flat_map(|line| line.rows.values())
            .map(|row| row.count.unsigned_abs())
            .sum()
    }
}

/// Whether this deed may have done this to this row.
fn permit(
    deed: &Deed,
    line: &Line,
    (id, slot): (ScheduleId, Timestamp),
    before: Option<&Row>,
    after: Option<&Row>,
) -> Result<(), Broken> {
    let was_asked = before.is_some_and(|row| row.status == SlotStatus::Asked);
    let is_permitted = match (deed, after) {
        (Deed::Look(_), Some(_)) => before.is_none(),
        (Deed::ByHand(now, of), Some(_)) => before.is_none() && *of == id && *now == slot,
        (Deed::Ask, Some(row)) => {
            was_asked
                && before.is_some_and(|before| {
                    *row == Row { asked_until: row.asked_until, reason: Some("asking".into()), ..before.clone() }
                })
        }
        (Deed::Answer(answered), Some(row)) => {
            let is_held = was_asked && before.is_some_and(|row| row.asked_until == Some(answered.until));
            require(is_held, OLD_FENCE_CHANGES_NOTHING, || format!("{answered:?} came too late for {before:?}"))?;
            answered.schedule == id && answered.slot == slot && says(answered, row)
        }
        (Deed::Rewind(now), Some(row)) => {
            // A question that was put off to a time of the wrong clock may be asked at once.
            let sooner = before.map(|before| Row { asked_until: Some(*now), ..before.clone() });
            let is_asked_sooner = was_asked && sooner.as_ref() == Some(row);
            let is_shorter = before.is_some_and(|before| before.count > row.count && before.status == row.status);
            is_asked_sooner || is_shorter && row.last <= *now && line.covered(slot, row).len() as i64 == row.count
        }
        // What is being asked about when its schedule is paused is called off.
        (Deed::Change(_, of, "paused"), Some(row)) => {
            *of == id && was_asked && row.reason.as_deref() == Some("not_active") && row.status == SlotStatus::Skipped
        }
        (Deed::Rewind(now), None) => slot > *now && before.is_some_and(|row| row.status == SlotStatus::Missed),
        _ => false,
    };
    let told = || format!("{slot} of {id} was {before:?} and is {after:?} after {deed:?}");
    let name = if before.is_some() && after.is_some_and(|row| row.status == SlotStatus::Fired) {
        NO_SLOT_TWICE
    } else {
        NOTHING_ELSE_CHANGES
    };
    require(is_permitted, name, told)?;
    let made_both = after.is_some_and(|row| row.wakeup.is_some() && row.task.is_some());
    require(!made_both, NO_SLOT_TWICE, told)
}

/// Whether a slot has become what its answer says; the simulator's answers say so plainly.
fn says(answered: &Answered, row: &Row) -> bool {
    let no = answered.answer.as_ref().is_ok_and(|answer| answer.starts_with(b"{\"wake\":false"));
    let is_skipped = row.status == SlotStatus::Skipped;
    let is_not_active = is_skipped && row.reason.as_deref() == Some("not_active");
    is_not_active || !no || is_skipped && row.reason.as_deref() == Some("gate")
}

/// Whether a schedule stands as its slots say.
fn stands(deed: &Deed, line: &mut Line, found: &Standing) -> Result<(), Broken> {
    let (fires, next) = (line.fires, line.next());
    require(found.fires == fires, FIRES_ARE_COUNTED, || format!("{} instead of {fires}", found.fires))?;
    let has_ended = next.is_none();
    match (line.state.as_str(), found.state.as_str()) {
        ("active", "disabled") => require(has_ended, NEXT_IS_RIGHT, || format!("disabled before {next:?}: {line:?}"))?,
        // What has ended goes on if it ended in a time that has not come.
        ("disabled", "active") if matches!(deed, Deed::Rewind(_)) => {}
        (one, other) => require(one == other, NEXT_IS_RIGHT, || format!("{other} instead of {one}"))?,
    }
    line.state.clone_from(&found.state);
    let expected = next.filter(|_| found.state == "active");
    let has_next = found.next_slot_at == expected;
    require(has_next, NEXT_IS_RIGHT, || format!("{:?} instead of {expected:?}: {line:?}", found.next_slot_at))
}
