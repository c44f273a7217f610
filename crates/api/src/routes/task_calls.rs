//! What is done about a task: taken by a run and let go, talked about, its result rejected.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::comment::BODY_BYTES_MAX;
use wakeful_domain::id::kind;
use wakeful_engine::clock;
use wakeful_store::ops::comments::{self, NewComment};
use wakeful_store::ops::holds::{self, HoldRequest};
use wakeful_store::ops::rejections::{self, Rejection};
use wakeful_store::ops::request_keys;

use super::tasks::{view, visible};
use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::parameters::{IdempotencyKey, Parameters, PathId, id_in_option, limit};
use crate::wire::{CommentView, Empty, NewComment as CommentBody, Page, RejectRequest, TaskView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(check_out))
        .routes(routes!(release))
        .routes(routes!(comment, list_comments))
        .routes(routes!(reject))
}

fn hold_request(principal: &Principal, task: wakeful_domain::id::TaskId) -> Result<HoldRequest, Problem> {
    principal.require(Permission::Work)?;
    let run = principal.live_run().ok_or_else(|| {
        Problem::forbidden("only a run can hold a task: use the token that the run was given (WAKEFUL_TOKEN)")
    })?;
    Ok(HoldRequest { now: clock::now(), run: run.id, fence: run.fence, task })
}

/// Takes a task for the calling run, for as long as the run lives.
#[utoipa::path(post, path = "/tasks/{id}/checkout", tag = "inside a run", params(("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = TaskView), (status = 409, body = ProblemDocument)))]
async fn check_out(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Task>,
    _body: Body<Empty>,
) -> Result<Json<TaskView>, Problem> {
    let request = hold_request(&principal, id)?;
    let task =
        api.engine.write("task.check_out", request, |tx, request| Box::pin(holds::check_out(tx, request))).await?;
    view(&api, &principal, task).await
}

/// Lets a task go that the calling run has taken. The task of the run's own lane stays with it until it ends.
#[utoipa::path(post, path = "/tasks/{id}/release", tag = "inside a run", params(("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = TaskView), (status = 409, body = ProblemDocument)))]
async fn release(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Task>,
    _body: Body<Empty>,
) -> Result<Json<TaskView>, Problem> {
    let request = hold_request(&principal, id)?;
    let task = api.engine.write("task.release", request, |tx, request| Box::pin(holds::release(tx, request))).await?;
    view(&api, &principal, task).await
}

/// Comments on a task.
#[utoipa::path(post, path = "/tasks/{id}/comments", tag = "tasks", params(("id" = String, Path)), request_body = CommentBody,
    responses((status = 201, body = CommentView), (status = 422, body = ProblemDocument)))]
async fn comment(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Task>,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<CommentBody>,
) -> Result<(StatusCode, Json<CommentView>), Problem> {
    principal.require(Permission::Work)?;
    let task = visible(&api, &principal, id).await?;
    let key = request_key(key, &principal, &format!("POST /tasks/{id}/comments"), &body.bytes);
    let CommentBody { body: text, reopen } = body.value;
    if text.trim().is_empty() || text.len() > BODY_BYTES_MAX {
        return Err(Problem::invalid("body", format!("must have 1 to {BODY_BYTES_MAX} bytes")));
    }
    let new = NewComment { id: api.engine.new_id(), task: id, body: text, reopen };
    let arguments = (principal.origin(&api), task.company, new, key);
    let made = api
        .engine
        .write("comment.create", arguments, |tx, (origin, company, new, key)| {
            Box::pin(async move {
                let made = request_keys::made_before(tx, origin.now, Some(*company), key.as_ref(), new.id).await?;
                if let Some(earlier) = made {
                    return comments::get(tx, earlier).await;
                }
                comments::insert(tx, origin, new).await
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Rejects what was handed in: the task is open again, and its assignee is woken with the reason.
#[utoipa::path(post, path = "/tasks/{id}/reject", tag = "tasks", params(("id" = String, Path)), request_body = RejectRequest,
    responses((status = 200, body = TaskView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn reject(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Task>,
    body: Body<RejectRequest>,
) -> Result<Json<TaskView>, Problem> {
    principal.require(Permission::Work)?;
    visible(&api, &principal, id).await?;
    let reason = body.value.reason;
    if reason.trim().is_empty() || reason.len() > BODY_BYTES_MAX / 2 {
        return Err(Problem::invalid("reason", format!("must have 1 to {} bytes", BODY_BYTES_MAX / 2)));
    }
    let rejection = Rejection { task: id, comment: api.engine.new_id(), reason };
    let task = api
        .engine
        .write("task.reject", (principal.origin(&api), rejection), |tx, (origin, rejection)| {
            Box::pin(rejections::reject(tx, origin, rejection))
        })
        .await?;
    view(&api, &principal, task).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Lists what was said about a task, newest first.
#[utoipa::path(get, path = "/tasks/{id}/comments", tag = "tasks",
    params(("id" = String, Path), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<CommentView>)))]
async fn list_comments(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Task>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<CommentView>>, Problem> {
    principal.require(Permission::Read)?;
    visible(&api, &principal, id).await?;
    id_in_option::<kind::Comment>("cursor", query.cursor.as_ref())?;
    let arguments = (id, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("comment.list", arguments, |tx, (task, cursor, limit)| {
            Box::pin(comments::list(tx, *task, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, CommentView::from)))
}
