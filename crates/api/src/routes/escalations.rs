//! Escalations: what a person has to know or decide.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::company::Company;
use wakeful_domain::escalation::{EscalationKind, EscalationStatus};
use wakeful_domain::id::{EscalationId, kind};
use wakeful_engine::clock;
use wakeful_store::Refusal;
use wakeful_store::ops::escalations::{self, Raise};
use wakeful_store::ops::request_keys;

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, check_text, id_in_option, limit, path_parameter};
use crate::wire::{Empty, EscalationView, NewEscalation, Page};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(raise, list)).routes(routes!(acknowledge)).routes(routes!(resolve))
}

/// Asks for a person's attention. One that is open under the same key is counted, and nobody is told again.
#[utoipa::path(post, path = "/companies/{company}/escalations", tag = "escalations",
    params(("company" = String, Path, description = "id or slug")), request_body = NewEscalation,
    responses((status = 201, body = EscalationView), (status = 422, body = ProblemDocument)))]
async fn raise(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewEscalation>,
) -> Result<(StatusCode, Json<EscalationView>), Problem> {
    principal.require(Permission::Work)?;
    let request = request_key(key, &principal, &format!("POST /companies/{}/escalations", company.id), &body.bytes);
    let new = body.value;
    if new.title.trim().is_empty() || new.title.chars().count() > TITLE_CHARS_MAX {
        return Err(Problem::invalid("title", format!("must have 1 to {TITLE_CHARS_MAX} characters")));
    }
    check_text("detail", new.detail.as_ref())?;
    check_text("key", new.key.as_ref())?;
    let id: EscalationId = api.engine.new_id();
    let subject = match principal.live_run() {
        Some(run) => run.id.to_string(),
        None => id.to_string(),
    };
    let raise = Raise {
        id,
        now: clock::now(),
        company: company.id,
        kind: EscalationKind::Request,
        severity: new.severity.unwrap_or_default(),
        key: format!("request:{}", new.key.unwrap_or_else(|| id.to_string())),
        subject,
        title: new.title,
        detail: new.detail.unwrap_or_default(),
        actor: principal.actor(),
    };
    let raised = api
        .engine
        .write("escalation.raise", (principal.origin(&api), raise, request), |tx, (origin, raise, request)| {
            Box::pin(async move {
                origin.prove(tx).await?;
                let earlier = match request {
                    Some(key) => request_keys::find(tx, Some(raise.company), key).await?,
                    None => None,
                };
                if let Some(id) = earlier {
                    return escalations::get(tx, id.parse().unwrap_or(raise.id)).await;
                }
                let raised = escalations::raise(tx, raise).await?;
                if let Some(key) = request {
                    // Not its own id where an open one was counted.
                    request_keys::keep(tx, raise.now, Some(raise.company), key, &raised.id.to_string()).await?;
                }
                Ok(raised)
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(raised.into())))
}

/// Longer titles are refused.
const TITLE_CHARS_MAX: usize = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    status: Option<EscalationStatus>,
}

/// Lists a company's escalations.
#[utoipa::path(get, path = "/companies/{company}/escalations", tag = "escalations",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("status" = Option<String>, Query)),
    responses((status = 200, body = Page<EscalationView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<EscalationView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Escalation>("cursor", query.cursor.as_ref())?;
    let arguments = (company.id, query.status, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("escalation.list", arguments, |tx, (company, status, cursor, limit)| {
            Box::pin(escalations::list(tx, *company, *status, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, EscalationView::from)))
}

/// The `{id}` of the path, if it is one of the company's.
struct PathEscalation(EscalationId);

impl axum::extract::FromRequestParts<Api> for PathEscalation {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, api: &Api) -> Result<Self, Problem> {
        let PathCompany(Company { id: company, .. }) = PathCompany::from_request_parts(parts, api).await?;
        let text = path_parameter(parts, api, "id").await?;
        let unknown = || Problem::not_found("escalation", &text);
        let id: EscalationId = text.parse().map_err(|_| unknown())?;
        let found = api.engine.db().read("escalation.get", id, |tx, id| Box::pin(escalations::get(tx, *id))).await;
        match found {
            Ok(found) if found.company == company => Ok(PathEscalation(id)),
            Ok(_) | Err(Refusal::NotFound { .. }) => Err(unknown()),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// Notes that somebody has seen it.
#[utoipa::path(post, path = "/companies/{company}/escalations/{id}/ack", tag = "escalations",
    params(("company" = String, Path, description = "id or slug"), ("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = EscalationView), (status = 409, body = ProblemDocument)))]
async fn acknowledge(
    State(api): State<Api>,
    principal: Principal,
    PathEscalation(id): PathEscalation,
    _body: Body<Empty>,
) -> Result<Json<EscalationView>, Problem> {
    principal.require(Permission::Manage)?;
    let arguments = (clock::now(), id, principal.actor().id);
    let seen = api
        .engine
        .write("escalation.acknowledge", arguments, |tx, (now, id, by)| {
            Box::pin(escalations::acknowledge(tx, *now, *id, by))
        })
        .await?;
    Ok(Json(seen.into()))
}

/// Closes it.
#[utoipa::path(post, path = "/companies/{company}/escalations/{id}/resolve", tag = "escalations",
    params(("company" = String, Path, description = "id or slug"), ("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = EscalationView)))]
async fn resolve(
    State(api): State<Api>,
    principal: Principal,
    PathEscalation(id): PathEscalation,
    _body: Body<Empty>,
) -> Result<Json<EscalationView>, Problem> {
    principal.require(Permission::Manage)?;
    let arguments = (clock::now(), id, principal.actor().id);
    let closed = api
        .engine
        .write("escalation.resolve", arguments, |tx, (now, id, by)| Box::pin(escalations::resolve(tx, *now, *id, by)))
        .await?;
    Ok(Json(closed.into()))
}
