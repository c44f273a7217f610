//! Request bodies: JSON of at most 1 MiB, unknown fields refused, every mistake named by its field.

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::access::run_of_token;
use crate::{Api, Problem};

/// Larger bodies are refused.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A body that has been read.
#[derive(Debug)]
pub struct Body<T> {
    pub value: T,
    /// As it came, for telling requests under one idempotency key apart.
    pub bytes: Bytes,
}

/// A body that may be any JSON document.
#[derive(Debug)]
pub struct Document {
    pub value: serde_json::Value,
    pub bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let bytes = read_scrubbed(request, api).await?;
        Ok(Body { value: parse(or_empty(&bytes))?, bytes })
    }
}

impl FromRequest<Api> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let bytes = read_scrubbed(request, api).await?;
        Ok(Document { value: document(or_empty(&bytes))?, bytes })
    }
}

/// What a run sends has the secrets taken out that it was given, whatever it is sent to.
async fn read_scrubbed(request: Request, api: &Api) -> Result<Bytes, Problem> {
    let run = run_of_token(request.headers(), api).await?;
    let bytes = read(request).await?;
    let Some(scrubber) = run.map(|run| api.engine.scrubber(run)) else { return Ok(bytes) };
    // What is no JSON is refused as it is, with its mistake named.
    let Ok(mut document) = serde_json::from_slice::<serde_json::Value>(&bytes) else { return Ok(bytes) };
    let before = document.clone();
    scrubber.json(&mut document);
    Ok(if document == before { bytes } else { document.to_string().into() })
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
    });
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let is_empty = length == Some("0") || (length.is_none() && kind.is_none());
    if !is_json && !is_empty {
        let detail = "the body must be JSON: send the header `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_| too_large())
}

/// No body at all means that everything is left at its default.
fn or_empty(bytes: &[u8]) -> &[u8] {
    if bytes.is_empty() { b"{}" } else { bytes }
}

fn too_large() -> Problem {
    let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes (1 MiB)");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

/// Reads a JSON object; says which field is wrong and how.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    // A list would be taken for the fields in their order, without their names.
    if text.trim_ascii_start().starts_with(b"[") {
        document::<serde_json::Value>(text)?;
        return Err(Problem::invalid("body", "must be an object, not a list"));
    }
    document(text)
}

fn document<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            // What is no JSON at all has no fields that could be wrong.
            Category::Data if serde_json::from_slice::<serde_json::Value>(text).is_err() => {
                Problem::malformed("the body is not one JSON document")
            }
            Category::Data => Problem::invalid(&field(&path, &inner.to_string()), plain(&inner.to_string())),
            Category::Io | Category::Syntax | Category::Eof => {
                Problem::malformed(format!("the body is not JSON: {inner}"))
            }
        }
    })?;
    deserializer.end().map_err(|error| Problem::malformed(format!("the body is not one JSON document: {error}")))?;
    Ok(value)
}

/// The path of the field; an unknown or missing one is named in the message only.
fn field(path: &str, message: &str) -> String {
    let named = ["unknown field `", "missing field `"].iter().find_map(|start| {
        let rest = message.strip_prefix(start)?;
        rest.split('`').next()
    });
    match (named, path) {
        (Some(name), ".") => name.to_owned(),
        (Some(name), path) if path.ends_with(name) => path.to_owned(),
        (Some(name), path) => format!("{path}.{name}"),
        (None, ".") => "body".to_owned(),
        (None, path) => path.to_owned(),
    }
}

/// The message without serde's place in the text, which means nothing to a program's author.
fn plain(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only read from JSON")]
        inner: Option<Inner>,
        #[expect(dead_code, reason = "only read from JSON")]
        count: i64,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only read from JSON")]
        name: String,
    }

    fn check(body: &str, status: u64, field: Option<&str>) {
        let problem = parse::<Outer>(body.as_bytes()).unwrap_err().to_json();
        assert_eq!(problem["status"], status, "{body}: {problem}");
        assert_eq!(problem["errors"][0]["field"].as_str(), field, "{body}: {problem}");
    }

    #[test]
    fn every_mistake_names_its_field() {
        check(r#"{"count": 1, "nope": 2}"#, 422, Some("nope"));
        check(r#"{"count": "x"}"#, 422, Some("count"));
        check("{}", 422, Some("count"));
        check(r#"{"count": 1, "inner": {"nmae": "x"}}"#, 422, Some("inner.nmae"));
        check(r#"{"count": 1, "inner": {"name": 5}}"#, 422, Some("inner.name"));
        check("[1]", 422, Some("body"));
        check("[1", 400, None);
        check("{", 400, None);
        check("{} x", 400, None);
        check(r#"{"nope": 1}}"#, 400, None);
        let deep = format!(r#"{{"count": {}1{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(document::<serde_json::Value>(deep.as_bytes()).unwrap_err().to_json()["status"] == 400);
    }
}
