//! Schedules, their slots and plans in requests and answers. Durations are text: `90s`, `5m`, `2h30m`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wakeful_domain::active_hours::ActiveHours;
use wakeful_domain::schedule::trigger::write_duration;
use wakeful_domain::schedule::{
    Action, CatchUp, Gate, Next, Overlap, Schedule, SlotStatus, Target, TriggerText, Zone, describe, next_words,
};
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::slots::Slot;

use super::agents::present;
use super::hidden::{HIDDEN, hidden_url, hide_command};

/// A schedule to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// Unique in the company.
    pub name: String,
    /// `{"cron": "0 9 * * MON-FRI", "time_zone"?}`, `{"every": "5m"}` or `{"at": time}`. Actions that are built in have
    /// a time of their own.
    #[schema(value_type = Option<Object>)]
    pub trigger: Option<TriggerText>,
    /// `{"wake": {agent, payload?, priority?, reason?, model?}}`, `{"task": {title, assignee?, …}}` or
    /// `{"action": {name, agent?, config?}}`.
    #[schema(value_type = Object)]
    pub target: Target,
    /// `{"command": [program, …]}` or `{"url"}`, with `timeout?` and `on_failure?`: asked before a slot fires.
    #[schema(value_type = Option<Object>)]
    pub gate: Option<Gate>,
    /// `coalesce` (default), `queue`, `skip` or `cancel_running`.
    #[schema(value_type = Option<String>)]
    pub overlap: Option<Overlap>,
    /// `latest` (default), `skip` or `all`.
    #[schema(value_type = Option<String>)]
    pub catch_up: Option<CatchUp>,
    pub stale_after: Option<String>,
    pub jitter: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub active_hours: Option<ActiveHours>,
    #[schema(value_type = Option<String>)]
    pub starts_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    pub ends_at: Option<Timestamp>,
    pub max_fires: Option<u64>,
}

/// Changes to a schedule; what is absent stays, `null` takes away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulePatch {
    pub name: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub trigger: Option<TriggerText>,
    #[schema(value_type = Option<Object>)]
    pub target: Option<Target>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub gate: Option<Option<Gate>>,
    #[schema(value_type = Option<String>)]
    pub overlap: Option<Overlap>,
    #[schema(value_type = Option<String>)]
    pub catch_up: Option<CatchUp>,
    #[serde(deserialize_with = "present")]
    pub stale_after: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub jitter: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub active_hours: Option<Option<ActiveHours>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub starts_at: Option<Option<Timestamp>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub ends_at: Option<Option<Timestamp>>,
    #[serde(deserialize_with = "present")]
    pub max_fires: Option<Option<u64>>,
}

/// Why a schedule rests.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PauseRequest {
    pub note: Option<String>,
}

/// What wakes an agent or makes a task by the clock.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleView {
    pub id: String,
    pub company: String,
    pub name: String,
    #[schema(value_type = Object)]
    pub trigger: TriggerText,
    #[schema(value_type = Object)]
    pub target: Target,
    #[schema(value_type = Option<Object>)]
    pub gate: Option<Gate>,
    #[schema(value_type = Option<Object>)]
    pub active_hours: Option<ActiveHours>,
    pub jitter: Option<String>,
    #[schema(value_type = String)]
    pub overlap: Overlap,
    #[schema(value_type = String)]
    pub catch_up: CatchUp,
    pub stale_after: Option<String>,
    pub starts_at: Option<String>,
    pub ends_at: Option<String>,
    pub max_fires: Option<u64>,
    /// How often it has fired.
    pub fires: u64,
    /// How often nobody was woken because there was nothing to do: model calls that were not made.
    pub wakes_avoided: u64,
    /// Slots in a row that failed, or whose gate did.
    pub failures_in_row: u64,
    /// What the last that failed has failed with.
    pub last_error: Option<String>,
    /// `active`, `paused` or `disabled`.
    pub state: &'static str,
    /// The note of a pause, or why it is disabled.
    pub note: Option<String>,
    /// The nominal time of the slot to come, without jitter.
    pub next_slot_at: Option<String>,
    pub last_slot: Option<String>,
    /// The trigger as people say it, and when it is next.
    pub words: String,
    pub created_at: String,
    pub updated_at: String,
}

impl ScheduleView {
    /// A schedule; what may hold keys only if `shows_keys`.
    pub fn new(mut schedule: Schedule, company: &Zone, now: Timestamp, shows_keys: bool) -> Self {
        if !shows_keys {
            hide(&mut schedule);
        }
        let zone = schedule.trigger.zone(company);
        let says = describe(&schedule.trigger, company);
        let words = match schedule.next_slot_at {
            Some(at) => format!("{says}; next {}", next_words(now, at, zone)),
            None => says,
        };
        let width = schedule.jitter.width();
        ScheduleView {
            words,
            id: schedule.id.to_string(),
            company: schedule.company.to_string(),
            name: schedule.name,
            trigger: schedule.trigger.into(),
            target: schedule.target,
            gate: schedule.gate,
            active_hours: schedule.active_hours,
            jitter: (!width.is_zero()).then(|| write_duration(width)),
            overlap: schedule.overlap,
            catch_up: schedule.catch_up,
            stale_after: schedule.stale_after.map(write_duration),
            starts_at: schedule.starts_at.map(|at| at.to_string()),
            ends_at: schedule.ends_at.map(|at| at.to_string()),
            max_fires: schedule.max_fires,
            fires: schedule.fires,
            wakes_avoided: schedule.standing.wakes_avoided,
            failures_in_row: schedule.standing.failures_in_row,
            last_error: schedule.standing.last_error,
            state: schedule.state.as_str(),
            note: schedule.state.note().map(str::to_owned),
            next_slot_at: schedule.next_slot_at.map(|at| at.to_string()),
            last_slot: schedule.last_slot.map(|at| at.to_string()),
            created_at: schedule.created_at.to_string(),
            updated_at: schedule.updated_at.to_string(),
        }
    }
}

fn hide(schedule: &mut Schedule) {
    if let Some(gate) = &mut schedule.gate {
        let arguments = gate.command.iter_mut().flat_map(|command| command.iter_mut().skip(1));
        arguments.for_each(|argument| *argument = HIDDEN.to_owned());
        gate.url = gate.url.as_deref().map(hidden_url);
    }
    if let Target::Action(Action { config: Some(config), .. }) = &mut schedule.target {
        hide_command(config);
    }
}

/// What became of a slot.
#[derive(Debug, Serialize, ToSchema)]
pub struct SlotView {
    /// The nominal time.
    pub slot_at: String,
    /// The last nominal time that the row stands for, and how many it stands for.
    pub last_at: String,
    pub count: i64,
    /// `fired`, `coalesced`, `skipped`, `missed` or `failed`; `asked` while its gate or its action is at work.
    pub status: &'static str,
    pub reason: Option<String>,
    /// The wakeup that it made or was coalesced into.
    pub wakeup: Option<String>,
    /// The task that it made.
    pub task: Option<String>,
    /// What its gate and its action said: `{gate?: {wake, message?, error?, took_ms}, action?: {notify, message?,
    /// notification?, error?, took_ms?}}`.
    #[schema(value_type = Option<Object>)]
    pub answer: Option<Value>,
    /// When it was decided.
    pub at: String,
}

impl From<Slot> for SlotView {
    fn from(slot: Slot) -> Self {
        SlotView {
            slot_at: slot.slot_at.to_string(),
            last_at: slot.last_at.to_string(),
            count: slot.count,
            status: slot.status.as_str(),
            reason: slot.reason,
            wakeup: slot.wakeup.map(|id| id.to_string()),
            task: slot.task.map(|id| id.to_string()),
            answer: slot.answer,
            at: slot.at.to_string(),
        }
    }
}

/// A slot to come.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedView {
    pub slot_at: String,
    /// The same with jitter.
    pub fires_at: String,
    /// The id of the schedule.
    pub schedule: String,
    pub name: String,
    #[schema(value_type = Object)]
    pub target: Target,
    /// Why it will be skipped, if that is known.
    pub skipped: Option<&'static str>,
    /// What became of it: `fired`, `missed`, `skipped`, …; null of one that is to come.
    #[schema(value_type = Option<String>)]
    pub status: Option<SlotStatus>,
    /// Why, unless it fired.
    pub reason: Option<String>,
    /// How many nominal times the row stands for.
    pub count: i64,
}

impl PlannedView {
    pub fn new(schedule: &Schedule, next: Next, skipped: Option<&'static str>) -> Self {
        PlannedView {
            slot_at: next.slot.to_string(),
            fires_at: next.fires_at.to_string(),
            schedule: schedule.id.to_string(),
            name: schedule.name.clone(),
            target: schedule.target.clone(),
            skipped,
            status: None,
            reason: None,
            count: 1,
        }
    }

    /// One that has passed.
    pub fn passed(schedule: &Schedule, slot: Slot) -> Self {
        let next = Next { slot: slot.slot_at, fires_at: slot.slot_at + schedule.jitter.offset(schedule.id) };
        PlannedView {
            status: Some(slot.status),
            reason: slot.reason,
            count: slot.count,
            ..PlannedView::new(schedule, next, None)
        }
    }
}

/// The slots of all schedules of a company, in order: what became of those that have passed, and those to come.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanView {
    pub items: Vec<PlannedView>,
    /// Whether there are more than are given.
    pub truncated: bool,
    /// Schedules that were left out, since they have more slots to come than was asked for.
    pub often: Vec<OftenView>,
}

/// A schedule with many slots.
#[derive(Debug, Serialize, ToSchema)]
pub struct OftenView {
    /// The id of the schedule.
    pub schedule: String,
    pub name: String,
    /// Its trigger as people say it.
    pub words: String,
    pub next_slot_at: Option<String>,
}

impl OftenView {
    pub fn new(schedule: &Schedule, company: &Zone) -> Self {
        OftenView {
            schedule: schedule.id.to_string(),
            name: schedule.name.clone(),
            words: describe(&schedule.trigger, company),
            next_slot_at: schedule.next_slot_at.map(|at| at.to_string()),
        }
    }
}
