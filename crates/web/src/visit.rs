//! One request for a page: who looks, at which company, and the calls that are made for it.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;

use crate::Console;
use crate::call::Calls;
use crate::failure::Failure;

/// A request for a page of a company.
#[derive(Debug, Clone)]
pub struct Visit {
    pub calls: Calls,
    /// The slug or id in the path.
    pub company: String,
    /// The `{id}` in the path; empty if it has none.
    pub id: String,
    pub uri: Uri,
    /// `light`, `dark` or `system`.
    pub theme: &'static str,
}

impl FromRequestParts<Console> for Visit {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Failure> {
        // What is no text is no name.
        let parameters = RawPathParams::from_request_parts(parts, console).await.map_err(|_| nothing())?;
        let named = |name: &str| {
            let found = parameters.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned()).unwrap_or_default()
        };
        let (company, id) = (plain(named("company"))?, plain(named("id"))?);
        let calls = Calls::of(console.api.clone(), &parts.headers);
        Ok(Visit { calls, company, id, uri: parts.uri.clone(), theme: theme(&parts.headers) })
    }
}

/// Slugs and ids are plain words: anything else would change the path that the API is asked for.
fn plain(word: String) -> Result<String, Failure> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if is_plain { Ok(word) } else { Err(nothing()) }
}

fn nothing() -> Failure {
    Failure { status: StatusCode::NOT_FOUND, code: "not_found".into(), detail: "there is nothing of this name".into() }
}

impl Visit {
    /// A path of the API below the company that is looked at.
    pub fn of_company(&self, rest: &str) -> String {
        format!("/companies/{}/{rest}", self.company)
    }

    /// The value of a parameter in the page's own address; empty if it has none.
    pub fn asked(&self, name: &str) -> String {
        asked(&self.uri, name)
    }

    /// The id in a parameter of the page's own address, if there is one that may stand in a path.
    pub fn asked_id(&self, name: &str) -> Option<String> {
        plain(self.asked(name)).ok().filter(|id| !id.is_empty())
    }
}

/// The value of a parameter in an address; empty if it has none.
pub fn asked(uri: &Uri, name: &str) -> String {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.replace('+', " ")).next();
    found.map(|value| percent_decode_str(&value).decode_utf8_lossy().into_owned()).unwrap_or_default()
}

/// The theme that was chosen; the page's script keeps it in a cookie.
pub fn theme(headers: &HeaderMap) -> &'static str {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    match pairs.find(|(name, _)| *name == "wakeful_theme").map(|(_, value)| value) {
        Some("dark") => "dark",
        Some("light") => "light",
        Some(_) | None => "system",
    }
}
