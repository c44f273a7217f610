//! Wakeups: listed, shown, cancelled, retried.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{WakeupId, kind};
use wakeful_domain::waiting::{Waiting, why_waiting};
use wakeful_domain::wakeup::{Wakeup, WakeupStatus};
use wakeful_engine::clock;
use wakeful_store::ops::{standing, wakeups};

use crate::access::{Permission, Principal};
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathCompany, PathId, id_in, id_in_option, limit, source_in, time_in_option};
use crate::wire::{Page, WakeupView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(cancel))
        .routes(routes!(retry))
        .routes(routes!(acknowledge))
}

/// The wakeup, if the caller may see it.
pub async fn visible(api: &Api, principal: &Principal, id: WakeupId) -> Result<Wakeup, Problem> {
    let wakeup = api.engine.db().read("wakeup.get", id, |tx, id| Box::pin(wakeups::get(tx, *id))).await?;
    match principal.sees(wakeup.company) {
        true => Ok(wakeup),
        false => Err(Problem::not_found("wakeup", &id.to_string())),
    }
}

/// A wakeup as it stands now, and why it waits if it does: both of one moment.
async fn as_it_stands(api: &Api, id: WakeupId) -> Result<(Wakeup, Option<Waiting>), Problem> {
    let (wakeup, standing) = api
        .engine
        .db()
        .read("wakeup.standing", id, |tx, id| {
            Box::pin(async move {
                let wakeup = wakeups::get(tx, *id).await?;
                let standing = standing::of(tx, &wakeup).await?;
                Ok((wakeup, standing))
            })
        })
        .await?;
    let is_pending = wakeup.status == WakeupStatus::Pending;
    let waiting = is_pending.then(|| why_waiting(&standing, api.engine.host(), clock::now()));
    Ok((wakeup, waiting))
}

async fn view(api: &Api, id: WakeupId) -> Result<Json<WakeupView>, Problem> {
    let (wakeup, waiting) = as_it_stands(api, id).await?;
    Ok(Json(WakeupView::new(wakeup, waiting)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    status: Option<WakeupStatus>,
    agent: Option<String>,
    task: Option<String>,
    source: Option<String>,
    since: Option<String>,
    until: Option<String>,
    acknowledged: Option<bool>,
}

/// Lists a company's wakeups; `since` and `until` (not included) are about `requested_at`. `acknowledged=false` leaves out what
/// failed for good and somebody has seen.
#[utoipa::path(get, path = "/companies/{company}/wakeups", tag = "wakeups",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("status" = Option<String>, Query), ("agent" = Option<String>, Query), ("task" = Option<String>, Query),
        ("source" = Option<String>, Query), ("since" = Option<String>, Query), ("until" = Option<String>, Query),
        ("acknowledged" = Option<bool>, Query)),
    responses((status = 200, body = Page<WakeupView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<WakeupView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Wakeup>("cursor", query.cursor.as_ref())?;
    query.source.as_deref().map(source_in).transpose()?;
    let task = query.task.as_deref().map(|task| id_in::<kind::Task>("task", task)).transpose()?;
    let filter = wakeups::WakeupFilter {
        company: Some(company.id),
        status: query.status,
        agent: id_in_option("agent", query.agent.as_ref())?,
        task: task.map(|task| task.to_string()),
        source: query.source,
        since: time_in_option("since", query.since.as_ref())?,
        until: time_in_option("until", query.until.as_ref())?,
        acknowledged: query.acknowledged,
    };
    let (host, now) = (api.engine.host(), clock::now());
    let arguments = (filter, query.cursor, limit(query.limit)?, host, now);
    let page = api
        .engine
        .db()
        .read("wakeup.list", arguments, |tx, (filter, cursor, limit, host, now)| {
            Box::pin(async move {
                let page = wakeups::list(tx, filter, cursor.clone(), *limit).await?;
                let mut items = Vec::with_capacity(page.items.len());
                for wakeup in page.items {
                    let waiting = match wakeup.status {
                        WakeupStatus::Pending => Some(why_waiting(&standing::of(tx, &wakeup).await?, *host, *now)),
                        _ => None,
                    };
                    items.push(WakeupView::new(wakeup, waiting));
                }
                Ok(Page { items, next_cursor: page.next_cursor })
            })
        })
        .await?;
    Ok(Json(page))
}

/// Shows a wakeup; while it is pending, with the reason why it waits.
#[utoipa::path(get, path = "/wakeups/{id}", tag = "wakeups", params(("id" = String, Path)),
    responses((status = 200, body = WakeupView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Wakeup>,
) -> Result<Json<WakeupView>, Problem> {
    principal.require(Permission::Read)?;
    visible(&api, &principal, id).await?;
    view(&api, id).await
}

/// Cancels a pending wakeup.
#[utoipa::path(post, path = "/wakeups/{id}/cancel", tag = "wakeups", params(("id" = String, Path)),
    responses((status = 200, body = WakeupView), (status = 409, body = ProblemDocument)))]
async fn cancel(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Wakeup>,
) -> Result<Json<WakeupView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    api.engine.cancel_wakeup(id).await?;
    view(&api, id).await
}

/// Brings a failed wakeup back, with all its attempts before it.
#[utoipa::path(post, path = "/wakeups/{id}/retry", tag = "wakeups", params(("id" = String, Path)),
    responses((status = 200, body = WakeupView), (status = 409, body = ProblemDocument)))]
async fn retry(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Wakeup>,
) -> Result<Json<WakeupView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    let retried = api.engine.retry_wakeup(id).await?;
    // It may have been taken since: then it waits no more.
    let (_, waiting) = as_it_stands(&api, id).await?;
    Ok(Json(WakeupView::new(retried, waiting)))
}

/// Notes that somebody has seen a wakeup that failed for good, and leaves it at that. Doing it twice changes nothing.
#[utoipa::path(post, path = "/wakeups/{id}/ack", tag = "wakeups", params(("id" = String, Path)),
    responses((status = 200, body = WakeupView), (status = 409, body = ProblemDocument)))]
async fn acknowledge(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Wakeup>,
) -> Result<Json<WakeupView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    let arguments = (clock::now(), id, principal.actor().id);
    let acknowledge = api
        .engine
        .write("wakeup.acknowledge", arguments, |tx, (now, id, by)| Box::pin(wakeups::acknowledge(tx, *now, *id, by)));
    Ok(Json(WakeupView::new(acknowledge.await?, None)))
}
