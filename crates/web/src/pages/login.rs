//! Signing in: with a token, or by a link that was asked for on the command line. Both are the browser's own request to the
//! API; a page alone, or a program that only looks at a link, begins no session.

use askama::Template;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, Uri};

use super::{Shown, page};
use crate::assets;
use crate::visit::{asked, theme};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    theme: &'static str,
    /// Where to go on then: a path of this server.
    next: String,
    /// The code of the link that was opened; empty for a token.
    code: String,
    /// Whether the link is used without asking: not if another site has led here, which could sign somebody in as somebody
    /// else.
    is_used_at_once: bool,
}

impl LoginPage {
    fn asset(&self, name: &str) -> String {
        assets::url(name)
    }
}

/// The form for a token.
pub async fn form(headers: HeaderMap, uri: Uri) -> Shown {
    let next = Some(asked(&uri, "next")).filter(|next| is_own_path(next)).unwrap_or_else(|| "/".into());
    page(&LoginPage { theme: theme(&headers), next, code: String::new(), is_used_at_once: false })
}

/// The page of a link.
pub async fn by_link(Path(code): Path<String>, headers: HeaderMap) -> Shown {
    let led_here_by = headers.get(HeaderName::from_static("sec-fetch-site")).map(|site| site.as_bytes());
    let is_used_at_once = matches!(led_here_by, Some(b"none" | b"same-origin"));
    page(&LoginPage { theme: theme(&headers), next: "/".into(), code, is_used_at_once })
}

/// Whether this is a path, and cannot be read as the name of another server.
fn is_own_path(next: &str) -> bool {
    next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\t', '\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_signs_in_stays_on_this_server() {
        for (next, is_own) in [
            ("/c/default/runs?status=failed", true),
            ("/", true),
            ("//evil.example.org", false),
            ("/\\evil.example.org", false),
            ("/\t/evil.example.org", false),
            ("https://evil.example.org", false),
            ("javascript:alert(1)", false),
            ("", false),
        ] {
            assert_eq!(is_own_path(next), is_own, "{next}");
        }
    }
}
