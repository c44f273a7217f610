//! Escalations in requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_domain::actor::Actor;
use wakeful_domain::escalation::{Escalation, EscalationKind, EscalationStatus, Severity};

/// A request for a person's attention.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEscalation {
    pub title: String,
    pub detail: Option<String>,
    /// `low`, `medium` (default), `high` or `critical`.
    #[schema(value_type = Option<String>)]
    pub severity: Option<Severity>,
    /// What makes a second one the same: it is counted, and nobody is told again.
    pub key: Option<String>,
}

/// What a person has to know or decide.
#[derive(Debug, Serialize, ToSchema)]
pub struct EscalationView {
    pub id: String,
    pub company: String,
    #[schema(value_type = String)]
    pub kind: EscalationKind,
    #[schema(value_type = String)]
    pub severity: Severity,
    /// The id of what it is about.
    pub subject: String,
    pub title: String,
    pub detail: String,
    #[schema(value_type = Object)]
    pub actor: Actor,
    /// How often it was raised while open.
    pub count: i64,
    #[schema(value_type = String)]
    pub status: EscalationStatus,
    pub raised_at: String,
    pub last_at: String,
    pub acked_at: Option<String>,
    pub acked_by: Option<String>,
    pub resolved_at: Option<String>,
    pub resolved_by: Option<String>,
}

impl From<Escalation> for EscalationView {
    fn from(escalation: Escalation) -> Self {
        EscalationView {
            id: escalation.id.to_string(),
            company: escalation.company.to_string(),
            kind: escalation.kind,
            severity: escalation.severity,
            subject: escalation.subject,
            title: escalation.title,
            detail: escalation.detail,
            actor: escalation.actor,
            count: escalation.count,
            status: escalation.status,
            raised_at: escalation.raised_at.to_string(),
            last_at: escalation.last_at.to_string(),
            acked_at: escalation.acked_at.map(|at| at.to_string()),
            acked_by: escalation.acked_by,
            resolved_at: escalation.resolved_at.map(|at| at.to_string()),
            resolved_by: escalation.resolved_by,
        }
    }
}
