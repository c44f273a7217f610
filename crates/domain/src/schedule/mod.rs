//! A schedule: what wakes an agent, makes a task or does something by the clock.
//!
//! Each nominal time is a *slot* with the key (schedule, nominal time) and exactly one row in the
//! ledger. What is decided here is decided from arguments alone; the very code that fires also plans.

pub mod action;
pub mod cron;
pub mod due;
pub mod jitter;
pub mod question;
pub mod target;
pub mod template;
pub mod trigger;
pub mod words;
pub mod zone;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::action::{Action, ActionKind, External, Scan};
pub use self::cron::{Cron, CronError};
pub use self::due::{Due, Next, SlotDecision, Verdict, due, next_slot, plan};
pub use self::jitter::Jitter;
pub use self::question::{ActionAnswer, AnswerError, GateAnswer, Whom};
pub use self::target::{Gate, GateFailure, Target, TaskTemplate};
pub use self::trigger::{Trigger, TriggerError, TriggerText, count, next};
pub use self::words::{describe, next_words, until_words};
pub use self::zone::{Zone, ZoneError};

use crate::active_hours::ActiveHours;
use crate::id::{CompanyId, ScheduleId};
use crate::time::Timestamp;

/// A longer name of a schedule is refused.
pub const NAME_CHARS_MAX: usize = 80;

/// Names that begin so are of the timers of agents.
pub const HEARTBEAT_PREFIX: &str = "heartbeat:";

/// What is done about slots that passed while nobody was there to fire them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Nothing.
    Skip,
    /// The newest of them fires.
    #[default]
    Latest,
    /// The newest 25 fire, one after another.
    All,
}

impl CatchUp {
    /// Every policy, by its name.
    pub const ALL: &'static [(&'static str, CatchUp)] =
        &[("skip", CatchUp::Skip), ("latest", CatchUp::Latest), ("all", CatchUp::All)];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        CatchUp::ALL.iter().find(|(_, policy)| *policy == self).map_or("latest", |(name, _)| name)
    }
}

/// What is done about a slot while what an earlier one started is still live: a live run, never an open task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The live run stands for it.
    #[default]
    Coalesce,
    /// It waits until the live run has ended.
    Queue,
    /// It is skipped.
    Skip,
    /// The live run is cancelled for it.
    CancelRunning,
}

/// What becomes of a slot that fires, given whether an earlier one is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlapVerdict {
    Fire,
    Coalesce,
    Queue,
    Skip,
    CancelAndFire,
}

impl Overlap {
    /// Every policy, by its name.
    pub const ALL: &'static [(&'static str, Overlap)] = &[
        ("coalesce", Overlap::Coalesce),
        ("queue", Overlap::Queue),
        ("skip", Overlap::Skip),
        ("cancel_running", Overlap::CancelRunning),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Overlap::ALL.iter().find(|(_, policy)| *policy == self).map_or("coalesce", |(name, _)| name)
    }

    /// What becomes of a slot that fires now.
    pub fn verdict(self, earlier_is_live: bool) -> OverlapVerdict {
        match (earlier_is_live, self) {
            (false, _) => OverlapVerdict::Fire,
            (true, Overlap::Coalesce) => OverlapVerdict::Coalesce,
            (true, Overlap::Queue) => OverlapVerdict::Queue,
            (true, Overlap::Skip) => OverlapVerdict::Skip,
            (true, Overlap::CancelRunning) => OverlapVerdict::CancelAndFire,
        }
    }
}

/// What became of a slot. Every slot that has passed has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotStatus {
    /// Its gate or its action is being asked; it then becomes one of the others.
    Asked,
    /// It did what the schedule is for.
    Fired,
    /// What an earlier slot had started stood for it.
    Coalesced,
    /// It was not to fire, and the reason says why.
    Skipped,
    /// It passed while nobody was there to fire it.
    Missed,
    /// It was to fire, and could not.
    Failed,
}

impl SlotStatus {
    /// Every status, by its name.
    pub const ALL: &'static [(&'static str, SlotStatus)] = &[
        ("asked", SlotStatus::Asked),
        ("fired", SlotStatus::Fired),
        ("coalesced", SlotStatus::Coalesced),
        ("skipped", SlotStatus::Skipped),
        ("missed", SlotStatus::Missed),
        ("failed", SlotStatus::Failed),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        SlotStatus::ALL.iter().find(|(_, status)| *status == self).map_or("failed", |(name, _)| name)
    }
}

/// Why a slot was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedReason {
    /// It passed while nobody was there, and the schedule does not catch up.
    Downtime,
    /// It passed while nobody was there, and a later slot was fired for it.
    Superseded,
    /// It is older than the schedule's `stale_after`.
    Stale,
    /// More slots had passed than are caught up with.
    OverCap,
}

impl MissedReason {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            MissedReason::Downtime => "downtime",
            MissedReason::Superseded => "superseded",
            MissedReason::Stale => "stale",
            MissedReason::OverCap => "over_cap",
        }
    }
}

/// Why a slot was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkippedReason {
    OutsideActiveHours,
    /// `only_when_work`: the agent has nothing to do.
    NothingToDo,
    /// The gate said no.
    Gate,
    /// The gate failed, and is `fail_closed`.
    GateFailed,
    /// The schedule was paused or disabled while its gate or its action was asked.
    NotActive,
    /// An earlier one is live, and the schedule skips then.
    Overlap,
    /// What the schedule may spend is spent.
    BudgetExhausted,
    /// What it is for cannot be woken: the agent or the company is paused, or gone.
    TargetPaused,
}

impl SkippedReason {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            SkippedReason::OutsideActiveHours => "outside_active_hours",
            SkippedReason::NothingToDo => "nothing_to_do",
            SkippedReason::Gate => "gate",
            SkippedReason::GateFailed => "gate_failed",
            SkippedReason::NotActive => "not_active",
            SkippedReason::Overlap => "overlap",
            SkippedReason::BudgetExhausted => "budget_exhausted",
            SkippedReason::TargetPaused => "target_paused",
        }
    }
}

/// Whether a schedule fires. Only a person's word makes one active again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    Active,
    /// Has no slots meanwhile: none is missed.
    Paused {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Stays so, whatever a configuration that is read again declares.
    Disabled {
        reason: String,
    },
}

impl State {
    /// Its name.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Active => "active",
            State::Paused { .. } => "paused",
            State::Disabled { .. } => "disabled",
        }
    }

    /// The note or the reason.
    pub fn note(&self) -> Option<&str> {
        match self {
            State::Active => None,
            State::Paused { note } => note.as_deref(),
            State::Disabled { reason } => Some(reason),
        }
    }

    /// From its name and its note, as a store keeps them.
    pub fn from_parts(name: &str, note: Option<String>) -> Option<State> {
        match name {
            "active" => Some(State::Active),
            "paused" => Some(State::Paused { note }),
            "disabled" => Some(State::Disabled { reason: note.unwrap_or_default() }),
            _ => None,
        }
    }
}

/// What a schedule has come to over its slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// How often nobody was woken because there was nothing to do: model calls that were not made.
    pub wakes_avoided: u64,
    /// Slots in a row whose gate or action failed, or that could not fire.
    pub failures_in_row: u64,
    /// What the last of them failed with.
    pub last_error: Option<String>,
}

/// So many slots that fail in a row are told to people, once.
pub const FAILURES_TOLD: u64 = 2;

/// What wakes an agent, makes a task or does something by the clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub id: ScheduleId,
    pub company: CompanyId,
    /// Unique in the company.
    pub name: String,
    pub trigger: Trigger,
    pub target: Target,
    pub gate: Option<Gate>,
    /// Slots outside of them are skipped.
    pub active_hours: Option<ActiveHours>,
    pub jitter: Jitter,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    /// A slot that is older when its turn comes is missed.
    pub stale_after: Option<Duration>,
    /// There are no slots before.
    pub starts_at: Option<Timestamp>,
    /// There are no slots after.
    pub ends_at: Option<Timestamp>,
    /// There are no slots once it has fired so often.
    pub max_fires: Option<u64>,
    /// How often it has fired.
    pub fires: u64,
    pub standing: Standing,
    pub state: State,
    /// The nominal time of the slot to come; jitter is not in it.
    pub next_slot_at: Option<Timestamp>,
    /// Every slot up to here has its row. A pause that ends moves it to the end.
    pub last_slot: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Schedule {
    /// Whether there are no slots any more because of `max_fires`.
    pub fn has_fired_enough(&self) -> bool {
        self.max_fires.is_some_and(|most| self.fires >= most)
    }

    /// What `every` counts from.
    pub fn anchor(&self) -> Timestamp {
        self.starts_at.unwrap_or(self.created_at)
    }

    /// The time up to which every slot has its row.
    pub fn settled_until(&self) -> Timestamp {
        // A slot at `starts_at` itself is one.
        let start = self.starts_at.map_or(self.created_at, |at| at - Duration::from_micros(1)).max(self.created_at);
        self.last_slot.map_or(start, |slot| slot.max(start))
    }

    /// What is wrong with it, as (field, message).
    pub fn problem(&self) -> Option<(String, String)> {
        let refused = |field: &str, message: &str| Some((field.to_owned(), message.to_owned()));
        if self.name.trim().is_empty() || self.name.chars().count() > NAME_CHARS_MAX {
            return Some(("name".into(), format!("must have 1 to {NAME_CHARS_MAX} characters")));
        }
        if let (Some(starts), Some(ends)) = (self.starts_at, self.ends_at)
            && ends < starts
        {
            return refused("ends_at", "is before `starts_at`");
        }
        if self.max_fires == Some(0) {
            return refused("max_fires", "must be at least 1, or be left out");
        }
        if self.stale_after == Some(Duration::ZERO) {
            return refused("stale_after", "must be longer than 0s, or be left out");
        }
        let hours = self.active_hours.as_ref().and_then(ActiveHours::problem);
        if let Some((_, message)) = hours {
            return Some(("active_hours.days".into(), message));
        }
        self.target.problem().or_else(|| self.gate.as_ref().and_then(Gate::problem))
    }
}
