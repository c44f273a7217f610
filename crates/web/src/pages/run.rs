//! One run: why it came about, what was decided for it, what happened when, and what can be done about it.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::transcript::{self, Entry};
use super::{Shown, page};
use crate::call::query;
use crate::failure::Failure;
use crate::frame::Frame;
use crate::pieces::{self, money};
use crate::seen::{List, Names, Run, RunEvent, Waiting, Wakeup, Why, millis_between};
use crate::visit::Visit;

/// Events that a page shows at most: a longer run is read on by its `after`.
const EVENTS_MAX: usize = 1_000;
/// Events of one answer.
const EVENTS_PAGE: usize = 200;
/// The width of the waterfall, in units of its own.
const WIDTH: i64 = 1_000;
/// Narrower bars could not be seen.
const BAR_MIN: i64 = 3;

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    frame: Frame,
    run: Run,
    names: Names,
    why: Why,
    /// The wakeup that leads it, whole.
    lead: Option<Wakeup>,
    events: Vec<RunEvent>,
    /// The number behind which events go on that are not shown.
    goes_on: Option<i64>,
    tab: &'static str,
    bars: Vec<Bar>,
    processes: Vec<Process>,
    /// What came for the lane while this run is live, and waits.
    held_back: Vec<Wakeup>,
    /// Runs of the same lane before and behind this one.
    before: Option<String>,
    behind: Option<String>,
}

/// Wakeups that wait for the lane of a live run, shown at most.
const HELD_BACK_SHOWN: &str = "20";

/// A line of the waterfall: something that took time.
#[derive(Debug)]
struct Bar {
    name: String,
    depth: usize,
    /// `wait` or `work`, or the state of what it ended in.
    kind: &'static str,
    x: i64,
    width: i64,
    took: String,
    cost: String,
}

/// A process of a live run.
#[derive(Debug, Deserialize)]
struct Process {
    pid: i64,
    parent: i64,
    command: String,
    state: String,
    rss_bytes: i64,
    cpu_ms: i64,
}

const TABS: &[(&str, &str)] = &[
    ("transcript", "Transcript"),
    ("log", "Log"),
    ("events", "Events"),
    ("context", "Context"),
    ("cost", "Cost"),
    ("process", "Process"),
];

impl RunPage {
    fn tabs(&self) -> &'static [(&'static str, &'static str)] {
        TABS
    }

    /// The command that shows the same.
    fn command(&self) -> String {
        format!("wakeful run logs {}", self.run.id)
    }

    /// Whether what it was for waits until a person lets the lane start again.
    fn waits_for_circuit(&self) -> bool {
        let waiting = self.lead.as_ref().and_then(|lead| lead.waiting.as_ref());
        waiting.is_some_and(Waiting::is_circuit)
    }

    fn transcript(&self) -> Vec<Entry<'_>> {
        transcript::entries(&self.run, &self.events, self.goes_on.is_none())
    }

    fn pretty(&self, value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap_or_default()
    }
}

/// Shows a run.
pub async fn show(visit: Visit) -> Shown {
    let calls = &visit.calls;
    let run: Run = calls.get(&format!("/runs/{}", visit.id)).await?;
    let mut frame = Frame::around(&visit, "runs", "run wakeup").await?;
    frame.run = run.id.clone();
    let why: Why = calls.get(&format!("/runs/{}/why", run.id)).await?;
    let lead = match run.lead() {
        Some(lead) => calls.find(&format!("/wakeups/{}", lead.id)).await?,
        None => None,
    };
    let (events, goes_on) = events(&visit, &run).await?;
    let asked = visit.asked("tab");
    let fallback = if events.iter().any(|event| event.r#type == "message") { "transcript" } else { "log" };
    let tab = TABS.iter().find(|(name, _)| *name == asked).map_or(fallback, |(name, _)| name);
    let processes = match tab == "process" && run.is_live() {
        true => calls.find::<List<Process>>(&format!("/runs/{}/processes", run.id)).await?.map(|list| list.items),
        false => None,
    };
    let held_back = if run.is_live() { held_back(&visit, &run).await? } else { Vec::new() };
    let (before, behind) = neighbours(&visit, &run).await?;
    let ids = [Some(run.agent.as_str()), run.task.as_deref()].into_iter().flatten().collect();
    let names = Names::of(calls, &visit.company, ids).await?;
    let title = format!("{} · {}", names.name(&run.agent), run.status);
    let bars = waterfall(&run, &events, wakeful_engine::clock::now().to_jiff());
    let processes = processes.unwrap_or_default();
    page(&RunPage {
        frame: frame.titled(title),
        run,
        names,
        why,
        lead,
        events,
        goes_on,
        tab,
        bars,
        processes,
        held_back,
        before,
        behind,
    })
}

/// The newest wakeups that wait for the lane of a live run.
async fn held_back(visit: &Visit, run: &Run) -> Result<Vec<Wakeup>, Failure> {
    let task = run.task.as_deref().unwrap_or_default();
    let of_lane = query(&[("agent", &run.agent), ("task", task), ("status", "pending"), ("limit", HELD_BACK_SHOWN)]);
    let waiting: List<Wakeup> = visit.calls.get(&visit.of_company(&format!("wakeups{of_lane}"))).await?;
    Ok(waiting.items.into_iter().filter(|wakeup| wakeup.task == run.task).collect())
}

/// The events behind the one that the address names, and where they go on.
async fn events(visit: &Visit, run: &Run) -> Result<(Vec<RunEvent>, Option<i64>), Failure> {
    let mut after: i64 = visit.asked("after").parse().unwrap_or(0);
    let mut events: Vec<RunEvent> = Vec::new();
    loop {
        let path = format!("/runs/{}/events{}", run.id, query(&[("after", &after.to_string())]));
        let some: List<RunEvent> = visit.calls.get(&path).await?;
        let is_last = some.items.len() < EVENTS_PAGE;
        events.extend(some.items);
        after = events.last().map_or(after, |event| event.seq);
        if is_last {
            return Ok((events, None));
        }
        if events.len() >= EVENTS_MAX {
            return Ok((events, Some(after)));
        }
    }
}

/// The runs of the agent before and behind this one, as far as its newest runs tell.
async fn neighbours(visit: &Visit, run: &Run) -> Result<(Option<String>, Option<String>), Failure> {
    let older = query(&[("agent", &run.agent), ("cursor", &run.id), ("limit", "1")]);
    let older: List<Run> = visit.calls.get(&visit.of_company(&format!("runs{older}"))).await?;
    let newest = query(&[("agent", &run.agent), ("limit", "50")]);
    let newest: List<Run> = visit.calls.get(&visit.of_company(&format!("runs{newest}"))).await?;
    let place = newest.items.iter().position(|other| other.id == run.id);
    let newer = place.and_then(|place| place.checked_sub(1)).map(|place| newest.items[place].id.clone());
    Ok((older.items.into_iter().next().map(|run| run.id), newer))
}

/// What took how long: the wait, then each event until the next one.
fn waterfall(run: &Run, events: &[RunEvent], now: jiff::Timestamp) -> Vec<Bar> {
    let now = now.to_string();
    let end = run.finished_at.as_deref().unwrap_or(&now);
    let whole = millis_between(&run.created_at, end).unwrap_or(0).max(1);
    let bar = |name: &str, depth, kind, from: &str, to: &str| {
        let begins = millis_between(&run.created_at, from).unwrap_or(0).clamp(0, whole);
        let lasts = millis_between(from, to).unwrap_or(0).max(0);
        let x = (begins * WIDTH / whole).min(WIDTH - BAR_MIN);
        let width = (lasts * WIDTH / whole).clamp(BAR_MIN, WIDTH - x);
        Bar { name: name.to_owned(), depth, kind, x, width, took: pieces::duration(lasts), cost: String::new() }
    };
    let started = run.started_at.as_deref().unwrap_or(end);
    let mut work = bar("run", 0, pieces::kind_of(&run.status), started, end);
    work.cost = run.cost_micros.map(money).unwrap_or_default();
    let mut bars = vec![bar("waiting to start", 0, "wait", &run.created_at, started), work];
    let shown =
        |event: &&RunEvent| matches!(event.r#type.as_str(), "message" | "tool" | "error" | "rate_limit" | "progress");
    let steps: Vec<&RunEvent> = events.iter().filter(shown).collect();
    for (place, event) in steps.iter().enumerate().take(EVENTS_PAGE) {
        let until = steps.get(place + 1).map_or(end, |next| next.at.as_str());
        let kind = if event.level == "error" { "failed" } else { "work" };
        let name = match event.r#type.as_str() {
            "tool" => event.data["name"].as_str().unwrap_or("tool").to_owned(),
            kind => kind.replace('_', " "),
        };
        bars.push(bar(&name, 1, kind, &event.at, until));
    }
    bars
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pages::rendered::a_run;

    #[test]
    fn bars_lie_within_the_run() {
        let run: Run = serde_json::from_value(a_run("process", "succeeded")).unwrap();
        let event = |seq, second: u8, kind: &str| RunEvent {
            seq,
            at: format!("2026-11-22T05:00:{second:02}.000Z"),
            r#type: kind.into(),
            level: "info".into(),
            message: String::new(),
            data: json!({"name": "Bash"}),
        };
        let events = [event(1, 2, "message"), event(2, 4, "tool"), event(3, 59, "message")];
        let bars = waterfall(&run, &events, jiff::Timestamp::UNIX_EPOCH);
        let drawn: Vec<_> = bars.iter().map(|bar| (bar.name.as_str(), bar.x, bar.width)).collect();
        assert_eq!(
            drawn,
            [
                ("waiting to start", 0, 100),
                ("run", 100, 900),
                ("message", 200, 200),
                ("Bash", 400, 600),
                ("message", 997, 3)
            ]
        );
    }
}
