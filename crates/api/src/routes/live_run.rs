//! A live run: its processes, and saying something to its agent while it works.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::kind;
use wakeful_domain::wakeup::Source;
use wakeful_engine::{Delivery, clock};
use wakeful_store::Refusal;
use wakeful_store::ops::wake::{Maker, Wake};

use super::runs::visible;
use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::fingerprint;
use crate::parameters::{IdempotencyKey, PathId, check_text};
use crate::wire::{ProcessView, SteerRequest, SteerView, WakeupView, Whole};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(steer)).routes(routes!(processes))
}

/// Lists the processes of a live run, parents before their children; none if it has none.
#[utoipa::path(get, path = "/runs/{id}/processes", tag = "runs", params(("id" = String, Path)),
    responses((status = 200, body = Whole<ProcessView>), (status = 404, body = ProblemDocument)))]
async fn processes(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
) -> Result<Json<Whole<ProcessView>>, Problem> {
    principal.require(Permission::Read)?;
    let run = visible(&api, &principal, id).await?;
    let found = match run.status.is_live() {
        true => api.engine.processes(id).await,
        false => Ok(Vec::new()),
    };
    let found = found.map_err(|error| {
        let detail = format!("the processes of the run cannot be listed: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "processes_unreadable", detail)
    })?;
    Ok(Json(Whole { items: found.into_iter().map(ProcessView::from).collect() }))
}

/// Says something to the agent of a live run. It is a wakeup of the run's lane: an agent that takes
/// messages gets it at its next turn, and the run then takes the wakeup over; else it waits in the inbox.
#[utoipa::path(post, path = "/runs/{id}/steer", tag = "runs", params(("id" = String, Path)), request_body = SteerRequest,
    responses((status = 202, body = SteerView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn steer(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<SteerRequest>,
) -> Result<(StatusCode, Json<SteerView>), Problem> {
    principal.require(Permission::Work)?;
    let run = visible(&api, &principal, id).await?;
    let message = body.value.message;
    check_text("message", Some(&message))?;
    if message.trim().is_empty() {
        return Err(Problem::invalid("message", "is empty: say what the agent is to know or to do"));
    }
    if !run.status.is_live() {
        let told = format!("the run is {}: wake the agent instead", run.status);
        return Err(Refusal::conflict("run_terminal", told, json!({ "status": run.status })).into());
    }
    let request_hash = key.as_ref().map(|_| fingerprint(&[id.to_string().as_bytes(), message.as_bytes()]));
    let wake = Wake {
        id: api.engine.new_id(),
        company: principal.company(),
        agent: run.agent,
        task: run.task,
        source: Source::Manual,
        trigger_detail: Some("steer".into()),
        reason: Some(message.clone()),
        priority: None,
        payload: serde_json::Map::from_iter([("steers".to_owned(), json!(id))]),
        context: serde_json::Map::new(),
        actor: principal.actor(),
        idempotency_key: key,
        request_hash,
        now: clock::now(),
        due_at: None,
        expires_at: None,
        max_attempts: None,
        by_run: principal.own_run(),
        maker: Maker::Request,
    };
    let (accepted, delivery) = api.engine.steer(id, wake, &message).await?;
    let delivery = match delivery {
        Delivery::Session => "session",
        Delivery::Inbox => "inbox",
        Delivery::Skipped => "skipped",
    };
    Ok((StatusCode::ACCEPTED, Json(SteerView { delivery, wakeup: WakeupView::new(accepted.wakeup, None) })))
}
