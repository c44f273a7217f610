//! What people are told: a company's inbox, and what became of it in each channel.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::delivery::{Delivery, DeliveryStatus};
use wakeful_domain::id::{DeliveryId, NotificationId, kind};
use wakeful_domain::notification::Notification;
use wakeful_engine::clock;
use wakeful_store::ops::{deliveries, notifications};

use crate::access::{Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathCompany, PathId, id_in_option, limit};
use crate::wire::{DeliveryView, Empty, NotificationDetail, NotificationView, Page};
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(read))
        .routes(routes!(list_deliveries))
        .routes(routes!(show_delivery))
        .routes(routes!(retry_delivery))
        .routes(routes!(acknowledge_delivery))
}

/// The notification with its deliveries, if the caller may see it.
async fn visible(
    api: &Api,
    principal: &Principal,
    id: NotificationId,
) -> Result<(Notification, Vec<Delivery>), Problem> {
    let found = api
        .engine
        .db()
        .read("notification.get", id, |tx, id| {
            Box::pin(async move {
                let notification = notifications::get(tx, *id).await?;
                Ok((notification, deliveries::of_notification(tx, *id).await?))
            })
        })
        .await?;
    match principal.sees(found.0.notice.company) {
        true => Ok(found),
        false => Err(Problem::not_found("notification", &id.to_string())),
    }
}

/// The delivery, if the caller may see it.
async fn visible_delivery(api: &Api, principal: &Principal, id: DeliveryId) -> Result<Delivery, Problem> {
    let delivery = api.engine.db().read("delivery.get", id, |tx, id| Box::pin(deliveries::get(tx, *id))).await?;
    match principal.sees(delivery.company) {
        true => Ok(delivery),
        false => Err(Problem::not_found("delivery", &id.to_string())),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    #[serde(default)]
    unread: bool,
}

/// Lists what a company was told: its inbox. `?unread=true` leaves out what somebody has seen.
#[utoipa::path(get, path = "/companies/{company}/notifications", tag = "notifications",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("unread" = Option<bool>, Query)),
    responses((status = 200, body = Page<NotificationView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<NotificationView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Notification>("cursor", query.cursor.as_ref())?;
    let arguments = (company.id, query.unread, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("notification.list", arguments, |tx, (company, unread, cursor, limit)| {
            Box::pin(notifications::list(tx, *company, *unread, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, NotificationView::from)))
}

/// Shows a notification, with what became of it in each channel.
#[utoipa::path(get, path = "/notifications/{id}", tag = "notifications", params(("id" = String, Path)),
    responses((status = 200, body = NotificationDetail), (status = 404, body = ProblemDocument)))]
async fn show(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Notification>,
) -> Result<Json<NotificationDetail>, Problem> {
    principal.require(Permission::Read)?;
    let (notification, deliveries) = visible(&api, &principal, id).await?;
    let deliveries = deliveries.into_iter().map(DeliveryView::from).collect();
    Ok(Json(NotificationDetail { notification: notification.into(), deliveries }))
}

/// Notes that somebody has seen it. Doing it twice changes nothing.
#[utoipa::path(post, path = "/notifications/{id}/read", tag = "notifications", params(("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = NotificationView), (status = 404, body = ProblemDocument)))]
async fn read(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Notification>,
    _body: Body<Empty>,
) -> Result<Json<NotificationView>, Problem> {
    principal.require(Permission::Manage)?;
    visible(&api, &principal, id).await?;
    let arguments = (clock::now(), id);
    let seen = api
        .engine
        .write("notification.read", arguments, |tx, (now, id)| Box::pin(notifications::mark_read(tx, *now, *id)))
        .await?;
    Ok(Json(seen.into()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveryQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    status: Option<DeliveryStatus>,
    channel: Option<String>,
    acknowledged: Option<bool>,
}

/// Lists a company's deliveries. `acknowledged=false` leaves out what has failed and somebody has seen.
#[utoipa::path(get, path = "/companies/{company}/deliveries", tag = "notifications",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
        ("status" = Option<String>, Query), ("channel" = Option<String>, Query), ("acknowledged" = Option<bool>, Query)),
    responses((status = 200, body = Page<DeliveryView>)))]
async fn list_deliveries(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<DeliveryQuery>,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    principal.require(Permission::Read)?;
    id_in_option::<kind::Delivery>("cursor", query.cursor.as_ref())?;
    let channel = id_in_option::<kind::Channel>("channel", query.channel.as_ref())?;
    let arguments = (company.id, query.status, channel, query.acknowledged, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("delivery.list", arguments, |tx, (company, status, channel, acknowledged, cursor, limit)| {
            Box::pin(deliveries::list(tx, *company, *status, *channel, *acknowledged, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, DeliveryView::from)))
}

/// Shows a delivery with its log.
#[utoipa::path(get, path = "/deliveries/{id}", tag = "notifications", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryView), (status = 404, body = ProblemDocument)))]
async fn show_delivery(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Delivery>,
) -> Result<Json<DeliveryView>, Problem> {
    principal.require(Permission::Read)?;
    Ok(Json(visible_delivery(&api, &principal, id).await?.into()))
}

/// Tries again what has failed or was cancelled.
#[utoipa::path(post, path = "/deliveries/{id}/retry", tag = "notifications", params(("id" = String, Path)), request_body = Empty,
    responses((status = 202, body = DeliveryView), (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)))]
async fn retry_delivery(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Delivery>,
    _body: Body<Empty>,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    principal.require(Permission::Manage)?;
    visible_delivery(&api, &principal, id).await?;
    let arguments = (clock::now(), id);
    let again = api
        .engine
        .write("delivery.retry", arguments, |tx, (now, id)| Box::pin(deliveries::retry(tx, *now, *id)))
        .await?;
    Ok((StatusCode::ACCEPTED, Json(again.into())))
}

/// Notes that somebody has seen what has failed, and leaves it at that. Doing it twice changes nothing.
#[utoipa::path(post, path = "/deliveries/{id}/ack", tag = "notifications", params(("id" = String, Path)), request_body = Empty,
    responses((status = 200, body = DeliveryView), (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)))]
async fn acknowledge_delivery(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Delivery>,
    _body: Body<Empty>,
) -> Result<Json<DeliveryView>, Problem> {
    principal.require(Permission::Manage)?;
    visible_delivery(&api, &principal, id).await?;
    let acknowledge = api.engine.write("delivery.acknowledge", (clock::now(), id), |tx, (now, id)| {
        Box::pin(deliveries::acknowledge(tx, *now, *id))
    });
    Ok(Json(acknowledge.await?.into()))
}
