//! One schedule: when it is next, what became of each of its slots, its policies, and what it will do for a month.

use askama::Template;
use serde_json::Value;

use super::plan::{self, Day};
use super::{Shown, page};
use crate::call::query;
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{List, Names, Schedule, Slot};
use crate::visit::Visit;

/// Slots of one page of the ledger.
const SLOTS_SHOWN: &str = "50";
/// Slots to come that are listed with their distance from now.
const NEXT_SHOWN: &str = "5";

#[derive(Template)]
#[template(path = "schedule.html")]
struct SchedulePage {
    frame: Frame,
    schedule: Schedule,
    names: Names,
    next: Vec<String>,
    slots: Vec<Slot>,
    /// The parameters of the ledger's page behind this one.
    older: Option<String>,
    days: Vec<Day>,
    truncated: bool,
}

impl SchedulePage {
    fn pretty(&self, value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap_or_default()
    }

    /// The command that shows the same.
    fn command(&self) -> String {
        format!("wakeful schedule show {}", self.schedule.id)
    }
}

/// Shows a schedule.
pub async fn show(visit: Visit) -> Shown {
    let calls = &visit.calls;
    let schedule: Schedule = calls.get(&format!("/schedules/{}", visit.id)).await?;
    let frame = Frame::around(&visit, "schedules", "schedule").await?.titled(&schedule.name);
    let next: List<String> = calls.get(&format!("/schedules/{}/next?n={NEXT_SHOWN}", visit.id)).await?;
    let asked = query(&[("limit", SLOTS_SHOWN), ("cursor", &visit.asked("cursor"))]);
    let slots: List<Slot> = calls.get(&format!("/schedules/{}/slots{asked}", visit.id)).await?;
    let plan = plan::ask(&visit, &[("schedule", &schedule.id)]).await?;
    let names = Names::of(calls, &visit.company, schedule.agent().into_iter().collect()).await?;
    page(&SchedulePage {
        days: plan::by_day(&plan.items, &frame.company.time_zone),
        truncated: plan.truncated,
        next: next.items,
        older: slots.next_cursor.map(|cursor| query(&[("cursor", &cursor)])),
        slots: slots.items,
        frame,
        schedule,
        names,
    })
}
