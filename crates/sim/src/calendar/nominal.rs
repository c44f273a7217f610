//! When a schedule of the simulator has its slots, reckoned by remainders and a table of the changes of clocks. Shares
//! nothing with `wakeful_domain::schedule`, which it judges.

use serde_json::{Value as Json, json as object};
use wakeful_domain::time::Timestamp;

const SECOND: i64 = 1_000_000;
const DAY_S: i64 = 86_400;

/// Patterns in universal time: the slots are the seconds that leave the remainder.
const PATTERNS: &[(&str, i64, i64)] = &[
    ("*/20 * * * * *", 20, 0),
    ("* * * * *", 60, 0),
    ("*/5 * * * *", 300, 0),
    ("15 * * * *", 3_600, 900),
    ("0 */6 * * *", 21_600, 0),
    ("30 9 * * *", DAY_S, 34_200),
    ("0 9 * * MON", 7 * DAY_S, 4 * DAY_S + 32_400),
];

/// When Paris changes its clocks: to summer, to winter, and so on.
const PARIS_CHANGES: &[i64] = &[1_806_195_600, 1_824_944_400, 1_837_645_200, 1_856_394_000];

/// What a schedule goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Timing {
    Every {
        seconds: i64,
    },
    Pattern {
        number: usize,
    },
    /// At 02:30 in Paris, which does not exist in one night of the year and comes twice in another.
    Nightly,
    At(Timestamp),
}

impl Timing {
    pub const PATTERNS: usize = PATTERNS.len();

    /// As a schedule has it.
    pub fn trigger(self) -> Json {
        match self {
            Timing::Every { seconds } => object!({ "every": format!("{seconds}s") }),
            Timing::Pattern { number } => object!({ "cron": PATTERNS[number].0, "time_zone": "UTC" }),
            Timing::Nightly => object!({ "cron": "30 2 * * *", "time_zone": "Europe/Paris" }),
            Timing::At(at) => object!({ "at": at }),
        }
    }

    /// The first slot after `after`.
    pub fn next(self, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
        let (anchor, after) = (anchor.as_micros(), after.as_micros());
        let next = match self {
            Timing::Every { seconds } if after < anchor => {
                return Some(Timestamp::from_micros(anchor)).filter(|_| seconds > 0);
            }
            Timing::Every { seconds } => above(after, seconds * SECOND, anchor),
            Timing::Pattern { number } => above(after, PATTERNS[number].1 * SECOND, PATTERNS[number].2 * SECOND),
            Timing::Nightly => {
                let day = after.div_euclid(DAY_S * SECOND);
                (day - 1..=day + 2).map(|day| nightly(day) * SECOND).find(|at| *at > after)?
            }
            Timing::At(at) => Some(at.as_micros()).filter(|at| *at > after)?,
        };
        Some(Timestamp::from_micros(next))
    }

    /// The slots after `after`, up to and with `until`.
    pub fn between(self, anchor: Timestamp, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        std::iter::successors(self.next(anchor, after), |at| self.next(anchor, *at))
            .take_while(|at| *at <= until)
            .collect()
    }
}

/// The first number above `after` that leaves the same remainder as `phase`.
fn above(after: i64, period: i64, phase: i64) -> i64 {
    after + period - (after - phase).rem_euclid(period)
}

/// The second in which the clocks of Paris first show 02:30 of a day, or jump over it.
fn nightly(day: i64) -> i64 {
    let shown = day * DAY_S + 9_000;
    let is_summer = |at: i64| PARIS_CHANGES.iter().filter(|change| **change <= at).count() % 2 == 1;
    if is_summer(shown - 7_200) {
        shown - 7_200
    } else if is_summer(shown - 3_600) {
        day * DAY_S + 3_600
    } else {
        shown - 3_600
    }
}
