//! What runs have cost on days that are over, kept in memory: nothing ends in the past, so a day is added up once in a
//! while, and a question about a month costs what its last day costs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use wakeful_domain::id::CompanyId;
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::costs::{self, Group, Sums, Window};

use crate::{Api, Problem};

/// Another node's clock may be behind: until then a day is not over.
const OVER_AFTER: Duration = Duration::from_secs(3_600);
/// Then a day is added up anew: runs may have been removed since.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
/// Sums that are kept, of some 150 bytes each; with more it is begun anew.
const KEPT_MAX: usize = 200_000;

type Groups = Arc<Vec<(String, Sums)>>;
/// What is told apart, of which company, and from when to when a day lasts.
type Key = (Group, CompanyId, Timestamp, Timestamp);

/// The sums of days that are over, and when they were added up.
#[derive(Debug, Default)]
pub struct KeptSums(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    days: HashMap<Key, (Timestamp, Groups)>,
    count: usize,
}

impl KeptSums {
    fn of(&self, now: Timestamp, key: Key) -> Option<Groups> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.days.get(&key).filter(|(at, _)| *at + KEPT_FOR > now).map(|(_, groups)| Arc::clone(groups))
    }

    fn keep(&self, now: Timestamp, key: Key, groups: &Groups) {
        // Of a day without runs the entry counts as well.
        let count = groups.len() + 1;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.count + count > KEPT_MAX {
            *kept = Kept::default();
        }
        let replaced = kept.days.insert(key, (now, Arc::clone(groups)));
        kept.count = kept.count + count - replaced.map_or(0, |(_, groups)| groups.len() + 1);
    }
}

/// The part of a window that falls on one day of a zone.
#[derive(Debug, Clone)]
pub struct Day {
    pub date: String,
    window: Window,
    is_whole: bool,
}

impl Day {
    /// Under which its sums are kept, if no run can end on it any more.
    fn key(&self, now: Timestamp, by: Group) -> Option<Key> {
        let Window { company, from, to } = self.window;
        (self.is_whole && to + OVER_AFTER <= now).then_some((by, company, from, to))
    }
}

/// The days of a window, oldest first.
pub fn days(zone: &TimeZone, of: &Window) -> Vec<Day> {
    let mut days = Vec::new();
    let mut date = of.from.to_jiff().to_zoned(zone.clone()).date();
    let midnight = |date: Date| date.to_zoned(zone.clone()).ok().map(|midnight| Timestamp::from(midnight.timestamp()));
    let mut from = of.from;
    while from < of.to {
        let next = date.tomorrow().ok();
        let ends = next.and_then(midnight);
        let to = ends.map_or(of.to, |ends| ends.clamp(from, of.to));
        let is_whole = midnight(date) == Some(from) && ends == Some(to);
        days.push(Day { date: date.to_string(), window: Window { from, to, ..*of }, is_whole });
        let Some(next) = next else { break };
        (date, from) = (next, to);
    }
    days
}

/// The sums of each group on each of these days.
pub async fn daily(api: &Api, now: Timestamp, days: &[Day], by: Group) -> Result<Vec<Groups>, Problem> {
    let mut found: Vec<Option<Groups>> =
        days.iter().map(|day| day.key(now, by).and_then(|key| api.sums.of(now, key))).collect();
    let missing: Vec<Window> =
        days.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(day, _)| day.window).collect();
    let read = api.engine.db().read("cost.by_group", (missing, by), |tx, (missing, by)| {
        Box::pin(async move {
            let mut added = Vec::with_capacity(missing.len());
            for window in missing {
                added.push(Arc::new(costs::grouped(tx, window, *by).await?));
            }
            Ok(added)
        })
    });
    let mut added = read.await?.into_iter();
    for (day, found) in days.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
        *found = added.next();
        if let (Some(key), Some(groups)) = (day.key(now, by), &found) {
            api.sums.keep(now, key, groups);
        }
    }
    Ok(found.into_iter().flatten().collect())
}

/// The sums of each group over all of these days, the most expensive first.
pub async fn grouped(api: &Api, now: Timestamp, days: &[Day], by: Group) -> Result<Vec<(String, Sums)>, Problem> {
    let daily = daily(api, now, days, by).await?;
    let mut together: BTreeMap<&str, Sums> = BTreeMap::new();
    for (key, sums) in daily.iter().flat_map(|groups| groups.iter()) {
        let sum = together.entry(key).or_default();
        *sum = sum.and(*sums);
    }
    let mut groups: Vec<(String, Sums)> = together.into_iter().map(|(key, sums)| (key.to_owned(), sums)).collect();
    groups.sort_by_key(|(_, sums)| std::cmp::Reverse((sums.cost_micros, sums.input_tokens, sums.output_tokens)));
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_zone_and_only_whole_ones_that_are_over_are_kept() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let company = CompanyId::first_of(at("2026-01-01T00:00:00Z"));
        let now = at("2026-11-02T00:30:00Z");
        let check = |zone: &str, from: &str, to: &str, expected: &[(&str, u64, bool)]| {
            let zone = TimeZone::get(zone).unwrap();
            let days = days(&zone, &Window { company, from: at(from), to: at(to) });
            let found: Vec<(&str, u64, bool)> = days
                .iter()
                .map(|day| {
                    let hours = day.window.to.since(day.window.from).as_secs() / 3_600;
                    (day.date.as_str(), hours, day.key(now, Group::All).is_some())
                })
                .collect();
            assert_eq!(found, expected, "{from} to {to}");
        };
        check(
            "UTC",
            "2026-10-30T06:00:00Z",
            "2026-11-02T00:00:00Z",
            &[("2026-10-30", 18, false), ("2026-10-31", 24, true), ("2026-11-01", 24, false)],
        );
        // The clocks go back that night.
        check(
            "Europe/Berlin",
            "2026-10-24T22:00:00Z",
            "2026-10-26T00:00:00Z",
            &[("2026-10-25", 25, true), ("2026-10-26", 1, false)],
        );
        check("UTC", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z", &[]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_day_that_is_added_up_anew_counts_once() {
        let now: Timestamp = "2026-11-02T00:30:00Z".parse().unwrap();
        let sums = KeptSums::default();
        let key = |day: u64| {
            let from = now + Duration::from_secs(day * 86_400);
            (Group::Agent, CompanyId::first_of(now), from, from + Duration::from_secs(86_400))
        };
        let third: Groups = Arc::new(vec![(String::new(), Sums::default()); KEPT_MAX / 3]);
        for _ in 0..9 {
            sums.keep(now, key(0), &third);
        }
        sums.keep(now, key(1), &third);
        assert!(sums.of(now, key(0)).is_some() && sums.of(now, key(1)).is_some());
        assert!(sums.of(now + KEPT_FOR, key(0)).is_none(), "runs may have been removed since");
        sums.keep(now, key(2), &third);
        assert!(sums.of(now, key(0)).is_none() && sums.of(now, key(2)).is_some());
    }
}
