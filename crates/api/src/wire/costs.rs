//! What runs have cost, in answers.

use serde::Serialize;
use utoipa::ToSchema;
use wakeful_store::ops::costs::Sums;

/// Sums over runs.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub struct SumsView {
    pub runs: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_tokens: i64,
    /// Millionths of a US dollar; of runs that say what they cost.
    pub cost_micros: i64,
    /// From the starts of the runs to their ends.
    pub duration_ms: i64,
}

impl From<Sums> for SumsView {
    fn from(sums: Sums) -> Self {
        SumsView {
            runs: sums.runs,
            input_tokens: sums.input_tokens,
            output_tokens: sums.output_tokens,
            cache_read_tokens: sums.cache_read_tokens,
            cache_write_tokens: sums.cache_write_tokens,
            cost_micros: sums.cost_micros,
            duration_ms: sums.duration_ms,
        }
    }
}

/// The sums of one agent, task, schedule or day.
#[derive(Debug, Serialize, ToSchema)]
pub struct CostView {
    /// An id, or the day; null for runs without a task or a schedule.
    pub key: Option<String>,
    pub name: Option<String>,
    #[serde(flatten)]
    pub sums: SumsView,
}

/// What the runs that ended in a window have cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct CostsView {
    /// Runs that ended from here on,
    pub from: String,
    /// and before this.
    pub to: String,
    /// `agent`, `task`, `day` or `schedule`.
    pub by: String,
    /// Days newest first; others by cost, the most expensive first, at most 200.
    pub items: Vec<CostView>,
    /// Of those that are not listed.
    pub others: Option<SumsView>,
    pub total: SumsView,
}
