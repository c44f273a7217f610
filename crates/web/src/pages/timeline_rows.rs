//! The rows of the timeline, worked out: what is drawn where. Runs that overlap lie below one another.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::pieces::{duration, kind_of};
use crate::seen::Names;

/// The width of the drawing, in units of its own.
const WIDTH: i64 = 1_000;
/// Narrower bars could not be seen.
const BAR_MIN: i64 = 2;
/// Rows of one name at most; what does not fit lies in the last one.
const LEVELS_MAX: usize = 12;

/// A run that was live at some time of the window.
#[derive(Debug, Clone, Deserialize)]
pub struct RunSpan {
    pub id: String,
    pub agent: String,
    pub task: Option<String>,
    status: String,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

/// A wakeup that was asked for in the window, or has waited since before.
#[derive(Debug, Clone, Deserialize)]
pub struct WakeMark {
    pub id: String,
    pub agent: String,
    pub task: Option<String>,
    source: String,
    status: String,
    requested_at: Timestamp,
    run_id: Option<String>,
}

/// From when to when is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// What is drawn beside one name.
#[derive(Debug)]
pub struct Row {
    pub agent: String,
    pub name: String,
    /// At least one; each is drawn below the one before.
    pub levels: Vec<Level>,
}

/// Bars that do not overlap, and marks.
#[derive(Debug, Default)]
pub struct Level {
    pub bars: Vec<Bar>,
    pub marks: Vec<Mark>,
}

/// Something that lasts.
#[derive(Debug)]
pub struct Bar {
    /// Of a state, or `waiting`, which is hatched.
    pub kind: &'static str,
    pub is_waiting: bool,
    pub x: i64,
    pub width: i64,
    /// The page of it, below the company.
    pub page: String,
    pub title: String,
}

/// Something that happened.
#[derive(Debug)]
pub struct Mark {
    pub x: i64,
    pub page: String,
    pub title: String,
}

/// Bars that belong together, with the time that they take up.
struct Item {
    from: Timestamp,
    to: Timestamp,
    bars: Vec<Bar>,
}

impl Window {
    /// Where a time lies, from 0 to the width; times outside lie at the edges.
    pub fn x(&self, at: Timestamp) -> i64 {
        let whole = (self.to.as_millisecond() - self.from.as_millisecond()).max(1);
        (at.as_millisecond() - self.from.as_millisecond()).clamp(0, whole) * WIDTH / whole
    }

    pub fn contains(&self, at: Timestamp) -> bool {
        (self.from..=self.to).contains(&at)
    }

    fn bar(&self, kind: &'static str, (from, to): (Timestamp, Timestamp), page: String, title: String) -> Bar {
        let x = self.x(from).min(WIDTH - BAR_MIN);
        let width = (self.x(to) - x).clamp(BAR_MIN, WIDTH - x);
        Bar { kind, is_waiting: kind == "waiting", x, width, page, title }
    }
}

/// Rows by agent, or by lane: an agent and its task.
pub fn rows(
    runs: &[RunSpan],
    wakes: &[WakeMark],
    is_by_lane: bool,
    window: Window,
    now: Timestamp,
    names: &Names,
) -> Vec<Row> {
    let key = |agent: &str, task: &Option<String>| {
        (agent.to_owned(), task.clone().filter(|_| is_by_lane).unwrap_or_default())
    };
    let mut found: BTreeMap<(String, String), (Vec<Item>, Vec<Mark>)> = BTreeMap::new();
    // Of several wakeups that one run answers, the wait began with the first.
    let mut asked: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for wake in wakes {
        if let Some(run) = &wake.run_id {
            let first = asked.entry(run).or_insert(wake.requested_at);
            *first = (*first).min(wake.requested_at);
        }
    }
    for run in runs {
        let item = of_run(run, asked.get(run.id.as_str()).copied(), window, now);
        found.entry(key(&run.agent, &run.task)).or_default().0.push(item);
    }
    for wake in wakes {
        let (items, marks) = found.entry(key(&wake.agent, &wake.task)).or_default();
        let page = format!("wakes/{}", wake.id);
        if wake.status == "pending" && wake.run_id.is_none() {
            let waits = (wake.requested_at, now);
            let title = format!("{} waits for {}", wake.source, lasted(waits));
            items.push(Item { from: waits.0, to: now, bars: vec![window.bar("waiting", waits, page.clone(), title)] });
        }
        if window.contains(wake.requested_at) {
            let title = format!("wake: {}, {}", wake.source, wake.status);
            marks.push(Mark { x: window.x(wake.requested_at), page, title });
        }
    }
    let mut rows: Vec<Row> = found.into_iter().map(|(key, (items, marks))| row(key, items, marks, names)).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

/// A run, with its wait before it.
fn of_run(run: &RunSpan, asked: Option<Timestamp>, window: Window, now: Timestamp) -> Item {
    let page = format!("runs/{}", run.id);
    let works = (run.created_at, run.finished_at.unwrap_or(now));
    let mut bars = Vec::new();
    let from = asked.unwrap_or(run.created_at).min(run.created_at);
    if window.x(from) < window.x(run.created_at) {
        let waited = (from, run.created_at);
        bars.push(window.bar("waiting", waited, page.clone(), format!("waited {}", lasted(waited))));
    }
    let title = format!("{}, {}", run.status.replace('_', " "), lasted(works));
    bars.push(window.bar(kind_of(&run.status), works, page, title));
    Item { from, to: works.1, bars }
}

fn lasted((from, to): (Timestamp, Timestamp)) -> String {
    duration((to.as_millisecond() - from.as_millisecond()).max(0))
}

fn row((agent, task): (String, String), mut items: Vec<Item>, marks: Vec<Mark>, names: &Names) -> Row {
    items.sort_by_key(|item| item.from);
    let spans: Vec<(Timestamp, Timestamp)> = items.iter().map(|item| (item.from, item.to)).collect();
    let placed = spread(&spans, LEVELS_MAX);
    let count = placed.iter().max().map_or(1, |last| last + 1);
    let mut levels: Vec<Level> = (0..count).map(|_| Level::default()).collect();
    for (item, level) in items.into_iter().zip(placed) {
        levels[level].bars.extend(item.bars);
    }
    levels[0].marks = marks;
    let mut name = names.name(&agent).to_owned();
    if !task.is_empty() {
        name = format!("{name} · {}", names.name(&task));
    }
    Row { agent, name, levels }
}

/// For each span, in the order of their beginnings, the first level on which nothing is in its way.
fn spread<T: Ord + Copy>(spans: &[(T, T)], levels_max: usize) -> Vec<usize> {
    let mut ends: Vec<T> = Vec::new();
    let place = |(from, to): &(T, T)| {
        let free = ends.iter().position(|end| end <= from);
        let level = free.unwrap_or(ends.len()).min(levels_max - 1);
        match ends.get_mut(level) {
            Some(end) => *end = (*end).max(*to),
            None => ends.push(*to),
        }
        level
    };
    spans.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn run(id: &str, from: i64, to: Option<i64>) -> RunSpan {
        RunSpan {
            id: id.into(),
            agent: "agt_a".into(),
            task: None,
            status: if to.is_some() { "succeeded" } else { "running" }.into(),
            created_at: at(from),
            finished_at: to.map(at),
        }
    }

    fn wake(id: &str, requested: i64, run: Option<&str>) -> WakeMark {
        serde_json::from_value(json!({
            "id": id, "agent": "agt_a", "task": null, "source": "manual", "run_id": run,
            "status": if run.is_some() { "completed" } else { "pending" }, "requested_at": at(requested).to_string(),
        }))
        .unwrap()
    }

    #[test]
    fn what_overlaps_lies_below() {
        let check = |spans: &[(i64, i64)], expected: &[usize]| assert_eq!(spread(spans, 3), expected);
        check(&[], &[]);
        check(&[(0, 5), (5, 9)], &[0, 0]);
        check(&[(0, 5), (4, 9), (5, 6)], &[0, 1, 0]);
        check(&[(0, 9), (1, 9), (2, 9), (3, 9), (9, 10)], &[0, 1, 2, 2, 0]);
    }

    #[test]
    fn bars_lie_within_the_window() {
        let window = Window { from: at(0), to: at(100) };
        let runs = [run("run_1", -50, Some(10)), run("run_2", 20, Some(30)), run("run_3", 25, None)];
        let wakes = [wake("wak_1", 15, Some("run_2")), wake("wak_2", 12, Some("run_2")), wake("wak_3", 60, None)];
        let rows = rows(&runs, &wakes, false, window, at(80), &Names::default());
        assert_eq!(rows.len(), 1);
        let drawn = |level: &Level| level.bars.iter().map(|bar| (bar.kind, bar.x, bar.width)).collect::<Vec<_>>();
        let levels: Vec<_> = rows[0].levels.iter().map(drawn).collect();
        let first = vec![("succeeded", 0, 100), ("waiting", 120, 80), ("succeeded", 200, 100), ("waiting", 600, 200)];
        assert_eq!(levels, [first, vec![("running", 250, 550)]]);
        let marks: Vec<i64> = rows[0].levels[0].marks.iter().map(|mark| mark.x).collect();
        assert_eq!(marks, [150, 120, 600]);
    }

    #[test]
    fn a_bar_at_the_edge_can_be_seen() {
        let window = Window { from: at(0), to: at(1_000) };
        let rows = rows(&[run("run_1", 1_000, Some(1_000))], &[], false, window, at(1_000), &Names::default());
        let bar = &rows[0].levels[0].bars[0];
        assert_eq!((bar.x, bar.width), (WIDTH - BAR_MIN, BAR_MIN));
    }

    #[test]
    fn lanes_are_rows_of_their_own() {
        let window = Window { from: at(0), to: at(10) };
        let mut other = run("run_2", 1, Some(2));
        other.task = Some("tsk_1".into());
        let runs = [run("run_1", 1, Some(2)), other];
        let count = |is_by_lane| rows(&runs, &[], is_by_lane, window, at(5), &Names::default()).len();
        assert_eq!((count(false), count(true)), (1, 2));
    }
}
