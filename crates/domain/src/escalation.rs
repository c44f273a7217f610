//! An escalation: what a person has to know or decide. One that is open stands for all of the same key,
//! so that nobody is told the same thing twice.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::id::{CompanyId, EscalationId};
use crate::time::Timestamp;

/// People are reminded of one that nobody has seen after this long, one step higher each time.
pub const REMIND_AFTER: Duration = Duration::from_secs(4 * 60 * 60);
/// They are reminded so often and no more.
pub const REMINDERS_MAX: i64 = 3;

/// What an escalation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationKind {
    /// A chain of causes was cut.
    LoopLimit,
    /// A lane failed too often in a row.
    CircuitOpen,
    /// A run failed in a way that no retry mends.
    PermanentFailure,
    /// Processes of a run outlive KILL.
    Stuck,
    /// A live run has been silent for too long.
    Silent,
    /// A channel does not deliver.
    DeliveryFailing,
    /// A schedule fails slot after slot.
    ScheduleFailing,
    /// A budget is spent.
    BudgetExhausted,
    /// A person or an agent asked for attention.
    Request,
}

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Low,
    #[default]
    Medium,
    High,
    Critical,
}

impl Severity {
    /// One step higher.
    pub fn raised(self) -> Severity {
        match self {
            Severity::Low => Severity::Medium,
            Severity::Medium => Severity::High,
            Severity::High | Severity::Critical => Severity::Critical,
        }
    }
}

/// Where an escalation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationStatus {
    Open,
    /// Somebody has seen it.
    Acknowledged,
    Resolved,
}

/// What a person has to know or decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Escalation {
    pub id: EscalationId,
    pub company: CompanyId,
    pub kind: EscalationKind,
    pub severity: Severity,
    /// What makes a second one the same.
    pub key: String,
    /// The id of what it is about.
    pub subject: String,
    pub title: String,
    pub detail: String,
    pub actor: Actor,
    /// How often it was raised while open.
    pub count: i64,
    pub status: EscalationStatus,
    pub raised_at: Timestamp,
    pub last_at: Timestamp,
    pub acked_at: Option<Timestamp>,
    pub acked_by: Option<String>,
    pub resolved_at: Option<Timestamp>,
    pub resolved_by: Option<String>,
}
