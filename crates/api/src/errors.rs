//! Every error as `application/problem+json` (RFC 9457): what was tried, what is wrong, what to do.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use wakeful_store::{Error, Refusal};

/// An error answer.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    errors: Vec<FieldError>,
    state: Option<Value>,
    retry_after_s: Option<u16>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Path of the field, as `adapter.command`.
    pub field: String,
    pub message: String,
}

impl Problem {
    /// A problem with a code of its own.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            state: None,
            retry_after_s: None,
        }
    }

    /// 400: the body is not JSON, or a header cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// 422: a field of a well-formed request is wrong.
    pub fn invalid(field: &str, message: impl Into<String>) -> Problem {
        let error = FieldError { field: field.into(), message: message.into() };
        let detail = format!("{}: {}", error.field, error.message);
        Problem { errors: vec![error], ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) }
    }

    /// 404: nothing of this kind has this id, or it is not the caller's to see.
    pub fn not_found(noun: &str, key: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {noun} `{key}`"))
    }

    /// 403: the token may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 429: to be tried again after a while.
    pub fn too_many(detail: impl Into<String>, wait: Duration) -> Problem {
        let retry_after_s = Some(u16::try_from(wait.as_secs() + 1).unwrap_or(u16::MAX));
        Problem { retry_after_s, ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail) }
    }

    /// Whether it says that the caller is not known, or may not do this.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// What is wrong with the fields of the request.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The members of the answer.
    pub fn to_json(&self) -> Value {
        let mut members = match &self.state {
            Some(Value::Object(state)) => state.clone(),
            Some(_) | None => Map::new(),
        };
        // What the resource is in stands beside the standard members, never in their place.
        if let Some(status) = members.remove("status") {
            members.insert("current".into(), status);
        }
        members.insert("type".into(), json!("about:blank"));
        members.insert("title".into(), json!(self.status.canonical_reason().unwrap_or("Error")));
        members.insert("status".into(), json!(self.status.as_u16()));
        members.insert("code".into(), json!(self.code));
        members.insert("detail".into(), json!(self.detail));
        if !self.errors.is_empty() {
            members.insert("errors".into(), json!(self.errors));
        }
        Value::Object(members)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound { noun, key } => Problem::not_found(noun, &key),
            Refusal::Conflict { code, detail, state } => {
                Problem { state: Some(state), ..Problem::new(StatusCode::CONFLICT, code, detail) }
            }
            Refusal::Invalid { field, message } => Problem::invalid(&field, message),
            Refusal::TooMany { code, detail } => Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail),
            Refusal::Store(error @ Error::Full { .. }) => {
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, "store_full", error.to_string())
            }
            Refusal::Store(error) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", error.to_string())
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.to_json())).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let retry_after = match self.status {
            StatusCode::SERVICE_UNAVAILABLE => Some("1"),
            StatusCode::TOO_MANY_REQUESTS => Some("60"),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The shape of an error answer, for the OpenAPI document.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemDocument {
    pub r#type: String,
    pub title: String,
    pub status: u16,
    /// For programs; stays the same over versions.
    pub code: String,
    /// For people.
    pub detail: String,
    pub errors: Option<Vec<FieldError>>,
}
