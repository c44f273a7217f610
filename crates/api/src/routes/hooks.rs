//! `POST /hooks/{id}`: what others tell Wakeful. Callers prove that they know the webhook's secret; whoever does not,
//! and whoever names a webhook that is not there, gets the same answer.

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use wakeful_domain::id::WebhookId;
use wakeful_domain::signature::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use wakeful_domain::webhook::{BODY_BYTES_MAX, Proof, Receipt, Scheme, Webhook, is_genuine};
use wakeful_engine::clock;
use wakeful_store::ops::receipts::{Received, Told, receive};
use wakeful_store::ops::webhooks;

use crate::wire::ReceiptView;
use crate::{Api, Problem};

/// Longer names of deliveries and events are cut.
const NAME_CHARS_MAX: usize = 255;

/// Routes outside of the API, with an authentication of their own.
pub fn routes() -> Router<Api> {
    Router::new().route("/hooks/{id}", post(tell))
}

/// What a webhook's secret is bound to where it is kept.
pub(super) fn place_of(id: WebhookId) -> String {
    format!("webhook {id}")
}

fn unauthorized() -> Problem {
    let detail = "there is no such webhook, or the request is not signed as it asks for: look at its secret, its \
                  scheme and the clock of the sender";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn tell(State(api): State<Api>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read(body).await?;
    let webhook = proved(&api, &id, &parts.headers, &bytes).await?;
    let (delivery_key, event) = names_of(webhook.scheme, &parts.headers);
    let body: Value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).replace('\0', "")));
    let data = Map::from_iter([
        ("event".to_owned(), json!(event)),
        ("delivery".to_owned(), json!(delivery_key)),
        ("body".to_owned(), body),
    ]);
    let told = Told {
        now: clock::now(),
        id: api.engine.new_id(),
        id_seed: clock::seed(),
        webhook: webhook.id,
        delivery_key,
        event,
        data,
        bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        replay_of: None,
    };
    let received = api.engine.write("webhook.receive", told, |tx, told| Box::pin(receive(tx, told))).await?;
    Ok((StatusCode::ACCEPTED, Json(ReceiptView::from(in_time(received)?))).into_response())
}

async fn read(body: Body) -> Result<axum::body::Bytes, Problem> {
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes (256 KiB)");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    })
}

/// The webhook, if the caller knows its secret, or the one before while that works.
async fn proved(api: &Api, id: &str, headers: &HeaderMap, body: &[u8]) -> Result<Webhook, Problem> {
    let id: WebhookId = id.parse().map_err(|_| unauthorized())?;
    let now = clock::now();
    let found = api
        .engine
        .db()
        .read("webhook.secrets", (now, id), |tx, (now, id)| Box::pin(webhooks::secrets(tx, *now, *id)))
        .await?
        .ok_or_else(unauthorized)?;
    let authorization = header_of(headers, header::AUTHORIZATION.as_str());
    let bearer = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let proof = Proof {
        id: header_of(headers, ID_HEADER),
        timestamp: header_of(headers, TIMESTAMP_HEADER),
        signature: header_of(headers, SIGNATURE_HEADER),
        hub_signature: header_of(headers, "x-hub-signature-256"),
        bearer: bearer.map_or("", |(_, token)| token.trim()),
    };
    let mut is_proved = false;
    for sealed in &found.sealed {
        match api.engine.config().vault.open(&place_of(id), sealed) {
            Ok(secret) => is_proved |= is_genuine(found.webhook.scheme, &secret, &proof, body, now),
            Err(error) => tracing::error!(webhook.id = %id, "the secret of webhook {id} cannot be opened: {error}"),
        }
    }
    if is_proved {
        return Ok(found.webhook);
    }
    let arguments = (now, id);
    let noted = api
        .engine
        .db()
        .write("webhook.refused", arguments, |tx, (now, id)| Box::pin(webhooks::note_refused(tx, *now, *id)));
    noted.await?;
    Err(unauthorized())
}

/// What the caller calls this delivery, and what it says has happened.
fn names_of(scheme: Scheme, headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let named = |name: &str| {
        let text: String = header_of(headers, name).chars().take(NAME_CHARS_MAX).collect();
        (!text.is_empty()).then_some(text)
    };
    match scheme {
        Scheme::Github => (named("x-github-delivery"), named("x-github-event")),
        Scheme::Standard => (named(ID_HEADER), None),
        Scheme::Bearer => (named("idempotency-key").or_else(|| named(ID_HEADER)), named("x-event")),
    }
}

/// What was kept; whoever tells too much is asked to come again.
pub(super) fn in_time(received: Received) -> Result<Receipt, Problem> {
    match received {
        Received::Kept(receipt) => Ok(receipt),
        Received::TooMany(wait) => {
            let detail = format!("too many come through this webhook: try again in {} ms", wait.as_millis() + 1);
            Err(Problem::too_many(detail, wait))
        }
    }
}
