//! A company: the tenant that everything belongs to.

use serde::{Deserialize, Serialize};

use crate::id::CompanyId;
use crate::time::Timestamp;

/// Live runs of one company, unless it says otherwise.
pub const MAX_CONCURRENT_RUNS_DEFAULT: i64 = 5;
/// A company may not ask for more live runs than this.
pub const MAX_CONCURRENT_RUNS_MAX: i64 = 10_000;
/// Runs of one chain of causes within an hour, unless the company says otherwise.
pub const MAX_RUNS_PER_ROOT_HOUR_DEFAULT: i64 = 100;
/// A company may not allow more than this.
pub const MAX_RUNS_PER_ROOT_HOUR_MAX: i64 = 100_000;

/// Whether a company's agents may be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompanyState {
    Active,
    Paused,
}

/// The tenant that everything belongs to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Company {
    pub id: CompanyId,
    /// Its name in addresses: lower case, digits and hyphens.
    pub slug: String,
    pub name: String,
    /// IANA name; schedules without one use it.
    pub time_zone: String,
    pub max_concurrent_runs: i64,
    /// More runs than this from one root within an hour are a loop.
    pub max_runs_per_root_hour: i64,
    pub state: CompanyState,
    pub state_reason: Option<String>,
    pub live_runs: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What is wrong with a slug, if anything.
pub fn slug_problem(slug: &str) -> Option<&'static str> {
    let good = (1..=40).contains(&slug.len())
        && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !slug.starts_with('-')
        && !slug.ends_with('-')
        && !slug.starts_with("co_");
    (!good).then_some("must be 1 to 40 characters of a-z, 0-9 and inner hyphens")
}
