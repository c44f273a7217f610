//! What was removed because it was old, or would be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_engine::{GcReport, Gone};

/// What is to be done about old things.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GcBody {
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What went, or would go.
#[derive(Debug, Serialize, ToSchema)]
pub struct GcView {
    pub dry_run: bool,
    pub kinds: Vec<GoneView>,
    /// The longest that one transaction took, its wait for the writer included.
    pub slowest_bite_ms: u64,
}

/// What went of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct GoneView {
    pub kind: String,
    pub removed: u64,
    /// Of files.
    pub bytes: u64,
    /// Old ones that stay, by what keeps them.
    pub kept: BTreeMap<String, u64>,
    /// When the oldest of those was made.
    pub oldest_kept: Option<String>,
}

impl From<GcReport> for GcView {
    fn from(report: GcReport) -> Self {
        GcView {
            dry_run: report.is_dry,
            kinds: report.gone.into_iter().map(GoneView::from).collect(),
            slowest_bite_ms: u64::try_from(report.slowest_bite.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl From<Gone> for GoneView {
    fn from(gone: Gone) -> Self {
        GoneView {
            kind: gone.kind.into(),
            removed: gone.removed,
            bytes: gone.bytes,
            kept: gone.kept,
            oldest_kept: gone.oldest_kept.map(|at| at.to_string()),
        }
    }
}
