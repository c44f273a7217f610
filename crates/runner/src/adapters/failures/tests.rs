//! Every kind of failure of every CLI, line by line: `tests/fixtures/failures.txt`.

use serde_json::json;
use wakeful_domain::failure::class_of;
use wakeful_domain::outcome::SessionChange;

use crate::adapters::testing::{done, exit, failure_of, fixture, read};
use crate::adapters::{Adapter, Conclusion};

/// An event that says that the turn has failed, in the way of each adapter.
fn failed_event(adapter: &str, words: &str) -> String {
    match adapter {
        "claude" => json!({"type": "result", "subtype": "success", "is_error": true, "result": words}),
        "codex" => json!({"type": "turn.failed", "error": {"message": words}}),
        "gemini" => json!({"type": "result", "status": "error", "error": {"message": words}}),
        "opencode" => json!({"type": "error", "error": {"name": "APIError", "data": {"message": words}}}),
        "cursor" => json!({"type": "result", "subtype": "error", "is_error": true, "result": words}),
        other => panic!("{other} has no events"),
    }
    .to_string()
}

#[test]
fn every_line_of_the_table_has_its_code() {
    let table = fixture("failures.txt");
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let parts: Vec<&str> = line.splitn(4, " | ").collect();
        let [adapter, source, expected, text] = parts[..] else { panic!("not four columns: {line}") };
        let (stdout, stderr, code) = match source {
            "words" => (failed_event(adapter, text), String::new(), 1),
            "event" => (text.to_owned(), String::new(), 1),
            "stderr" => (String::new(), text.to_owned(), 1),
            status => (String::new(), text.to_owned(), status.parse().expect("words, event, stderr or a status")),
        };
        let (_, adapter) = Adapter::ALL.iter().find(|(name, _)| *name == adapter).expect("an adapter");
        let (mut reader, _) = read(*adapter, &json!({}), None, &stdout, &stderr);
        let found = done(reader.conclude(&exit(code)));
        assert_eq!(failure_of(&found).0, expected, "{line}");
        assert!(!failure_of(&found).1.is_empty(), "{line}");
        let ends_session = ["context_too_long", "max_turns", "refused", "session_broken"].contains(&expected);
        assert_eq!(found.session == SessionChange::Clear, ends_session, "{line}");
        // Every code has a class; this is here to fail if a code is dropped from where it is looked up.
        class_of(expected);
        count += 1;
    }
    assert!(count > 100, "only {count} lines were read");
}

#[test]
fn the_words_of_a_success_are_not_looked_at() {
    let words = "The API said: 401 Unauthorized, rate limit, usage limit reached, Prompt is too long";
    for (adapter, stdout) in [
        (
            Adapter::Claude,
            json!({"type": "result", "subtype": "success", "is_error": false, "result": words}).to_string(),
        ),
        (
            Adapter::Codex,
            format!(
                "{}\n{}",
                json!({"type": "item.completed", "item": {"type": "agent_message", "text": words}}),
                json!({"type": "turn.completed", "usage": {}})
            ),
        ),
        (
            Adapter::Gemini,
            format!(
                "{}\n{}",
                json!({"type": "message", "role": "assistant", "content": words}),
                json!({"type": "result", "status": "success"})
            ),
        ),
        (
            Adapter::Opencode,
            format!(
                "{}\n{}",
                json!({"type": "text", "part": {"text": words}}),
                json!({"type": "step_finish", "part": {"reason": "stop"}})
            ),
        ),
        (Adapter::Cursor, json!({"type": "result", "subtype": "success", "result": words}).to_string()),
    ] {
        for code in [0, 1, 143] {
            let (mut reader, _) = read(adapter, &json!({}), None, &stdout, words);
            assert!(reader.has_ended());
            match reader.conclude(&exit(code)) {
                Conclusion::Done(outcome) => {
                    assert_eq!((outcome.error_code, outcome.summary.as_deref()), (None, Some(words)), "{adapter:?}");
                }
                Conclusion::SessionUnknown { error } => panic!("{adapter:?}: {error}"),
            }
        }
    }
}
