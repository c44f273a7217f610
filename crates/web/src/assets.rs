//! What pages load: style, icons and scripts, in the binary. A page names each with a piece of its hash, so that browsers
//! keep what has not changed and never use what has.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// A file that pages load.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

const ASSETS: &[Asset] = &[
    Asset { name: "app.css", kind: CSS, bytes: include_bytes!("../assets/app.css") },
    Asset { name: "icons.svg", kind: SVG, bytes: include_bytes!("../assets/icons.svg") },
    Asset { name: "favicon.svg", kind: SVG, bytes: include_bytes!("../assets/favicon.svg") },
    Asset { name: "idiomorph.min.js", kind: JS, bytes: include_bytes!("../assets/idiomorph.min.js") },
    Asset { name: "idiomorph.LICENSE", kind: TEXT, bytes: include_bytes!("../assets/idiomorph.LICENSE") },
    Asset { name: "live.js", kind: JS, bytes: include_bytes!("../assets/live.js") },
    Asset { name: "times.js", kind: JS, bytes: include_bytes!("../assets/times.js") },
    Asset { name: "actions.js", kind: JS, bytes: include_bytes!("../assets/actions.js") },
    Asset { name: "forms.js", kind: JS, bytes: include_bytes!("../assets/forms.js") },
    Asset { name: "keys.js", kind: JS, bytes: include_bytes!("../assets/keys.js") },
    Asset { name: "views.js", kind: JS, bytes: include_bytes!("../assets/views.js") },
    Asset { name: "log-text.js", kind: JS, bytes: include_bytes!("../assets/log-text.js") },
    Asset { name: "log-lines.js", kind: JS, bytes: include_bytes!("../assets/log-lines.js") },
    Asset { name: "log-view.js", kind: JS, bytes: include_bytes!("../assets/log-view.js") },
];

/// What every page loads, in this order.
pub const SCRIPTS: &[&str] = &[
    "idiomorph.min.js",
    "times.js",
    "live.js",
    "actions.js",
    "forms.js",
    "keys.js",
    "views.js",
    "log-text.js",
    "log-lines.js",
    "log-view.js",
];

/// A year: the address changes with the content.
const KEPT: &str = "public, max-age=31536000, immutable";

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    ASSETS.iter().for_each(|asset| digest.update(asset.bytes));
    digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

/// The address of an asset, as pages name it.
pub fn url(name: &str) -> String {
    format!("/assets/{name}?v={}", *VERSION)
}

/// Answers with an asset.
pub async fn serve(Path(name): Path<String>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, format!("there is no asset {name}")).into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static(KEPT)),
    ];
    (headers, asset.bytes).into_response()
}
