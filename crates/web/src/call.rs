//! Asking the API in this process, in the name of whoever looks at a page.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use crate::failure::Failure;

/// What stays as it is in a query.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Calls with the session of one request.
#[derive(Debug, Clone)]
pub struct Calls {
    api: Router,
    headers: HeaderMap,
}

/// The part of a problem that a page shows.
#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

impl Calls {
    /// Calls in the name of a request: only who it is and where it came to are passed on.
    pub fn of(api: Router, request: &HeaderMap) -> Calls {
        let passed_on = [header::COOKIE, header::HOST];
        let headers = request
            .iter()
            .filter(|(name, _)| passed_on.contains(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Calls { api, headers }
    }

    /// What the API answers to a path below `/api/v1`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let mut request = Request::get(format!("/api/v1{path}")).body(Body::empty()).map_err(Failure::of_ours)?;
        *request.headers_mut() = self.headers.clone();
        let answer = match self.api.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(Failure::of_ours)?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| Failure::of_ours(format!("{path}: {error}")));
        }
        let problem: Problem = serde_json::from_slice(&body).map_err(Failure::of_ours)?;
        Err(Failure { status, code: problem.code, detail: problem.detail })
    }

    /// The same, or `None` where there is nothing, or nothing that may be seen.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.status == StatusCode::NOT_FOUND || failure.status == StatusCode::FORBIDDEN => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}

/// A query of those parameters that have a value.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let set = pairs.iter().filter(|(_, value)| !value.is_empty());
    let written: Vec<String> =
        set.map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, IN_QUERY))).collect();
    if written.is_empty() { String::new() } else { format!("?{}", written.join("&")) }
}
