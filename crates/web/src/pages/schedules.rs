//! Schedules: each in words, with its next slot, what became of the last ones, and its policies.

use askama::Template;

use super::{Shown, page};
use crate::call::query;
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{List, Names, Schedule, Slot};
use crate::visit::Visit;

/// Schedules of one page: the slots of each are asked for by themselves.
const SHOWN: &str = "25";
/// Slots of each that are drawn.
const SLOTS_SHOWN: &str = "20";

#[derive(Template)]
#[template(path = "schedules.html")]
struct SchedulesPage {
    frame: Frame,
    rows: Vec<Row>,
    names: Names,
    /// Where the list goes on.
    next: Option<String>,
}

/// A schedule with its last slots, oldest first.
struct Row {
    schedule: Schedule,
    slots: Vec<Slot>,
}

/// Shows schedules.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "schedules", "schedule").await?.titled("Schedules");
    let asked = query(&[("limit", SHOWN), ("cursor", &visit.asked("cursor"))]);
    let list: List<Schedule> = visit.calls.get(&visit.of_company(&format!("schedules{asked}"))).await?;
    let names =
        Names::of(&visit.calls, &visit.company, list.items.iter().filter_map(Schedule::agent).collect()).await?;
    let mut rows = Vec::with_capacity(list.items.len());
    for schedule in list.items {
        // It may be gone by now: then it has no slots either.
        let path = format!("/schedules/{}/slots?limit={SLOTS_SHOWN}", schedule.id);
        let slots = visit.calls.find::<List<Slot>>(&path).await?.map(|list| list.items).unwrap_or_default();
        rows.push(Row { schedule, slots: slots.into_iter().rev().collect() });
    }
    let next = list.next_cursor.map(|cursor| query(&[("cursor", &cursor)]));
    page(&SchedulesPage { frame, rows, names, next })
}
