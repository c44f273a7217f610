//! The form that makes a schedule, and the one that changes it. Both send what the API takes, in its own shape.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;
use wakeful_domain::schedule::{CatchUp, Overlap};

use super::tasks::PRIORITIES;
use super::{Shown, page};
use crate::choices::{self, Choice};
use crate::failure::Failure;
use crate::frame::Frame;
use crate::seen::{List, Schedule};
use crate::visit::Visit;

/// What a schedule can do: how the address names it, and how people do.
const KINDS: &[(&str, &str)] = &[("wake", "Wake an agent"), ("task", "Make a task"), ("action", "Carry out an action")];

/// Actions that are built in, and what they say.
const BUILT_IN: &[(&str, &str)] = &[
    ("task-scan", "every 5 minutes: new tasks that nobody has and the agent can do; min_reward, capabilities, wake"),
    ("daily-summary", "at 9: what was done, what failed, what it cost"),
    ("portfolio-monitor", "every hour: tasks that are late, stuck or were rejected"),
];
/// What is filled in in the texts of a task.
const VARIABLES: &[&str] = &["date", "time", "weekday", "week", "month", "slot", "schedule", "fire", "time_zone"];
const DOLLAR: f64 = 1_000_000.0;

#[derive(Template)]
#[template(path = "schedule_form.html")]
struct SchedulePageForm {
    frame: Frame,
    /// The one that is changed.
    schedule: Option<Schedule>,
    agents: Vec<Choice>,
    projects: Vec<Choice>,
    goals: Vec<Choice>,
    /// Names of actions: those that are built in, and those of other schedules.
    actions: Vec<String>,
    /// Of [`KINDS`].
    kind: &'static str,
}

impl SchedulePageForm {
    fn kinds(&self) -> &'static [(&'static str, &'static str)] {
        KINDS
    }

    fn overlaps(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let words = |policy| match policy {
            Overlap::Coalesce => "The live run stands for it.",
            Overlap::Queue => "It waits until the live run has ended.",
            Overlap::Skip => "It is skipped.",
            Overlap::CancelRunning => "The live run is cancelled for it.",
        };
        Overlap::ALL.iter().map(move |(name, policy)| (*name, words(*policy)))
    }

    fn catch_ups(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let words = |policy| match policy {
            CatchUp::Skip => "Slots that were missed are not made up.",
            CatchUp::Latest => "The newest slot that was missed fires.",
            CatchUp::All => "The newest 25 that were missed fire, one after another.",
        };
        CatchUp::ALL.iter().map(move |(name, policy)| (*name, words(*policy)))
    }

    /// A word of the trigger; empty if it has none.
    fn trigger(&self, key: &str) -> &str {
        self.schedule.as_ref().and_then(|schedule| schedule.trigger[key].as_str()).unwrap_or_default()
    }

    /// What the target says under a key, if it is of the kind that the form is for.
    fn aim(&self, key: &str) -> &Value {
        let schedule = self.schedule.as_ref().filter(|schedule| schedule.kind() == self.kind);
        schedule.map_or(&Value::Null, |schedule| &schedule.aim()[key])
    }

    fn aim_text(&self, key: &str) -> String {
        match self.aim(key) {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            value => pretty(value),
        }
    }

    /// A word that the target says under a key; empty if it says none.
    fn aim_word(&self, key: &str) -> &str {
        self.aim(key).as_str().unwrap_or_default()
    }

    fn aim_word_or<'a>(&'a self, key: &str, otherwise: &'a str) -> &'a str {
        Some(self.aim_word(key)).filter(|word| !word.is_empty()).unwrap_or(otherwise)
    }

    fn aim_list(&self, key: &str) -> String {
        let words = self.aim(key).as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(", ")
    }

    /// An amount as people write it.
    fn reward(&self) -> String {
        self.aim("reward").as_i64().map(|micros| (micros as f64 / DOLLAR).to_string()).unwrap_or_default()
    }

    fn priorities(&self) -> &'static [&'static str] {
        PRIORITIES
    }

    fn built_in(&self) -> &'static [(&'static str, &'static str)] {
        BUILT_IN
    }

    fn variables(&self) -> &'static [&'static str] {
        VARIABLES
    }

    fn overlap(&self) -> &str {
        self.schedule.as_ref().map_or(Overlap::default().as_str(), |schedule| &schedule.overlap)
    }

    fn catch_up(&self) -> &str {
        self.schedule.as_ref().map_or(CatchUp::default().as_str(), |schedule| &schedule.catch_up)
    }

    /// What the schedule says now; empty for what is not said.
    fn said(&self, key: &str) -> String {
        let Some(schedule) = &self.schedule else { return String::new() };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let object = |value: &Option<Value>| value.as_ref().map(pretty).unwrap_or_default();
        match key {
            "name" => schedule.name.clone(),
            "stale_after" => text(&schedule.stale_after),
            "jitter" => text(&schedule.jitter),
            "starts_at" => text(&schedule.starts_at),
            "ends_at" => text(&schedule.ends_at),
            "gate" => object(&schedule.gate),
            "active_hours" => object(&schedule.active_hours),
            "max_fires" => schedule.max_fires.map(|most| most.to_string()).unwrap_or_default(),
            _ => String::new(),
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Of [`KINDS`] the one that is asked for.
fn kind_of(asked: &str, otherwise: &str) -> &'static str {
    let named = |name: &str| KINDS.iter().map(|(kind, _)| *kind).find(|kind| *kind == name);
    named(asked).or_else(|| named(otherwise)).unwrap_or("wake")
}

async fn form(visit: &Visit, schedule: Option<Schedule>) -> Shown {
    let title = schedule.as_ref().map_or("New schedule".into(), |schedule| format!("Edit {}", schedule.name));
    let frame = Frame::around(visit, "schedules", "").await?.titled(title);
    let agents = choices::agents(visit).await?;
    let kind = kind_of(&visit.asked("does"), schedule.as_ref().map_or("wake", Schedule::kind));
    let (mut projects, mut goals, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    match kind {
        "task" => (projects, goals) = (choices::projects(visit).await?, choices::goals(visit).await?),
        "action" => actions = action_names(visit).await?,
        _ => {}
    }
    page(&SchedulePageForm { frame, schedule, agents, projects, goals, actions, kind })
}

/// A schedule, of which only what it does matters.
#[derive(Debug, Deserialize)]
struct Aimed {
    target: Value,
}

/// The actions that are built in, and the company's own as far as other schedules carry them out.
async fn action_names(visit: &Visit) -> Result<Vec<String>, Failure> {
    let found: List<Aimed> = visit.calls.get(&visit.of_company("schedules?limit=200")).await?;
    let own = found.items.iter().filter_map(|schedule| schedule.target["action"]["name"].as_str());
    let mut own: Vec<String> =
        own.filter(|name| BUILT_IN.iter().all(|(other, _)| other != name)).map(str::to_owned).collect();
    own.sort_unstable();
    own.dedup();
    Ok(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).chain(own).collect())
}

/// Shows the form for a schedule to be made.
pub async fn new(visit: Visit) -> Shown {
    form(&visit, None).await
}

/// Shows the form for a schedule to be changed.
pub async fn edit(visit: Visit) -> Shown {
    let schedule: Schedule = visit.calls.get(&format!("/schedules/{}", visit.id)).await?;
    if schedule.is_heartbeat() {
        // The API refuses it too, with the reason.
        return Err(Failure::no_page(visit.uri.path()));
    }
    form(&visit, Some(schedule)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_what_it_does_before_the_schedule_does() {
        let check = |asked, otherwise, expected: &str| assert_eq!(kind_of(asked, otherwise), expected);
        check("task", "wake", "task");
        check("", "action", "action");
        check("nonsense", "nonsense", "wake");
    }
}
