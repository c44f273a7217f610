//! What is to be done about the slots that have come; and which one comes next.
//!
//! Every slot after the settled ones and up to now gets one decision, none gets two, and none is
//! left out: very many at once share a row that says how many it stands for. What was missed is
//! caught up with as the schedule says, spread out, never all at once.

use std::time::Duration;

use super::jitter::share;
use super::zone::Zone;
use super::{CatchUp, MissedReason, Schedule, SkippedReason, State, trigger};
use crate::time::Timestamp;

/// Slots that are decided one by one; older ones share a row.
pub const SLOTS_MAX: usize = 1_000;
/// Slots that `all` catches up with.
pub const CATCH_UP_MAX: usize = 25;
/// A slot that is no later than this was not missed: ticks and short pauses are no downtime.
pub const ON_TIME: Duration = Duration::from_secs(10);
/// What schedules catch up with begins within this, each at a time of its own.
pub const CATCH_UP_SPREAD: Duration = Duration::from_secs(30);
/// Between two slots of one schedule that are caught up with.
pub const CATCH_UP_STAGGER: Duration = Duration::from_secs(5);

/// What is to be done about a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It fires, and what it starts is due at `at`: its time with jitter, or later if it is caught up with.
    Fire {
        at: Timestamp,
        is_late: bool,
    },
    Missed(MissedReason),
    Skipped(SkippedReason),
}

/// One row of the ledger to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotDecision {
    /// The nominal time: with the schedule's id, the key.
    pub slot: Timestamp,
    /// The last nominal time that the row stands for; `slot` itself unless `count` is more than one.
    pub last: Timestamp,
    /// How many slots the row stands for.
    pub count: u64,
    pub verdict: Verdict,
}

/// A slot to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The nominal time.
    pub slot: Timestamp,
    /// The same with jitter.
    pub fires_at: Timestamp,
}

/// What is to be done now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// In order, without a gap.
    pub slots: Vec<SlotDecision>,
}

impl Due {
    /// The last slot that has its row with this; what `last_slot` becomes.
    pub fn last_slot(&self) -> Option<Timestamp> {
        self.slots.last().map(|decision| decision.last)
    }

    /// How many slots fire.
    pub fn fires(&self) -> u64 {
        self.slots.iter().filter(|slot| matches!(slot.verdict, Verdict::Fire { .. })).count() as u64
    }
}

/// What is to be done about every slot after `last_slot` and up to `now`. `zone` is the company's.
pub fn due(schedule: &Schedule, zone: &Zone, last_slot: Timestamp, now: Timestamp) -> Due {
    let fires_left = schedule.max_fires.map(|most| most.saturating_sub(schedule.fires));
    if schedule.state != State::Active || fires_left == Some(0) {
        return Due::default();
    }
    let offset = schedule.jitter.offset(schedule.id);
    let come = now - offset;
    let until = schedule.ends_at.map_or(come, |ends| ends.min(come));
    let range = (last_slot, until);
    let (times, all) = trigger::last(&schedule.trigger, zone, schedule.anchor(), range, SLOTS_MAX);
    let older = older_in_one(schedule, zone, last_slot, now, &times, all);
    let mut slots = decide(schedule, zone, &times, older.is_some(), now);
    slots.splice(0..0, older);
    // Once it has fired as often as it may, there are no slots any more.
    if let Some(left) = fires_left {
        let fires = slots.iter().enumerate().filter(|(_, slot)| matches!(slot.verdict, Verdict::Fire { .. }));
        if let Some((place, _)) = fires.skip(left as usize - 1).take(1).next() {
            slots.truncate(place + 1);
        }
    }
    Due { slots }
}

/// The first slot after `after`, whatever has fired; `None` if there is none or it is not active. One that is active
/// and has none after what is settled has ended.
pub fn next_slot(schedule: &Schedule, zone: &Zone, after: Timestamp) -> Option<Next> {
    if schedule.state != State::Active || schedule.has_fired_enough() {
        return None;
    }
    let after = after.max(schedule.settled_until());
    let slot = trigger::next(&schedule.trigger, zone, schedule.anchor(), after)?;
    let is_within = schedule.ends_at.is_none_or(|ends| slot <= ends);
    is_within.then(|| Next { slot, fires_at: slot + schedule.jitter.offset(schedule.id) })
}

/// The slots after `from` and up to `to`, at most `most`, each with why it would be skipped.
pub fn plan(
    schedule: &Schedule,
    zone: &Zone,
    (from, to): (Timestamp, Timestamp),
    most: usize,
) -> Vec<(Next, Option<SkippedReason>)> {
    let left = schedule.max_fires.map_or(usize::MAX, |max| max.saturating_sub(schedule.fires) as usize);
    let (mut planned, mut fires, mut after) = (Vec::new(), 0, from);
    while planned.len() < most && fires < left {
        let Some(next) = next_slot(schedule, zone, after).filter(|next| next.slot <= to) else { break };
        let skipped = is_outside_hours(schedule, zone, next.slot).then_some(SkippedReason::OutsideActiveHours);
        fires += usize::from(skipped.is_none());
        planned.push((next, skipped));
        after = next.slot;
    }
    planned
}

/// The row for what is too much to be decided one by one: all slots before the first of `times`.
fn older_in_one(
    schedule: &Schedule,
    zone: &Zone,
    last_slot: Timestamp,
    now: Timestamp,
    times: &[Timestamp],
    all: u64,
) -> Option<SlotDecision> {
    let count = all.checked_sub(times.len() as u64).filter(|count| *count > 0)?;
    let (trigger, anchor) = (&schedule.trigger, schedule.anchor());
    let slot = trigger::next(trigger, zone, anchor, last_slot)?;
    let before = times.first().map_or(now, |first| *first - Duration::from_micros(1));
    let (newest, _) = trigger::last(trigger, zone, anchor, (last_slot, before), 1);
    let last = newest.first().copied().unwrap_or(slot);
    let reason = if is_stale(schedule, last, now) { MissedReason::Stale } else { missed_reason(schedule.catch_up) };
    Some(SlotDecision { slot, last, count, verdict: Verdict::Missed(reason) })
}

/// Why a slot was missed that is not caught up with.
fn missed_reason(policy: CatchUp) -> MissedReason {
    match policy {
        CatchUp::Skip => MissedReason::Downtime,
        CatchUp::Latest => MissedReason::Superseded,
        CatchUp::All => MissedReason::OverCap,
    }
}

/// The decision about each of `times`; `has_older` says that even more had come before them.
fn decide(schedule: &Schedule, zone: &Zone, times: &[Timestamp], has_older: bool, now: Timestamp) -> Vec<SlotDecision> {
    let lateness = |slot: Timestamp| now.since(slot + schedule.jitter.offset(schedule.id));
    let was_down = has_older || times.first().is_some_and(|oldest| lateness(*oldest) > ON_TIME);
    let catch_up_from = catch_up_begins(schedule, zone, now);
    let mut fires_wanted = match schedule.catch_up {
        _ if !was_down => usize::MAX,
        CatchUp::Skip | CatchUp::Latest => 1,
        CatchUp::All => CATCH_UP_MAX,
    };
    // From the newest to the oldest, since it is the newest that are caught up with.
    let mut decisions: Vec<SlotDecision> = Vec::with_capacity(times.len());
    for slot in times.iter().rev().copied() {
        let is_late = lateness(slot) > ON_TIME;
        let verdict = if is_stale(schedule, slot, now) {
            Verdict::Missed(MissedReason::Stale)
        } else if is_outside_hours(schedule, zone, slot) {
            Verdict::Skipped(SkippedReason::OutsideActiveHours)
        } else if fires_wanted == 0 || (is_late && schedule.catch_up == CatchUp::Skip) {
            Verdict::Missed(missed_reason(schedule.catch_up))
        } else {
            fires_wanted -= 1;
            Verdict::Fire { at: slot + schedule.jitter.offset(schedule.id), is_late }
        };
        decisions.push(SlotDecision { slot, last: slot, count: 1, verdict });
    }
    decisions.reverse();
    let mut catch_up_at = catch_up_from;
    for decision in &mut decisions {
        if let Verdict::Fire { at, is_late: true } = &mut decision.verdict {
            *at = catch_up_at;
            catch_up_at = catch_up_at + CATCH_UP_STAGGER;
        }
    }
    decisions
}

/// When catching up begins: soon, at a time of the schedule's own, and within its active hours.
fn catch_up_begins(schedule: &Schedule, zone: &Zone, now: Timestamp) -> Timestamp {
    let rules = schedule.trigger.zone(zone).rules();
    let opens = schedule.active_hours.as_ref().and_then(|hours| hours.closed_until(now, rules));
    let spread = share(schedule.id, b"catch up", CATCH_UP_SPREAD.as_millis() as u64);
    opens.unwrap_or(now) + Duration::from_millis(spread)
}

fn is_stale(schedule: &Schedule, slot: Timestamp, now: Timestamp) -> bool {
    let fires_at = slot + schedule.jitter.offset(schedule.id);
    schedule.stale_after.is_some_and(|limit| now.since(fires_at) > limit)
}

fn is_outside_hours(schedule: &Schedule, zone: &Zone, slot: Timestamp) -> bool {
    let rules = schedule.trigger.zone(zone).rules();
    schedule.active_hours.as_ref().is_some_and(|hours| hours.closed_until(slot, rules).is_some())
}
