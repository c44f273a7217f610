//! When a schedule has its slots: a cron pattern, a period, or one point in time.
//!
//! Slots are whole numbers of what the trigger says, never of when something ran: `every` counts from
//! its anchor and does not drift, a pattern goes by the local clock. All of it is pure and bounded.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cron::{self, Cron};
use super::zone::Zone;
use crate::time::{Timestamp, parse_duration};

/// A shorter period is refused.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
/// A longer period is refused: ten years.
pub const EVERY_MAX: Duration = Duration::from_secs(3_653 * 86_400);

const SECOND_MICROS: i64 = 1_000_000;

/// When a schedule has its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TriggerText", into = "TriggerText")]
pub enum Trigger {
    /// By the local clock; in the company's zone unless it has its own.
    Cron { cron: Cron, time_zone: Option<Zone> },
    /// Every so often, counted from the anchor.
    Every(Duration),
    /// Once.
    At(Timestamp),
}

/// A trigger as it is written: exactly one of `cron`, `every`, `at`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Of `cron`; the company's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// What is wrong with a trigger: the field, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct TriggerError {
    /// `cron`, `time_zone`, `every`, `at`, or `trigger` for the whole.
    pub field: &'static str,
    pub message: String,
    /// Whether it is well written, and has no slot at all: the problem `never_matches`.
    pub never_matches: bool,
}

impl TriggerError {
    fn new(field: &'static str, message: impl ToString) -> Self {
        Self { field, message: message.to_string(), never_matches: false }
    }
}

impl TryFrom<TriggerText> for Trigger {
    type Error = TriggerError;

    fn try_from(text: TriggerText) -> Result<Self, TriggerError> {
        let wrong_count = || {
            let forms = r#"{"cron": "0 9 * * MON-FRI"}, {"every": "5m"} or {"at": "2026-12-24T18:00:00Z"}"#;
            TriggerError::new("trigger", format!("needs exactly one of `cron`, `every` and `at`: write {forms}"))
        };
        if text.time_zone.is_some() && text.cron.is_none() {
            return Err(TriggerError::new("time_zone", "goes with `cron` only: leave it out"));
        }
        match (text.cron, text.every, text.at) {
            (Some(pattern), None, None) => {
                let cron = pattern.parse::<Cron>().map_err(|error| TriggerError::new("cron", error))?;
                let zone = text.time_zone.map(|name| name.parse::<Zone>()).transpose();
                Ok(Trigger::Cron { cron, time_zone: zone.map_err(|error| TriggerError::new("time_zone", error))? })
            }
            (None, Some(period), None) => {
                let period = parse_duration(&period).map_err(|error| TriggerError::new("every", error))?;
                if period < EVERY_MIN || period > EVERY_MAX {
                    return Err(TriggerError::new("every", "must be between 1s and 3653d"));
                }
                Ok(Trigger::Every(period))
            }
            (None, None, Some(at)) => {
                let at = at.parse::<Timestamp>().map_err(|error| TriggerError::new("at", error))?;
                Ok(Trigger::At(at))
            }
            (None, None, None) | (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                Err(wrong_count())
            }
        }
    }
}

impl From<Trigger> for TriggerText {
    fn from(trigger: Trigger) -> TriggerText {
        match trigger {
            Trigger::Cron { cron, time_zone } => TriggerText {
                cron: Some(cron.into()),
                time_zone: time_zone.map(String::from),
                ..TriggerText::default()
            },
            Trigger::Every(period) => TriggerText { every: Some(write_duration(period)), ..TriggerText::default() },
            Trigger::At(at) => TriggerText { at: Some(at.to_string()), ..TriggerText::default() },
        }
    }
}

impl Trigger {
    /// The zone it goes by: its own, or the company's.
    pub fn zone<'a>(&'a self, company: &'a Zone) -> &'a Zone {
        match self {
            Trigger::Cron { time_zone: Some(zone), .. } => zone,
            Trigger::Cron { time_zone: None, .. } | Trigger::Every(_) | Trigger::At(_) => company,
        }
    }

    /// How far the next two slots after `now` are apart: what a heartbeat's jitter goes by.
    pub fn period(&self, company: &Zone, anchor: Timestamp, now: Timestamp) -> Option<Duration> {
        let first = next(self, company, anchor, now)?;
        Some(next(self, company, anchor, first)?.since(first))
    }

    /// What is wrong with it at creation: that it has no slot after `now`, ever.
    pub fn problem(&self, company: &Zone, anchor: Timestamp, now: Timestamp) -> Option<TriggerError> {
        if next(self, company, anchor, now).is_some() {
            return None;
        }
        let (field, message) = match self {
            Trigger::Cron { cron, .. } => ("cron", format!("`{cron}` never matches: no such day exists")),
            Trigger::Every(_) => ("every", "never comes: the period is too long".into()),
            Trigger::At(at) => ("at", format!("{at} has passed: name a time to come")),
        };
        Some(TriggerError { field, message, never_matches: true })
    }
}

/// The first slot strictly after `after`. `zone` is the company's; `every` counts from `anchor`.
/// `None` if there is none, or none within 45 years.
pub fn next(trigger: &Trigger, zone: &Zone, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
    next_counting(trigger, zone, anchor, after, &mut 0)
}

/// As [`next`]; `steps` grows with what it took: months looked at and changes of the clocks.
pub fn next_counting(
    trigger: &Trigger,
    zone: &Zone,
    anchor: Timestamp,
    after: Timestamp,
    steps: &mut u64,
) -> Option<Timestamp> {
    match trigger {
        Trigger::Cron { cron, .. } => {
            let rules = trigger.zone(zone).rules();
            let second = cron::next(cron, rules, after.as_micros().div_euclid(SECOND_MICROS), steps)?;
            second.checked_mul(SECOND_MICROS).map(Timestamp::from_micros)
        }
        Trigger::Every(period) => {
            let number = slots_up_to(*period, anchor, after)?;
            let ahead = number.checked_mul(i64::try_from(period.as_micros()).ok()?)?;
            anchor.as_micros().checked_add(ahead).map(Timestamp::from_micros)
        }
        Trigger::At(at) => Some(*at).filter(|at| *at > after),
    }
}

/// How many slots of a period there are up to and with `until`; the anchor is the first.
fn slots_up_to(period: Duration, anchor: Timestamp, until: Timestamp) -> Option<i64> {
    let passed = until.as_micros().saturating_sub(anchor.as_micros());
    let period = i64::try_from(period.as_micros()).ok().filter(|period| *period > 0)?;
    if passed < 0 { Some(0) } else { (passed / period).checked_add(1) }
}

/// How many slots there are after `after`, up to and with `until`: reckoned, not walked through.
pub fn count(trigger: &Trigger, zone: &Zone, anchor: Timestamp, after: Timestamp, until: Timestamp) -> u64 {
    if until <= after {
        return 0;
    }
    match trigger {
        Trigger::Cron { cron, .. } => {
            let second = |at: Timestamp| at.as_micros().div_euclid(SECOND_MICROS);
            cron::count(cron, trigger.zone(zone).rules(), second(after), second(until))
        }
        Trigger::Every(period) => {
            let up_to = |at| slots_up_to(*period, anchor, at).unwrap_or(0);
            u64::try_from(up_to(until) - up_to(after)).unwrap_or(0)
        }
        Trigger::At(at) => u64::from(*at > after && *at <= until),
    }
}

/// The last `most` slots after `after`, up to and with `until`, in order; and how many there are in all.
pub fn last(
    trigger: &Trigger,
    zone: &Zone,
    anchor: Timestamp,
    (after, until): (Timestamp, Timestamp),
    most: usize,
) -> (Vec<Timestamp>, u64) {
    let all = count(trigger, zone, anchor, after, until);
    let wanted = all.min(most as u64);
    // Where the wanted ones begin: the latest time that still has them all behind it.
    let (mut low, mut high) = (after.as_micros(), until.as_micros());
    while all > wanted && high - low > 1 {
        let middle = low + (high - low) / 2;
        let behind = count(trigger, zone, anchor, Timestamp::from_micros(middle), until);
        if behind >= wanted { low = middle } else { high = middle }
    }
    let mut from = Timestamp::from_micros(low);
    let mut slots = Vec::with_capacity(wanted as usize);
    while (slots.len() as u64) < wanted {
        let Some(slot) = next(trigger, zone, anchor, from).filter(|slot| *slot <= until) else { break };
        slots.push(slot);
        from = slot;
    }
    (slots, all)
}

/// Writes a duration as [`parse_duration`] reads it: `2h30m`.
pub fn write_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= ms {
            text.push_str(&format!("{}{unit}", rest / ms));
            rest %= ms;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}
