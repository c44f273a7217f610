//! Schedules in words: "every weekday at 09:00, Europe/Paris"; "Mon 23 Nov 09:00 CET, in 2 d 1 h".
//! A pattern for which there are no short words is said as it is.

use std::time::Duration;

use jiff::fmt::strtime;

use super::cron::{Cron, Fields};
use super::trigger::Trigger;
use super::zone::Zone;
use crate::time::{Timestamp, say_duration};

/// More times of day than this are not listed.
const TIMES_SAID_MAX: u32 = 4;

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const NTH: [&str; 6] = ["", "first", "second", "third", "fourth", "fifth"];

/// A trigger in words. `zone` is the company's.
pub fn describe(trigger: &Trigger, zone: &Zone) -> String {
    match trigger {
        Trigger::Cron { cron, .. } => {
            let words = pattern_in_words(cron).unwrap_or_else(|| format!("cron `{cron}`"));
            format!("{words}, {}", trigger.zone(zone))
        }
        Trigger::Every(period) => every_in_words(*period),
        Trigger::At(at) => format!("once, {}", moment_in_words(*at, zone)),
    }
}

/// How long it is until `at`, or was since: `in 2 d 1 h`, `now`, `3 min ago`.
pub fn until_words(now: Timestamp, at: Timestamp) -> String {
    let (ahead, behind) = (at.since(now), now.since(at));
    if ahead.as_secs() > 0 {
        format!("in {}", say_duration(ahead))
    } else if behind.as_secs() > 0 {
        format!("{} ago", say_duration(behind))
    } else {
        "now".into()
    }
}

/// A slot to come, by the local clock and from now: `Mon 23 Nov 09:00 CET, in 2 d 1 h`.
pub fn next_words(now: Timestamp, at: Timestamp, zone: &Zone) -> String {
    let year = |at: Timestamp| at.to_jiff().to_zoned(zone.rules().clone()).year();
    let is_this_year = year(now) == year(at);
    let moment = if is_this_year { written("%a %-d %b %H:%M %Z", at, zone) } else { moment_in_words(at, zone) };
    format!("{moment}, {}", until_words(now, at))
}

fn moment_in_words(at: Timestamp, zone: &Zone) -> String {
    written("%a %-d %b %Y %H:%M %Z", at, zone)
}

fn written(pattern: &str, at: Timestamp, zone: &Zone) -> String {
    let local = at.to_jiff().to_zoned(zone.rules().clone());
    strtime::format(pattern, &local).unwrap_or_else(|_| at.to_string())
}

/// A pattern in words, if there are short ones.
fn pattern_in_words(cron: &Cron) -> Option<String> {
    let fields = &cron.fields;
    let days = days_in_words(fields)?;
    let often = often_in_words(fields);
    match (often, days.as_str()) {
        (Some(often), "every day") => Some(often),
        (Some(often), days) => Some(format!("{often}, {days}")),
        (None, days) => Some(format!("{days} at {}", times_in_words(fields)?)),
    }
}

/// Patterns that come at least once an hour, or every so many hours.
fn often_in_words(fields: &Fields) -> Option<String> {
    let [seconds, minutes, hours] = [fields.seconds, fields.minutes, u64::from(fields.hours)];
    let (second, minute, hour) = (step(seconds, 60), step(minutes, 60), step(hours, 24));
    let every = |count: u32, unit_s: u64| every_in_words(Duration::from_secs(u64::from(count) * unit_s));
    let from_to = working_hours(fields.hours);
    match (second, minute, hour) {
        (Some(seconds), Some(1), Some(1)) if seconds < 60 => Some(every(seconds, 1)),
        (Some(60), Some(minutes), Some(1)) if minutes < 60 => Some(every(minutes, 60)),
        (Some(60), Some(60), Some(hours)) if hours < 24 => Some(every(hours, 3_600)),
        // Once an hour, at another minute.
        (Some(60), None, Some(hours)) if minutes.count_ones() == 1 && hours < 24 => {
            Some(format!("{} at :{:02}", every(hours, 3_600), minutes.trailing_zeros()))
        }
        // Only from one hour to another.
        (Some(60), Some(minutes), _) => {
            let (from, to) = from_to?;
            Some(format!("{} from {from:02}:00 to {to:02}:{:02}", every(minutes, 60), 60 - minutes))
        }
        _ => None,
    }
}

/// The first and the last of three hours or more that follow each other; fewer are said as times.
fn working_hours(hours: u32) -> Option<(u32, u32)> {
    let (first, count) = (hours.trailing_zeros(), hours.count_ones());
    let all = !(u32::MAX << count);
    (count > 2 && hours >> first == all).then(|| (first, first + count - 1))
}

fn every_in_words(period: Duration) -> String {
    match (period.as_secs(), period.subsec_nanos()) {
        (1, 0) => "every second".into(),
        (60, 0) => "every minute".into(),
        (3_600, 0) => "every hour".into(),
        _ => format!("every {}", say_duration(period)),
    }
}

/// The step of a field that starts at 0 and goes through all of `size` evenly; `size` for 0 alone.
fn step(bits: u64, size: u32) -> Option<u32> {
    let count = bits.count_ones();
    let step = (count > 0 && size.is_multiple_of(count)).then(|| size / count)?;
    (0..count).all(|place| bits & (1 << (place * step)) != 0).then_some(step)
}

fn times_in_words(fields: &Fields) -> Option<String> {
    let (seconds, minutes, hours) = (places(fields.seconds), places(fields.minutes), places(fields.hours.into()));
    if seconds.len() != 1 || (minutes.len() * hours.len()) as u32 > TIMES_SAID_MAX {
        return None;
    }
    let second = if seconds[0] == 0 { String::new() } else { format!(":{:02}", seconds[0]) };
    let time = |hour: &u32, minute: &u32| format!("{hour:02}:{minute:02}{second}");
    let times = hours.iter().flat_map(|hour| minutes.iter().map(move |minute| time(hour, minute)));
    Some(listed(times.collect()))
}

fn days_in_words(fields: &Fields) -> Option<String> {
    let days = &fields.days;
    let of_month = if days.of_month == u32::MAX << 1 { Vec::new() } else { places(days.of_month.into()) };
    let has_month_days = !of_month.is_empty() || days.last_of_month;
    let is_any_weekday = days.of_week == 0x7f;
    let has_nth = days.last_of_week != 0 || days.nth != [0; 7];
    let months = if fields.months == 0x1ffe { Vec::new() } else { places(fields.months.into()) };
    let months = listed(months.iter().map(|month| MONTHS[*month as usize - 1].to_owned()).collect());
    let of_months = if months.is_empty() { "every month".into() } else { months.clone() };
    match (has_month_days, is_any_weekday) {
        // Either or both of two kinds of days takes more than a few words.
        (true, false) => None,
        (true, true) => {
            if of_month.len() > 4 {
                return None;
            }
            let mut said: Vec<String> = of_month.iter().map(|day| format!("day {day}")).collect();
            said.extend(days.last_of_month.then(|| "the last day".to_owned()));
            Some(format!("on {} of {of_months}", listed(said)))
        }
        (false, _) if has_nth => {
            if days.of_week != 0 {
                return None;
            }
            let nth =
                (0..7).flat_map(|day| (1..6).filter(move |n| days.nth[day] & (1 << n) != 0).map(move |n| (n, day)));
            let mut said: Vec<String> = nth.map(|(n, day)| format!("the {} {}", NTH[n], WEEKDAYS[day])).collect();
            let last = (0..7).filter(|day| days.last_of_week & (1 << day) != 0);
            said.extend(last.map(|day| format!("the last {}", WEEKDAYS[day])));
            Some(format!("on {} of {of_months}", listed(said)))
        }
        (false, _) => {
            let every = match days.of_week {
                0x7f => "every day".into(),
                0b011_1110 => "every weekday".into(),
                0b100_0001 => "every Saturday and Sunday".into(),
                mask => {
                    // A week that begins on Monday.
                    let order = (1..=7).map(|day| day % 7).filter(|day| mask & (1 << day) != 0);
                    format!("every {}", listed(order.map(|day| WEEKDAYS[day as usize].to_owned()).collect()))
                }
            };
            Some(if months.is_empty() { every } else { format!("{every} in {months}") })
        }
    }
}

/// The places of the bits that are set.
fn places(bits: u64) -> Vec<u32> {
    (0..64).filter(|place| bits & (1 << place) != 0).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn listed(mut words: Vec<String>) -> String {
    let Some(last) = words.pop() else { return String::new() };
    if words.is_empty() { last } else { format!("{} and {last}", words.join(", ")) }
}
