//! Budgets in requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_domain::budget::{Budget, Level, Metric, Scope, Window};

/// A budget to be made: of the company unless it names one of `agent`, `task` and `schedule`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBudget {
    /// Id of an agent: its runs count.
    pub agent: Option<String>,
    /// Id of a task: the runs on it and on all tasks below it count.
    pub task: Option<String>,
    /// Id of a schedule: the runs that it starts and those on tasks that it makes count.
    pub schedule: Option<String>,
    /// `run` (each by itself), `day`, `month` (in the company's time zone) or `lifetime`.
    #[schema(value_type = String)]
    pub window: Window,
    /// `cost_micros` (micro-dollars), `tokens` (those of caches included), `runs` or `wall_s` (seconds).
    #[schema(value_type = String)]
    pub metric: Metric,
    /// In units of the metric. At 80 % people and live agents are told, at 100 % live runs are stopped and none starts.
    pub limit: i64,
    /// Set aside for each live run until it ends; 0 if absent.
    #[serde(default)]
    pub reserve: i64,
}

/// Changes to a budget; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetPatch {
    pub limit: Option<i64>,
    pub reserve: Option<i64>,
}

/// What may be spent, and what has been.
#[derive(Debug, Serialize, ToSchema)]
pub struct BudgetView {
    pub id: String,
    pub company: String,
    /// `company`, `agent`, `task` or `schedule`.
    pub scope: &'static str,
    pub agent: Option<String>,
    pub task: Option<String>,
    pub schedule: Option<String>,
    #[schema(value_type = String)]
    pub window: Window,
    #[schema(value_type = String)]
    pub metric: Metric,
    pub limit: i64,
    pub reserve: i64,
    /// In the window that is open; always 0 of budgets of each run by itself.
    pub spent: i64,
    pub remaining: i64,
    /// `ok`, `warned` (80 % or more) or `exhausted`.
    #[schema(value_type = String)]
    pub level: Level,
    pub window_started_at: Option<String>,
    pub window_ends_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

impl From<Budget> for BudgetView {
    fn from(budget: Budget) -> Self {
        let starts = matches!(budget.window, Window::Day | Window::Month).then(|| budget.window_started_at.to_string());
        let mut view = BudgetView {
            id: budget.id.to_string(),
            company: budget.company.to_string(),
            scope: budget.scope.kind(),
            agent: None,
            task: None,
            schedule: None,
            window: budget.window,
            metric: budget.metric,
            limit: budget.limit,
            reserve: budget.reserve,
            spent: budget.spent,
            remaining: (budget.limit - budget.spent).max(0),
            level: budget.level(),
            window_started_at: starts,
            window_ends_at: budget.window_ends_at.map(|at| at.to_string()),
            created_at: budget.created_at.to_string(),
            updated_at: budget.updated_at.to_string(),
        };
        match budget.scope {
            Scope::Company => {}
            Scope::Agent(id) => view.agent = Some(id.to_string()),
            Scope::Task(id) => view.task = Some(id.to_string()),
            Scope::Schedule(id) => view.schedule = Some(id.to_string()),
        }
        view
    }
}
