//! The quiet contract of agents that a timer or a schedule woke: what they say at last is told to
//! people, unless they say that there is nothing to tell.

use serde_json::Value;

/// An agent that has nothing to tell says this.
pub const NOTHING_TO_TELL: &str = "HEARTBEAT_OK";
/// So much may stand around it.
pub const AROUND_CHARS_MAX: usize = 300;

/// What people are to be told of a run, given what it said at last and its result; `None` if nobody is.
///
/// A result speaks before the text: `{"notify": false}` is quiet, `{"notify": true, "message"?}` is not.
pub fn to_tell(summary: Option<&str>, result: Option<&Value>) -> Option<String> {
    let text = summary.map(str::trim).filter(|text| !text.is_empty());
    let notify = result.and_then(|result| result.get("notify")).and_then(Value::as_bool);
    let message = result.and_then(|result| result.get("message")).and_then(Value::as_str);
    match (notify, result.and_then(Value::as_str)) {
        (Some(false), _) => None,
        (Some(true), _) => message.or(text).map(str::to_owned),
        (None, Some(said)) if is_nothing(said) => None,
        (None, _) => text.filter(|text| !is_nothing(text)).map(str::to_owned),
    }
}

/// Whether a text says that there is nothing to tell: the word stands in it by itself, with little around it.
fn is_nothing(text: &str) -> bool {
    let is_part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(NOTHING_TO_TELL).any(|(at, word)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let stands_alone = !before.ends_with(is_part_of_word) && !after.starts_with(is_part_of_word);
        let around = before.trim_start().chars().count() + after.trim_end().chars().count();
        stands_alone && around <= AROUND_CHARS_MAX
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_to_tell_is_told_to_nobody() {
        let told = |text: &str| to_tell(Some(text), None);
        for quiet in ["HEARTBEAT_OK", " HEARTBEAT_OK\n", "**HEARTBEAT_OK**", "All is well.\nHEARTBEAT_OK.", "", "  "] {
            assert_eq!(told(quiet), None, "{quiet:?}");
        }
        let (fits, too_much) = ("x".repeat(299), "x".repeat(300));
        assert_eq!(told(&format!("HEARTBEAT_OK {fits}")), None);
        let long = format!("HEARTBEAT_OK {too_much}");
        assert_eq!(told(&long), Some(long.clone()));
        for loud in ["The build is red.", "heartbeat_ok", "NOT_HEARTBEAT_OK", "HEARTBEAT_OKAY"] {
            assert_eq!(told(loud).as_deref(), Some(loud));
        }
        assert_eq!(to_tell(None, None), None);
    }

    #[test]
    fn a_result_speaks_before_the_text() {
        assert_eq!(to_tell(Some("Looked at 3 mails."), Some(&json!("HEARTBEAT_OK"))), None);
        assert_eq!(to_tell(Some("Looked at 3 mails."), Some(&json!({ "notify": false }))), None);
        let loud = json!({ "notify": true, "message": "One is urgent." });
        assert_eq!(to_tell(Some("HEARTBEAT_OK"), Some(&loud)).as_deref(), Some("One is urgent."));
        assert_eq!(to_tell(Some("Urgent."), Some(&json!({ "notify": true }))).as_deref(), Some("Urgent."));
        assert_eq!(to_tell(Some("Done."), Some(&json!({ "count": 3 }))).as_deref(), Some("Done."));
    }
}
