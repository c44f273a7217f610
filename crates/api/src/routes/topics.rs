//! Topics: what is published to them. A topic is a name; nobody makes one and nobody removes one.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::subscription::{TOPIC_BYTES_MAX, TOPIC_FIELDS_MAX, topic_problem};
use wakeful_store::ops::subscriptions::topics::{Publication, publish as publish_to};

use crate::access::{Permission, Principal};
use crate::body::Document;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::parameters::{IdempotencyKey, PathCompany, path_parameter};
use crate::wire::PublishedView;
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(publish))
}

/// The `{name}` of a path, the name of a topic.
struct PathTopic(String);

impl<S: Send + Sync> FromRequestParts<S> for PathTopic {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name = path_parameter(parts, state, "name").await?;
        match topic_problem(&name) {
            Some(problem) => Err(Problem::invalid("name", problem)),
            None => Ok(PathTopic(name)),
        }
    }
}

/// Publishes to a topic: the body is an object of at most 256 KiB, which filters look into. Says how many
/// subscriptions it matched; their agents are woken.
#[utoipa::path(post, path = "/companies/{company}/topics/{name}/publish", tag = "subscriptions",
    params(("company" = String, Path, description = "id or slug"), ("name" = String, Path)), request_body = Value,
    responses((status = 200, body = PublishedView), (status = 413, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn publish(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    PathTopic(topic): PathTopic,
    IdempotencyKey(key): IdempotencyKey,
    body: Document,
) -> Result<Json<PublishedView>, Problem> {
    principal.require(Permission::Work)?;
    if body.bytes.len() > TOPIC_BYTES_MAX {
        let detail = format!("what is published is larger than {TOPIC_BYTES_MAX} bytes (256 KiB)");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    let Value::Object(data) = body.value else {
        return Err(Problem::invalid("body", "must be an object: filters look into its fields"));
    };
    if data.len() > TOPIC_FIELDS_MAX {
        let told = format!("has {} fields; at most {TOPIC_FIELDS_MAX} may stand at the top", data.len());
        return Err(Problem::invalid("body", told));
    }
    let route = format!("POST /companies/{}/topics/{topic}/publish", company.id);
    let request_key = request_key(key, &principal, &route, &body.bytes);
    let publication = Publication { company: company.id, topic: topic.clone(), data, request_key };
    let arguments = (principal.origin(&api), publication);
    let published = api
        .engine
        .write("topic.publish", arguments, |tx, (origin, publication)| Box::pin(publish_to(tx, origin, publication)))
        .await?;
    Ok(Json(PublishedView::new(topic, &published)))
}
