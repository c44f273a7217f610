//! Sessions of the console: begun with a token or by a link, and ended.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::access::{self, Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(begin, end)).routes(routes!(link))
}

/// What a session is begun with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSession {
    /// The admin token or a key of a company. Agents and runs have no sessions.
    token: String,
}

/// A link that begins a session.
#[derive(Debug, Serialize, ToSchema)]
struct LinkView {
    /// Path of the page that begins it, to be put behind the server's address.
    path: String,
    /// Until when it is good. It is good once.
    expires_at: String,
}

/// Begins a session of the console: the answer sets a cookie that stands for the token.
#[utoipa::path(post, path = "/session", tag = "me", request_body = NewSession,
    responses((status = 204), (status = 422, body = ProblemDocument)))]
async fn begin(
    State(api): State<Api>,
    headers: HeaderMap,
    Body { value, .. }: Body<NewSession>,
) -> Result<Response, Problem> {
    api.sessions().guard(&axum::http::Method::POST, &headers)?;
    let hash = wakeful_engine::hash_of(value.token.trim());
    let is_person = access::principal_of(&api, hash.clone()).await?.is_some_and(|found| found.is_person());
    if !is_person {
        let told =
            "is not the admin token or a key of a company: the server's admin token is in <data-dir>/admin.token";
        return Err(Problem::invalid("token", told));
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, api.sessions().begin(&hash))]).into_response())
}

/// Ends the session: the answer removes its cookie.
#[utoipa::path(delete, path = "/session", tag = "me", responses((status = 204)))]
async fn end(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    api.sessions().guard(&axum::http::Method::DELETE, &headers)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, api.sessions().end())]).into_response())
}

/// Makes a link that begins a session for whoever opens it first, within two minutes.
#[utoipa::path(post, path = "/session/links", tag = "me", responses((status = 201, body = LinkView)))]
async fn link(State(api): State<Api>, principal: Principal, headers: HeaderMap) -> Result<Response, Problem> {
    principal.require(Permission::Read)?;
    let hash = access::bearer(&headers)?.map(wakeful_engine::hash_of).filter(|_| principal.is_person());
    let hash = hash.ok_or_else(|| Problem::forbidden("a link is made with the admin token or a key of a company"))?;
    let (code, until) = api.sessions().link(&hash)?;
    let view = LinkView { path: format!("/login/{code}"), expires_at: until.to_string() };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}
