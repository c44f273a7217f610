//! Patterns on the real line of time: a zone's stretches of one offset, walked one after another.
//!
//! A pattern with restricted hours goes by the clock on the wall: a match fires at the first
//! instant at which the clock shows it *or anything later*. So what a change of the clocks leaves
//! out fires right after the gap, and what it repeats fires once, the first time. A pattern for
//! every hour goes by what passes: it fires whenever the clock shows a match, and never else.

use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;

use super::Cron;

/// How far ahead a match is looked for. No pattern that ever matches needs longer: 29 February on
/// a given weekday is 40 years away over 2100, which is no leap year.
pub(super) const HORIZON_SECONDS: i64 = 45 * 366 * 86_400;
/// How long before an instant a change of the clocks can still be felt: the longest jump is a day.
const FELT_SECONDS: i64 = 3 * 86_400;

/// The first match strictly after `after` (both in whole seconds since 1970).
pub(in crate::schedule) fn next(cron: &Cron, zone: &TimeZone, after: i64, steps: &mut u64) -> Option<i64> {
    let until = after.saturating_add(HORIZON_SECONDS);
    for stretch in stretches(zone, after + 1, until, cron.is_every_hour())? {
        *steps += 1;
        if stretch.gap_matches(cron, steps) {
            return Some(stretch.begins);
        }
        if let Some(local) = cron.fields.first_in(stretch.from, stretch.to, steps) {
            return Some(local - stretch.offset);
        }
    }
    None
}

/// How many matches there are after `after`, up to and with `until`.
pub(in crate::schedule) fn count(cron: &Cron, zone: &TimeZone, after: i64, until: i64) -> u64 {
    let Some(stretches) = stretches(zone, after + 1, until + 1, cron.is_every_hour()) else { return 0 };
    let mut counted = 0;
    for stretch in stretches {
        // A match right after the gap is the same firing as those in it.
        let is_its_own =
            stretch.gap_matches(cron, &mut 0) && cron.fields.first_in(stretch.from, stretch.from + 1, &mut 0).is_none();
        counted += u64::from(is_its_own) + cron.fields.count_in(stretch.from, stretch.to);
    }
    counted
}

/// A stretch of time with one offset, in seconds; `from..to` are the local times that count in it.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    begins: i64,
    offset: i64,
    /// The local time up to which all was shown before it; before `from` if the clock jumped.
    shown: i64,
    from: i64,
    to: i64,
}

impl Stretch {
    fn gap_matches(&self, cron: &Cron, steps: &mut u64) -> bool {
        self.shown < self.from && cron.fields.first_in(self.shown, self.from, steps).is_some()
    }
}

/// The stretches of `begin..end`, in order.
fn stretches(
    zone: &TimeZone,
    begin: i64,
    end: i64,
    is_every_hour: bool,
) -> Option<impl Iterator<Item = Stretch> + use<'_>> {
    let limit = Instant::MAX.as_second() - FELT_SECONDS;
    let end = end.min(limit);
    let first = Instant::from_second(begin).ok()?;
    let mut begins = begin;
    let mut offset = offset_at(zone, begin);
    let mut shown = if is_every_hour { i64::MIN } else { shown_before(zone, begin).unwrap_or(begin + offset) };
    let mut changes = zone.following(first);
    let mut is_over = begin >= end;
    Some(std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let change = changes.next().map(|change| change.timestamp().as_second()).filter(|at| *at < end);
        let ends = change.unwrap_or(end);
        let (local, to) = (begins + offset, ends + offset);
        let stretch = if is_every_hour {
            Stretch { begins, offset, shown: local, from: local, to }
        } else {
            Stretch { begins, offset, shown, from: local.max(shown), to }
        };
        shown = shown.max(to);
        begins = ends;
        offset = offset_at(zone, ends);
        is_over = change.is_none();
        Some(stretch)
    }))
}

/// The latest local time shown before `at`, as far as a recent change of the clocks makes it count.
fn shown_before(zone: &TimeZone, at: i64) -> Option<i64> {
    let next = Instant::from_second(at + 1).ok()?;
    let changes = zone.preceding(next).map(|change| change.timestamp().as_second());
    let recent = changes.take_while(|change| *change > at - FELT_SECONDS);
    let before_changes = recent.map(|change| change + offset_at(zone, change - 1)).max()?;
    // But for an instant right at a change, the present stretch has shown everything up to now.
    let previous = (at - 1) + offset_at(zone, at - 1) + 1;
    Some(before_changes.max(previous))
}

fn offset_at(zone: &TimeZone, at: i64) -> i64 {
    Instant::from_second(at).map_or(0, |at| i64::from(zone.to_offset(at).seconds()))
}
