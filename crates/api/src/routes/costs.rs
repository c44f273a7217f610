//! What runs have cost: by agent, task, schedule or day.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::CompanyId;
use wakeful_engine::clock;
use wakeful_store::ops::costs::{Group, Sums, Window};
use wakeful_store::ops::{names, schedules};

use crate::access::{Permission, Principal};
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathCompany, window_in};
use crate::sums::{self, Day};
use crate::wire::{CostView, CostsView, SumsView};
use crate::{Api, Problem};

/// Groups that are listed; the rest is one sum.
const GROUPS_MAX: usize = 200;
/// The longest window: a year.
const WINDOW_MAX: Duration = Duration::from_secs(366 * 86_400);
const WINDOW_DEFAULT: Duration = Duration::from_secs(30 * 86_400);

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show_costs))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Agent,
    Task,
    Day,
    Schedule,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            By::Agent => "agent",
            By::Task => "task",
            By::Day => "day",
            By::Schedule => "schedule",
        }
    }

    fn group(self) -> Option<Group> {
        match self {
            By::Agent => Some(Group::Agent),
            By::Task => Some(Group::Task),
            By::Schedule => Some(Group::Schedule),
            By::Day => None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CostsQuery {
    by: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

fn view(key: Option<String>, name: Option<String>, sums: Sums) -> CostView {
    CostView { key, name, sums: sums.into() }
}

fn sum<'a>(all: impl IntoIterator<Item = &'a (String, Sums)>) -> Sums {
    all.into_iter().fold(Sums::default(), |sum, (_, sums)| sum.and(*sums))
}

/// Lines, what is not in them, and the total.
type Added = (Vec<CostView>, Option<Sums>, Sums);

async fn by_day(api: &Api, days: &[Day]) -> Result<Added, Problem> {
    let daily = sums::daily(api, clock::now(), days, Group::All).await?;
    let found: Vec<(String, Sums)> =
        days.iter().zip(&daily).map(|(day, groups)| (day.date.clone(), sum(groups.iter()))).collect();
    let total = sum(&found);
    let lines = found.into_iter().rev().filter(|(_, sums)| sums.runs > 0);
    Ok((lines.map(|(date, sums)| view(Some(date.clone()), Some(date), sums)).collect(), None, total))
}

async fn by_group(api: &Api, company: CompanyId, days: &[Day], group: Group) -> Result<Added, Problem> {
    let mut groups = sums::grouped(api, clock::now(), days, group).await?;
    let total = sum(&groups);
    let rest = groups.split_off(groups.len().min(GROUPS_MAX));
    let ids: Vec<String> = groups.iter().map(|(id, _)| id.clone()).collect();
    let read =
        api.engine.db().read("name.list", (company, ids), |tx, (company, ids)| Box::pin(names::of(tx, *company, ids)));
    let names = read.await?;
    let line = |(id, sums): (String, Sums)| {
        let name = names.get(&id).cloned();
        view(Some(id).filter(|id| !id.is_empty()), name, sums)
    };
    let others = (!rest.is_empty()).then(|| sum(&rest));
    Ok((groups.into_iter().map(line).collect(), others, total))
}

/// Adds up what the runs that ended in a window have used: the last 30 days by default, a year at most. What a live run uses counts
/// when it ends; runs that retention has removed do not count, an hour later at the latest. Days are those of the company's time zone.
#[utoipa::path(get, path = "/companies/{company}/costs", tag = "runs",
    params(("company" = String, Path, description = "id or slug"),
        ("by" = Option<String>, Query, description = "`agent` (the default), `task`, `day` or `schedule`"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query)),
    responses((status = 200, body = CostsView), (status = 422, body = ProblemDocument)))]
async fn show_costs(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<CostsQuery>,
) -> Result<Json<CostsView>, Problem> {
    principal.require(Permission::Read)?;
    let by = match query.by.as_deref() {
        None | Some("agent") => By::Agent,
        Some("task") => By::Task,
        Some("day") => By::Day,
        Some("schedule") => By::Schedule,
        Some(other) => return Err(Problem::invalid("by", format!("`{other}` is none of agent, task, day, schedule"))),
    };
    let (from, to) = window_in((query.from.as_ref(), query.to.as_ref()), clock::now(), WINDOW_DEFAULT, WINDOW_MAX)?;
    let of = Window { company: company.id, from, to };
    let days = sums::days(schedules::zone_of(&company).rules(), &of);
    let (items, others, total) = match by.group() {
        Some(group) => by_group(&api, company.id, &days, group).await?,
        None => by_day(&api, &days).await?,
    };
    Ok(Json(CostsView {
        from: from.to_string(),
        to: to.to_string(),
        by: by.as_str().into(),
        items,
        others: others.map(SumsView::from),
        total: total.into(),
    }))
}
