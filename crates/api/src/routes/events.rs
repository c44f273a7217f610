//! A company's events: a page of them, or a stream.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{EventId, kind};
use wakeful_engine::clock;
use wakeful_store::ops::events::{self, Cursor};
use wakeful_store::ops::retention;

use crate::access::{Permission, Principal};
use crate::parameters::{Parameters, PathCompany, id_in_option, limit};
use crate::sse::Wanted;
use crate::wire::{EventView, Page};
use crate::{Api, Problem, sse};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(latest))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    after: Option<String>,
    limit: Option<i64>,
    types: Option<String>,
}

/// Events behind `after` (from the first by default), oldest first. With `Accept: text/event-stream`
/// a stream that begins behind `Last-Event-ID` or `after`, or now, and goes on; an event `gap` says that some were removed.
/// With `types` (first words, as in `run,wakeup`) only those come; a stream then moves the place of its reader on by an id without data,
/// and a page may hold fewer than there is room for, even none.
#[utoipa::path(get, path = "/companies/{company}/events", tag = "events",
    params(("company" = String, Path, description = "id or slug"), ("after" = Option<String>, Query), ("limit" = Option<i64>, Query),
        ("types" = Option<String>, Query)),
    responses((status = 200, body = Page<EventView>,
        headers(("Wakeful-Gap" = String, description = "events behind `after` are gone: the list begins behind this one")))))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    principal.require(Permission::Read)?;
    let after: Option<EventId> = id_in_option::<kind::Event>("after", query.after.as_ref())?;
    let wanted = Wanted::read(query.types.as_deref())?;
    if sse::is_wanted(&headers) {
        let cursor = match sse::last_event_id::<EventId>(&headers)?.or(after) {
            Some(id) => id.into(),
            None => api.engine.db().read("event.last", company.id, |tx, id| Box::pin(events::last(tx, *id))).await?,
        };
        return sse::company(&api, sse::Client::of(&headers), company.id, cursor, wanted);
    }
    let limit = limit(query.limit)?;
    let cursor = after.map(Cursor::from).unwrap_or_default();
    let found = api
        .engine
        .db()
        .read("event.after", (company.id, cursor, limit), |tx, (company, cursor, limit)| {
            Box::pin(retention::events::after(tx, *company, *cursor, *limit))
        })
        .await?;
    let is_full = found.events.len() as i64 == limit;
    let next_cursor = found.events.last().filter(|_| is_full).map(|event| event.id.to_string());
    let items: Vec<EventView> =
        found.events.into_iter().filter(|event| wanted.takes(&event.kind)).map(EventView::from).collect();
    let mut response = Json(Page { items, next_cursor }).into_response();
    if let Some(gap) = found.gap.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        response.headers_mut().insert(HeaderName::from_static("wakeful-gap"), gap);
    }
    Ok(response)
}

/// The cursor behind everything that has happened so far: with it as `after`, a stream begins here.
#[derive(Debug, Serialize, ToSchema)]
struct LatestView {
    id: String,
}

/// Says where the events of a company end now.
#[utoipa::path(get, path = "/companies/{company}/events/latest", tag = "events",
    params(("company" = String, Path, description = "id or slug")), responses((status = 200, body = LatestView)))]
async fn latest(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
) -> Result<Json<LatestView>, Problem> {
    principal.require(Permission::Read)?;
    let last = api.engine.db().read("event.last", company.id, |tx, id| Box::pin(events::last(tx, *id))).await?;
    Ok(Json(LatestView { id: last.id(clock::now()).to_string() }))
}
