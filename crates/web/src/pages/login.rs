//! Signing in: with a token, or by a link that was asked for on the command line.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::{Shown, page};
use crate::failure::Failure;
use crate::visit::theme;
use crate::{Console, assets};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    theme: &'static str,
    /// Of a link that is good no more.
    is_late: bool,
}

impl LoginPage {
    fn asset(&self, name: &str) -> String {
        assets::url(name)
    }
}

#[derive(Template)]
#[template(path = "signed_in.html")]
struct SignedInPage {}

/// The form for a token.
pub async fn form(headers: HeaderMap) -> Shown {
    page(&LoginPage { theme: theme(&headers), is_late: false })
}

/// Begins the session of a link. The cookie is for this site's own pages only, and a browser that was led here from
/// elsewhere would not send it along with a redirect: so a page leads on.
pub async fn by_link(
    State(console): State<Console>,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    match console.sessions.redeem(&code) {
        Some(cookie) => {
            let text = SignedInPage {}.render().map_err(Failure::of_ours)?;
            Ok(([(header::SET_COOKIE, cookie)], Html(text)).into_response())
        }
        None => {
            let shown = page(&LoginPage { theme: theme(&headers), is_late: true })?;
            Ok((StatusCode::GONE, shown).into_response())
        }
    }
}
