//! What a tool returned, as an event beside that of its call; both have the same id. Its text is whatever a program, a
//! file or a page holds: it is kept as an excerpt, and nothing is judged by it.

use serde_json::{Value, json};

use super::Signal;
use super::excerpt::{cut, head_and_tail};
use crate::scrub::Scrubber;

const RESULT: &str = "tool_result";
/// Enough to see what came of a call; the log has the whole. The store cuts longer messages.
const EXCERPT_BYTES_MAX: usize = 4 * 1024;
/// Longer ids are known by their beginning.
const ID_CHARS_MAX: usize = 500;

/// The id of a call, the same in the event of the call and in that of its result.
pub(super) fn call_id(id: &Value) -> Option<String> {
    id.as_str().map(|id| cut(id, ID_CHARS_MAX))
}

/// What the call with this id returned: all of it, until [`Signal::kept`].
pub(super) fn result(id: &Value, is_failed: bool, exit_code: Option<i64>, text: String) -> Signal {
    let mut data = json!({"id": call_id(id), "failed": is_failed});
    if let Some(code) = exit_code {
        data["exit_code"] = json!(code);
    }
    Signal { kind: RESULT, message: text, data }
}

/// The text in what a tool returned: a text, a list of blocks, or any other document as it is.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().map(block).collect::<Vec<_>>().join("\n"),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => content.to_string(),
    }
}

/// A picture and the like is named: it is nothing that an excerpt can show.
fn block(block: &Value) -> String {
    match (block["text"].as_str().or(block.as_str()), block["type"].as_str()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(kind)) => format!("[{kind}]"),
        (None, None) => text_of(block),
    }
}

impl Signal {
    /// The signal as it may be kept. What a tool returned is cut only once the secrets are out of it: a secret that is
    /// cut in two would not be known any more.
    #[must_use]
    pub fn kept(mut self, scrubber: &Scrubber) -> Signal {
        scrubber.scrub(&mut self.message);
        scrubber.json(&mut self.data);
        if self.kind == RESULT {
            let text = self.message.trim_end().trim_start_matches(['\r', '\n']);
            self.message = head_and_tail(text, EXCERPT_BYTES_MAX);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, secrets: &[String]) -> String {
        result(&json!("a"), false, None, text.to_owned()).kept(&Scrubber::new(secrets)).message
    }

    #[test]
    fn texts_are_found_in_whatever_is_returned() {
        let check = |content: Value, expected: &str| assert_eq!(text_of(&content), expected);
        check(json!("plain\n"), "plain\n");
        check(json!([{"type": "text", "text": "one"}, {"type": "image", "source": {"data": "AAAA"}}]), "one\n[image]");
        check(json!(["a", 7, {"x": 1}, [["b"]]]), "a\n7\n{\"x\":1}\nb");
        check(json!({"a": [1]}), r#"{"a":[1]}"#);
        check(Value::Null, "");
    }

    #[test]
    fn an_excerpt_has_the_beginning_and_the_end() {
        assert_eq!(kept("\r\n  two\nlines\n\n", &[]), "  two\nlines");
        let text = format!("begins{}ends", "ö".repeat(500_000));
        let found = kept(&text, &[]);
        assert!(found.len() <= EXCERPT_BYTES_MAX, "{}", found.len());
        assert!(found.starts_with("beginsö") && found.ends_with("öends"), "{found}");
        let left_out: usize = found.lines().nth(1).unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let shown: usize = found.lines().step_by(2).map(str::len).sum();
        assert_eq!(left_out + shown, text.len());
    }

    #[test]
    fn no_half_of_a_secret_stands_where_it_is_cut() {
        let secret = "s3cr3t/".repeat(40);
        let secrets = std::slice::from_ref(&secret);
        for before in 0..4_200 {
            let found = kept(&format!("{}{secret}{}", "x".repeat(before), "y".repeat(9_000)), secrets);
            assert!(!found.contains("s3cr3t"), "{before}: {found}");
        }
    }

    #[test]
    fn what_belongs_together_has_one_id() {
        let long = json!("i".repeat(10_000));
        assert_eq!(call_id(&long).map(|id| id.chars().count()), Some(ID_CHARS_MAX + 1));
        let found = result(&long, true, Some(3), String::new());
        assert_eq!(found.data, json!({"id": call_id(&long), "failed": true, "exit_code": 3}));
        assert_eq!(result(&json!({}), false, None, String::new()).data, json!({"id": null, "failed": false}));
    }
}
