//! The plan: the slots to come of all schedules, day by day, by the clock of the company.

use askama::Template;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use wakeful_domain::schedule::Zone;

use super::{Shown, page};
use crate::call::query;
use crate::failure::Failure;
use crate::frame::Frame;
use crate::pieces;
use crate::visit::Visit;

/// Days that a plan reaches ahead.
const DAYS: i64 = 30;
/// More slots of a schedule on one day are counted, not listed.
const LISTED: usize = 6;
/// Schedules with more slots than this in all are told of once, above the days: they would hide the others.
const EACH: &str = "250";

#[derive(Template)]
#[template(path = "plan.html")]
struct PlanPage {
    frame: Frame,
    days: Vec<Day>,
    often: Vec<Often>,
    truncated: bool,
}

/// The slots to come, as the API gives them.
#[derive(Debug, Deserialize)]
pub struct Plan {
    pub items: Vec<Planned>,
    pub truncated: bool,
    pub often: Vec<Often>,
}

/// A schedule with more slots than anybody reads.
#[derive(Debug, Deserialize)]
pub struct Often {
    schedule: String,
    name: String,
    words: String,
    next_slot_at: Option<String>,
}

/// A slot to come.
#[derive(Debug, Clone, Deserialize)]
pub struct Planned {
    pub slot_at: String,
    pub schedule: String,
    name: String,
    /// Why it will be skipped, if that is known.
    skipped: Option<String>,
}

/// A day of the plan.
#[derive(Debug)]
pub struct Day {
    /// As `Mon 23 Nov`.
    pub title: String,
    pub lines: Vec<Line>,
}

/// The slots of one schedule on one day.
#[derive(Debug)]
pub struct Line {
    pub schedule: String,
    pub name: String,
    pub count: usize,
    /// The first of them, and the last if there are too many to list.
    pub moments: Vec<Moment>,
    /// Why some will be skipped.
    pub skipped: Option<String>,
}

/// A time, and how the clock of the company shows it.
#[derive(Debug)]
pub struct Moment {
    pub at: String,
    pub clock: String,
}

impl Line {
    /// Whether the times are too many to list.
    pub fn is_dense(&self) -> bool {
        self.count > LISTED
    }
}

/// Asks for the slots of the days to come, narrowed by parameters of the API.
pub async fn ask(visit: &Visit, narrowed: &[(&str, &str)]) -> Result<Plan, Failure> {
    let now = wakeful_engine::clock::now().to_jiff();
    let to = now.checked_add(SignedDuration::from_hours(24 * DAYS)).unwrap_or(now);
    let to = to.to_string();
    let asked: Vec<(&str, &str)> = narrowed.iter().copied().chain([("to", to.as_str())]).collect();
    visit.calls.get(&visit.of_company(&format!("plan{}", query(&asked)))).await
}

/// Slots in order, by the day of the zone and then by schedule.
pub fn by_day(items: &[Planned], zone: &str) -> Vec<Day> {
    let rules = zone.parse::<Zone>().map_or(jiff::tz::TimeZone::UTC, |zone| zone.rules().clone());
    let mut days: Vec<Day> = Vec::new();
    for slot in items {
        let Ok(at) = slot.slot_at.parse::<Timestamp>() else { continue };
        let local = at.to_zoned(rules.clone());
        let title = local.strftime("%a %-d %b").to_string();
        if days.last().is_none_or(|day| day.title != title) {
            days.push(Day { title, lines: Vec::new() });
        }
        let moment = Moment { at: slot.slot_at.clone(), clock: local.strftime("%H:%M").to_string() };
        if let Some(day) = days.last_mut() {
            add(&mut day.lines, slot, moment);
        }
    }
    days
}

fn add(lines: &mut Vec<Line>, slot: &Planned, moment: Moment) {
    let skipped = slot.skipped.as_ref().map(|reason| reason.replace('_', " "));
    match lines.iter_mut().find(|line| line.schedule == slot.schedule) {
        Some(line) => {
            line.count += 1;
            // Of too many only the first and the last are kept.
            if line.is_dense() {
                line.moments.truncate(1);
            }
            line.moments.push(moment);
            line.skipped = line.skipped.take().or(skipped);
        }
        None => lines.push(Line {
            schedule: slot.schedule.clone(),
            name: slot.name.clone(),
            count: 1,
            moments: vec![moment],
            skipped,
        }),
    }
}

/// Shows the plan of all schedules.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "schedules", "schedule").await?.titled("Plan");
    let plan = ask(&visit, &[("each", EACH)]).await?;
    let days = by_day(&plan.items, &frame.company.time_zone);
    page(&PlanPage { frame, days, often: plan.often, truncated: plan.truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(schedule: &str, at: &str) -> Planned {
        Planned { slot_at: at.into(), schedule: schedule.into(), name: schedule.into(), skipped: None }
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let items =
            [slot("a", "2026-11-22T22:30:00Z"), slot("a", "2026-11-22T23:30:00Z"), slot("b", "2026-11-23T08:00:00Z")];
        let shown: Vec<_> = by_day(&items, "Europe/Paris")
            .iter()
            .map(|day| {
                let clocks = day.lines.iter().flat_map(|line| line.moments.iter().map(|moment| moment.clock.clone()));
                (day.title.clone(), clocks.collect::<Vec<_>>().join(" "))
            })
            .collect();
        let expected = [("Sun 22 Nov", "23:30"), ("Mon 23 Nov", "00:30 09:00")];
        assert_eq!(shown, expected.map(|(day, clocks)| (day.to_owned(), clocks.to_owned())));
    }

    #[test]
    fn what_is_dense_is_counted() {
        let items: Vec<_> = (0..24).map(|hour| slot("a", &format!("2026-11-22T{hour:02}:00:00Z"))).collect();
        let days = by_day(&items, "UTC");
        let line = &days[0].lines[0];
        assert!(line.is_dense());
        assert_eq!((line.count, line.moments.len()), (24, 2));
        assert_eq!((line.moments[0].clock.as_str(), line.moments[1].clock.as_str()), ("00:00", "23:00"));
    }
}
