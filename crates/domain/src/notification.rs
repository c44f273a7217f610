//! A notification: what people are told. It is in the company's inbox at once, and goes to those of its
//! channels whose filter lets it through. What is the same as something told a short time ago is counted, not told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::escalation::Severity;
use crate::id::{AgentId, CompanyId, NotificationId, RunId, ScheduleId};
use crate::time::Timestamp;

/// The same text about the same thing is told once in this time.
pub const SAME_TEXT_QUIET: Duration = Duration::from_secs(24 * 60 * 60);
/// A longer title is cut.
pub const TITLE_CHARS_MAX: usize = 200;
/// A longer text is cut.
pub const TEXT_CHARS_MAX: usize = 16_000;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// An action of a schedule.
    Action,
    /// An agent that its own timer woke.
    Heartbeat,
    /// An agent that a schedule woke.
    Schedule,
    /// Something that a person has to know or decide.
    Escalation,
    /// An agent that writes to people.
    Message,
    /// Somebody tries out a channel.
    Test,
}

impl NotificationKind {
    /// Every kind, by its name.
    pub const ALL: &'static [(&'static str, NotificationKind)] = &[
        ("action", NotificationKind::Action),
        ("heartbeat", NotificationKind::Heartbeat),
        ("schedule", NotificationKind::Schedule),
        ("escalation", NotificationKind::Escalation),
        ("message", NotificationKind::Message),
        ("test", NotificationKind::Test),
    ];
}

/// How much it matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    #[default]
    Info,
    Warning,
    Critical,
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Level {
        match severity {
            Severity::Low => Level::Info,
            Severity::Medium => Level::Warning,
            Severity::High | Severity::Critical => Level::Critical,
        }
    }
}

/// What people are to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub company: CompanyId,
    pub kind: NotificationKind,
    pub level: Level,
    /// What makes a second one be about the same: the same text under the same cause is told once a day.
    /// `None` for what whoever speaks has already made sure of.
    pub cause: Option<String>,
    pub title: String,
    pub text: String,
    /// A JSON object for programs.
    pub metadata: Value,
    pub agent: Option<AgentId>,
    pub run: Option<RunId>,
    pub schedule: Option<ScheduleId>,
}

impl Notice {
    /// With title and text cut to what is kept.
    pub fn within_limits(mut self) -> Notice {
        let cut = |text: &mut String, chars_max: usize| {
            if let Some((at, _)) = text.char_indices().nth(chars_max) {
                text.truncate(at);
                text.push('…');
            }
        };
        cut(&mut self.title, TITLE_CHARS_MAX);
        cut(&mut self.text, TEXT_CHARS_MAX);
        self
    }
}

/// What people have been told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub id: NotificationId,
    pub at: Timestamp,
    pub notice: Notice,
    /// How often the same came again and was not told.
    pub repeats: i64,
    /// When somebody saw it.
    pub read_at: Option<Timestamp>,
}
