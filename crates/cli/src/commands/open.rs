//! `wakeful open`: the console in a browser, signed in by a link that is good once.

use std::process::{Command, Stdio};

use serde_json::json;

use super::Session;
use crate::environment;
use crate::failure::Failure;
use crate::output::{message, text};

/// What opens an address on a desktop.
const OPENER: &str = "xdg-open";

pub async fn run(session: &Session, is_only_printed: bool) -> Result<(), Failure> {
    let mut link = session.client.post("/api/v1/session/links", &json!({})).await?;
    let url = format!("{}{}", session.client.base(), text(&link, "/path"));
    link["url"] = json!(url);
    session.output.show(&link, || url.clone());
    let has_desktop = environment::is_set("DISPLAY") || environment::is_set("WAYLAND_DISPLAY");
    if is_only_printed || !has_desktop {
        return Ok(());
    }
    let mut opener = Command::new(OPENER);
    opener.arg(&url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The link is printed: without a browser here it is opened by hand.
    if let Err(error) = opener.spawn() {
        message(&format!("{OPENER} cannot be started ({error}): open the link in a browser"));
    }
    Ok(())
}
