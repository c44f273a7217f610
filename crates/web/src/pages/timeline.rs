//! The timeline: what ran when, what waited, what woke whom, and what was missed.

use askama::Template;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use wakeful_domain::schedule::Zone;

use super::timeline_rows::{Mark, Row, RunSpan, WakeMark, Window, rows};
use super::{Shown, page};
use crate::call::query;
use crate::frame::Frame;
use crate::seen::Names;
use crate::visit::Visit;
use crate::{pieces, span};

/// How much is shown at once.
const ZOOMS: &[&str] = &["1h", "6h", "24h", "7d"];
const ZOOM_DEFAULT: &str = "6h";
/// Between two ticks, by zoom: as many as there is room for on a phone.
const STEPS: &[(&str, SignedDuration)] = &[
    ("1h", SignedDuration::from_mins(10)),
    ("6h", SignedDuration::from_hours(1)),
    ("24h", SignedDuration::from_hours(4)),
    ("7d", SignedDuration::from_hours(24)),
];

#[derive(Template)]
#[template(path = "timeline.html")]
struct TimelinePage {
    frame: Frame,
    zoom: &'static str,
    is_by_lane: bool,
    /// The end of the window as the address names it; empty for now.
    to: String,
    from: String,
    /// The end of the window.
    until: String,
    /// The end of the window before this one.
    before: String,
    /// The end of the one behind it, unless that is yet to come.
    behind: Option<String>,
    ticks: Vec<Tick>,
    /// Where now lies, if it is in the window.
    now_x: Option<i64>,
    rows: Vec<Row>,
    missed: Vec<Mark>,
    truncated: bool,
}

/// A round time along the top.
#[derive(Debug)]
struct Tick {
    /// In thousandths of the drawing.
    x: i64,
    at: String,
}

impl Tick {
    /// Where it lies, as drawings take it.
    fn place(&self) -> String {
        format!("{}.{}%", self.x / 10, self.x % 10)
    }
}

/// What was going on.
#[derive(Debug, Deserialize)]
struct Timeline {
    runs: Vec<RunSpan>,
    wakeups: Vec<WakeMark>,
    missed: Vec<MissedSlot>,
    truncated: bool,
}

/// A slot of which nothing came.
#[derive(Debug, Deserialize)]
struct MissedSlot {
    schedule: String,
    name: String,
    slot_at: Timestamp,
    status: String,
    reason: Option<String>,
}

impl TimelinePage {
    fn zooms(&self) -> &'static [&'static str] {
        ZOOMS
    }

    /// The address of a window; it ends now if `to` is empty.
    fn address(&self, zoom: &str, to: &str) -> String {
        query(&[("zoom", zoom), ("by", if self.is_by_lane { "lane" } else { "" }), ("to", to)])
    }

    /// The address of this window with other rows.
    fn address_by(&self, by: &str) -> String {
        query(&[("zoom", self.zoom), ("by", by), ("to", &self.to)])
    }

    /// The runs of the same window as a table.
    fn as_table(&self) -> String {
        let until = if self.to.is_empty() { "" } else { &self.until };
        query(&[("since", &self.from), ("until", until)])
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.missed.is_empty()
    }
}

/// The window that the address asks for.
fn window_of(zoom: &str, to: &str, now: Timestamp) -> Window {
    let to = to.parse().unwrap_or(now);
    let length = span::length(zoom).unwrap_or(SignedDuration::from_hours(6));
    Window { from: to.checked_sub(length).unwrap_or(to), to }
}

/// Behind this a label would be cut, in thousandths of the drawing.
const TICK_LAST: i64 = 860;

/// Round times of the window, by the clock of the zone: full hours, midnights.
fn ticks_of(zoom: &str, window: Window, zone: &TimeZone) -> Vec<Tick> {
    let step = STEPS.iter().find(|(name, _)| *name == zoom).map_or(SignedDuration::from_hours(1), |(_, step)| *step);
    // From the midnight before the window on, so that ticks stand at round times whatever the length of a day.
    let Ok(mut at) = window.from.to_zoned(zone.clone()).start_of_day() else { return Vec::new() };
    let mut ticks = Vec::new();
    while at.timestamp() <= window.to {
        if window.contains(at.timestamp()) && window.x(at.timestamp()) <= TICK_LAST {
            ticks.push(Tick { x: window.x(at.timestamp()), at: format!("{:.0}", at.timestamp()) });
        }
        let next = match step.as_hours() {
            24.. => at.tomorrow().and_then(|day| day.start_of_day()),
            _ => at.checked_add(step),
        };
        match next {
            Ok(next) => at = next,
            Err(_) => break,
        }
    }
    ticks
}

fn mark_of(slot: &MissedSlot, window: Window) -> Mark {
    let reason = slot.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Mark {
        x: window.x(slot.slot_at),
        page: format!("schedules/{}", slot.schedule),
        title: format!("{} {} {}{reason}", slot.name, slot.status, slot.slot_at),
    }
}

/// Shows what was going on.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "timeline", "run wakeup schedule").await?.titled("Timeline");
    let now = wakeful_engine::clock::now().to_jiff();
    let asked = visit.asked("zoom");
    let zoom = ZOOMS.iter().copied().find(|zoom| *zoom == asked).unwrap_or(ZOOM_DEFAULT);
    // What is written in the address and is no time would be said by the API: the window ends now then.
    let to = Some(visit.asked("to")).filter(|to| to.parse::<Timestamp>().is_ok()).unwrap_or_default();
    let window = window_of(zoom, &to, now);
    let zone = frame.company.time_zone.parse::<Zone>().map_or(TimeZone::UTC, |zone| zone.rules().clone());
    let (from, until) = (window.from.to_string(), window.to.to_string());
    let path = visit.of_company(&format!("timeline{}", query(&[("from", &from), ("to", &until)])));
    let found: Timeline = visit.calls.get(&path).await?;
    let of_runs = found.runs.iter().flat_map(|run| [Some(run.agent.as_str()), run.task.as_deref()]);
    let of_wakes = found.wakeups.iter().flat_map(|wake| [Some(wake.agent.as_str()), wake.task.as_deref()]);
    let names = Names::of(&visit.calls, &visit.company, of_runs.chain(of_wakes).flatten().collect()).await?;
    let is_by_lane = visit.asked("by") == "lane";
    let behind = window.to.checked_add(window.to.duration_since(window.from)).ok().filter(|behind| *behind < now);
    let rows = rows(&found.runs, &found.wakeups, is_by_lane, window, now, &names);
    page(&TimelinePage {
        frame,
        zoom,
        is_by_lane,
        before: from.clone(),
        behind: behind.map(|behind| behind.to_string()),
        ticks: ticks_of(zoom, window, &zone),
        now_x: window.contains(now).then(|| window.x(now)),
        rows,
        missed: found.missed.iter().map(|slot| mark_of(slot, window)).collect(),
        truncated: found.truncated,
        to,
        from,
        until,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_the_address_says() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let check = |zoom, to, expected: (&str, &str)| {
            let window = window_of(zoom, to, now);
            assert_eq!((window.from.to_string().as_str(), window.to.to_string().as_str()), expected);
        };
        check("1h", "", ("2026-11-22T11:00:00Z", "2026-11-22T12:00:00Z"));
        check("7d", "2026-11-20T00:00:00Z", ("2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"));
        check("nonsense", "nonsense", ("2026-11-22T06:00:00Z", "2026-11-22T12:00:00Z"));
    }

    #[test]
    fn ticks_stand_at_round_times_and_none_is_cut() {
        let ticks = |zoom: &str, to: &str, zone: &str| -> Vec<(i64, String)> {
            let zone = TimeZone::get(zone).unwrap();
            let found = ticks_of(zoom, window_of(zoom, to, Timestamp::UNIX_EPOCH), &zone).into_iter();
            found.map(|tick| (tick.x, tick.at)).collect()
        };
        let hours = ticks("6h", "2026-11-22T12:20:00Z", "UTC");
        assert_eq!(hours.len(), 5, "the one at 12:00 would be cut: {hours:?}");
        assert_eq!(hours[0], (111, "2026-11-22T07:00:00Z".into()));
        let days = ticks("7d", "2026-11-22T12:00:00Z", "Asia/Kolkata");
        assert_eq!((days.len(), days[0].1.as_str()), (6, "2026-11-15T18:30:00Z"));
        assert_eq!(ticks("1h", "2026-11-22T12:05:00Z", "UTC")[0].1, "2026-11-22T11:10:00Z");
    }
}
