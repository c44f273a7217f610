//! Active hours, for the towns of the simulator: every day, in UTC.

use std::time::Duration;

use wakeful_domain::active_hours::{ActiveHours, ClockTime};
use wakeful_domain::agent::Heartbeat;
use wakeful_domain::id::AgentId;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, WakeupStatus};

use super::Ledger;
use crate::mirror::{Lane, Mirror};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;

/// When timers may start next; `None` if they may now.
pub(super) fn closed_until(heartbeat: &Heartbeat, at: Timestamp) -> Option<Timestamp> {
    let ActiveHours { from, to, .. } = heartbeat.active_hours.as_ref()?;
    let (from, to) = (micros(*from), micros(*to));
    let of_day = at.as_micros().rem_euclid(DAY);
    let is_open = if from < to { (from..to).contains(&of_day) } else { of_day >= from || of_day < to };
    let ahead = (from - of_day).rem_euclid(DAY);
    (!is_open).then(|| at + Duration::from_micros(ahead.unsigned_abs()))
}

fn micros(time: ClockTime) -> i64 {
    let text = String::from(time);
    let (hour, minute) = text.split_once(':').unwrap_or(("0", "0"));
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    (number(hour) * 60 + number(minute)) * MINUTE
}

impl Ledger {
    /// Until when the timers of a lane must wait, if there are any that do not.
    fn held_back_until(&self, lane: Lane, now: Timestamp) -> Option<Timestamp> {
        let until = closed_until(&self.rows.agents[&lane.0].heartbeat, now)?;
        self.has_timers(lane).then_some(until)
    }

    fn has_timers(&self, lane: Lane) -> bool {
        let mut eligible = self.rows.pending().filter(|(_, row)| row.lane() == lane && row.is_eligible);
        eligible.any(|(_, row)| row.source == Source::Timer)
    }

    /// Of these lanes, of which any may be looked at next, one whose timers are not to start now, if the store has
    /// looked at it: its timers wait from now on.
    pub(super) fn hold_back_one(&mut self, lanes: &[Lane], now: Timestamp, mirror: &Mirror) -> bool {
        let is_held = |lane: &Lane| {
            let timers = self.rows.pending().filter(|(_, row)| row.lane() == *lane && row.source == Source::Timer);
            let mut timers = timers.filter(|(_, row)| row.is_eligible);
            self.held_back_until(*lane, now).is_some()
                && timers.any(|(id, _)| mirror.wakeups.get(id).is_some_and(|found| !found.is_eligible))
        };
        let Some(lane) = lanes.iter().copied().find(is_held) else { return false };
        let Some(until) = self.held_back_until(lane, now) else { return false };
        for row in self.rows.wakeups.values_mut().filter(|row| row.lane() == lane && row.source == Source::Timer) {
            if row.status == WakeupStatus::Pending && row.is_eligible {
                (row.is_eligible, row.eligible_at) = (false, until);
            }
        }
        true
    }

    /// The hours of an agent were changed: its timers are looked at afresh.
    pub(super) fn look_at_hours_again(&mut self, agent: AgentId, now: Timestamp) {
        let timers = self.rows.wakeups.values_mut().filter(|row| row.agent == agent && row.source == Source::Timer);
        let held_back = timers.filter(|row| row.status == WakeupStatus::Pending && !row.is_eligible);
        for row in held_back.filter(|row| row.eligible_at > row.due_at) {
            (row.eligible_at, row.is_eligible) = (row.due_at, row.due_at <= now);
        }
    }
}
