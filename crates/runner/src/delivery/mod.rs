//! Sends one notification through one channel, once, and says what came of it: accepted only if the receiver said
//! so. No text that leaves here holds a secret or a URL of the channel.
//!
//! It is not: when something is sent, how often, or what follows from its failing.

mod command;
mod email;
mod slack;
mod webhook;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use wakeful_domain::channel::{Channel, Setting, Target};
use wakeful_domain::delivery::{Answer, DETAIL_CHARS_MAX};
use wakeful_domain::id::DeliveryId;
use wakeful_domain::notification::Notification;
use wakeful_domain::secret::SecretRef;
use wakeful_domain::time::Timestamp;

use crate::adapters::excerpt::cut;
use crate::http::{Guard, url_problem};
use crate::process::Shims;
use crate::scrub::Scrubber;

/// What sending needs of its surroundings.
#[derive(Debug)]
pub struct Means<'a> {
    pub guard: &'a Guard,
    pub shims: &'a Shims,
    /// The environment of commands.
    pub environment: &'a [(String, String)],
    /// Where commands have their directories.
    pub asked: &'a Path,
}

/// What is sent.
#[derive(Debug)]
pub struct Parcel<'a> {
    pub delivery: DeliveryId,
    pub attempt: i64,
    pub at: Timestamp,
    pub notification: &'a Notification,
    pub channel: &'a Channel,
    pub secrets: &'a Secrets,
    /// What requests are signed with.
    pub key: &'a [u8],
}

/// The values of the secrets that a channel needs, by their names.
#[derive(Default)]
pub struct Secrets(pub BTreeMap<String, String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    fn value(&self, reference: &SecretRef) -> &str {
        self.0.get(&reference.secret).map(String::as_str).unwrap_or_default()
    }

    fn of<'a>(&'a self, setting: &'a Setting) -> &'a str {
        match setting {
            Setting::Plain(text) => text,
            Setting::Secret(reference) => self.value(reference),
        }
    }
}

/// What is wrong with the URL of a target, as (field, message). One that is a secret is not known before it is used.
pub fn problem(target: &Target) -> Option<(&'static str, String)> {
    match target {
        Target::Webhook(webhook) => match &webhook.url {
            Setting::Plain(url) => url_problem(url).map(|problem| ("target.webhook.url", problem)),
            Setting::Secret(_) => None,
        },
        Target::Slack(_) | Target::Command(_) | Target::Email(_) => None,
    }
}

/// Makes one attempt. Dropping the future breaks it off.
pub async fn send(means: &Means<'_>, parcel: &Parcel<'_>) -> Answer {
    let mut answer = match &parcel.channel.target {
        Target::Webhook(target) => webhook::send(means, parcel, target).await,
        Target::Slack(target) => slack::send(means, parcel, target).await,
        Target::Command(target) => command::send(means, parcel, target).await,
        Target::Email(target) => email::send(means, parcel, target).await,
    };
    let values: Vec<String> = parcel.secrets.0.values().cloned().collect();
    let scrubber = Scrubber::new(&values);
    let (Answer::Accepted(detail) | Answer::Refused(detail) | Answer::Deferred { detail, .. }) = &mut answer;
    // Scrubbed before it is cut, so that no part of a secret is left at the end.
    let told = scrubber.text(detail).split_whitespace().collect::<Vec<_>>().join(" ");
    *detail = cut(&told, DETAIL_CHARS_MAX);
    answer
}

/// The notification as CloudEvents 1.0 writes it, in structured JSON. It is the same in every attempt.
fn cloud_event(notification: &Notification) -> Value {
    let Notification { id, at, notice, .. } = notification;
    let about = [
        notice.run.map(|id| id.to_string()),
        notice.schedule.map(|id| id.to_string()),
        notice.agent.map(|id| id.to_string()),
    ];
    json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("/companies/{}", notice.company),
        "type": "wakeful.notification",
        "subject": about.into_iter().flatten().next().unwrap_or_else(|| notice.company.to_string()),
        "time": at,
        "datacontenttype": "application/json",
        "data": {
            "kind": notice.kind,
            "level": notice.level,
            "title": notice.title,
            "text": notice.text,
            "metadata": notice.metadata,
            "agent": notice.agent,
            "run": notice.run,
            "schedule": notice.schedule,
        },
    })
}

#[cfg(test)]
mod tests {
    use wakeful_domain::id::IdSource;
    use wakeful_domain::notification::{Level, Notice, NotificationKind};

    use super::*;

    #[test]
    fn an_event_has_every_attribute_that_the_specification_requires() {
        let mut ids = IdSource::new(1);
        let at = Timestamp::from_millis(1_800_000_000_123);
        let run = ids.next(at);
        let notice = Notice {
            company: ids.next(at),
            kind: NotificationKind::Action,
            level: Level::Warning,
            cause: None,
            title: "t".into(),
            text: "words".into(),
            metadata: json!({ "n": 1 }),
            agent: None,
            run: Some(run),
            schedule: None,
        };
        let notification = Notification { id: ids.next(at), at, notice, repeats: 0, read_at: None };
        let event = cloud_event(&notification);
        for required in ["specversion", "id", "source", "type"] {
            assert!(event[required].as_str().is_some_and(|text| !text.is_empty()), "{required}: {event}");
        }
        assert_eq!((&event["id"], &event["subject"]), (&json!(notification.id), &json!(run)));
        assert_eq!(event["time"], "2027-01-15T08:00:00.123Z");
        assert_eq!((&event["data"]["text"], &event["data"]["metadata"]["n"]), (&json!("words"), &json!(1)));
    }

    #[test]
    fn what_is_told_of_secrets_is_their_names() {
        let secrets = Secrets([("hook".to_owned(), "hunter2-hunter2".to_owned())].into());
        assert_eq!(format!("{secrets:?}"), "{\"hook\"}");
    }
}
