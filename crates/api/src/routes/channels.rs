//! Channels: made, listed, changed, tried out, removed. Their settings are for those who may change agents.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::channel::{Channel, Filter, State as ChannelState, Target};
use wakeful_domain::id::{ChannelId, CompanyId, kind};
use wakeful_domain::signature::secret_text;
use wakeful_domain::time::Timestamp;
use wakeful_engine::clock;
use wakeful_runner::delivery;
use wakeful_store::ops::{channels, request_keys};

use crate::access::{Permission, Principal};
use crate::body::{Body, parse};
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::named::check_own;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, check_text, id_in_option, limit};
use crate::wire::{ChannelPatch, ChannelView, DeliveryView, Empty, NewChannel, Page, SigningSecretView};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show, change, remove))
        .routes(routes!(test))
        .routes(routes!(signing_secret))
}

/// The channel, if the caller may change it.
async fn changeable(api: &Api, principal: &Principal, id: ChannelId) -> Result<Channel, Problem> {
    principal.require(Permission::Manage)?;
    let channel = api.engine.db().read("channel.get", id, |tx, id| Box::pin(channels::get(tx, *id))).await?;
    match principal.sees(channel.company) {
        true => Ok(channel),
        false => Err(Problem::not_found("channel", &id.to_string())),
    }
}

fn check(channel: &Channel) -> Result<(), Problem> {
    if let Some((field, message)) = channel.problem() {
        return Err(Problem::invalid(&field, message));
    }
    match delivery::problem(&channel.target) {
        Some((field, message)) => Err(Problem::invalid(field, message)),
        None => Ok(()),
    }
}

/// Refuses agents and schedules that are not the company's: nothing would ever go through.
async fn check_filter(api: &Api, company: CompanyId, filter: &Filter) -> Result<(), Problem> {
    let agents = filter.agents.iter().flatten().map(ToString::to_string);
    let schedules = filter.schedules.iter().flatten().map(ToString::to_string);
    let agents = agents.enumerate().map(|(place, id)| (format!("filter.agents[{place}]"), id));
    let schedules = schedules.enumerate().map(|(place, id)| (format!("filter.schedules[{place}]"), id));
    check_own(api, company, agents.chain(schedules).collect()).await
}

/// A channel as it is asked for; refuses what nothing could be sent through.
pub(crate) fn drafted(new: NewChannel, id: ChannelId, company: CompanyId, now: Timestamp) -> Result<Channel, Problem> {
    let channel = Channel {
        id,
        company,
        name: new.name,
        target: new.target,
        filter: new.filter,
        state: ChannelState::Enabled,
        state_reason: None,
        paced_until: now,
        created_at: now,
        updated_at: now,
    };
    check(&channel)?;
    Ok(channel)
}

/// Makes a channel. It gets what is told from now on.
#[utoipa::path(post, path = "/companies/{company}/channels", tag = "channels", params(("company" = String, Path, description = "id or slug")),
    request_body = NewChannel, responses((status = 201, body = ChannelView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewChannel>,
) -> Result<(StatusCode, Json<ChannelView>), Problem> {
    principal.require(Permission::Manage)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/channels", company.id), &body.bytes);
    let channel = drafted(body.value, api.engine.new_id(), company.id, clock::now())?;
    check_filter(&api, company.id, &channel.filter).await?;
    let made = api
        .engine
        .write("channel.create", (channel, key), |tx, (channel, key)| {
            Box::pin(async move {
                let (now, company) = (channel.created_at, Some(channel.company));
                match request_keys::made_before(tx, now, company, key.as_ref(), channel.id).await? {
                    Some(earlier) => channels::get(tx, earlier).await,
                    None => channels::insert(tx, channel).await,
                }
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    name: Option<String>,
}

/// Lists a company's channels.
#[utoipa::path(get, path = "/companies/{company}/channels", tag = "channels",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("name" = Option<String>, Query)),
    responses((status = 200, body = Page<ChannelView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<ChannelView>>, Problem> {
    principal.require(Permission::Manage)?;
    id_in_option::<kind::Channel>("cursor", query.cursor.as_ref())?;
    let arguments = (company.id, query.name, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("channel.list", arguments, |tx, (company, name, cursor, limit)| {
            Box::pin(channels::list(tx, *company, name.clone(), cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, ChannelView::from)))
}

/// Shows a channel.
#[utoipa::path(get, path = "/channels/{id}", tag = "channels", params(("id" = String, Path)),
    responses((status = 200, body = ChannelView), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Channel>,
) -> Result<Json<ChannelView>, Problem> {
    Ok(Json(changeable(&api, &principal, id).await?.into()))
}

#[derive(Debug, Deserialize)]
struct Targeted {
    target: Target,
}

/// A target with changes; one of another kind stands for itself. What is wrong is named by its field.
fn merged(target: &Target, patch: Value) -> Result<Target, Problem> {
    let kept = serde_json::to_value(target).unwrap_or_default();
    let kind = kept.as_object().and_then(|kinds| kinds.keys().next());
    let is_of_kind = kind.is_some_and(|kind| patch.get(kind).is_some());
    let mut whole = if is_of_kind { kept } else { Value::Null };
    merge(&mut whole, patch);
    let targeted: Targeted = parse(json!({ "target": whole }).to_string().as_bytes())?;
    Ok(targeted.target)
}

/// Lays a patch over a document: `null` takes away, objects are merged, anything else is replaced.
fn merge(into: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = Value::Object(serde_json::Map::new());
    }
    for (key, value) in patch {
        match into.as_object_mut() {
            Some(object) if value.is_null() => drop(object.remove(&key)),
            Some(object) => merge(object.entry(key).or_insert(Value::Null), value),
            None => {}
        }
    }
}

/// Changes a channel. What is absent stays, in its target, too. Disabling it cancels what waits for it.
#[utoipa::path(patch, path = "/channels/{id}", tag = "channels", params(("id" = String, Path)), request_body = ChannelPatch,
    responses((status = 200, body = ChannelView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Channel>,
    body: Body<ChannelPatch>,
) -> Result<Json<ChannelView>, Problem> {
    let mut changed = changeable(&api, &principal, id).await?;
    let patch = body.value;
    changed.name = patch.name.unwrap_or(changed.name);
    if let Some(patch) = patch.target {
        changed.target = merged(&changed.target, Value::Object(patch))?;
    }
    if let Some(filter) = patch.filter {
        changed.filter = filter.unwrap_or_default();
        check_filter(&api, changed.company, &changed.filter).await?;
    }
    changed.state = patch.state.unwrap_or(changed.state);
    if let Some(reason) = patch.state_reason {
        check_text("state_reason", reason.as_ref())?;
        changed.state_reason = reason;
    }
    if changed.state == ChannelState::Enabled {
        changed.state_reason = None;
    }
    check(&changed)?;
    let kept = api
        .engine
        .write("channel.change", (clock::now(), changed), |tx, (now, changed)| {
            Box::pin(channels::change(tx, *now, changed))
        })
        .await?;
    Ok(Json(kept.into()))
}

/// Removes a channel. What waits for it is cancelled; the record of what it delivered stays.
#[utoipa::path(delete, path = "/channels/{id}", tag = "channels", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument)))]
async fn remove(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Channel>,
) -> Result<StatusCode, Problem> {
    changeable(&api, &principal, id).await?;
    let arguments = (clock::now(), id);
    api.engine.write("channel.remove", arguments, |tx, (now, id)| Box::pin(channels::remove(tx, *now, *id))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test through a channel, once, whatever its filter says. `GET /deliveries/{id}` tells what came of it.
#[utoipa::path(post, path = "/channels/{id}/test", tag = "channels", params(("id" = String, Path)), request_body = Empty,
    responses((status = 202, body = DeliveryView), (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)))]
async fn test(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Channel>,
    _body: Body<Empty>,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    let channel = changeable(&api, &principal, id).await?;
    let delivery = api.engine.test_channel(&channel).await?;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}

/// Shows the key that requests through the channel are signed with.
#[utoipa::path(get, path = "/channels/{id}/signing-secret", tag = "channels", params(("id" = String, Path)),
    responses((status = 200, body = SigningSecretView), (status = 404, body = ProblemDocument)))]
async fn signing_secret(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Channel>,
) -> Result<Json<SigningSecretView>, Problem> {
    changeable(&api, &principal, id).await?;
    Ok(Json(SigningSecretView { signing_secret: secret_text(api.engine.signing_key(id).as_slice()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_of_a_target_stays() {
        let target = |value: Value| serde_json::from_value::<Target>(value).unwrap();
        let hook =
            json!({ "webhook": { "url": "https://a.example", "headers": { "x": "1", "y": { "secret": "key" } } } });
        let check = |patch: Value, expected: Value| {
            assert_eq!(merged(&target(hook.clone()), patch).unwrap(), target(expected));
        };
        check(json!({ "webhook": {} }), hook.clone());
        let elsewhere =
            json!({ "webhook": { "url": "https://b.example", "headers": { "x": "1", "y": { "secret": "key" } } } });
        check(json!({ "webhook": { "url": "https://b.example" } }), elsewhere);
        let headers = json!({ "webhook": { "url": "https://a.example", "headers": { "y": { "secret": "new" } } } });
        check(json!({ "webhook": { "headers": { "x": null, "y": { "secret": "new" } } } }), headers);
        check(json!({ "command": { "command": ["tell"] } }), json!({ "command": { "command": ["tell"] } }));
        let wrong = merged(&target(hook.clone()), json!({ "webhook": { "uri": "x" } })).unwrap_err();
        assert!(format!("{wrong:?}").contains("target.webhook.uri"), "{wrong:?}");
    }
}
