//! What a gate or an action of a company's own is asked, and how its answer is read: JSON in, JSON out.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Schedule;
use crate::time::Timestamp;

/// What is asked has so long before it counts as failed, unless it says otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Nothing may ask for longer.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// What is kept from one slot to the next, as JSON.
pub const STATE_BYTES_MAX: usize = 16 * 1024;
/// A longer message is refused: it becomes the reason of a wake, which stands in the environment of a run.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A program and its arguments.
    Command(Vec<String>),
    /// JSON is posted there.
    Url(String),
}

impl Whom {
    /// Whom these settings name, or what is wrong with them, as (key, message); the key is empty for the whole.
    pub fn of(
        command: Option<&Vec<String>>,
        url: Option<&String>,
        timeout: Option<Duration>,
    ) -> Result<Whom, (&'static str, String)> {
        if let Some(timeout) = timeout.filter(|timeout| timeout.is_zero() || *timeout > TIMEOUT_MAX) {
            let told = format!("is {} s; it must be longer than 0s and at most 5m", timeout.as_secs_f64());
            return Err(("timeout", told));
        }
        match (command, url) {
            (Some(words), None) if words.first().is_some_and(|program| !program.is_empty()) => {
                Ok(Whom::Command(words.clone()))
            }
            (Some(_), None) => Err(("command", "must begin with the name of a program".into())),
            (None, Some(url)) if url.starts_with("http://") || url.starts_with("https://") => {
                Ok(Whom::Url(url.clone()))
            }
            (None, Some(_)) => Err(("url", "must begin with `https://` or `http://`".into())),
            (Some(_), Some(_)) | (None, None) => Err(("", "needs exactly one of `command` and `url`".into())),
        }
    }
}

/// What is asked about a slot. What differs between gates and actions is in `more`.
pub fn question(schedule: &Schedule, slot: Timestamp, state: &Value, more: Map<String, Value>) -> Value {
    let mut asked = json!({
        "schedule": { "id": schedule.id, "name": schedule.name, "company": schedule.company },
        "slot_at": slot,
        "fires": schedule.fires,
        "state": state,
    });
    if let Some(object) = asked.as_object_mut() {
        object.extend(more);
    }
    asked
}

/// What a gate answers. What else it says is not read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct GateAnswer {
    /// Whether the slot fires.
    pub wake: bool,
    /// Why; the agent is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Laid over the payload of the wake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Map<String, Value>>,
    /// Given to the gate again at the next slot; what it had before stays if it is absent.
    #[serde(default, skip_serializing)]
    pub state: Option<Value>,
}

/// What an action answers. What else it says is not read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct ActionAnswer {
    /// Whether people are told. If not, nobody hears of it.
    pub notify: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// For programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// As of a gate.
    #[serde(default, skip_serializing)]
    pub state: Option<Value>,
}

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("its answer is not the JSON that is asked for: {0}")]
    Shape(String),
    #[error("its state has {0} bytes; at most {STATE_BYTES_MAX} are kept")]
    State(usize),
    #[error("its message has {0} bytes; at most {MESSAGE_BYTES_MAX} are taken")]
    Message(usize),
    #[error("it notifies without a `message`")]
    NoMessage,
}

impl GateAnswer {
    /// Reads what a gate wrote.
    pub fn read(answer: &[u8]) -> Result<GateAnswer, AnswerError> {
        let read: GateAnswer = document(answer)?;
        check_limits(read.message.as_ref(), read.state.as_ref()).map(|()| read)
    }
}

impl ActionAnswer {
    /// Reads what an action wrote.
    pub fn read(answer: &[u8]) -> Result<ActionAnswer, AnswerError> {
        let read: ActionAnswer = document(answer)?;
        if read.notify && read.message.as_ref().is_none_or(|text| text.trim().is_empty()) {
            return Err(AnswerError::NoMessage);
        }
        check_limits(read.message.as_ref(), read.state.as_ref()).map(|()| read)
    }
}

fn document<T: for<'de> Deserialize<'de>>(answer: &[u8]) -> Result<T, AnswerError> {
    serde_json::from_slice(answer).map_err(|error| AnswerError::Shape(error.to_string()))
}

fn check_limits(message: Option<&String>, state: Option<&Value>) -> Result<(), AnswerError> {
    if let Some(message) = message.filter(|message| message.len() > MESSAGE_BYTES_MAX) {
        return Err(AnswerError::Message(message.len()));
    }
    let bytes = state.map_or(0, |state| state.to_string().len());
    if bytes > STATE_BYTES_MAX { Err(AnswerError::State(bytes)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_says_yes_or_no_and_what_it_keeps() {
        let read = GateAnswer::read(br#"{"wake": true, "message": "2 new", "state": {"seen": 2}, "more": 1}"#).unwrap();
        assert_eq!((read.wake, read.message.as_deref(), read.state), (true, Some("2 new"), Some(json!({"seen": 2}))));
        for (answer, told) in [
            (&b"yes"[..], "not the JSON"),
            (b"", "not the JSON"),
            (b"{}", "missing field `wake`"),
            (br#"{"wake": "true"}"#, "expected a boolean"),
            (br#"{"wake": true, "payload": []}"#, "not the JSON"),
        ] {
            let error = GateAnswer::read(answer).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let large = format!(r#"{{"wake": false, "state": "{}"}}"#, "x".repeat(STATE_BYTES_MAX));
        assert_eq!(GateAnswer::read(large.as_bytes()), Err(AnswerError::State(STATE_BYTES_MAX + 2)));
    }

    #[test]
    fn an_action_is_quiet_unless_it_has_something_to_say() {
        assert!(!ActionAnswer::read(br#"{"notify": false}"#).unwrap().notify);
        assert_eq!(ActionAnswer::read(br#"{"notify": true}"#), Err(AnswerError::NoMessage));
        let told = ActionAnswer::read(br#"{"notify": true, "message": "3 new", "metadata": {"n": 3}}"#).unwrap();
        assert_eq!(told.message.as_deref(), Some("3 new"));
    }
}
