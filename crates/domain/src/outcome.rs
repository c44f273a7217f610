//! How an execution ended, as its adapter judges it: the input to [`crate::settle`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Timestamp;
use crate::usage::Usage;

/// The way a run can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
    Lost,
}

/// What becomes of the agent's session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SessionChange {
    /// The run said nothing about it: what was known stays.
    #[default]
    Keep,
    /// The next run starts afresh.
    Clear,
    /// The next run resumes this one.
    Set(SessionState),
}

/// A session as the adapter that made it knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    /// Opaque to all but the adapter.
    pub params: Value,
    /// What a person may be shown; at most [`SessionState::DISPLAY_CHARS_MAX`] characters.
    pub display_id: String,
}

impl SessionState {
    /// Longer display ids are cut.
    pub const DISPLAY_CHARS_MAX: usize = 128;

    /// A session with the display id cut to its limit.
    pub fn new(params: Value, display_id: &str) -> Self {
        Self { params, display_id: display_id.chars().take(Self::DISPLAY_CHARS_MAX).collect() }
    }
}

/// The end of an execution and all that it reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub end: End,
    /// A code of [`crate::failure`]; always there unless the run succeeded.
    pub error_code: Option<String>,
    /// A sentence for a person.
    pub error: Option<String>,
    pub summary: Option<String>,
    pub result: Option<Value>,
    pub session: SessionChange,
    pub usage: Option<Usage>,
    /// Millionths of a US dollar.
    pub cost_micros: Option<i64>,
    pub model: Option<String>,
    pub provider: Option<String>,
    /// `api` or `subscription`, where the adapter can tell.
    pub billing: Option<String>,
    /// When a usage limit lifts, or when the agent asks to be tried again.
    pub retry_at: Option<Timestamp>,
}

impl Outcome {
    /// A success that reported nothing else.
    pub fn succeeded() -> Self {
        Self {
            end: End::Succeeded,
            error_code: None,
            error: None,
            summary: None,
            result: None,
            session: SessionChange::Keep,
            usage: None,
            cost_micros: None,
            model: None,
            provider: None,
            billing: None,
            retry_at: None,
        }
    }

    /// A failure with its code and the sentence that explains it.
    pub fn failed(code: &str, error: impl Into<String>) -> Self {
        Self { end: End::Failed, error_code: Some(code.into()), error: Some(error.into()), ..Self::succeeded() }
    }

    /// An end other than success, with its code and the sentence that explains it.
    pub fn ended(end: End, code: &str, error: impl Into<String>) -> Self {
        Self { end, ..Self::failed(code, error) }
    }
}
