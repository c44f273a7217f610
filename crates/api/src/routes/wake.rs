//! Waking agents: one at a time, or up to 1,000 in one transaction. The answer comes once it is durable.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{AgentId, CompanyId, kind};
use wakeful_domain::waiting::Waiting;
use wakeful_domain::wakeup::{PRIORITY_MAX, Source};
use wakeful_engine::clock;
use wakeful_store::ops::agents;
use wakeful_store::ops::wake::{Accepted, Maker, Wake};

use crate::access::{Permission, Principal};
use crate::body::{self, Body};
use crate::errors::ProblemDocument;
use crate::idempotency::fingerprint;
use crate::named::task_of;
use crate::parameters::{IdempotencyKey, PathCompany, PathId, check_key, check_text, id_in_option, within};
use crate::wire::{BulkWakes, WakeRequest, WakeupView, Whole};
use crate::{Api, Problem};

/// Wakes in one request.
const BULK_MAX: usize = 1_000;
/// A wake may lie at most this far ahead: a year.
const DELAY_MS_MAX: i64 = 366 * 86_400_000;
const ATTEMPTS_MAX: i64 = 100;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(wake)).routes(routes!(wake_many))
}

/// Wakes an agent.
#[utoipa::path(post, path = "/agents/{id}/wake", tag = "wakes", params(("id" = String, Path)), request_body = WakeRequest,
    responses((status = 202, body = WakeupView, description = "accepted and durable, or skipped with a reason"),
        (status = 200, body = WakeupView, description = "the wakeup that an earlier request under the key made"),
        (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn wake(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Agent>,
    IdempotencyKey(header): IdempotencyKey,
    body: Body<WakeRequest>,
) -> Result<(StatusCode, Json<WakeupView>), Problem> {
    principal.require(Permission::Work)?;
    let key = one_key(header, body.value.idempotency_key.clone())?;
    let is_keyed = key.is_some();
    let mut wake = body.value;
    if let Some(called) = wake.task.take_if(|task| !task.starts_with("tsk_")) {
        let agent = super::agents::visible(&api, &principal, id).await?;
        wake.task = Some(task_of(&api, agent.company, "task", called).await?.to_string());
    }
    let request = request(&api, &principal, id, wake, key, &body.bytes)?;
    let (accepted, waiting) = api.engine.accept(request).await?;
    // Without a key an earlier wakeup is one on which this timer was counted.
    let status = if accepted.is_new || !is_keyed { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(show(accepted, waiting))))
}

fn show(accepted: Accepted, waiting: Option<Waiting>) -> WakeupView {
    WakeupView::new(accepted.wakeup, waiting)
}

/// The header and the field mean the same; both and different is a mistake.
fn one_key(header: Option<String>, field: Option<String>) -> Result<Option<String>, Problem> {
    if let Some(key) = &field {
        check_key("idempotency_key", key)?;
    }
    match (header, field) {
        (Some(header), Some(field)) if header != field => Err(Problem::invalid(
            "idempotency_key",
            format!("is `{field}`, but the Idempotency-Key header is `{header}`: send one of them"),
        )),
        (header, field) => Ok(header.or(field)),
    }
}

fn request(
    api: &Api,
    principal: &Principal,
    agent: AgentId,
    wake: WakeRequest,
    key: Option<String>,
    bytes: &[u8],
) -> Result<Wake, Problem> {
    let now = clock::now();
    let source = match &wake.source {
        Some(name) => name.parse().map_err(|message: String| Problem::invalid("source", message))?,
        None => Source::Manual,
    };
    check_numbers(&wake)?;
    check_text("reason", wake.reason.as_ref())?;
    check_text("trigger_detail", wake.trigger_detail.as_ref())?;
    let due_at = match (wake.due_at, wake.delay_ms) {
        (Some(_), Some(_)) => return Err(Problem::invalid("delay_ms", "cannot stand beside due_at: send one of them")),
        (Some(at), None) => Some(at),
        (None, Some(ms)) => Some(now + Duration::from_millis(ms.unsigned_abs())),
        (None, None) => None,
    };
    if let Some(at) = due_at.filter(|at| at.as_millis() > now.as_millis() + DELAY_MS_MAX) {
        return Err(Problem::invalid("due_at", format!("{at} is more than a year ahead; use a schedule")));
    }
    if let Some(at) = wake.expires_at.filter(|at| *at <= due_at.unwrap_or(now)) {
        return Err(Problem::invalid("expires_at", format!("{at} is not after the wake is due")));
    }
    let request_hash = key.as_ref().map(|_| fingerprint(&[agent.to_string().as_bytes(), &essence(bytes)]));
    Ok(Wake {
        id: api.engine.new_id(),
        company: principal.company(),
        agent,
        task: id_in_option("task", wake.task.as_ref())?,
        source,
        trigger_detail: wake.trigger_detail,
        reason: wake.reason,
        priority: wake.priority,
        payload: wake.payload.unwrap_or_default(),
        context: wake.context.unwrap_or_default(),
        actor: principal.actor(),
        idempotency_key: key,
        request_hash,
        now,
        due_at,
        expires_at: wake.expires_at,
        max_attempts: wake.max_attempts,
        by_run: principal.own_run(),
        maker: Maker::Request,
    })
}

fn check_numbers(wake: &WakeRequest) -> Result<(), Problem> {
    within("priority", wake.priority, 0, PRIORITY_MAX)?;
    within("delay_ms", wake.delay_ms, 0, DELAY_MS_MAX)?;
    within("max_attempts", wake.max_attempts, 1, ATTEMPTS_MAX)
}

/// The body in one form, without the key and the agent: the same request whether the key came in the header or in
/// the body, the agent in the path, by id or by name, and whatever the order of its fields.
fn essence(bytes: &[u8]) -> Vec<u8> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(mut fields)) => {
            fields.remove("idempotency_key");
            fields.remove("agent");
            Value::Object(fields).to_string().into_bytes()
        }
        Ok(_) | Err(_) => bytes.to_vec(),
    }
}

/// Wakes many agents in one transaction; each wake has its own answer, in the order of the request.
#[utoipa::path(post, path = "/companies/{company}/wakes", tag = "wakes", params(("company" = String, Path, description = "id or slug")),
    request_body = BulkWakes, responses((status = 202, body = Whole<Object>, description = "wakeups, or `{error: problem}` in their place")))]
async fn wake_many(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(header): IdempotencyKey,
    body: Body<BulkWakes>,
) -> Result<(StatusCode, Json<Whole<Value>>), Problem> {
    principal.require(Permission::Work)?;
    let wakes = body.value.wakes;
    if wakes.is_empty() || wakes.len() > BULK_MAX {
        return Err(Problem::invalid("wakes", format!("holds {} entries; 1 to {BULK_MAX} are allowed", wakes.len())));
    }
    let names = agents_by_name(&api, company.id, &wakes).await?;
    let read: Vec<Result<Wake, Problem>> = wakes
        .iter()
        .enumerate()
        .map(|(place, wake)| {
            // A request that is sent again wakes nobody twice: each wake without a key has one by its place.
            let key = header.as_ref().map(|key| format!("{key}#{place}"));
            read_one(&api, &principal, company.id, wake, &names, key)
        })
        .collect();
    let requests: Vec<Wake> = read.iter().filter_map(|wake| wake.as_ref().ok().cloned()).collect();
    let mut answers = match requests.is_empty() {
        true => Vec::new(),
        false => api.engine.accept_all(requests).await?,
    }
    .into_iter();
    let refused = |problem: Problem| json!({ "error": problem.to_json() });
    let items = read
        .into_iter()
        .map(|wake| match wake {
            Err(problem) => refused(problem),
            Ok(_) => match answers.next() {
                Some(Ok(accepted)) => serde_json::to_value(show(accepted, None)).unwrap_or(Value::Null),
                Some(Err(refusal)) => refused(refusal.into()),
                None => Value::Null,
            },
        })
        .collect();
    Ok((StatusCode::ACCEPTED, Json(Whole { items })))
}

/// The ids of the agents that are called by name.
async fn agents_by_name(api: &Api, company: CompanyId, wakes: &[Value]) -> Result<HashMap<String, AgentId>, Problem> {
    let called = wakes.iter().filter_map(|wake| wake.get("agent")?.as_str());
    let mut names: Vec<String> = called.filter(|name| !name.starts_with("agt_")).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let found = api
        .engine
        .db()
        .read("agent.by_names", (company, names), |tx, (company, names)| {
            Box::pin(async move {
                let mut found = HashMap::new();
                for name in names {
                    if let Some(agent) = agents::by_name(tx, *company, name).await? {
                        found.insert(name.clone(), agent.id);
                    }
                }
                Ok(found)
            })
        })
        .await?;
    Ok(found)
}

fn read_one(
    api: &Api,
    principal: &Principal,
    company: CompanyId,
    wake: &Value,
    names: &HashMap<String, AgentId>,
    key_by_place: Option<String>,
) -> Result<Wake, Problem> {
    let Value::Object(mut fields) = wake.clone() else {
        return Err(Problem::invalid("body", "each wake must be an object"));
    };
    let agent = match fields.remove("agent") {
        Some(Value::String(agent)) => agent,
        Some(_) | None => {
            return Err(Problem::invalid("agent", "is required: the id or name of the agent to be woken"));
        }
    };
    let text = Value::Object(fields).to_string();
    let wake: WakeRequest = body::parse(text.as_bytes())?;
    let id = match names.get(&agent) {
        Some(id) => *id,
        None => agent.parse().map_err(|_| Problem::not_found("agent", &agent))?,
    };
    let key = wake.idempotency_key.clone().or(key_by_place);
    if let Some(key) = &key {
        check_key("idempotency_key", key)?;
    }
    let request = request(api, principal, id, wake, key, text.as_bytes())?;
    Ok(Wake { company: Some(company), ..request })
}
