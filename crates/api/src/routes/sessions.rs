//! Sessions of the console: begun with a token or by a link, and ended.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_engine::clock;
use wakeful_store::ops::ended_sessions;

use crate::access::{self, Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(begin, end)).routes(routes!(link))
}

/// What a session is begun with: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSession {
    /// The admin token or a key of a company. Agents and runs have no sessions.
    token: Option<String>,
    /// The code of a link: what stands behind `/login/` in its path.
    link: Option<String>,
}

/// A link that begins a session.
#[derive(Debug, Serialize, ToSchema)]
struct LinkView {
    /// Path of the page that begins it, to be put behind the server's address.
    path: String,
    /// Until when it is good. It is good once.
    expires_at: String,
}

/// Begins a session of the console, which a cookie in the answer stands for. It lasts seven days behind its last use, and thirty in all.
#[utoipa::path(post, path = "/session", tag = "me", request_body = NewSession,
    responses((status = 204), (status = 410, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn begin(
    State(api): State<Api>,
    headers: HeaderMap,
    Body { value, .. }: Body<NewSession>,
) -> Result<Response, Problem> {
    api.sessions().guard(&axum::http::Method::POST, &headers)?;
    let hash = match (value.token, value.link) {
        (Some(token), None) => wakeful_engine::hash_of(token.trim()),
        (None, Some(code)) => api.sessions().redeem(&code).ok_or_else(|| {
            let told =
                "this link is good no more: each is good once, for two minutes; ask for another with `wakeful open`";
            Problem::new(StatusCode::GONE, "link_used", told)
        })?,
        (_, _) => return Err(Problem::invalid("token", "is missing: send it, or the code of a `link`, and not both")),
    };
    let is_person = access::principal_of(&api, hash.clone()).await?.is_some_and(|found| found.is_person());
    if !is_person {
        let told =
            "is not the admin token or a key of a company: the server's admin token is in <data-dir>/admin.token";
        return Err(Problem::invalid("token", told));
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, api.sessions().begin(&hash)?)]).into_response())
}

/// Ends the session: its cookie is good no more, and the answer removes it.
#[utoipa::path(delete, path = "/session", tag = "me", responses((status = 204)))]
async fn end(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    api.sessions().guard(&axum::http::Method::DELETE, &headers)?;
    if let Some(session) = api.sessions().of(&headers) {
        let arguments = (clock::now(), session.id, session.until);
        let end = api.engine.write("session.end", arguments, |tx, (now, id, until)| {
            Box::pin(ended_sessions::insert(tx, *now, id, *until))
        });
        end.await?;
    }
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
