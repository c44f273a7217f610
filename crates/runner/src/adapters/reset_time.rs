//! Reads from a sentence when a limit lifts: `resets 4pm (Europe/Berlin)`, `try again at Nov 24th,
//! 2026 11:38 PM`, `try again in 2 hours`. A text without a zone is meant in the zone of the machine.
//! A date without a year is the next such date; a time without a date, the next such time.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use wakeful_domain::time::Timestamp;

/// What stands before a point in time, and before a duration.
const MARKERS: &[(&str, Form)] = &[
    ("try again at ", Form::At),
    ("resets at ", Form::At),
    ("reset at ", Form::At),
    ("reset after ", Form::In),
    ("retry in ", Form::In),
    ("available again at ", Form::At),
    ("try again in ", Form::In),
    ("resets in ", Form::In),
    ("retry after ", Form::In),
    ("limit reached|", Form::Epoch),
    ("resets ", Form::At),
];
/// What comes after these many words belongs to another sentence.
const WORDS_MAX: usize = 8;
/// A time of day that has only just gone by is now, not tomorrow.
const JUST_PASSED: Duration = Duration::from_secs(10 * 60);
/// No limit lasts longer than a month: a time further ahead was misread, or is long gone and meant without its year.
const AHEAD_MAX: Duration = Duration::from_secs(35 * 86_400);
/// Written whole or as their first three letters.
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

#[derive(Debug, Clone, Copy)]
enum Form {
    At,
    In,
    Epoch,
}

/// When the limit that `text` speaks of lifts; `now` is when it was said, `zone` the machine's.
pub(super) fn read(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let lower = text.to_lowercase();
    let found = MARKERS.iter().find_map(|(marker, form)| {
        let rest = &lower[lower.find(marker)? + marker.len()..];
        match form {
            Form::At => point(rest, now, zone),
            Form::In => duration(rest).map(|duration| now + duration),
            Form::Epoch => epoch(rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?),
        }
    });
    found.filter(|at| is_believed(*at, now))
}

/// Whether a limit can lift then.
pub(super) fn is_believed(at: Timestamp, now: Timestamp) -> bool {
    at.since(now) <= AHEAD_MAX
}

/// Seconds since 1970, or milliseconds: CLIs have given both.
pub(super) fn epoch(number: i64) -> Option<Timestamp> {
    const MILLISECONDS_FROM: i64 = 100_000_000_000;
    match number {
        ..=0 => None,
        1..MILLISECONDS_FROM => Some(Timestamp::from_millis(number * 1_000)),
        MILLISECONDS_FROM.. => Some(Timestamp::from_millis(number)),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let separates = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')' | '·');
    text.split(separates).map(|word| word.trim_end_matches('.')).filter(|word| !word.is_empty()).take(WORDS_MAX)
}

/// `2 hours 5 minutes`, `1 day`, `20s`, `1.5s`, `6m0s`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = None;
    let mut number: Option<f64> = None;
    let is_figure = |c: char| c.is_ascii_digit() || c == '.';
    'words: for word in words(text).filter(|word| *word != "and") {
        let mut rest = word;
        while !rest.is_empty() {
            let (figure, after) = rest.split_at(rest.find(|c| !is_figure(c)).unwrap_or(rest.len()));
            if !figure.is_empty() {
                number = figure.parse().ok();
            }
            let (unit, after) = after.split_at(after.find(is_figure).unwrap_or(after.len()));
            rest = after;
            if unit.is_empty() {
                continue;
            }
            let (Some(count), Some(unit_s)) = (number.take(), seconds_of(unit)) else { break 'words };
            let part = Duration::try_from_secs_f64(count * unit_s).ok()?;
            total = Some(total.unwrap_or(Duration::ZERO).checked_add(part)?);
        }
    }
    // A bare number is a Retry-After: seconds.
    total.or_else(|| number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

fn seconds_of(unit: &str) -> Option<f64> {
    match unit {
        "ms" | "milliseconds" => Some(0.001),
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1.0),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60.0),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(3_600.0),
        "d" | "day" | "days" => Some(86_400.0),
        "w" | "week" | "weeks" => Some(604_800.0),
        _ => None,
    }
}

/// The parts of a point in time, as they are found.
#[derive(Debug, Default)]
struct Parts {
    month: Option<i8>,
    day: Option<i8>,
    year: Option<i16>,
    time: Option<Time>,
    zone: Option<TimeZone>,
    /// A zone was named that this machine does not know: the instant cannot be known either.
    zone_is_unknown: bool,
}

fn point(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let mut parts = Parts::default();
    let words: Vec<&str> = words(text).collect();
    for (at, word) in words.iter().enumerate() {
        if at == 0
            && let Ok(instant) = word.to_uppercase().parse::<Timestamp>()
        {
            return Some(instant);
        }
        let next = words.get(at + 1).copied().unwrap_or_default();
        if !parts.take(word, next) {
            break;
        }
    }
    if parts.zone_is_unknown {
        return None;
    }
    let zone = parts.zone.clone().unwrap_or_else(|| zone.clone());
    parts.resolve(now, &zone)
}

impl Parts {
    /// Takes a word if it is part of a point in time.
    fn take(&mut self, word: &str, next: &str) -> bool {
        if matches!(word, "at" | "on" | "am" | "pm") {
            return true;
        }
        if self.time.is_none()
            && let Some(time) = time_of(word, next)
        {
            self.time = Some(time);
            return true;
        }
        if let Some(month) = MONTHS.iter().position(|month| *month == word || month[..3] == *word) {
            self.month = i8::try_from(month + 1).ok();
            return true;
        }
        if let Ok(date) = word.parse::<Date>() {
            (self.year, self.month, self.day) = (Some(date.year()), Some(date.month()), Some(date.day()));
            return true;
        }
        let number = ["st", "nd", "rd", "th"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
        match number.parse::<i16>() {
            Ok(day @ 1..=31) if self.day.is_none() => self.day = i8::try_from(day).ok(),
            Ok(year @ 2000..=2999) => self.year = Some(year),
            _ => return self.take_zone(word),
        }
        true
    }

    fn take_zone(&mut self, word: &str) -> bool {
        // A zone's name is looked up regardless of case.
        self.zone = match word {
            "utc" | "gmt" | "z" => Some(TimeZone::UTC),
            name => TimeZone::get(name).ok(),
        };
        self.zone_is_unknown = self.zone.is_none() && word.contains('/');
        self.zone.is_some()
    }

    fn resolve(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let here = now.to_jiff().to_zoned(zone.clone());
        let instant = |date: Date, time: Time| -> Option<Timestamp> {
            Some(DateTime::from_parts(date, time).to_zoned(zone.clone()).ok()?.timestamp().into())
        };
        let has_passed = |at: Timestamp| now.since(at) > JUST_PASSED;
        match (self.month, self.day) {
            (Some(month), Some(day)) => {
                let time = self.time.unwrap_or(Time::midnight());
                let at = instant(Date::new(self.year.unwrap_or(here.year()), month, day).ok()?, time)?;
                match self.year {
                    None if has_passed(at) => instant(Date::new(here.year().checked_add(1)?, month, day).ok()?, time),
                    _ => Some(at),
                }
            }
            _ => {
                let time = self.time?;
                let at = instant(here.date(), time)?;
                if has_passed(at) { instant(here.date().tomorrow().ok()?, time) } else { Some(at) }
            }
        }
    }
}

/// `4pm`, `12:18pm`, `11:38` before `pm`, `16:00`.
fn time_of(word: &str, next: &str) -> Option<Time> {
    let half = |text: &str| ["am", "pm"].into_iter().find(|half| text.ends_with(half));
    let (figures, half) = match half(word) {
        Some(half) => (&word[..word.len() - 2], Some(half)),
        None => (word, half(next).filter(|half| *half == next)),
    };
    let (hour, minute) = match figures.split_once(':') {
        Some((hour, rest)) => (hour, rest.split(':').next()?),
        None => (figures, if half.is_some() { "0" } else { return None }),
    };
    let (hour, minute): (i8, i8) = (hour.parse().ok()?, minute.parse().ok()?);
    let hour = match half {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("pm") => hour % 12 + 12,
        Some(_) => hour % 12,
    };
    Time::new(hour, minute, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_agents_are_read() {
        let now: Timestamp = "2026-11-21T10:18:20Z".parse().unwrap();
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let check = |text: &str, expected: &str| {
            let found = read(text, now, &berlin).map(|at| at.to_string().replace(":00.000Z", "Z"));
            assert_eq!(found.unwrap_or_default(), expected, "{text}");
        };
        // Claude names the zone.
        check("You've hit your session limit · resets 12:18pm (UTC)", "2026-11-21T12:18Z");
        check("5-hour limit reached ∙ resets 4pm (Europe/Berlin)", "2026-11-21T15:00Z");
        check("You've hit your limit · resets at 9am (America/New_York)", "2026-11-21T14:00Z");
        check("limit · resets 12am (UTC)", "2026-11-22T00:00Z");
        check("Weekly limit · resets Nov 25, 3pm (Europe/Berlin)", "2026-11-25T14:00Z");
        check("Weekly limit · resets Dec 25 at 3pm (Europe/Berlin)", "2026-12-25T14:00Z");
        check("resets on December 1, 9:00 (UTC)", "2026-12-01T09:00Z");
        check("resets Dec 2, 2026, 3:30am (UTC)", "2026-12-02T03:30Z");
        check("Claude AI usage limit reached|1795263500", "2026-11-21T12:18:20.000Z");
        // Codex means the zone of the machine.
        check("purchase more credits or try again at 12:18 PM.", "2026-11-21T11:18Z");
        check("try again at 9:05 AM.", "2026-11-22T08:05Z");
        check("try again at Nov 24th, 2026 11:38 PM.", "2026-11-24T22:38Z");
        check("try again in 2 hours", "2026-11-21T12:18:20.000Z");
        check("try again in 1 day 2 hours 5 minutes.", "2026-11-22T12:23:20.000Z");
        check("Please try again in 1.5s. Visit our page", "2026-11-21T10:18:21.500Z");
        check("Please try again in 6m0s.", "2026-11-21T10:24:20.000Z");
        check("retry after 30", "2026-11-21T10:18:50.000Z");
        // Just gone by is now; longer ago is tomorrow.
        check("resets 10:15am (UTC)", "2026-11-21T10:15Z");
        check("resets 10:00am (UTC)", "2026-11-22T10:00Z");
        check("resets at 2026-11-21T14:30:00Z", "2026-11-21T14:30Z");
        check("resets at 2026-12-01 08:00 (UTC)", "2026-12-01T08:00Z");
        // Long gone, whatever the year: not believed.
        check("You've hit your weekly limit · resets May 25, 3pm (Europe/Berlin)", "");
        check("resets Jan 2, 2199, 3:30am (UTC)", "");
        check("You've hit your usage limit. Upgrade to Pro, or try again at 11:31 PM.", "2026-11-21T22:31Z");
        check("Your limit will reset at 3pm (America/New_York).", "2026-11-21T20:00Z");
        check("Your quota will reset after 4h3m27s.", "2026-11-21T14:21:47.000Z");
        check("Please retry in 34.5s.", "2026-11-21T10:18:54.500Z");
        check("resets 29 Feb, 3pm (UTC)", "");
        for text in [
            "try again at 99:99 PM",
            "resets in a while",
            "try again in 99999999999999999999 years",
            "try again in 9999999999999999 s",
            "try again in 99999999999 days",
            "try again in -3 hours",
            "limit reached|999999999999999999999999",
            "limit reached|",
            "resets Jan 0, 3pm",
            "resets 12/25 at noon",
            "resets ",
            "try again later",
            "resets soon",
            "resets 25pm",
            "no limit",
            "try again at noon",
            "resets Feb 31, 3pm",
            "resets 3pm (Mars/Olympus)",
        ] {
            check(text, "");
        }
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds() {
        assert_eq!(epoch(1_795_263_500), epoch(1_795_263_500_000));
        assert_eq!(epoch(0), None);
        let now: Timestamp = "2026-11-21T10:18:20Z".parse().unwrap();
        let check = |number, believed: bool| {
            assert_eq!(epoch(number).is_some_and(|at| is_believed(at, now)), believed, "{number}");
        };
        check(1_795_263_500, true);
        check(1_895_263_500, false);
        check(i64::MAX, false);
        check(i64::MIN, false);
    }
}
