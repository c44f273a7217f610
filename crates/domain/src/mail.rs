//! Mail: what agents and people write to each other. It is read when its reader's run says so, not when it was shown.

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::id::{AgentId, CompanyId, MessageId, RunId, TaskId, WakeupId};
use crate::time::Timestamp;

/// Longer messages are refused.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longer subjects are refused.
pub const SUBJECT_CHARS_MAX: usize = 200;
/// Whoever has this many unread gets no more, so that nobody writes faster than others read.
pub const UNREAD_MAX: i64 = 200;
/// How `to` names the people of a company, who read their mail among the notifications.
pub const PEOPLE: &str = "user";

/// What a message wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    #[default]
    Note,
    Request,
    /// A word to a live run: it wakes nobody and lapses with the run.
    Nudge,
    Escalation,
}

impl MessageKind {
    /// Every kind, by its name.
    pub const ALL: &'static [(&'static str, MessageKind)] = &[
        ("note", MessageKind::Note),
        ("request", MessageKind::Request),
        ("nudge", MessageKind::Nudge),
        ("escalation", MessageKind::Escalation),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        MessageKind::ALL.iter().find(|(_, kind)| *kind == self).map_or("note", |(name, _)| name)
    }
}

/// What somebody wrote to an agent or to people.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub company: CompanyId,
    pub from: Actor,
    /// The run that wrote it, if one did.
    pub from_run: Option<RunId>,
    /// The agent it is for; `None` is for people.
    pub to: Option<AgentId>,
    pub subject: String,
    pub body: String,
    /// The first message of its thread, itself included.
    pub thread: MessageId,
    pub kind: MessageKind,
    pub task: Option<TaskId>,
    /// What it wakes its reader with, if it does.
    pub wakeup: Option<WakeupId>,
    pub created_at: Timestamp,
    pub acked_at: Option<Timestamp>,
    /// The run that has read it, if one has.
    pub acked_by: Option<RunId>,
    /// When a nudge ended with its run, unread.
    pub lapsed_at: Option<Timestamp>,
}

impl Message {
    /// What it is about, in a line: the subject, or how the text begins.
    pub fn headline(&self) -> &str {
        const CHARS_MAX: usize = 120;
        if !self.subject.is_empty() {
            return &self.subject;
        }
        let line = self.body.trim().lines().next().unwrap_or_default();
        line.char_indices().nth(CHARS_MAX).map_or(line, |(end, _)| &line[..end])
    }
}

/// What is wrong with a subject, if anything.
pub fn subject_problem(subject: &str) -> Option<String> {
    let is_good = subject.chars().count() <= SUBJECT_CHARS_MAX && !subject.chars().any(char::is_control);
    (!is_good).then(|| format!("must be one line of at most {SUBJECT_CHARS_MAX} characters"))
}

/// What is wrong with a text, if anything.
pub fn body_problem(body: &str) -> Option<String> {
    let is_good = !body.trim().is_empty() && body.len() <= BODY_BYTES_MAX && !body.contains('\0');
    (!is_good).then(|| format!("must have 1 to {BODY_BYTES_MAX} bytes and no NUL character"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_a_line_and_bodies_are_bounded() {
        assert_eq!((subject_problem(""), subject_problem("a plan")), (None, None));
        for bad in ["two\nlines", &"x".repeat(SUBJECT_CHARS_MAX + 1)] {
            assert!(subject_problem(bad).is_some(), "{bad}");
        }
        assert_eq!(body_problem(&"x".repeat(BODY_BYTES_MAX)), None);
        for bad in ["", " \n", "a\0b", &"x".repeat(BODY_BYTES_MAX + 1)] {
            assert!(body_problem(bad).is_some());
        }
    }
}
