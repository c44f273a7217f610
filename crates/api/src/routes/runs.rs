//! Runs: listed, shown, cancelled, their events.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{CompanyId, RunId, TaskId, kind};
use wakeful_domain::run::{Run, RunStatus};
use wakeful_store::ops::run_lists::{self, RunFilter, StatusFilter};
use wakeful_store::ops::{run_events, runs, wakeups};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::parameters::{
    Parameters, PathCompany, PathId, check_text, id_in_option, limit, sought_in, source_in, time_in_option,
};
use crate::wire::{CancelRequest, RunEventView, RunView, RunsPage, Whole};
use crate::{Api, Problem};

/// Events in one answer.
const EVENTS_PAGE: i64 = 200;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(cancel)).routes(routes!(events))
}

/// The run, if the caller may see it.
pub async fn visible(api: &Api, principal: &Principal, id: RunId) -> Result<Run, Problem> {
    let run = api.engine.db().read("run.get", id, |tx, id| Box::pin(runs::get(tx, *id))).await?;
    match principal.sees(run.company) {
        true => Ok(run),
        false => Err(Problem::not_found("run", &id.to_string())),
    }
}

/// A run as the contract shows it.
pub async fn view(api: &Api, run: Run) -> Result<Json<RunView>, Problem> {
    let batch = api
        .engine
        .db()
        .read("run.batch", run.id, |tx, id| Box::pin(async move { Ok(wakeups::of_run(tx, *id).await?) }))
        .await?;
    Ok(Json(RunView::new(run, batch)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    status: Option<String>,
    agent: Option<String>,
    task: Option<String>,
    source: Option<String>,
    since: Option<String>,
    until: Option<String>,
    q: Option<String>,
}

impl ListQuery {
    fn filter(&self, company: CompanyId) -> Result<RunFilter, Problem> {
        let task: Option<TaskId> = id_in_option("task", self.task.as_ref())?;
        Ok(RunFilter {
            company: Some(company),
            status: self.status.as_deref().map(status_filter).transpose()?,
            agent: id_in_option("agent", self.agent.as_ref())?,
            task: task.map(|task| task.to_string()),
            source: self.source.as_deref().map(source_in).transpose()?,
            since: time_in_option("since", self.since.as_ref())?,
            until: time_in_option("until", self.until.as_ref())?,
            text: sought_in(self.q.as_deref())?,
        })
    }
}

/// A status, or one of the two groups that they fall into.
fn status_filter(text: &str) -> Result<StatusFilter, Problem> {
    let one = || RunStatus::ALL.iter().find(|(name, _)| *name == text).map(|(_, status)| StatusFilter::One(*status));
    match text {
        "live" => Ok(StatusFilter::Live),
        "ended" => Ok(StatusFilter::Ended),
        _ => one().ok_or_else(|| {
            let names: Vec<&str> = RunStatus::ALL.iter().map(|(name, _)| *name).collect();
            Problem::invalid("status", format!("`{text}` is none of live, ended, {}", names.join(", ")))
        }),
    }
}

/// Lists a company's runs. `source` is that of the wakeup which leads the batch; `since` and `until` (not included) are about
/// `created_at`; `q` is searched for in the summary, the error and its code, of the newest runs as `searched` says.
#[utoipa::path(get, path = "/companies/{company}/runs", tag = "runs",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("status" = Option<String>, Query, description = "a status, `live` or `ended`"), ("agent" = Option<String>, Query),
        ("task" = Option<String>, Query), ("source" = Option<String>, Query), ("since" = Option<String>, Query),
        ("until" = Option<String>, Query), ("q" = Option<String>, Query)),
    responses((status = 200, body = RunsPage), (status = 422, body = ProblemDocument)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<RunsPage>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Run>("cursor", query.cursor.as_ref())?;
    let arguments = (company.id, query.filter(company.id)?, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("run.list", arguments, |tx, (company, filter, cursor, limit)| {
            Box::pin(async move {
                let page = run_lists::list(tx, filter, cursor.clone(), *limit).await?;
                let mut items = Vec::with_capacity(page.items.len());
                for run in page.items {
                    let batch = wakeups::of_run(tx, run.id).await?;
                    items.push(RunView::new(run, batch));
                }
                let searched = match filter.text {
                    Some(_) => Some(run_lists::searched(tx, *company).await?.0),
                    None => None,
                };
                Ok(RunsPage { items, next_cursor: page.next_cursor, searched })
            })
        })
        .await?;
    Ok(Json(page))
}

/// Shows a run with its batch.
#[utoipa::path(get, path = "/runs/{id}", tag = "runs", params(("id" = String, Path)),
    responses((status = 200, body = RunView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
) -> Result<Json<RunView>, Problem> {
    principal.require(Permission::Read)?;
    let run = visible(&api, &principal, id).await?;
    view(&api, run).await
}

/// Stops a run: the request is durable at once, the run is over when its whole process tree is gone.
#[utoipa::path(post, path = "/runs/{id}/cancel", tag = "runs", params(("id" = String, Path)), request_body = CancelRequest,
    responses((status = 202, body = RunView), (status = 409, body = ProblemDocument)))]
async fn cancel(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    body: Body<CancelRequest>,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    check_text("reason", body.value.reason.as_ref())?;
    let reason = body.value.reason.unwrap_or_else(|| format!("cancelled by {}", principal.actor().id));
    let run = api.engine.stop_run(id, &reason).await?;
    Ok((StatusCode::ACCEPTED, view(&api, run).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<i64>,
}

/// Lists a run's events behind `after`, ascending, 200 at a time.
#[utoipa::path(get, path = "/runs/{id}/events", tag = "runs", params(("id" = String, Path), ("after" = Option<i64>, Query)),
    responses((status = 200, body = Whole<RunEventView>)))]
async fn events(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<Json<Whole<RunEventView>>, Problem> {
    principal.require(Permission::Read)?;
    visible(&api, &principal, id).await?;
    let arguments = (id, query.after.unwrap_or(0));
    let found = api
        .engine
        .db()
        .read("run.events", arguments, |tx, (id, after)| Box::pin(run_events::after(tx, *id, *after, EVENTS_PAGE)))
        .await?;
    Ok(Json(Whole { items: found.into_iter().map(RunEventView::from).collect() }))
}
