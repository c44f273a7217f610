//! Active hours: when an agent's timers may start it. What others have to say is not held back.

use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// When an agent's timers may start it, in local time. `to` before `from` runs over midnight; both the same is all day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveHours {
    /// As `09:00`.
    pub from: ClockTime,
    /// As `18:00`; the first minute outside.
    pub to: ClockTime,
    /// The days on which a window begins; every day if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<Vec<Day>>,
}

/// A time of day, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClockTime(Time);

impl TryFrom<String> for ClockTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a time of day: write 09:00");
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let number = |part: &str| (part.len() == 2).then(|| part.parse::<i8>().ok()).flatten();
        let (hour, minute) = number(hour).zip(number(minute)).ok_or_else(wrong)?;
        Time::new(hour, minute, 0, 0).map(ClockTime).map_err(|_| wrong())
    }
}

impl From<ClockTime> for String {
    fn from(time: ClockTime) -> String {
        format!("{:02}:{:02}", time.0.hour(), time.0.minute())
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    fn of(weekday: Weekday) -> Day {
        match weekday {
            Weekday::Monday => Day::Mon,
            Weekday::Tuesday => Day::Tue,
            Weekday::Wednesday => Day::Wed,
            Weekday::Thursday => Day::Thu,
            Weekday::Friday => Day::Fri,
            Weekday::Saturday => Day::Sat,
            Weekday::Sunday => Day::Sun,
        }
    }
}

impl ActiveHours {
    /// When the hours begin next, seen from `now`; `None` within them.
    pub fn closed_until(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = now.to_jiff().to_zoned(zone.clone());
        if self.holds(local.date(), local.time()) {
            return None;
        }
        // A week and a day: the same weekday once more, after today's window.
        let days = (0..=8).filter_map(|ahead: i32| local.date().checked_add(jiff::Span::new().days(ahead)).ok());
        let openings = days.filter(|date| self.begins_on(*date)).filter_map(|date| {
            // A time that a change of the clocks leaves out begins after the gap.
            let at = date.to_datetime(self.from.0).to_zoned(zone.clone()).ok()?;
            Some(Timestamp::from(at.timestamp()))
        });
        // Without a day there is no opening: what no window lets through waits a week and is looked at again.
        openings.filter(|at| *at > now).min().or(Some(now + Duration::from_secs(7 * 86_400)))
    }

    fn begins_on(&self, date: Date) -> bool {
        self.days.as_ref().is_none_or(|days| days.contains(&Day::of(date.weekday())))
    }

    fn holds(&self, date: Date, time: Time) -> bool {
        let (from, to) = (self.from.0, self.to.0);
        let began_yesterday = || date.yesterday().is_ok_and(|yesterday| self.begins_on(yesterday));
        if from < to {
            return self.begins_on(date) && from <= time && time < to;
        }
        (self.begins_on(date) && from <= time) || (time < to && began_yesterday())
    }

    /// What is wrong with them, as (field, message).
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let is_empty = self.days.as_ref().is_some_and(Vec::is_empty);
        is_empty.then(|| ("heartbeat.active_hours.days", "must name at least one day, or be left out".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: &str, to: &str, days: Option<Vec<Day>>) -> ActiveHours {
        let time = |text: &str| ClockTime::try_from(text.to_owned()).unwrap();
        ActiveHours { from: time(from), to: time(to), days }
    }

    fn check(hours: &ActiveHours, zone: &str, now: &str, expected: Option<&str>) {
        let zone = TimeZone::get(zone).unwrap();
        let opens = hours.closed_until(now.parse().unwrap(), &zone);
        assert_eq!(opens, expected.map(|text| text.parse().unwrap()), "{now}");
    }

    #[test]
    fn by_day() {
        let office = hours("09:00", "18:00", Some(vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri]));
        // 2026-11-21 is a Saturday.
        check(&office, "Europe/Paris", "2026-11-20T08:00:00Z", None);
        check(&office, "Europe/Paris", "2026-11-20T16:59:59Z", None);
        check(&office, "Europe/Paris", "2026-11-20T17:00:00Z", Some("2026-11-23T08:00:00Z"));
        check(&office, "Europe/Paris", "2026-11-21T10:00:00Z", Some("2026-11-23T08:00:00Z"));
        check(&office, "Europe/Paris", "2026-11-20T07:59:00Z", Some("2026-11-20T08:00:00Z"));
    }

    #[test]
    fn over_midnight_a_window_belongs_to_the_day_on_which_it_begins() {
        let night = hours("22:00", "06:00", Some(vec![Day::Fri]));
        check(&night, "UTC", "2026-11-20T23:00:00Z", None);
        check(&night, "UTC", "2026-11-21T05:59:00Z", None);
        check(&night, "UTC", "2026-11-21T06:00:00Z", Some("2026-11-27T22:00:00Z"));
        check(&night, "UTC", "2026-11-20T05:00:00Z", Some("2026-11-20T22:00:00Z"));
        check(&hours("00:00", "00:00", None), "UTC", "2026-11-20T05:00:00Z", None);
    }

    #[test]
    fn an_opening_in_the_gap_of_the_clocks_is_after_it() {
        // Paris goes from 02:00 to 03:00 on 2026-03-29.
        let early = hours("02:30", "04:00", None);
        check(&early, "Europe/Paris", "2026-03-29T00:45:00Z", Some("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn times_of_day_are_checked() {
        for bad in ["9:00", "24:00", "12:60", "noon", "12", ""] {
            assert!(ClockTime::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
