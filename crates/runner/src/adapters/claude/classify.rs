//! What a failed run of Claude Code means: from what it says in fields first, from its words
//! (`failures::CLAUDE`) last.

use serde_json::Value;

use crate::adapters::failures::{CLAUDE, Failure};

/// Never reported: the run starts afresh.
pub(super) const SESSION_UNKNOWN: Failure = Failure::new("session_unknown");

/// The end of a run, as far as the event stream told it.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub result: &'a Value,
    /// The `error` of the last `assistant` event.
    pub api_error: Option<&'a str>,
    /// A `rate_limit_event` said `rejected`.
    pub limit_is_reached: bool,
    pub resumes: bool,
}

/// Whether the run succeeded, and if not, why and in which words.
pub(super) fn judge(judged: &Judged<'_>) -> Result<(), (Failure, String)> {
    let result = judged.result;
    let has_succeeded = result["subtype"] == "success" && result["is_error"] != true;
    if has_succeeded && result["stop_reason"] != "refusal" {
        return Ok(());
    }
    let words = words_of(result);
    let failure = failure_of(judged, &words);
    Err((failure, words))
}

fn failure_of(judged: &Judged<'_>, words: &str) -> Failure {
    let result = judged.result;
    if judged.resumes && CLAUDE.is_session_unknown(words) {
        return SESSION_UNKNOWN;
    }
    if result["subtype"] == "error_max_turns" || result["terminal_reason"] == "max_turns" {
        return Failure::that_ends_session("max_turns");
    }
    if result["stop_reason"] == "refusal" {
        return Failure::that_ends_session("refused");
    }
    let by_words = CLAUDE.of_words(words);
    let status = result["api_error_status"].as_u64();
    match (judged.api_error, status) {
        (Some("authentication_failed" | "oauth_org_not_allowed"), _) | (_, Some(401)) => Failure::new("auth_required"),
        (Some("model_not_found"), _) => Failure::new("model_not_found"),
        (Some("billing_error"), _) => Failure::new("usage_limit"),
        (Some("rate_limit"), _) | (_, Some(429)) if judged.limit_is_reached => Failure::new("usage_limit"),
        // The words know more: whether it is the account's limit, overload, or what is wrong with the request.
        _ if by_words.is_some() => by_words.unwrap_or(Failure::new("agent_error")),
        (Some("rate_limit"), _) | (_, Some(429)) => Failure::new("rate_limited"),
        (_, Some(403)) => Failure::new("auth_required"),
        (_, Some(529 | 503)) => Failure::new("overloaded"),
        (Some("server_error"), _) | (_, Some(500..=599)) => Failure::new("server_error"),
        _ => Failure::new("agent_error"),
    }
}

/// What the CLI says about a failed run.
fn words_of(result: &Value) -> String {
    let errors: Vec<&str> = result["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let text = result["result"].as_str().unwrap_or_default();
    let words = if errors.is_empty() { text.to_owned() } else { errors.join("; ") };
    match words.trim() {
        "" => format!("claude reported {}", result["subtype"].as_str().unwrap_or("a failure")),
        words => super::cut(words, ERROR_CHARS_MAX),
    }
}

/// An explanation is a sentence, not a log.
const ERROR_CHARS_MAX: usize = 2_000;
