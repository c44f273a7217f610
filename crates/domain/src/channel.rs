//! A channel: where a company's notifications go besides its inbox, and which of them. Here are its
//! settings, what may be wrong with them, and its filter; how something is sent is the runner's business.
//!
//! What only its owner may know stands here as the name of a secret, so that nothing needs to be hidden.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::id::{AgentId, ChannelId, CompanyId, ScheduleId};
use crate::notification::{Level, Notice, NotificationKind};
use crate::secret::SecretRef;
use crate::time::{Timestamp, parse_duration};

/// Longer names are refused.
pub const NAME_CHARS_MAX: usize = 100;
/// More recipients are refused: what is for a crowd is for a mailing list.
pub const RECIPIENTS_MAX: usize = 50;
/// RFC 5321 allows no longer address.
const ADDRESS_BYTES_MAX: usize = 254;
/// More entries in one list of a filter are refused.
const FILTER_ENTRIES_MAX: usize = 100;
/// More headers are refused.
const HEADERS_MAX: usize = 30;
/// What a receiver over HTTP may take to answer.
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(15);
/// What a whole conversation with a mail server may take.
pub const SMTP_TIMEOUT: Duration = Duration::from_secs(30);
/// What a command may take unless it is said.
pub const COMMAND_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// What a command may be given at most.
pub const COMMAND_TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// Where notifications go.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    pub id: ChannelId,
    pub company: CompanyId,
    /// Unique in the company.
    pub name: String,
    pub target: Target,
    pub filter: Filter,
    pub state: State,
    /// Why it is disabled, if somebody said.
    pub state_reason: Option<String>,
    /// How far its pace is used up: see [`crate::delivery::pace`].
    pub paced_until: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Whether anything is sent through it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Enabled,
    Disabled,
}

/// What is sent to, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Webhook(Webhook),
    Slack(Slack),
    Command(Command),
    Email(Email),
}

/// A receiver of signed CloudEvents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub url: Setting,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Setting>,
}

/// An incoming webhook of Slack. Whoever knows its URL can post, so it is a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    #[serde(deserialize_with = "reference")]
    pub url: SecretRef,
}

/// A program of the server's host that gets the CloudEvent on its standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    pub command: Vec<String>,
    /// As `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// People with mailboxes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    pub to: Vec<String>,
    pub from: String,
    pub smtp: Smtp,
}

/// The server that takes mail for delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    pub host: String,
    /// By default that of `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: Tls,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reference_option")]
    pub password: Option<SecretRef>,
}

/// How the way to the mail server is encrypted. What was asked for is required, never only tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// For a relay on the same host.
    None,
    #[default]
    Starttls,
    Tls,
}

/// A value, or the name of the secret that holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    Plain(String),
    Secret(SecretRef),
}

impl Setting {
    /// The secret that holds the value, if one does.
    fn reference(&self) -> Option<&SecretRef> {
        match self {
            Setting::Secret(reference) => Some(reference),
            Setting::Plain(_) => None,
        }
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Setting::Plain(text) => serializer.serialize_str(text),
            Setting::Secret(reference) => reference.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match (value.as_str(), referred(&value)) {
            (Some(text), _) => Ok(Setting::Plain(text.to_owned())),
            (None, Some(reference)) => reference.map(Setting::Secret).map_err(de::Error::custom),
            (None, None) => Err(de::Error::custom("must be a text or {\"secret\": NAME}")),
        }
    }
}

/// The secret that a value names; it holds the value itself, so nothing is put into a file.
fn referred(value: &Value) -> Option<Result<SecretRef, String>> {
    let read = SecretRef::read(value)?;
    Some(read.and_then(|reference| match reference.file {
        true => Err("`file` is for the variables of agents".into()),
        false => Ok(reference),
    }))
}

fn reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretRef, D::Error> {
    let told = || Err("must be {\"secret\": NAME}: set it with `wakeful secret set NAME`".into());
    referred(&Value::deserialize(deserializer)?).unwrap_or_else(told).map_err(de::Error::custom)
}

fn reference_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretRef>, D::Error> {
    reference(deserializer).map(Some)
}

/// Which notifications go through a channel: those that every part lets through. An absent part lets all through.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<NotificationKind>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_level: Option<Level>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<AgentId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedules: Option<Vec<ScheduleId>>,
}

impl Filter {
    /// Whether it lets a notification through.
    pub fn lets_through(&self, notice: &Notice) -> bool {
        fn holds<T: PartialEq>(list: Option<&Vec<T>>, one: Option<&T>) -> bool {
            list.is_none_or(|list| one.is_some_and(|one| list.contains(one)))
        }
        holds(self.kinds.as_ref(), Some(&notice.kind))
            && self.min_level.is_none_or(|level| notice.level >= level)
            && holds(self.agents.as_ref(), notice.agent.as_ref())
            && holds(self.schedules.as_ref(), notice.schedule.as_ref())
    }

    fn problem(&self) -> Option<(String, String)> {
        let lengths = [
            ("kinds", self.kinds.as_ref().map(Vec::len)),
            ("agents", self.agents.as_ref().map(Vec::len)),
            ("schedules", self.schedules.as_ref().map(Vec::len)),
        ];
        let (name, _) = lengths
            .iter()
            .find(|(_, length)| length.is_some_and(|length| !(1..=FILTER_ENTRIES_MAX).contains(&length)))?;
        Some((format!("filter.{name}"), format!("must have 1 to {FILTER_ENTRIES_MAX} entries; leave it out for all")))
    }
}

impl Channel {
    /// What is wrong with it, as (field, message). URLs are checked by what calls them.
    pub fn problem(&self) -> Option<(String, String)> {
        let is_name = (1..=NAME_CHARS_MAX).contains(&self.name.chars().count())
            && self.name.trim() == self.name
            && !self.name.contains(char::is_control)
            && !self.name.starts_with("chn_");
        if !is_name {
            let told =
                format!("must have 1 to {NAME_CHARS_MAX} characters, no spaces around them, and not begin with `chn_`");
            return Some(("name".into(), told));
        }
        let of_target =
            self.target.problem().map(|(field, message)| (format!("target.{}.{field}", self.target.kind()), message));
        of_target.or_else(|| self.filter.problem())
    }
}

impl Target {
    /// Its kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Target::Webhook(_) => "webhook",
            Target::Slack(_) => "slack",
            Target::Command(_) => "command",
            Target::Email(_) => "email",
        }
    }

    /// What one attempt to send may take.
    pub fn timeout(&self) -> Duration {
        match self {
            Target::Webhook(_) | Target::Slack(_) => HTTP_TIMEOUT,
            Target::Command(command) => command.time_limit(),
            Target::Email(_) => SMTP_TIMEOUT,
        }
    }

    /// The secrets that it needs, each with the field that names it.
    pub fn secrets(&self) -> Vec<(String, &SecretRef)> {
        match self {
            Target::Webhook(webhook) => {
                let headers =
                    webhook.headers.iter().map(|(name, value)| (format!("target.webhook.headers.{name}"), value));
                let settings = [("target.webhook.url".to_owned(), &webhook.url)].into_iter().chain(headers);
                settings.filter_map(|(field, setting)| Some((field, setting.reference()?))).collect()
            }
            Target::Slack(slack) => vec![("target.slack.url".into(), &slack.url)],
            Target::Command(_) => Vec::new(),
            Target::Email(email) => {
                email.smtp.password.iter().map(|password| ("target.email.smtp.password".into(), password)).collect()
            }
        }
    }

    fn problem(&self) -> Option<(String, String)> {
        match self {
            Target::Webhook(webhook) => webhook.problem(),
            Target::Slack(_) => None,
            Target::Command(command) => command.problem(),
            Target::Email(email) => email.problem(),
        }
    }
}

impl Webhook {
    fn problem(&self) -> Option<(String, String)> {
        if self.headers.len() > HEADERS_MAX {
            return Some(("headers".into(), format!("has more than {HEADERS_MAX} entries")));
        }
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_bad_name = |name: &str| name.is_empty() || !name.bytes().all(is_token);
        self.headers.iter().find_map(|(name, value)| {
            let told = match value {
                _ if is_bad_name(name) => "is no name of a header",
                _ if name.to_ascii_lowercase().starts_with("webhook-") => "is set by the signature",
                Setting::Plain(text) if text.contains(char::is_control) => "holds a control character",
                Setting::Plain(_) | Setting::Secret(_) => return None,
            };
            Some((format!("headers.{name}"), told.into()))
        })
    }
}

impl Command {
    /// How long it may take.
    pub fn time_limit(&self) -> Duration {
        let said = self.timeout.as_deref().and_then(|text| parse_duration(text).ok());
        said.unwrap_or(COMMAND_TIMEOUT_DEFAULT)
    }

    fn problem(&self) -> Option<(String, String)> {
        let is_runnable = self.command.first().is_some_and(|program| !program.is_empty())
            && !self.command.iter().any(|argument| argument.contains('\0'));
        if !is_runnable {
            return Some(("command".into(), "must name a program, as [\"/usr/bin/notify\", \"--urgent\"]".into()));
        }
        let timeout = parse_duration(self.timeout.as_deref()?);
        let is_good = timeout.as_ref().is_ok_and(|timeout| !timeout.is_zero() && *timeout <= COMMAND_TIMEOUT_MAX);
        (!is_good).then(|| {
            ("timeout".into(), format!("must be a duration up to {} s, as 30s", COMMAND_TIMEOUT_MAX.as_secs()))
        })
    }
}

impl Email {
    fn problem(&self) -> Option<(String, String)> {
        if !(1..=RECIPIENTS_MAX).contains(&self.to.len()) {
            return Some(("to".into(), format!("must have 1 to {RECIPIENTS_MAX} addresses")));
        }
        let recipients = self.to.iter().enumerate().map(|(place, address)| (format!("to[{place}]"), address));
        let addresses = recipients.chain([("from".to_owned(), &self.from)]);
        let bad = addresses.filter(|(_, address)| !is_address(address)).map(|(field, _)| field).next();
        if let Some(field) = bad {
            return Some((field, "must be an address, as ann@example.com".into()));
        }
        let is_host = !self.smtp.host.is_empty()
            && self.smtp.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte));
        if !is_host {
            return Some(("smtp.host".into(), "must be the name or the address of a host".into()));
        }
        if self.smtp.port == Some(0) {
            return Some(("smtp.port".into(), "must lie between 1 and 65535".into()));
        }
        match (&self.smtp.username, &self.smtp.password) {
            (Some(_), None) => Some(("smtp.password".into(), "is required with smtp.username".into())),
            (None, Some(_)) => Some(("smtp.username".into(), "is required with smtp.password".into())),
            (Some(name), Some(_)) if name.is_empty() || name.contains(char::is_control) => {
                Some(("smtp.username".into(), "must be a name".into()))
            }
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

impl Smtp {
    /// The port that is called.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::None => 25,
            Tls::Starttls => 587,
            Tls::Tls => 465,
        })
    }
}

/// An address without a display name; what the mail server makes of it is its business.
fn is_address(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    text.len() <= ADDRESS_BYTES_MAX
        && !text.contains(['<', '>', ',', ';', '"'])
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| is_part(local) && is_part(domain) && !domain.contains('@'))
}

#[cfg(test)]
mod tests;
