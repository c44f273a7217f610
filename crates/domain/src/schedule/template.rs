//! Variables in the texts of a routine: `Report of {{date}}`. An unknown name is refused when the
//! schedule is made, so that no task is ever made with a hole in it.

use jiff::fmt::strtime;

use super::zone::Zone;
use crate::time::Timestamp;

/// Every variable, and what it stands for.
pub const VARIABLES: &[(&str, &str)] = &[
    ("slot", "the nominal time, in universal time"),
    ("date", "its date in the schedule's zone, as 2026-11-23"),
    ("time", "its time of day there, as 09:00"),
    ("weekday", "its day of the week there, as Monday"),
    ("week", "its ISO week there, as 2026-W48"),
    ("month", "its month there, as 2026-11"),
    ("time_zone", "the schedule's zone"),
    ("schedule", "the schedule's name"),
    ("fire", "how often it has fired, with this"),
];

/// What is wrong with a text with variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("`{{{{{name}}}}}` is not known: use one of {}", names())]
    Unknown { name: String },
    #[error("character {at}: `{{{{` is not closed: write {{{{date}}}}")]
    Open { at: usize },
}

fn names() -> String {
    VARIABLES.iter().map(|(name, _)| format!("{{{{{name}}}}}")).collect::<Vec<_>>().join(", ")
}

/// What the variables stand for at one slot.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    pub slot: Timestamp,
    pub zone: &'a Zone,
    pub schedule: &'a str,
    pub fire: u64,
}

impl Variables<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let local = self.slot.to_jiff().to_zoned(self.zone.rules().clone());
        let written = |pattern: &str| strtime::format(pattern, &local).ok();
        match name {
            "slot" => Some(self.slot.to_string()),
            "date" => written("%Y-%m-%d"),
            "time" => written("%H:%M"),
            "weekday" => written("%A"),
            "week" => written("%G-W%V"),
            "month" => written("%Y-%m"),
            "time_zone" => Some(self.zone.name().to_owned()),
            "schedule" => Some(self.schedule.to_owned()),
            "fire" => Some(self.fire.to_string()),
            _ => None,
        }
    }
}

/// Refuses a text with a variable that is not known.
pub fn check(text: &str) -> Result<(), TemplateError> {
    let known = |name: &str| VARIABLES.iter().any(|(variable, _)| *variable == name).then(String::new);
    replace(text, known).map(|_| ())
}

/// The text with its variables filled in. What they stand for is not looked at again.
pub fn fill(text: &str, variables: &Variables<'_>) -> Result<String, TemplateError> {
    replace(text, |name| variables.value(name))
}

fn replace(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, opened)) = rest.split_once("{{") {
        filled.push_str(before);
        let at = text[..text.len() - opened.len() - 2].chars().count() + 1;
        let (name, behind) = opened.split_once("}}").ok_or(TemplateError::Open { at })?;
        let name = name.trim();
        filled.push_str(&value(name).ok_or_else(|| TemplateError::Unknown { name: name.into() })?);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_by_the_local_clock() {
        let zone: Zone = "Pacific/Auckland".parse().unwrap();
        let slot = "2026-11-22T20:00:00Z".parse().unwrap();
        let variables = Variables { slot, zone: &zone, schedule: "morning {{date}}", fire: 7 };
        let check = |text: &str, expected: &str| assert_eq!(fill(text, &variables).unwrap(), expected);
        check("Report of {{date}}, {{ time }}", "Report of 2026-11-23, 09:00");
        check("{{weekday}} {{week}} {{month}} #{{fire}}", "Monday 2026-W48 2026-11 #7");
        check("{{slot}} {{time_zone}}", "2026-11-22T20:00:00.000Z Pacific/Auckland");
        check("{{schedule}}", "morning {{date}}");
        check("no {variable} }} here", "no {variable} }} here");
        check("", "");
    }

    #[test]
    fn an_unknown_variable_is_refused_by_its_name() {
        let error = |text: &str| super::check(text).unwrap_err().to_string();
        assert!(error("Report of {{day}}").starts_with("`{{day}}` is not known: use one of {{slot}}, {{date}}"));
        assert!(error("{{}}").starts_with("`{{}}` is not known"));
        assert_eq!(error("é {{date"), "character 3: `{{` is not closed: write {{date}}");
        assert!(VARIABLES.iter().all(|(name, _)| super::check(&format!("{{{{{name}}}}}")).is_ok()));
    }

    #[test]
    fn what_is_checked_can_be_filled_in() {
        let variables = Variables { slot: Timestamp::from_millis(0), zone: &Zone::utc(), schedule: "a", fire: 1 };
        for (name, _) in VARIABLES {
            assert!(variables.value(name).is_some(), "{name}");
        }
    }
}
