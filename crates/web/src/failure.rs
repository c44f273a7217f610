//! Why a page cannot be shown, as a page.

use std::fmt::Display;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::assets;

/// Where one signs in.
pub const LOGIN: &str = "/login";

/// Why a page cannot be shown.
#[derive(Debug, Clone)]
pub struct Failure {
    pub status: StatusCode,
    /// As the API names it.
    pub code: String,
    pub detail: String,
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    title: &'a str,
    advice: &'a str,
    failure: &'a Failure,
}

impl Failure {
    /// A mistake of the console's own: told to whoever looks, and logged.
    pub fn of_ours(error: impl Display) -> Failure {
        tracing::error!("a page of the console cannot be made: {error}");
        Failure { status: StatusCode::INTERNAL_SERVER_ERROR, code: "page_failed".into(), detail: error.to_string() }
    }

    /// There is no such page.
    pub fn no_page(path: &str) -> Failure {
        Failure {
            status: StatusCode::NOT_FOUND,
            code: "unknown_page".into(),
            detail: format!("there is no page {path}"),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (title, advice) = match self.status {
            StatusCode::UNAUTHORIZED => return Redirect::to(LOGIN).into_response(),
            StatusCode::NOT_FOUND => ("Not here", "It may have been removed, or be another company's."),
            StatusCode::FORBIDDEN => ("Not allowed", "Sign in with a token of a higher role to see this."),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => (
                "The store does not answer",
                "Nothing is lost. This page tries again by itself once the server is back.",
            ),
            StatusCode::MISDIRECTED_REQUEST => ("Unknown host", "The console answers only to names of its own."),
            _ => ("This page cannot be shown", "Try again; if it stays, `wakeful doctor` says what is wrong."),
        };
        let page = FailurePage { title, advice, failure: &self };
        match page.render() {
            Ok(text) => (self.status, Html(text)).into_response(),
            Err(_) => (self.status, self.detail).into_response(),
        }
    }
}
