//! The server itself: is it up, is it ready, what does it count.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use wakeful_store::ops::invariants;

use crate::access::{Permission, Principal};
use crate::{Api, Problem, metrics};

/// Routes of the server itself.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(serve_metrics))
        .route("/api/v1/invariants", get(check_invariants))
        .route("/api/v1/drain", post(drain))
        .route("/api/v1/undrain", post(undrain))
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

/// Starts nothing new; live runs go on, and wakes are accepted and wait.
async fn drain(State(api): State<Api>, principal: Principal) -> Result<Response, Problem> {
    principal.require(Permission::Instance)?;
    api.engine.drain();
    Ok(host(&api))
}

/// Ends a drain.
async fn undrain(State(api): State<Api>, principal: Principal) -> Result<Response, Problem> {
    principal.require(Permission::Instance)?;
    api.engine.undrain();
    Ok(host(&api))
}

fn host(api: &Api) -> Response {
    let host = api.engine.host();
    Json(json!({
        "is_draining": host.is_draining,
        "live_runs": host.live_runs,
        "live_runs_max": host.live_runs_max,
    }))
    .into_response()
}

/// Checks the invariants on the live store.
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
