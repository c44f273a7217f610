//! Why a pending wakeup waits. Derived, never stored: the first condition that does not hold.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The name of the condition that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingReason {
    NotDue,
    LaneBusy,
    TaskHeld,
    CompanyPaused,
    AgentPaused,
    AgentPendingApproval,
    SafeMode,
    Draining,
    AgentAtCapacity,
    CompanyAtCapacity,
    HostAtCapacity,
    QuotaUntil,
    /// Nothing stands in its way: the dispatcher is about to take it.
    Dispatching,
}

/// Why a wakeup waits, said whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub reason: WaitingReason,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
