//! A new channel: its kind is chosen first, then only that kind's settings are asked for.

use askama::Template;

use super::{Shown, page};
use crate::choices;
use crate::frame::Frame;
use crate::visit::Visit;

const KINDS: &[(&str, &str)] =
    &[("webhook", "A service"), ("slack", "Slack"), ("email", "Mail"), ("command", "A program")];
const LEVELS: &[&str] = &["info", "warning", "critical"];

#[derive(Template)]
#[template(path = "channel_new.html")]
struct NewChannelPage {
    frame: Frame,
    kind: &'static str,
}

impl NewChannelPage {
    fn kinds(&self) -> &'static [(&'static str, &'static str)] {
        KINDS
    }

    fn levels(&self) -> &'static [&'static str] {
        LEVELS
    }

    fn notified(&self) -> impl Iterator<Item = &'static str> {
        wakeful_domain::notification::NotificationKind::ALL.iter().map(|(name, _)| *name).filter(|name| *name != "test")
    }
}

/// Shows the form for one kind.
pub async fn show(visit: Visit) -> Shown {
    // No events: what is being written stays as it is.
    let frame = Frame::around(&visit, "notifications", "").await?.titled("New channel");
    let asked = visit.asked("kind");
    let kind = KINDS.iter().find(|(name, _)| *name == asked).map_or(KINDS[0].0, |(name, _)| name);
    page(&NewChannelPage { frame, kind })
}
