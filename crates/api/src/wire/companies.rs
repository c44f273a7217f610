//! Companies in requests and answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_domain::company::Company;
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::{Host, WaitingReason, why_waiting};
use wakeful_store::ops::stats::{Pending, Stats};

/// A company to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCompany {
    pub slug: String,
    pub name: String,
    /// Live runs of all its agents together; 5 by default.
    pub max_concurrent_runs: Option<i64>,
    /// Runs of one chain of causes within an hour; 100 by default.
    pub max_runs_per_root_hour: Option<i64>,
    /// IANA name; UTC by default.
    pub time_zone: Option<String>,
}

/// Changes to a company.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompanyPatch {
    pub name: Option<String>,
    pub max_concurrent_runs: Option<i64>,
    /// Runs of one chain of causes within an hour; 100 by default.
    pub max_runs_per_root_hour: Option<i64>,
    pub time_zone: Option<String>,
}

/// A pause, a resumption, a termination.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateChange {
    pub reason: Option<String>,
    /// Whether live runs are stopped too.
    #[serde(default)]
    pub cancel_runs: bool,
}

/// A company.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompanyView {
    pub id: String,
    pub slug: String,
    pub name: String,
    pub time_zone: String,
    pub max_concurrent_runs: i64,
    pub max_runs_per_root_hour: i64,
    /// `active` or `paused`.
    pub state: String,
    pub state_reason: Option<String>,
    pub live_runs: i64,
    pub created_at: String,
    pub updated_at: String,
}

impl From<Company> for CompanyView {
    fn from(company: Company) -> Self {
        CompanyView {
            id: company.id.to_string(),
            slug: company.slug,
            name: company.name,
            time_zone: company.time_zone,
            max_concurrent_runs: company.max_concurrent_runs,
            max_runs_per_root_hour: company.max_runs_per_root_hour,
            state: match company.state {
                wakeful_domain::company::CompanyState::Active => "active".into(),
                wakeful_domain::company::CompanyState::Paused => "paused".into(),
            },
            state_reason: company.state_reason,
            live_runs: company.live_runs,
            created_at: company.created_at.to_string(),
            updated_at: company.updated_at.to_string(),
        }
    }
}

/// Counts of a company.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatsView {
    /// Wakeups by status.
    pub wakeups: BTreeMap<String, i64>,
    /// Pending wakeups by the reason why they wait.
    pub waiting: BTreeMap<String, i64>,
    pub oldest_pending_at: Option<String>,
    /// Runs by status.
    pub runs: BTreeMap<String, i64>,
    /// Wakes of schedules that were not made because there was nothing to do: model calls saved.
    pub wakes_avoided: i64,
}

/// A reason by its name.
pub fn reason_name(reason: WaitingReason) -> String {
    serde_json::to_value(reason).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

impl StatsView {
    /// The counts, with the reason of each lane's best wakeup taken for all of the lane.
    pub fn new(stats: Stats, pending: Vec<Pending>, host: Host, now: Timestamp) -> StatsView {
        let mut waiting = BTreeMap::new();
        for Pending { standing, count, .. } in pending {
            *waiting.entry(reason_name(why_waiting(&standing, host, now).reason)).or_insert(0) += count;
        }
        StatsView {
            wakes_avoided: stats.wakes_avoided,
            wakeups: stats.wakeups.into_iter().collect(),
            waiting,
            oldest_pending_at: stats.oldest_pending_at.map(|at| at.to_string()),
            runs: stats.runs.into_iter().collect(),
        }
    }
}
