//! The server itself: is it up, is it ready, what does it count.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::waiting::Host;

use wakeful_engine::{Recovery, clock};
use wakeful_store::ops::invariants;

use crate::access::{Permission, Principal};
use crate::{Api, ConfigurationView, Problem, metrics};

/// Routes of the server itself.
pub fn routes() -> Router<Api> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).route("/metrics", get(serve_metrics))
}

/// Those of them that are documented, below `/api/v1`.
pub fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(server))
        .routes(routes!(standing))
        .routes(routes!(check_invariants))
        .routes(routes!(drain))
        .routes(routes!(undrain))
}

/// Up: the process answers.
async fn healthz() -> Response {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

/// Ready: the store answers, what was running has been found again, and nothing drains.
async fn readyz(State(api): State<Api>) -> Response {
    let mut missing = Vec::new();
    if let Err(error) = api.engine.db().read("ready.probe", (), |tx, ()| Box::pin(probe(tx))).await {
        missing.push(format!("the store does not answer: {error}"));
    }
    if !api.engine.has_recovered() {
        missing.push("live runs are still being found again".into());
    }
    if api.engine.host().is_draining {
        missing.push("the server is draining".into());
    }
    let (code, status) = match missing.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    let answer = json!({ "status": status, "version": env!("CARGO_PKG_VERSION"), "missing": missing });
    (code, Json(answer)).into_response()
}

async fn probe(tx: &mut wakeful_store::Tx) -> Result<(), wakeful_store::Refusal> {
    wakeful_store::ops::meta::get(tx, "probe").await.map(|_| ())
}

async fn serve_metrics(State(api): State<Api>, principal: Principal) -> Result<Response, Problem> {
    principal.require(Permission::Instance)?;
    let text = metrics::text(&api).await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// How the server stands.
#[derive(Debug, Serialize, ToSchema)]
struct HostView {
    is_draining: bool,
    live_runs: usize,
    live_runs_max: usize,
}

impl HostView {
    fn of(api: &Api) -> Json<HostView> {
        let Host { is_draining, live_runs, live_runs_max, .. } = api.engine.host();
        Json(HostView { is_draining, live_runs, live_runs_max })
    }
}

/// How the server stands, as everybody may know.
#[derive(Debug, Serialize, ToSchema)]
struct StandingView {
    version: &'static str,
    /// `sqlite` or `postgres`.
    store: &'static str,
    live_runs: usize,
    live_runs_max: usize,
    is_draining: bool,
    /// Why nothing is started, if it is in safe mode.
    safe_mode: Option<String>,
    /// When the backup was taken that the store was restored from, while it waits to be told to go on.
    restored_from: Option<String>,
    /// Milliseconds since the dispatcher last completed a beat; it sleeps for minutes while nothing is due.
    tick_age_ms: u64,
    /// A scheduler that is well looks again within this time of its last look: it sleeps until something is due.
    tick_within_ms: u64,
}

impl StandingView {
    fn of(api: &Api) -> StandingView {
        let (host, now) = (api.engine.host(), clock::now());
        StandingView {
            version: env!("CARGO_PKG_VERSION"),
            store: api.engine.db().engine_name(),
            live_runs: host.live_runs,
            live_runs_max: host.live_runs_max,
            is_draining: host.is_draining,
            safe_mode: api.standing.safe_mode.clone(),
            restored_from: host.restored_from.map(|at| at.to_string()),
            tick_age_ms: u64::try_from(now.since(api.engine.meters().last_beat()).as_millis()).unwrap_or(u64::MAX),
            tick_within_ms: u64::try_from(api.engine.beats_within().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// How the process stands.
#[derive(Debug, Serialize, ToSchema)]
struct ServerView {
    #[serde(flatten)]
    standing: StandingView,
    started_at: String,
    uptime_s: u64,
    /// What this start has found and made good.
    #[schema(value_type = Object)]
    recovery: Recovery,
    configuration: Option<ConfigurationView>,
}

/// Says how the server stands.
#[utoipa::path(get, path = "/server", tag = "instance", responses((status = 200, body = ServerView)))]
async fn server(State(api): State<Api>, principal: Principal) -> Result<Json<ServerView>, Problem> {
    principal.require(Permission::Instance)?;
    let started_at = api.standing.started_at;
    Ok(Json(ServerView {
        standing: StandingView::of(&api),
        started_at: started_at.to_string(),
        uptime_s: clock::now().since(started_at).as_secs(),
        recovery: api.engine.recovery(),
        configuration: api.standing.configuration(),
    }))
}

/// Says how the server stands, to whoever has a token.
#[utoipa::path(get, path = "/standing", tag = "instance", responses((status = 200, body = StandingView)))]
async fn standing(State(api): State<Api>, principal: Principal) -> Result<Json<StandingView>, Problem> {
    principal.require(Permission::Read)?;
    Ok(Json(StandingView::of(&api)))
}

/// Starts nothing new; live runs go on, and wakes are accepted and wait.
#[utoipa::path(post, path = "/drain", tag = "instance", responses((status = 200, body = HostView)))]
async fn drain(State(api): State<Api>, principal: Principal) -> Result<Json<HostView>, Problem> {
    principal.require(Permission::Instance)?;
    api.engine.drain();
    Ok(HostView::of(&api))
}

/// Ends a drain.
#[utoipa::path(post, path = "/undrain", tag = "instance", responses((status = 200, body = HostView)))]
async fn undrain(State(api): State<Api>, principal: Principal) -> Result<Json<HostView>, Problem> {
    principal.require(Permission::Instance)?;
    api.engine.undrain();
    Ok(HostView::of(&api))
}

/// Checks the invariants on the live store.
#[utoipa::path(get, path = "/invariants", tag = "instance", responses((status = 200, body = Object)))]
async fn check_invariants(State(api): State<Api>, principal: Principal) -> Result<Response, Problem> {
    principal.require(Permission::Instance)?;
    let violations = api.engine.db().read("invariants.check", (), |tx, ()| Box::pin(invariants::check(tx))).await?;
    let names: Vec<&str> = wakeful_domain::invariant::ALL.iter().map(|invariant| invariant.name).collect();
    let broken: Vec<_> = violations
        .into_iter()
        .map(|violation| {
            json!({
                "name": violation.invariant.name,
                "statement": violation.invariant.statement,
                "subject": violation.subject,
            })
        })
        .collect();
    Ok(Json(json!({ "checked": names, "violations": broken })).into_response())
}
