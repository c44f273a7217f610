//! What an agent says about its own run: in the file that `WAKEFUL_RESULT_FILE` names, or with
//! `wakeful done`, which writes the same. One place reads it, so that what is taken is understood.

use serde::Deserialize;
use serde_json::Value;
use wakeful_domain::failure::{self, FailureClass};
use wakeful_domain::outcome::{End, Outcome, SessionChange, SessionState};
use wakeful_domain::time::Timestamp;
use wakeful_domain::usage::{USAGE_MAX, Usage};

use super::excerpt::{cut, cut_bytes};

/// A summary is read by people: more belongs into the result.
pub(super) const SUMMARY_BYTES_MAX: usize = 16 * 1024;
/// An explanation is a sentence, not a log.
const ERROR_CHARS_MAX: usize = 2_000;
/// A session goes to the next run in an environment variable, which has little room.
const SESSION_BYTES_MAX: usize = 16 * 1024;
/// Codes are words to group failures by.
const ERROR_CODE_CHARS_MAX: usize = 64;

/// The names of all that a report may say.
pub(super) const KEYS: &[&str] =
    &["outcome", "summary", "session", "usage", "cost_micros", "result", "error_code", "error", "retry_at"];

/// What a command may say about its run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    outcome: Option<Said>,
    summary: Option<String>,
    /// Missing keeps the session, `null` ends it.
    #[serde(default, deserialize_with = "present")]
    session: Option<Value>,
    usage: Option<Usage>,
    cost_micros: Option<i64>,
    result: Option<Value>,
    error_code: Option<String>,
    error: Option<String>,
    retry_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
}

impl Said {
    fn end(self) -> End {
        match self {
            Said::Succeeded => End::Succeeded,
            Said::Failed => End::Failed,
            Said::Cancelled => End::Cancelled,
            Said::TimedOut => End::TimedOut,
        }
    }
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Report {
    /// Reads a report, or says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let file: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if let Some(problem) = file.usage.as_ref().and_then(Usage::problem) {
            return Err(problem);
        }
        if file.cost_micros.is_some_and(|cost| !(0..=USAGE_MAX).contains(&cost)) {
            return Err(format!("cost_micros must be at least 0 and at most {USAGE_MAX}"));
        }
        if let Some(code) = &file.error_code {
            check_code(code)?;
        }
        match &file.session {
            None | Some(Value::Null) => {}
            Some(session) if session.to_string().contains("\\u0000") => {
                return Err("session holds a NUL, which no environment variable can".into());
            }
            Some(session @ (Value::String(_) | Value::Object(_))) if session.to_string().len() <= SESSION_BYTES_MAX => {
            }
            Some(_) => {
                return Err(format!("session must be a text or an object of at most {SESSION_BYTES_MAX} bytes"));
            }
        }
        if file.outcome == Some(Said::Succeeded) && file.error_code.is_some() {
            return Err("it says `succeeded` and gives an error_code".into());
        }
        Ok(file)
    }

    /// What the file says, and where it is silent, what the exit says.
    pub(super) fn judge(self, by_exit: Outcome) -> Outcome {
        let speaks_of_failure = self.error_code.is_some() || self.error.is_some();
        let end = match self.outcome {
            Some(said) => said.end(),
            None if speaks_of_failure => End::Failed,
            None => by_exit.end,
        };
        let (error_code, error) = match end {
            End::Succeeded => (None, None),
            _ => (
                self.error_code.or(by_exit.error_code).or(Some("agent_error".into())),
                self.error.or(by_exit.error).or(Some("the command reported a failure and no reason".into())),
            ),
        };
        let session = match self.session {
            None => SessionChange::Keep,
            Some(Value::Null) => SessionChange::Clear,
            Some(params) => SessionChange::Set(session_of(params)),
        };
        Outcome {
            end,
            error_code,
            error: error.map(|text| cut(&text, ERROR_CHARS_MAX)),
            summary: self.summary.map(|text| cut_bytes(&text, SUMMARY_BYTES_MAX)),
            result: self.result,
            session,
            usage: self.usage,
            cost_micros: self.cost_micros,
            retry_at: self.retry_at,
            ..Outcome::succeeded()
        }
    }
}

impl Report {
    /// What an agent said that is judged by events of its own: a failure it reports stands, a success
    /// does not undo the failure of its CLI; session, usage and cost are the CLI's.
    pub(super) fn overlay(self, by_events: Outcome) -> Outcome {
        let is_failure = self.outcome.is_some_and(|said| said != Said::Succeeded)
            || self.error_code.is_some()
            || self.error.is_some();
        let (summary, result) = (self.summary.clone(), self.result.clone());
        let judged = match by_events.end == End::Succeeded && is_failure {
            true => {
                let said = self.judge(Outcome::succeeded());
                Outcome {
                    end: said.end,
                    error_code: said.error_code,
                    error: said.error,
                    retry_at: said.retry_at,
                    ..by_events
                }
            }
            false => by_events,
        };
        Outcome {
            summary: summary.map(|text| cut_bytes(&text, SUMMARY_BYTES_MAX)).or(judged.summary),
            result: result.or(judged.result),
            ..judged
        }
    }
}

pub(super) fn check_code(code: &str) -> Result<(), String> {
    let of_a_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if code.is_empty() || code.len() > ERROR_CODE_CHARS_MAX || !code.chars().all(of_a_code) {
        return Err(format!("error_code must be 1 to {ERROR_CODE_CHARS_MAX} of a-z, 0-9 and _"));
    }
    // Runs released with these codes are repeated without end and without being counted.
    match failure::class_of(code) {
        FailureClass::Release | FailureClass::Uncertain => Err(format!("error_code `{code}` is the server's to give")),
        FailureClass::Transient | FailureClass::Quota | FailureClass::Once | FailureClass::Permanent => Ok(()),
    }
}

pub(super) fn session_of(params: Value) -> SessionState {
    let named = ["session_id", "id"].iter().find_map(|key| params.get(key)?.as_str());
    let display_id = params.as_str().or(named).map_or_else(|| params.to_string(), str::to_owned);
    SessionState::new(params, &display_id)
}
