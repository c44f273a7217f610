//! Subscriptions: made, listed, shown, removed. An agent subscribes itself only.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{AgentId, CompanyId, SubscriptionId, WebhookId, kind};
use wakeful_domain::subscription::{EventName, Source, Subscription};
use wakeful_domain::time::parse_duration;
use wakeful_engine::clock;
use wakeful_store::ops::subscriptions::declare::{Declaration, declare};
use wakeful_store::ops::subscriptions::{self, SubscriptionFilter};
use wakeful_store::ops::webhooks;

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::named::{agent_of, task_of};
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, check_key, id_in, id_in_option, limit};
use crate::wire::{NewSubscription, Page, SourceText, SubscriptionView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, remove))
}

/// The subscription, if the caller may see it.
async fn visible(api: &Api, principal: &Principal, id: SubscriptionId) -> Result<Subscription, Problem> {
    let found = api.engine.db().read("subscription.get", id, |tx, id| Box::pin(subscriptions::get(tx, *id))).await?;
    match principal.sees(found.company) {
        true => Ok(found),
        false => Err(Problem::not_found("subscription", &id.to_string())),
    }
}

/// Refuses an agent that acts for another.
fn check_own(principal: &Principal, agent: AgentId) -> Result<(), Problem> {
    match principal.agent() {
        Some(own) if own != agent => {
            Err(Problem::forbidden("an agent subscribes itself only: ask the other one, or a person, to subscribe"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The webhook with this id or name.
async fn webhook_of(api: &Api, company: CompanyId, field: &str, text: String) -> Result<WebhookId, Problem> {
    if text.starts_with("hok_") {
        return id_in(field, &text);
    }
    let page = api
        .engine
        .db()
        .read("webhook.by_name", (company, text.clone()), |tx, (company, name)| {
            Box::pin(webhooks::list(tx, *company, Some(name.clone()), None, 1))
        })
        .await?;
    let found = page.items.first().map(|webhook| webhook.id);
    found.ok_or_else(|| Problem::invalid(field, format!("there is no webhook `{text}` in this company")))
}

const ONE_SOURCE: &str = "must name exactly one of run, task, children, agent, topic or webhook";

async fn source_of(api: &Api, company: CompanyId, text: SourceText) -> Result<Source, Problem> {
    let SourceText { run, task, children, agent, topic, webhook } = text;
    let named = [&run, &task, &children, &agent, &topic, &webhook].iter().filter(|name| name.is_some()).count();
    if named > 1 {
        return Err(Problem::invalid("source", ONE_SOURCE));
    }
    if let Some(run) = run {
        return Ok(Source::Run(id_in("source.run", &run)?));
    }
    if let Some(task) = task {
        return Ok(Source::Task(task_of(api, company, "source.task", task).await?));
    }
    if let Some(task) = children {
        return Ok(Source::Children(task_of(api, company, "source.children", task).await?));
    }
    if let Some(agent) = agent {
        return Ok(Source::Agent(agent_of(api, company, "source.agent", agent).await?));
    }
    if let Some(webhook) = webhook {
        return Ok(Source::Webhook(webhook_of(api, company, "source.webhook", webhook).await?));
    }
    topic.map(Source::Topic).ok_or_else(|| Problem::invalid("source", ONE_SOURCE))
}

/// A subscription as it is asked for; refuses what makes no sense.
async fn drafted(
    api: &Api,
    principal: &Principal,
    company: CompanyId,
    new: NewSubscription,
) -> Result<Subscription, Problem> {
    let now = clock::now();
    let agent = match (new.agent, principal.agent()) {
        (Some(agent), _) => agent_of(api, company, "agent", agent).await?,
        (None, Some(own)) => own,
        (None, None) => return Err(Problem::invalid("agent", "must be given: who is to be woken")),
    };
    check_own(principal, agent)?;
    let source = source_of(api, company, new.source).await?;
    let duration = |field: &str, text: Option<String>| {
        text.map(|text| parse_duration(&text).map_err(|error| Problem::invalid(field, error.to_string()))).transpose()
    };
    let on = match new.on {
        None => vec![source.default_event()],
        Some(names) => {
            let mut on: Vec<EventName> = Vec::with_capacity(names.len());
            for (place, name) in names.iter().enumerate() {
                let event = name.parse().map_err(|told: String| Problem::invalid(&format!("on[{place}]"), told))?;
                if !on.contains(&event) {
                    on.push(event);
                }
            }
            on
        }
    };
    if let Some(key) = &new.key {
        check_key("key", key)?;
    }
    let subscription = Subscription {
        id: api.engine.new_id(),
        company,
        agent,
        task: match new.task {
            Some(task) => Some(task_of(api, company, "task", task).await?),
            None => None,
        },
        source,
        on,
        filter: new.filter.unwrap_or_default(),
        once: new.once,
        debounce: duration("debounce", new.debounce)?,
        timeout: duration("timeout", new.timeout)?,
        include_result: new.include_result.unwrap_or(true),
        payload: new.payload.unwrap_or_default(),
        key: new.key,
        created_by: principal.actor(),
        by_run: principal.own_run().map(|own| own.run),
        matches: 0,
        wakeups: 0,
        last_match_at: None,
        window: None,
        timeout_at: None,
        created_at: now,
        updated_at: now,
        ended_at: None,
        end_reason: None,
    };
    match subscription.problem() {
        Some((field, message)) => Err(Problem::invalid(&field, message)),
        None => Ok(subscription),
    }
}

/// Subscribes an agent to what happens. What has happened already and will not happen again is told at once. Under a
/// `key` that an open one of the agent has, it takes its place (200).
#[utoipa::path(post, path = "/companies/{company}/subscriptions", tag = "subscriptions", params(("company" = String, Path, description = "id or slug")),
    request_body = NewSubscription, responses((status = 201, body = SubscriptionView), (status = 200, body = SubscriptionView),
        (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewSubscription>,
) -> Result<(StatusCode, Json<SubscriptionView>), Problem> {
    principal.require(Permission::Work)?;
    let request_key =
        request_key(key, &principal, &format!("POST /companies/{}/subscriptions", company.id), &body.bytes);
    let subscription = drafted(&api, &principal, company.id, body.value).await?;
    let declaration = Declaration { subscription, by_run: principal.own_run(), request_key };
    let declared = api
        .engine
        .write("subscription.declare", declaration, |tx, declaration| Box::pin(declare(tx, declaration)))
        .await?;
    let status = if declared.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(declared.subscription.into())))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    agent: Option<String>,
    task: Option<String>,
    topic: Option<String>,
    key: Option<String>,
    state: Option<String>,
}

/// Lists a company's subscriptions; `state` is `open` or `ended`.
#[utoipa::path(get, path = "/companies/{company}/subscriptions", tag = "subscriptions",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("agent" = Option<String>, Query), ("task" = Option<String>, Query), ("topic" = Option<String>, Query),
        ("key" = Option<String>, Query), ("state" = Option<String>, Query)),
    responses((status = 200, body = Page<SubscriptionView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<SubscriptionView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Subscription>("cursor", query.cursor.as_ref())?;
    let is_open = match query.state.as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("ended") => Some(false),
        Some(_) => return Err(Problem::invalid("state", "must be open or ended")),
    };
    let filter = SubscriptionFilter {
        company: Some(company.id),
        agent: id_in_option("agent", query.agent.as_ref())?,
        task: id_in_option("task", query.task.as_ref())?,
        source: query.topic.map(Source::Topic),
        key: query.key,
        is_open,
    };
    let arguments = (filter, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("subscription.list", arguments, |tx, (filter, cursor, limit)| {
            Box::pin(subscriptions::list(tx, filter, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, SubscriptionView::from)))
}

/// Shows a subscription, also one that has ended.
#[utoipa::path(get, path = "/subscriptions/{id}", tag = "subscriptions", params(("id" = String, Path)),
    responses((status = 200, body = SubscriptionView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Subscription>,
) -> Result<Json<SubscriptionView>, Problem> {
    principal.require(Permission::Read)?;
    Ok(Json(visible(&api, &principal, id).await?.into()))
}

/// Removes a subscription, with what its window holds. What it has woken goes on.
#[utoipa::path(delete, path = "/subscriptions/{id}", tag = "subscriptions", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument)))]
async fn remove(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Subscription>,
) -> Result<StatusCode, Problem> {
    principal.require(Permission::Work)?;
    check_own(&principal, visible(&api, &principal, id).await?.agent)?;
    api.engine.write("subscription.remove", id, |tx, id| Box::pin(subscriptions::remove(tx, *id))).await?;
    Ok(StatusCode::NO_CONTENT)
}
