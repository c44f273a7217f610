//! Events, one JSON object a line, out of whatever a CLI really writes: text before an event is passed
//! over, and an event with a part that no JSON can hold is read without that part.

use serde_json::Value;

/// Reads events, and counts the lines that seem to be some and are not.
#[derive(Debug, Default)]
pub(super) struct EventLines {
    unreadable: u64,
}

impl EventLines {
    /// The event on this line; `None` for other output.
    pub(super) fn read(&mut self, line: &str) -> Option<Value> {
        let start = if line.starts_with('{') { 0 } else { line.find("{\"type\"").or_else(|| line.find('{'))? };
        let line = &line[start..];
        let parsed = serde_json::from_str(line).or_else(|_| serde_json::from_str(&repaired(line)));
        match parsed {
            Ok(event @ Value::Object(_)) => Some(event),
            Ok(_) => None,
            Err(_) => {
                if start == 0 {
                    self.unreadable += 1;
                }
                None
            }
        }
    }

    /// How many lines were no event although they began as one.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// The text with what makes a line unreadable though its structure is sound put right: halves of surrogate
/// pairs, control characters within strings, numbers beyond what a float holds.
fn repaired(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    let mut is_in_string = false;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '"' => {
                is_in_string = !is_in_string;
                text.push('"');
                1
            }
            '\\' if is_in_string => escape(rest, &mut text),
            c if is_in_string && c < ' ' => {
                text.push(' ');
                1
            }
            '-' | '0'..='9' if !is_in_string => number(rest, &mut text),
            c => {
                text.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    text
}

/// Copies the escape at the beginning of `rest`, and says how long it was.
fn escape(rest: &str, text: &mut String) -> usize {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    match (unit(0), unit(6)) {
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => {
            text.push_str(&rest[..12]);
            12
        }
        (Some(0xd800..=0xdfff), _) => {
            text.push_str("\\ufffd");
            6
        }
        _ => {
            let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            text.push_str(&rest[..length]);
            length
        }
    }
}

/// Copies the number at the beginning of `rest`, and says how long it was.
fn number(rest: &str, text: &mut String) -> usize {
    let is_figure = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let length = rest.find(|c| !is_figure(c)).unwrap_or(rest.len());
    let is_finite = rest[..length].parse::<f64>().is_ok_and(f64::is_finite);
    text.push_str(if is_finite { &rest[..length] } else { "null" });
    length
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_whatever_stands_in_them() {
        let check = |line: &str, expected: Value| {
            let found = EventLines::default().read(line).unwrap_or_default();
            assert_eq!(found, expected, "{line}");
        };
        check(r#"{"type":"x"}"#, json!({"type": "x"}));
        check(r#"stdout: {"type":"x"}"#, json!({"type": "x"}));
        check(r#"half a sentence {1} {"type":"x"}"#, json!({"type": "x"}));
        check(r#"{"a":"\ud83d\ude00 \ud83d and \ude00"}"#, json!({"a": "😀 \u{fffd} and \u{fffd}"}));
        check(r#"{"a":"\\ud83d \" \ud83d"}"#, json!({"a": "\\ud83d \" \u{fffd}"}));
        check(r#"{"a":1e999,"b":-1e999,"c":[12],"d":"1e999"}"#, json!({"a": null, "b": null, "c": [12], "d": "1e999"}));
        check("{\"a\":\"\u{2028}\u{1b}[1m\"}", json!({"a": "\u{2028} [1m"}));
        check("{\"a\":\"\t\u{0}\"}", json!({"a": "  "}));
        for line in ["", "plain", "[1]", "7", r#"{"type":"#, r#"{"a":"\u"}"#, &"{\"a\":".repeat(10_000), "{\"a\":\"\\"]
        {
            check(line, Value::Null);
        }
    }

    #[test]
    fn only_what_begins_as_an_event_is_missed() {
        let mut lines = EventLines::default();
        for line in ["text", "use {braces} like this", "{\"type\":\"resu", "{not json}"] {
            assert_eq!(lines.read(line), None);
        }
        assert_eq!(lines.unreadable(), 2);
    }
}
