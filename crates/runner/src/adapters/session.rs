//! Sessions of the agent CLIs: `{session_id, cwd}`, and whatever else an adapter needs next time.
//! A CLI finds a session only in the directory that it was made in.

use std::path::Path;

use serde_json::{Value, json};
use wakeful_domain::outcome::SessionState;

/// Longer ids are none that a CLI gave.
const ID_CHARS_MAX: usize = 128;

/// The session with this id.
pub(super) fn state(id: &str, cwd: &str, mut extra: serde_json::Map<String, Value>) -> SessionState {
    extra.insert("session_id".into(), json!(id));
    extra.insert("cwd".into(), json!(cwd));
    SessionState::new(Value::Object(extra), id)
}

/// The id of a session, if it is one that may be put on a command line.
pub(super) fn id(session: &SessionState) -> Option<&str> {
    session.params.get("session_id").and_then(Value::as_str).filter(|id| is_id(id))
}

/// Whether a text can be an id: never empty, never an option.
pub(super) fn is_id(text: &str) -> bool {
    let of_an_id = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.len() <= ID_CHARS_MAX && !text.starts_with('-') && text.chars().all(of_an_id)
}

/// Whether a CLI can resume the session in this directory.
pub(super) fn resumable(session: &SessionState, cwd: &Path) -> Result<(), String> {
    if id(session).is_none() {
        return Err("the session has no id that a command line could name".into());
    }
    match session.params.get("cwd").and_then(Value::as_str) {
        Some(made_in) if Path::new(made_in) == cwd => Ok(()),
        Some(made_in) => Err(format!("the session was made in {made_in}, this run works in {}", cwd.display())),
        None => Err("the session does not say in which directory it was made".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_resumed_where_they_were_made() {
        let check = |params: Value, reason: Option<&str>| {
            let found = resumable(&SessionState::new(params.clone(), "x"), Path::new("/work"));
            assert_eq!(found.err().as_deref(), reason, "{params}");
        };
        check(json!({"session_id": "a-1", "cwd": "/work"}), None);
        check(
            json!({"session_id": "a-1", "cwd": "/elsewhere"}),
            Some("the session was made in /elsewhere, this run works in /work"),
        );
        check(json!({"session_id": "a-1"}), Some("the session does not say in which directory it was made"));
        for id in ["", "--dangerously", "a b", "a/b"] {
            check(
                json!({"session_id": id, "cwd": "/work"}),
                Some("the session has no id that a command line could name"),
            );
        }
    }
}
