//! Settings: of the company, who may come in, what is kept secret, what is kept how long, and what tasks are for.

use askama::Template;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Shown, page};
use crate::call::query;
use crate::choices::{self, Choice};
use crate::failure::Failure;
use crate::frame::Frame;
use crate::pieces;
use crate::seen::List;
use crate::visit::Visit;

/// Items of one page of a list.
const SHOWN: &str = "100";
const ROLES: &[(&str, &str)] = &[
    ("viewer", "viewer: reads"),
    ("operator", "operator: reads, wakes, changes"),
    ("admin", "admin: all of this company, tokens as well"),
];
const ESCALATION_STATUSES: &[&str] = &["open", "acknowledged", "resolved"];
const TABS: &[(&str, &str)] = &[
    ("company", "Company"),
    ("companies", "Companies"),
    ("tokens", "Tokens"),
    ("secrets", "Secrets"),
    ("retention", "Retention"),
    ("projects", "Projects"),
    ("goals", "Goals"),
    ("escalations", "Escalations"),
];

/// What goes when it is old: option of `wakeful up`, what it is unless that is said, what goes.
const RETAINED: &[(&str, &str, &str)] = &[
    (
        "--retain-days",
        "90",
        "runs that ended, with their events; terminal wakeups; slots; notifications with their deliveries; webhook \
         receipts; mail that was read; subscriptions that ended",
    ),
    ("--retain-events-days", "30", "events of companies"),
    ("--retain-logs-days", "30", "bodies of logs; the run stays readable and says when"),
    ("--retain-keys-days", "7", "idempotency keys of requests"),
    ("--retain-rows", "1,000,000", "runs, wakeups and events beyond so many, each"),
];

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: Frame,
    tab: &'static str,
    company: Company,
    held: Held,
    /// Where the list of the tab goes on.
    next: Option<String>,
    /// The state of escalations that is asked for.
    status: String,
    agents: Vec<Choice>,
}

/// What the open tab lists. `Refused` is for whoever may not see it.
#[derive(Debug)]
enum Held {
    Nothing,
    Refused,
    Tokens(Vec<Token>),
    Secrets(Vec<Secret>),
    Projects(Vec<Project>, Vec<Worktree>),
    Goals(Vec<Goal>),
    Escalations(Vec<Escalation>),
}

#[derive(Debug, Deserialize)]
struct Company {
    name: String,
    time_zone: String,
    max_concurrent_runs: i64,
    max_runs_per_root_hour: i64,
    state: String,
    live_runs: i64,
}

#[derive(Debug, Deserialize)]
struct Token {
    id: String,
    name: String,
    role: Option<String>,
    agent: Option<String>,
    created_at: String,
}

#[derive(Debug, Deserialize)]
struct Secret {
    name: String,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Deserialize)]
struct Project {
    id: String,
    name: String,
    workspaces: Value,
}

/// A worktree that stays, since something in it would be lost.
#[derive(Debug, Deserialize)]
struct Worktree {
    agent: String,
    path: String,
    branch: String,
    state_reason: Option<String>,
    advice: Option<String>,
    updated_at: String,
}

#[derive(Debug, Deserialize)]
struct Goal {
    id: String,
    title: String,
    parent: Option<String>,
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Escalation {
    id: String,
    kind: String,
    severity: String,
    title: String,
    detail: String,
    count: i64,
    status: String,
    raised_at: String,
    acked_by: Option<String>,
    resolved_at: Option<String>,
    resolved_by: Option<String>,
}

impl SettingsPage {
    fn tabs(&self) -> &'static [(&'static str, &'static str)] {
        TABS
    }

    fn roles(&self) -> &'static [(&'static str, &'static str)] {
        ROLES
    }

    fn statuses(&self) -> &'static [&'static str] {
        ESCALATION_STATUSES
    }

    fn retained(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        RETAINED
    }

    fn pretty(&self, value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap_or_default()
    }

    fn goal_title<'a>(&self, goals: &'a [Goal], id: &'a str) -> &'a str {
        goals.iter().find(|goal| goal.id == id).map_or_else(|| pieces::short(id), |goal| &goal.title)
    }
}

/// Shows one tab of the settings.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "settings", "company escalation worktree").await?.titled("Settings");
    let asked = visit.asked("tab");
    let tab = TABS.iter().find(|(name, _)| *name == asked).map_or("company", |(name, _)| name);
    let company: Company = visit.calls.get(&format!("/companies/{}", visit.company)).await?;
    let status = visit.asked("status");
    let (held, next) = held(&visit, tab, &status).await?;
    let next = next.map(|cursor| query(&[("tab", tab), ("status", &status), ("cursor", &cursor)]));
    let agents = choices::agents(&visit).await?;
    page(&SettingsPage { frame, tab, company, held, next, status, agents })
}

/// What a tab lists, and where that goes on.
async fn held(visit: &Visit, tab: &str, status: &str) -> Result<(Held, Option<String>), Failure> {
    let refused = (Held::Refused, None);
    Ok(match tab {
        "tokens" => {
            list(visit, "tokens", "").await?.map_or(refused, |list| (Held::Tokens(list.items), list.next_cursor))
        }
        "secrets" => {
            list(visit, "secrets", "").await?.map_or(refused, |list| (Held::Secrets(list.items), list.next_cursor))
        }
        "projects" => {
            let path = visit.of_company("worktrees?state=kept");
            let kept: Option<List<Worktree>> = visit.calls.find(&path).await?;
            let kept = kept.map(|list| list.items).unwrap_or_default();
            let projects = list(visit, "projects", "").await?;
            projects.map_or(refused, |list| (Held::Projects(list.items, kept), list.next_cursor))
        }
        "goals" => list(visit, "goals", "").await?.map_or(refused, |list| (Held::Goals(list.items), list.next_cursor)),
        "escalations" => {
            let found = list(visit, "escalations", status).await?;
            found.map_or(refused, |list| (Held::Escalations(list.items), list.next_cursor))
        }
        _ => (Held::Nothing, None),
    })
}

async fn list<T: DeserializeOwned>(visit: &Visit, name: &str, status: &str) -> Result<Option<List<T>>, Failure> {
    let asked = query(&[("status", status), ("cursor", &visit.asked("cursor")), ("limit", SHOWN)]);
    visit.calls.find(&visit.of_company(&format!("{name}{asked}"))).await
}
