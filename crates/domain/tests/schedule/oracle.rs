//! The oracle: every minute around every change of the clocks, asked one by one whether a pattern
//! fires then, by an evaluation that shares nothing with the one that is tested.
//!
//! What "fires" means is played, not reckoned: a clock on the wall is looked at every minute. For
//! a pattern of restricted hours, whatever it shows for the first time, or has jumped over since
//! the last look, fires now. For a pattern of every hour, what it shows fires.

use jiff::tz::TimeZone;
use wakeful_domain::schedule::{count, trigger};
use wakeful_domain::time::Timestamp;

use super::{at, cron, slots, zone};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
/// What is compared, on both sides of a change.
const AROUND: i64 = 26 * HOUR;
/// How long the clock is watched before that, so that it has shown what it has.
const BEFORE: i64 = 2 * 24 * HOUR;

const PATTERNS: &[&str] = &[
    "* * * * *",
    "*/5 * * * *",
    "30 * * * *",
    "15 */2 * * *",
    "0 */6 * * *",
    "0 0 * * *",
    "30 0 * * *",
    "0 1 * * *",
    "30 1 * * *",
    "59 1 * * *",
    "0 2 * * *",
    "30 2 * * *",
    "15,45 2 * * *",
    "0 3 * * *",
    "5 0-3 * * *",
    "*/20 1-3 * * *",
    "*/7 22-2 * * *",
    "0 23 * * *",
    "30 2 * * SUN",
    "30 1 1-7 * SUN",
    "0 0 L * *",
    "0 12 * * MON#1",
    "10 2 */2 * SUN",
    "45 1 * 3,10 5L",
];

/// A local minute: days since 1970 and what a calendar says about them, minute of the day.
#[derive(Clone, Copy)]
struct Local {
    minutes: i64,
    month: i64,
    day: i64,
    length: i64,
    weekday: i64,
}

/// Days to a calendar, as Howard Hinnant's `civil_from_days` has it.
fn local(seconds: i64) -> Local {
    let days = seconds.div_euclid(24 * HOUR);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let doe = shifted.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    Local { minutes: seconds.div_euclid(MINUTE), month, day, length, weekday: (days + 4).rem_euclid(7) }
}

/// A pattern of five fields, each as the list of what it lets through.
struct Oracle {
    minute: Vec<bool>,
    hour: Vec<bool>,
    day: String,
    month: Vec<bool>,
    weekday: String,
    is_every_hour: bool,
}

fn number(text: &str) -> i64 {
    const NAMES: &str = "SUN MON TUE WED THU FRI SAT";
    text.parse().unwrap_or_else(|_| NAMES.split(' ').position(|name| name == text).unwrap() as i64)
}

/// Whether a list lets a value through; plain items only.
fn lets(list: &str, value: i64, low: i64, high: i64) -> bool {
    list.split(',').any(|item| {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (number(from), number(to)),
            None => (number(range), number(range)),
        };
        let mut shown = from;
        let mut ahead = 0;
        loop {
            if shown == value && ahead % step.parse::<i64>().unwrap() == 0 {
                return true;
            }
            if shown == to {
                return false;
            }
            shown = if shown == high { low } else { shown + 1 };
            ahead += 1;
        }
    })
}

impl Oracle {
    fn new(pattern: &str) -> Self {
        let fields: Vec<&str> = pattern.split(' ').collect();
        let all = |field: &str, low: i64, high: i64| (0..=high).map(|value| lets(field, value, low, high)).collect();
        Oracle {
            minute: all(fields[0], 0, 59),
            hour: all(fields[1], 0, 23),
            day: fields[2].to_owned(),
            month: all(fields[3], 1, 12),
            weekday: fields[4].to_owned(),
            is_every_hour: fields[1] == "*",
        }
    }

    fn day_matches(&self, local: Local) -> bool {
        let of_month = match self.day.as_str() {
            "L" => local.day == local.length,
            list => lets(list, local.day, 1, 31),
        };
        let of_week = match self.weekday.split_once('#') {
            Some((day, nth)) => local.weekday == number(day) && (local.day + 6) / 7 == number(nth),
            None if self.weekday.ends_with('L') => {
                local.weekday == number(self.weekday.trim_end_matches('L')) && local.day + 7 > local.length
            }
            None => lets(&self.weekday, local.weekday, 0, 6),
        };
        let either = !self.day.starts_with('*') && !self.weekday.starts_with('*');
        if either { of_month || of_week } else { of_month && of_week }
    }

    fn matches(&self, minutes: i64) -> bool {
        let of_day = minutes.rem_euclid(24 * 60) as usize;
        if !self.minute[of_day % 60] || !self.hour[of_day / 60] {
            return false;
        }
        let local = local(minutes * MINUTE);
        self.month[local.month as usize] && self.day_matches(local)
    }

    /// The firings in `from..=to`, the clock watched from `watched`. `clock` gives the local minute.
    fn firings(&self, clock: &[(i64, i64)], from: i64, to: i64) -> Vec<Timestamp> {
        let mut found = Vec::new();
        let mut shown = clock[0].1;
        for (instant, now) in clock.iter().copied() {
            let fires = if self.is_every_hour {
                self.matches(now)
            } else {
                (shown + 1..=now).any(|minutes| self.matches(minutes))
            };
            shown = shown.max(now);
            if fires && (from..=to).contains(&instant) {
                found.push(Timestamp::from_millis(instant * 1_000));
            }
        }
        found
    }
}

/// What the clock shows, minute by minute: (instant, local minutes).
fn clock(rules: &TimeZone, from: i64, to: i64) -> Vec<(i64, i64)> {
    let offset = |at: i64| i64::from(rules.to_offset(jiff::Timestamp::from_second(at).unwrap()).seconds());
    let instants = (from.div_euclid(MINUTE)..=to.div_euclid(MINUTE)).map(|minutes| minutes * MINUTE);
    instants.map(|at| (at, local(at + offset(at)).minutes)).collect()
}

/// Compares everything around one instant of one zone; how many firings there were.
fn compare(name: &str, around: i64, oracles: &[(&str, Oracle)]) -> usize {
    let zone = zone(name);
    let (from, to) = (around - AROUND, around + AROUND);
    let shown = clock(zone.rules(), from - BEFORE, to);
    let mut firings = 0;
    for (pattern, oracle) in oracles {
        let expected = oracle.firings(&shown, from, to);
        let trigger = cron(pattern);
        let after = Timestamp::from_millis(from * 1_000 - 1);
        let until = Timestamp::from_millis(to * 1_000);
        let found = slots(&trigger, &zone, after, until);
        let context = || format!("`{pattern}` in {name} around {}", Timestamp::from_millis(around * 1_000));
        assert_eq!(found, expected, "{}", context());
        let anchor = Timestamp::from_millis(0);
        assert_eq!(count(&trigger, &zone, anchor, after, until), expected.len() as u64, "{}", context());
        let (last, all) = trigger::last(&trigger, &zone, anchor, (after, until), 7);
        let wanted = &expected[expected.len().saturating_sub(7)..];
        assert_eq!((last.as_slice(), all), (wanted, expected.len() as u64), "{}", context());
        firings += expected.len();
    }
    firings
}

/// Every change of the offset in 2015 to 2035, zone by zone; zones with the same changes once.
fn changes() -> Vec<(String, i64)> {
    let (from, to) = (at("2015-01-01T00:00:00Z"), at("2036-01-01T00:00:00Z"));
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    let mut names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    for name in names {
        let zone = zone(&name);
        let rules = zone.rules();
        let of_zone: Vec<(i64, i32)> = rules
            .following(from.to_jiff())
            .take_while(|change| change.timestamp() < to.to_jiff())
            .map(|change| (change.timestamp().as_second(), change.offset().seconds()))
            .collect();
        let before = rules.to_offset(from.to_jiff()).seconds();
        if !of_zone.is_empty() && seen.insert((before, of_zone.clone())) {
            found.extend(of_zone.iter().map(|(second, _)| (name.clone(), *second)));
        }
    }
    found
}

fn oracles() -> Vec<(&'static str, Oracle)> {
    PATTERNS.iter().map(|pattern| (*pattern, Oracle::new(pattern))).collect()
}

#[test]
fn a_sample_of_all_changes_of_the_clocks() {
    let changes = changes();
    assert!(changes.len() > 1_500, "{}", changes.len());
    let oracles = oracles();
    let firings: usize = changes.iter().step_by(89).map(|(name, second)| compare(name, *second, &oracles)).sum();
    assert!(firings > 1_000);
}

#[test]
#[ignore = "every change of every zone takes minutes: run it when the evaluation of patterns changes"]
fn all_changes_of_the_clocks() {
    let oracles = oracles();
    let changes = changes();
    let firings: usize = changes.iter().map(|(name, second)| compare(name, *second, &oracles)).sum();
    println!("{} changes, {} patterns, {firings} firings", changes.len(), oracles.len());
}

#[test]
fn odd_changes_of_the_clocks() {
    let oracles = oracles();
    for (name, change) in [
        // Half an hour.
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        // At midnight.
        ("America/Santiago", "2026-09-06T04:00:00Z"),
        ("Asia/Beirut", "2026-03-28T22:00:00Z"),
        ("America/Havana", "2026-11-01T05:00:00Z"),
        // Two hours.
        ("Antarctica/Troll", "2026-03-29T01:00:00Z"),
        // A day that was left out.
        ("Pacific/Apia", "2011-12-30T10:00:00Z"),
        // A change that was called off two days before, and one for a month of fasting.
        ("Asia/Beirut", "2023-03-29T22:00:00Z"),
        ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
        // No change at all, and the same for a whole zone.
        ("Europe/Paris", "2026-07-01T12:00:00Z"),
        ("UTC", "2028-02-29T12:00:00Z"),
        ("Asia/Kathmandu", "2026-12-31T23:00:00Z"),
    ] {
        compare(name, at(change).as_millis() / 1_000, &oracles);
    }
}

#[test]
fn random_times_in_random_zones() {
    let oracles = oracles();
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..25 {
        let second = random.i64(1_420_070_400..2_082_758_400) / MINUTE * MINUTE;
        compare(&names[random.usize(..names.len())], second, &oracles);
    }
}
