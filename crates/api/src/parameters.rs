//! Parameters in paths and queries: ids, companies, filters, pages.

use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use wakeful_domain::company::Company;
use wakeful_domain::id::{Id, Kind};
use wakeful_domain::time::{TimeError, Timestamp, say_duration};
use wakeful_domain::wakeup::Source;

use crate::access::Principal;
use crate::{Api, Problem};

/// Items of a page, unless the caller says.
const LIMIT_DEFAULT: i64 = 50;
/// Items of a page at most.
const LIMIT_MAX: i64 = 200;

/// The `{id}` of a path.
pub struct PathId<K>(pub Id<K>);

impl<S: Send + Sync, K: Kind> FromRequestParts<S> for PathId<K> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_parameter(parts, state, "id").await?;
        // What is no id at all names nothing that exists.
        text.parse().map(PathId).map_err(|_| Problem::not_found(K::NOUN, &text))
    }
}

/// A parameter of the path, by its name.
pub async fn path_parameter<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<String, Problem> {
    let parameters = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|error| Problem::malformed(format!("the path cannot be read: {error}")))?;
    let found = parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    found.ok_or_else(|| Problem::malformed(format!("the path has no {name}")))
}

/// The `{company}` of a path, by id or slug, if the caller may see it.
#[derive(Debug)]
pub struct PathCompany(pub Company);

impl FromRequestParts<Api> for PathCompany {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let principal = <Principal as FromRequestParts<Api>>::from_request_parts(parts, api).await?;
        let key = path_parameter(parts, api, "company").await?;
        let found = api
            .engine
            .db()
            .read("company.by_key", key.clone(), |tx, key| {
                Box::pin(async move { Ok(wakeful_store::ops::companies::by_key(tx, key).await?) })
            })
            .await?;
        let company = found.filter(|company| principal.sees(company.id));
        company.map(PathCompany).ok_or_else(|| Problem::not_found("company", &key))
    }
}

/// The query of a request; unknown parameters are refused.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = <axum::extract::Query<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        match query {
            Ok(axum::extract::Query(value)) => Ok(Parameters(value)),
            Err(rejection) => {
                let text = rejection.body_text();
                let told = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                // What is wrong stands behind the name of the parameter.
                let (named, message) = told.split_once(": ").unwrap_or(("query", told));
                Err(Problem::invalid(named, message))
            }
        }
    }
}

/// How much of a list is wanted.
pub fn limit(limit: Option<i64>) -> Result<i64, Problem> {
    within("limit", limit, 1, LIMIT_MAX)?;
    Ok(limit.unwrap_or(LIMIT_DEFAULT))
}

/// Refuses numbers outside of their bounds; a number that is absent is within.
pub fn within(field: &str, value: Option<i64>, low: i64, high: i64) -> Result<(), Problem> {
    match value {
        Some(value) if !(low..=high).contains(&value) => {
            Err(Problem::invalid(field, format!("is {value}; it must lie between {low} and {high}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// An id in a field or a query parameter.
pub fn id_in<K: Kind>(field: &str, text: &str) -> Result<Id<K>, Problem> {
    text.parse().map_err(|error: wakeful_domain::id::IdError| Problem::invalid(field, error.to_string()))
}

/// The same, if there is one.
pub fn id_in_option<K: Kind>(field: &str, text: Option<&String>) -> Result<Option<Id<K>>, Problem> {
    text.map(|text| id_in(field, text)).transpose()
}

/// A time in a field.
pub fn time_in(field: &str, text: &str) -> Result<Timestamp, Problem> {
    text.parse().map_err(|error: TimeError| Problem::invalid(field, error.to_string()))
}

/// The same, if there is one.
pub fn time_in_option(field: &str, text: Option<&String>) -> Result<Option<Timestamp>, Problem> {
    text.map(|text| time_in(field, text)).transpose()
}

/// A window of time that ends now, if it is not said, and is so long.
pub fn window_in(
    (from, to): (Option<&String>, Option<&String>),
    now: Timestamp,
    default: Duration,
    most: Duration,
) -> Result<(Timestamp, Timestamp), Problem> {
    let to = time_in_option("to", to)?.unwrap_or(now);
    let from = time_in_option("from", from)?.unwrap_or(to - default);
    if to <= from {
        return Err(Problem::invalid("to", "is not after `from`"));
    }
    match to.since(from) > most {
        true => Err(Problem::invalid("from", format!("is more than {} before `to`", say_duration(most)))),
        false => Ok((from, to)),
    }
}

/// Longer texts are not searched for.
const SOUGHT_CHARS_MAX: usize = 200;

/// What is searched for; nothing if it is blank.
pub fn sought_in(text: Option<&str>) -> Result<Option<String>, Problem> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    match text.is_some_and(|text| text.chars().count() > SOUGHT_CHARS_MAX || text.contains('\0')) {
        true => Err(Problem::invalid("q", format!("must have at most {SOUGHT_CHARS_MAX} characters, and no NUL"))),
        false => Ok(text.map(str::to_owned)),
    }
}

/// What gave the reason of a wakeup.
pub fn source_in(text: &str) -> Result<Source, Problem> {
    text.parse().map_err(|message: String| Problem::invalid("source", message))
}

/// Refuses what is no time zone.
pub fn check_zone(field: &str, zone: &str) -> Result<(), Problem> {
    match jiff::tz::TimeZone::get(zone) {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::invalid(field, format!("`{zone}` is not an IANA time zone, as Europe/Paris"))),
    }
}

/// Longer reasons and details are refused.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Refuses texts that are too long, or hold what no environment variable can.
pub fn check_text(field: &str, text: Option<&String>) -> Result<(), Problem> {
    match text {
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            Err(Problem::invalid(field, format!("is longer than {TEXT_BYTES_MAX} bytes; put it into the payload")))
        }
        Some(text) if text.contains('\0') => Err(Problem::invalid(field, "holds a NUL character")),
        Some(_) | None => Ok(()),
    }
}

/// The value of a header, if the caller sent it.
#[derive(Debug)]
pub struct IdempotencyKey(pub Option<String>);

/// Longer keys are refused.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(IdempotencyKey(None)) };
        let text =
            value.to_str().map_err(|_| Problem::malformed("the Idempotency-Key header holds other than text"))?;
        check_key("Idempotency-Key", text)?;
        Ok(IdempotencyKey(Some(text.to_owned())))
    }
}

/// Refuses keys that are empty or too long.
pub fn check_key(field: &str, key: &str) -> Result<(), Problem> {
    if (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.chars().count()) {
        return Ok(());
    }
    Err(Problem::invalid(field, format!("must have 1 to {IDEMPOTENCY_KEY_CHARS_MAX} characters")))
}
