//! Webhooks: made, listed, changed, given new secrets, removed; what was told through them, and that once more.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::hex;
use wakeful_domain::id::{AgentId, CompanyId, ReceiptId, TaskId, WebhookId, kind};
use wakeful_domain::signature::secret_text;
use wakeful_domain::time::parse_duration;
use wakeful_domain::webhook::{Receipt, Scheme, Webhook};
use wakeful_engine::clock;
use wakeful_engine::secrets::VaultError;
use wakeful_store::ops::receipts::{self, Received, Told};
use wakeful_store::ops::secrets::Sealed;
use wakeful_store::ops::{request_keys, webhooks};

use super::hooks::{in_time, place_of};
use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::named::{agent_of, task_of};
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, id_in_option, limit};
use crate::wire::{Empty, NewWebhook, Page, ReceiptView, RotateRequest, WebhookPatch, WebhookTarget, WebhookView};
use crate::{Api, Problem};

/// How long an old secret works on, unless the caller says.
const OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// More than the other HMACs need.
const SECRET_BYTES: usize = 32;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, change, remove))
        .routes(routes!(rotate))
        .routes(routes!(told))
        .routes(routes!(show_receipt))
        .routes(routes!(replay))
}

/// The webhook, if the caller may change it.
async fn changeable(api: &Api, principal: &Principal, id: WebhookId) -> Result<Webhook, Problem> {
    principal.require(Permission::Manage)?;
    let webhook = api.engine.db().read("webhook.get", id, |tx, id| Box::pin(webhooks::get(tx, *id))).await?;
    match principal.sees(webhook.company) {
        true => Ok(webhook),
        false => Err(Problem::not_found("webhook", &id.to_string())),
    }
}

/// What was told, if the caller may change its webhook.
async fn receipt_of(api: &Api, principal: &Principal, id: ReceiptId) -> Result<Receipt, Problem> {
    principal.require(Permission::Manage)?;
    let receipt = api.engine.db().read("receipt.get", id, |tx, id| Box::pin(receipts::get(tx, *id))).await?;
    match principal.sees(receipt.company) {
        true => Ok(receipt),
        false => Err(Problem::not_found("receipt", &id.to_string())),
    }
}

/// A new secret, and the same sealed.
fn new_secret(api: &Api, id: WebhookId, scheme: Scheme) -> Result<(String, Sealed), Problem> {
    let unavailable = |told: String| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_secret", format!("no secret was made: {told}"))
    };
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| unavailable(error.to_string()))?;
    let secret = match scheme {
        Scheme::Standard => secret_text(&bytes),
        Scheme::Github | Scheme::Bearer => hex::of(&bytes),
    };
    let vault = &api.engine.config().vault;
    let sealed = vault.seal(&place_of(id), &secret).map_err(|error| unavailable(error.to_string()))?;
    Ok((secret, sealed))
}

async fn target_of(
    api: &Api,
    company: CompanyId,
    target: Option<WebhookTarget>,
) -> Result<(Option<AgentId>, Option<TaskId>), Problem> {
    let Some(WebhookTarget { agent, task }) = target else { return Ok((None, None)) };
    let agent = agent_of(api, company, "target.agent", agent).await?;
    let task = match task {
        Some(task) => Some(task_of(api, company, "target.task", task).await?),
        None => None,
    };
    Ok((Some(agent), task))
}

fn check(webhook: &Webhook) -> Result<(), Problem> {
    webhook.problem().map_or(Ok(()), |(field, message)| Err(Problem::invalid(&field, message)))
}

/// A webhook as it is shown to whoever has made it or given it a new secret: under the same idempotency key once more,
/// since the answer may have been lost.
fn with_secret(api: &Api, webhook: Webhook, secret: String, earlier: Option<&Sealed>) -> Result<WebhookView, Problem> {
    let secret = match earlier {
        None => secret,
        Some(sealed) => {
            let opened = api.engine.config().vault.open(&place_of(webhook.id), sealed);
            let failed = |error: VaultError| {
                let told = format!("the secret cannot be shown again: {error}; rotate it");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_secret", told)
            };
            opened.map_err(failed)?.to_string()
        }
    };
    Ok(WebhookView::new(webhook, Some(secret)))
}

/// Makes a webhook. Its secret is shown now and never again, but to the same request under the same idempotency key.
#[utoipa::path(post, path = "/companies/{company}/webhooks", tag = "webhooks", params(("company" = String, Path, description = "id or slug")),
    request_body = NewWebhook, responses((status = 201, body = WebhookView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewWebhook>,
) -> Result<(StatusCode, Json<WebhookView>), Problem> {
    principal.require(Permission::Manage)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/webhooks", company.id), &body.bytes);
    let (now, new) = (clock::now(), body.value);
    let (agent, task) = target_of(&api, company.id, new.target).await?;
    let webhook = Webhook {
        id: api.engine.new_id(),
        company: company.id,
        name: new.name,
        scheme: new.scheme.unwrap_or(Scheme::Standard),
        agent,
        task,
        received: 0,
        refused: 0,
        last_received_at: None,
        last_refused_at: None,
        old_until: None,
        created_at: now,
        updated_at: now,
    };
    check(&webhook)?;
    let (secret, sealed) = new_secret(&api, webhook.id, webhook.scheme)?;
    let (made, earlier) = api
        .engine
        .write("webhook.create", (webhook, sealed, key), |tx, (webhook, sealed, key)| {
            Box::pin(async move {
                let (now, company) = (webhook.created_at, Some(webhook.company));
                match request_keys::made_before(tx, now, company, key.as_ref(), webhook.id).await? {
                    Some(earlier) => {
                        webhooks::get_with_secret(tx, earlier).await.map(|(of, sealed)| (of, Some(sealed)))
                    }
                    None => webhooks::insert(tx, webhook, sealed).await.map(|made| (made, None)),
                }
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(with_secret(&api, made, secret, earlier.as_ref())?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    name: Option<String>,
}

/// Lists a company's webhooks.
#[utoipa::path(get, path = "/companies/{company}/webhooks", tag = "webhooks",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("name" = Option<String>, Query)),
    responses((status = 200, body = Page<WebhookView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<WebhookView>>, Problem> {
    principal.require(Permission::Manage)?;
    id_in_option::<kind::Webhook>("cursor", query.cursor.as_ref())?;
    let arguments = (company.id, query.name, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("webhook.list", arguments, |tx, (company, name, cursor, limit)| {
            Box::pin(webhooks::list(tx, *company, name.clone(), cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, |webhook| WebhookView::new(webhook, None))))
}

/// Shows a webhook.
#[utoipa::path(get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = WebhookView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Webhook>,
) -> Result<Json<WebhookView>, Problem> {
    Ok(Json(WebhookView::new(changeable(&api, &principal, id).await?, None)))
}

/// Changes a webhook's name, and whom it wakes.
#[utoipa::path(patch, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)), request_body = WebhookPatch,
    responses((status = 200, body = WebhookView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Webhook>,
    body: Body<WebhookPatch>,
) -> Result<Json<WebhookView>, Problem> {
    let mut changed = changeable(&api, &principal, id).await?;
    let patch = body.value;
    changed.name = patch.name.unwrap_or(changed.name);
    if let Some(target) = patch.target {
        (changed.agent, changed.task) = target_of(&api, changed.company, target).await?;
    }
    check(&changed)?;
    let kept = api
        .engine
        .write("webhook.change", (clock::now(), changed), |tx, (now, changed)| {
            Box::pin(webhooks::change(tx, *now, changed))
        })
        .await?;
    Ok(Json(WebhookView::new(kept, None)))
}

/// Removes a webhook, with what was told through it. Whoever waits for it is told.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument)))]
async fn remove(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Webhook>,
) -> Result<StatusCode, Problem> {
    changeable(&api, &principal, id).await?;
    let arguments = (clock::now(), id);
    api.engine.write("webhook.remove", arguments, |tx, (now, id)| Box::pin(webhooks::remove(tx, *now, *id))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a webhook a new secret, shown now and never again, but to the same request under the same idempotency key.
/// The old one works on for `overlap`.
#[utoipa::path(post, path = "/webhooks/{id}/rotate", tag = "webhooks", params(("id" = String, Path)), request_body = RotateRequest,
    responses((status = 200, body = WebhookView), (status = 422, body = ProblemDocument)))]
async fn rotate(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Webhook>,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<RotateRequest>,
) -> Result<Json<WebhookView>, Problem> {
    let webhook = changeable(&api, &principal, id).await?;
    let key = request_key(key, &principal, &format!("POST /webhooks/{id}/rotate"), &body.bytes);
    let overlap = match &body.value.overlap {
        Some(text) => parse_duration(text).map_err(|error| Problem::invalid("overlap", error.to_string()))?,
        None => OVERLAP_DEFAULT,
    };
    if overlap > OVERLAP_MAX {
        return Err(Problem::invalid("overlap", "is longer than 30d"));
    }
    let (secret, sealed) = new_secret(&api, id, webhook.scheme)?;
    let now = clock::now();
    let arguments = (now, webhook, now + overlap, sealed, key);
    let (rotated, earlier) = api
        .engine
        .write("webhook.rotate", arguments, |tx, (now, webhook, until, sealed, key)| {
            Box::pin(async move {
                match request_keys::made_before(tx, *now, Some(webhook.company), key.as_ref(), webhook.id).await? {
                    Some(earlier) => {
                        webhooks::get_with_secret(tx, earlier).await.map(|(of, sealed)| (of, Some(sealed)))
                    }
                    None => webhooks::rotate(tx, *now, webhook.id, *until, sealed).await.map(|rotated| (rotated, None)),
                }
            })
        })
        .await?;
    Ok(Json(with_secret(&api, rotated, secret, earlier.as_ref())?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToldQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Lists what was told through a webhook: the newest 5,000.
#[utoipa::path(get, path = "/webhooks/{id}/receipts", tag = "webhooks",
    params(("id" = String, Path), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<ReceiptView>)))]
async fn told(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Webhook>,
    Parameters(query): Parameters<ToldQuery>,
) -> Result<Json<Page<ReceiptView>>, Problem> {
    changeable(&api, &principal, id).await?;
    id_in_option::<kind::Receipt>("cursor", query.cursor.as_ref())?;
    let arguments = (id, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("receipt.list", arguments, |tx, (id, cursor, limit)| {
            Box::pin(receipts::list(tx, *id, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, ReceiptView::from)))
}

/// Shows something that was told, with what was in it as long as that is kept.
#[utoipa::path(get, path = "/receipts/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = ReceiptView), (status = 404, body = ProblemDocument)))]
async fn show_receipt(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Receipt>,
) -> Result<Json<ReceiptView>, Problem> {
    let receipt = receipt_of(&api, &principal, id).await?;
    let mut view = ReceiptView::from(receipt.clone());
    if receipt.has_data {
        let data = api.engine.db().read("receipt.contents", id, |tx, id| Box::pin(receipts::contents(tx, *id))).await?;
        view.data = Some(data.into());
    }
    Ok(Json(view))
}

/// Lets something that was told count once more, as a new one.
#[utoipa::path(post, path = "/receipts/{id}/replay", tag = "webhooks", params(("id" = String, Path)), request_body = Empty,
    responses((status = 202, body = ReceiptView), (status = 409, body = ProblemDocument), (status = 429, body = ProblemDocument)))]
async fn replay(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Receipt>,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<Empty>,
) -> Result<(StatusCode, Json<ReceiptView>), Problem> {
    let earlier = receipt_of(&api, &principal, id).await?;
    let key = request_key(key, &principal, &format!("POST /receipts/{id}/replay"), &body.bytes);
    let data = api.engine.db().read("receipt.contents", id, |tx, id| Box::pin(receipts::contents(tx, *id))).await?;
    let told = Told {
        now: clock::now(),
        id: api.engine.new_id(),
        id_seed: clock::seed(),
        webhook: earlier.webhook,
        delivery_key: None,
        event: earlier.event,
        data,
        bytes: earlier.bytes,
        replay_of: Some(id),
    };
    let received = api
        .engine
        .write("webhook.replay", (told, earlier.company, key), |tx, (told, company, key)| {
            Box::pin(async move {
                if let Some(key) = key
                    && let Some(made) = request_keys::find(tx, Some(*company), key).await?
                {
                    return receipts::get(tx, made.parse().unwrap_or(told.id)).await.map(Received::Kept);
                }
                let received = receipts::receive(tx, told).await?;
                if let (Some(key), Received::Kept(receipt)) = (key, &received) {
                    request_keys::keep(tx, told.now, Some(*company), key, &receipt.id.to_string()).await?;
                }
                Ok(received)
            })
        })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(in_time(received)?.into())))
}
