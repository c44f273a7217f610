//! Mail: sent, listed, shown, acknowledged. Agents send as themselves and see what they have sent or were sent.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{AgentId, CompanyId, MessageId, kind};
use wakeful_domain::mail::{Message, PEOPLE, body_problem, subject_problem};
use wakeful_engine::clock;
use wakeful_store::ops::inbox::AcknowledgeRequest;
use wakeful_store::ops::mail::{self, MailFilter, NewMessage};
use wakeful_store::ops::{agents, request_keys};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::named::task_of_option;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, id_in, id_in_option, limit};
use crate::wire::{Empty, MailView, NewMessage as NewMessageBody, Page};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(send, list)).routes(routes!(show)).routes(routes!(acknowledge))
}

/// The message, if the caller may see it.
async fn visible(api: &Api, principal: &Principal, id: MessageId) -> Result<Message, Problem> {
    let message = api.engine.db().read("message.get", id, |tx, id| Box::pin(mail::get(tx, *id))).await?;
    let is_party = principal.agent().is_none_or(|agent| mail::is_party(&message, &agent.to_string()));
    match principal.sees(message.company) && is_party {
        true => Ok(message),
        false => Err(Problem::not_found("message", &id.to_string())),
    }
}

/// Whom a message is for, by id or by name; `None` is for people.
async fn reader_in(api: &Api, company: CompanyId, field: &str, to: &str) -> Result<Option<AgentId>, Problem> {
    if to == PEOPLE {
        return Ok(None);
    }
    if to.starts_with("agt_") {
        return id_in(field, to).map(Some);
    }
    let found = api
        .engine
        .db()
        .read("agent.by_name", (company, to.to_owned()), |tx, (company, name)| {
            Box::pin(async move { Ok(agents::by_name(tx, *company, name).await?) })
        })
        .await?;
    let unknown =
        || Problem::invalid(field, format!("there is no agent `{to}` in this company; `{PEOPLE}` is for people"));
    found.map(|agent| Some(agent.id)).ok_or_else(unknown)
}

/// Sends a message. An agent is woken by it; people find it among their notifications.
#[utoipa::path(post, path = "/companies/{company}/messages", tag = "mail", params(("company" = String, Path, description = "id or slug")),
    request_body = NewMessageBody, responses((status = 201, body = MailView), (status = 409, body = ProblemDocument),
        (status = 422, body = ProblemDocument), (status = 429, body = ProblemDocument, description = "its reader has too much to read")))]
async fn send(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewMessageBody>,
) -> Result<(StatusCode, Json<MailView>), Problem> {
    principal.require(Permission::Work)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/messages", company.id), &body.bytes);
    let new = body.value;
    let subject = new.subject.unwrap_or_default();
    subject_problem(&subject).map_or(Ok(()), |problem| Err(Problem::invalid("subject", problem)))?;
    body_problem(&new.body).map_or(Ok(()), |problem| Err(Problem::invalid("body", problem)))?;
    let new = NewMessage {
        id: api.engine.new_id(),
        company: company.id,
        to: reader_in(&api, company.id, "to", &new.to).await?,
        subject,
        body: new.body,
        thread: id_in_option("thread", new.thread.as_ref())?,
        kind: new.kind.unwrap_or_default(),
        task: task_of_option(&api, company.id, "task", new.task).await?,
    };
    let sent = api
        .engine
        .write("message.send", (principal.origin(&api), new, key), |tx, (origin, new, key)| {
            Box::pin(async move {
                let made = request_keys::made_before(tx, origin.now, Some(new.company), key.as_ref(), new.id).await?;
                match made {
                    Some(earlier) => mail::get(tx, earlier).await,
                    None => mail::send(tx, origin, new).await,
                }
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(sent.into())))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    to: Option<String>,
    from: Option<String>,
    thread: Option<String>,
    task: Option<String>,
    unread: Option<bool>,
}

/// Lists mail, newest first: all of the company's, or an agent's own.
#[utoipa::path(get, path = "/companies/{company}/messages", tag = "mail",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("to" = Option<String>, Query, description = "agent by id or name, or `user`"), ("from" = Option<String>, Query),
        ("thread" = Option<String>, Query), ("task" = Option<String>, Query), ("unread" = Option<bool>, Query)),
    responses((status = 200, body = Page<MailView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<MailView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Message>("cursor", query.cursor.as_ref())?;
    let to = match &query.to {
        Some(to) => Some(reader_in(&api, company.id, "to", to).await?),
        None => None,
    };
    let from = match &query.from {
        Some(from) if from != PEOPLE && !from.starts_with("agt_") => {
            // The name of an agent, or else that of a person's token.
            let named = reader_in(&api, company.id, "from", from).await.ok().flatten();
            Some(named.map_or_else(|| from.clone(), |agent| agent.to_string()))
        }
        from => from.clone(),
    };
    let filter = MailFilter {
        company: company.id,
        party: principal.agent(),
        to,
        from,
        thread: id_in_option("thread", query.thread.as_ref())?,
        task: id_in_option("task", query.task.as_ref())?,
        only_unread: query.unread.unwrap_or(false),
    };
    let page = api
        .engine
        .db()
        .read("message.list", (filter, query.cursor, limit(query.limit)?), |tx, (filter, cursor, limit)| {
            Box::pin(mail::list(tx, filter, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, MailView::from)))
}

/// Shows a message. That does not make it read.
#[utoipa::path(get, path = "/messages/{id}", tag = "mail", params(("id" = String, Path)),
    responses((status = 200, body = MailView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Message>,
) -> Result<Json<MailView>, Problem> {
    principal.require(Permission::Read)?;
    Ok(Json(visible(&api, &principal, id).await?.into()))
}

/// Acknowledges a message and, with it, its wakeup. Within a run of its reader it shares the run's end.
#[utoipa::path(post, path = "/messages/{id}/ack", tag = "mail", params(("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = MailView), (status = 403, body = ProblemDocument), (status = 409, body = ProblemDocument)))]
async fn acknowledge(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Message>,
    _body: Body<Empty>,
) -> Result<Json<MailView>, Problem> {
    principal.require(Permission::Work)?;
    let message = visible(&api, &principal, id).await?;
    if principal.agent().is_some_and(|agent| message.to != Some(agent)) {
        return Err(Problem::forbidden("only the reader of a message can acknowledge it"));
    }
    match principal.live_run() {
        Some(run) => {
            let (now, messages) = (clock::now(), vec![id]);
            let request = AcknowledgeRequest { now, run: run.id, fence: run.fence, wakeups: Vec::new(), messages };
            let answer = api.engine.acknowledge(request).await?;
            if let Some((_, reason)) = answer.unread.first() {
                let detail = format!("the message cannot be acknowledged by this run: {}", reason.replace('_', " "));
                return Err(Problem::new(StatusCode::CONFLICT, reason, detail));
            }
        }
        None => {
            api.engine
                .write("message.acknowledge", (clock::now(), id), |tx, (now, id)| {
                    Box::pin(mail::acknowledge_outside(tx, *now, *id))
                })
                .await?;
        }
    }
    Ok(Json(visible(&api, &principal, id).await?.into()))
}
