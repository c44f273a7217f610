//! Cron patterns: what they match on the calendar and on the clock.
//!
//! Five fields (minute, hour, day of month, month, day of week) or six (seconds first), each of
//! numbers, names (`JAN`, `MON`), ranges (`FRI-MON` runs over the end of the week), lists, steps,
//! and of days `L` (last), `5L` (last Friday), `MON#2` (second Monday); or `@daily` and the like. A number before a
//! step goes on to the end: `5/15` is `5-59/15`.
//! As in vixie cron, a day is meant by *either* day field if both are restricted; a field that
//! begins with `*` is not, `*/2` included: then *both* must match.
//!
//! It is a parser of our own. The crates there are (croner was looked at) say that a pattern is wrong,
//! not where and what to write; they have changed what they do at the change of clocks more than
//! once; and none can count, which the ledger needs after a long downtime. A field is a set of bits,
//! so that no search takes more steps than there are months in it.

mod calendar;
mod parse;
mod walk;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::parse::CronError;
pub(super) use self::walk::{count, next};

/// A cron pattern.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    pub(super) fields: Fields,
}

/// What a pattern matches, a bit for each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields {
    pub seconds: u64,
    pub minutes: u64,
    pub hours: u32,
    pub days: Days,
    /// Bit 1 is January.
    pub months: u16,
}

/// The days that a pattern matches, whatever the month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Days {
    /// Bit 1 is the first of the month.
    pub of_month: u32,
    pub last_of_month: bool,
    /// Bit 0 is Sunday.
    pub of_week: u8,
    /// For each day of the week, bit n for its nth in the month.
    pub nth: [u8; 7],
    /// Days of the week of which the last in the month is meant; bit 0 is Sunday.
    pub last_of_week: u8,
    pub of_month_starred: bool,
    pub of_week_starred: bool,
}

/// All 24 hours.
const EVERY_HOUR: u32 = (1 << 24) - 1;

impl Cron {
    /// The pattern as it was written, with single spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it goes by every hour, and so by what passes rather than by what the clock says:
    /// where the clock is put back it goes on, where it is put forward nothing is made up for.
    pub fn is_every_hour(&self) -> bool {
        self.fields.hours == EVERY_HOUR
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let fields = parse::pattern(text)?;
        Ok(Self { text: text.split_ascii_whitespace().collect::<Vec<_>>().join(" "), fields })
    }
}

impl TryFrom<String> for Cron {
    type Error = CronError;
    fn try_from(text: String) -> Result<Self, CronError> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> String {
        cron.text
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)
    }
}
