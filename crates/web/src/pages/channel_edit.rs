//! A channel to be changed. What may hold a secret is never shown: its field is empty, and what stays empty stays as it is.

use askama::Template;
use serde_json::Value;

use super::notifications::Channel;
use super::{Shown, page};
use crate::choices;
use crate::frame::Frame;
use crate::visit::Visit;

const LEVELS: &[&str] = &["info", "warning", "critical"];
const WAYS: &[(&str, &str)] = &[("starttls", "STARTTLS"), ("tls", "TLS"), ("none", "not encrypted")];

#[derive(Template)]
#[template(path = "channel_edit.html")]
struct EditPage {
    frame: Frame,
    channel: Channel,
}

impl EditPage {
    fn setting(&self, pointer: &str) -> &Value {
        self.channel.target[self.channel.kind()].pointer(pointer).unwrap_or(&Value::Null)
    }

    fn ways(&self) -> &'static [(&'static str, &'static str)] {
        WAYS
    }

    fn is_way(&self, name: &str) -> bool {
        self.setting("/smtp/tls") == name
    }

    fn levels(&self) -> &'static [&'static str] {
        LEVELS
    }

    /// A setting that is no secret; empty if it is not set.
    fn text(&self, pointer: &str) -> String {
        words(self.setting(pointer))
    }

    /// The name of the secret that holds a setting; the value is nowhere.
    fn secret(&self, pointer: &str) -> &str {
        self.setting(pointer)["secret"].as_str().unwrap_or("none")
    }

    /// What there is, as far as it may be seen: where it goes to, without what may be a key.
    fn shown(&self) -> String {
        shown(&self.channel.target)
    }

    fn headers(&self) -> String {
        let headers = self.setting("/headers").as_object();
        headers.map(|all| all.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default()
    }

    fn min_level(&self) -> &str {
        self.channel.filter["min_level"].as_str().unwrap_or_default()
    }

    fn filter(&self, key: &str) -> String {
        words(&self.channel.filter[key])
    }

    fn notified(&self) -> impl Iterator<Item = &'static str> {
        wakeful_domain::notification::NotificationKind::ALL.iter().map(|(name, _)| *name).filter(|name| *name != "test")
    }
}

/// The kind of a target.
pub fn kind_of(target: &Value) -> &str {
    target.as_object().and_then(|target| target.keys().next()).map_or("unknown", String::as_str)
}

/// A text, a number, or what stands in a list.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// Where a channel goes to, without what may be a key: paths and parameters of URLs, values of headers, arguments.
pub fn shown(target: &Value) -> String {
    let settings = &target[kind_of(target)];
    match kind_of(target) {
        "email" => words(&settings["to"]),
        "command" => {
            let program = settings["command"][0].as_str().unwrap_or_default();
            let has_more = settings["command"].as_array().is_some_and(|command| command.len() > 1);
            format!("{program}{}", if has_more { " …" } else { "" })
        }
        _ => match (&settings["url"], settings["url"]["secret"].as_str()) {
            (_, Some(name)) => format!("what the secret {name} holds"),
            (url, None) => host_of(url.as_str().unwrap_or_default()),
        },
    }
}

/// A URL up to its host.
fn host_of(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".into() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let has_more = rest.trim_end_matches('/') != host;
    format!("{scheme}://{host}{}", if has_more { "/…" } else { "" })
}

/// Shows the form.
pub async fn show(visit: Visit) -> Shown {
    // No events: what is being written stays as it is.
    let channel: Channel = visit.calls.get(&format!("/channels/{}", visit.id)).await?;
    let frame = Frame::around(&visit, "notifications", "").await?.titled(format!("Edit {}", channel.name));
    page(&EditPage { frame, channel })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_not_shown() {
        let check = |target: Value, expected: &str| assert_eq!(shown(&target), expected, "{target}");
        let headers = json!({ "authorization": "Bearer key" });
        check(
            json!({ "webhook": { "url": "https://a.example/T/key?k=key", "headers": headers } }),
            "https://a.example/…",
        );
        check(json!({ "webhook": { "url": "https://me:key@a.example:8443/" } }), "https://a.example:8443/…");
        check(json!({ "webhook": { "url": "https://a.example" } }), "https://a.example");
        check(json!({ "slack": { "url": { "secret": "slack-url" } } }), "what the secret slack-url holds");
        check(json!({ "command": { "command": ["tell", "--key", "key"] } }), "tell …");
        check(json!({ "email": { "to": ["a@b.c", "d@e.f"] } }), "a@b.c, d@e.f");
    }
}
