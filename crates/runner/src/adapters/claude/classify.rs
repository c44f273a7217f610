//! What a failed run of Claude Code means: from what it says in fields first, from its words last.
//! Words are only looked for where the CLI itself speaks (a failed result, its errors, standard
//! error), never in what the agent wrote.

use serde_json::Value;

/// A failure and what it means for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub code: &'static str,
    /// Resuming the session would end in the same way again.
    pub ends_session: bool,
}

impl Failure {
    /// Never reported: the run starts afresh.
    pub const SESSION_UNKNOWN: Failure = Failure::new("session_unknown");

    const fn new(code: &'static str) -> Self {
        Self { code, ends_session: false }
    }

    const fn that_ends_session(code: &'static str) -> Self {
        Self { code, ends_session: true }
    }
}

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

/// Said by the CLI when the session to be resumed is not there.
const SESSION_UNKNOWN: &[&str] =
    &["no conversation found with session id", "requires a valid session id", "is not a uuid and does not match"];

/// Words of the CLI, in lower case; the first that occurs decides.
const WORDS: &[(&str, Failure)] = &[
    ("maximum number of turns", Failure::that_ends_session("max_turns")),
    ("prompt is too long", Failure::that_ends_session("context_too_long")),
    ("previous_message_id", Failure::that_ends_session("session_broken")),
    ("tool_use_id", Failure::that_ends_session("session_broken")),
    ("`tool_use` ids", Failure::that_ends_session("session_broken")),
    ("`thinking` blocks", Failure::that_ends_session("session_broken")),
    ("violate our usage policy", Failure::that_ends_session("refused")),
    ("please run /login", Failure::new("auth_required")),
    ("invalid api key", Failure::new("auth_required")),
    ("oauth token has expired", Failure::new("auth_required")),
    ("oauth token revoked", Failure::new("auth_required")),
    ("failed to authenticate", Failure::new("auth_required")),
    ("authentication_error", Failure::new("auth_required")),
    ("does not have access to claude", Failure::new("auth_required")),
    ("issue with the selected model", Failure::new("model_not_found")),
    ("credit balance is too low", Failure::new("usage_limit")),
    ("out of extra usage", Failure::new("usage_limit")),
    ("limit reached", Failure::new("usage_limit")),
    ("hit your limit", Failure::new("usage_limit")),
    ("hit your session limit", Failure::new("usage_limit")),
    ("hit your weekly limit", Failure::new("usage_limit")),
    ("hit your usage limit", Failure::new("usage_limit")),
    ("limit · resets", Failure::new("usage_limit")),
    ("overloaded", Failure::new("overloaded")),
    ("request rejected (429)", Failure::new("rate_limited")),
    ("rate limit", Failure::new("rate_limited")),
    ("server-side issue", Failure::new("server_error")),
    ("internal server error", Failure::new("server_error")),
    ("connection error", Failure::new("server_error")),
    ("unable to connect to api", Failure::new("server_error")),
    ("request timed out", Failure::new("server_error")),
];

/// Words on standard error when the CLI did not even begin.
const STDERR_WORDS: &[(&str, Failure)] = &[
    ("cannot be used with root/sudo", Failure::new("bad_config")),
    ("error: unknown option", Failure::new("bad_config")),
    ("error: option '", Failure::new("bad_config")),
    ("input must be provided either through stdin", Failure::new("bad_config")),
    ("please run /login", Failure::new("auth_required")),
    ("invalid api key", Failure::new("auth_required")),
];

/// Whether the run succeeded, and if not, why and in which words.
pub(super) fn judge(judged: &Judged<'_>) -> Result<(), (Failure, String)> {
    let result = judged.result;
    let has_succeeded = result["subtype"] == "success" && result["is_error"] != true;
    if has_succeeded && result["stop_reason"] != "refusal" {
        return Ok(());
    }
    let words = words_of(result);
    let failure = failure_of(judged, &words.to_lowercase());
    Err((failure, words))
}

/// What a line on standard error means, if anything.
pub(super) fn of_stderr(line: &str, resumes: bool) -> Option<Failure> {
    let line = line.to_lowercase();
    if resumes && is_any_of(&line, SESSION_UNKNOWN) {
        return Some(Failure::SESSION_UNKNOWN);
    }
    find(STDERR_WORDS, &line)
}

fn failure_of(judged: &Judged<'_>, words: &str) -> Failure {
    let result = judged.result;
    if judged.resumes && is_any_of(words, SESSION_UNKNOWN) {
        return Failure::SESSION_UNKNOWN;
    }
    if result["subtype"] == "error_max_turns" || result["terminal_reason"] == "max_turns" {
        return Failure::that_ends_session("max_turns");
    }
    if result["stop_reason"] == "refusal" {
        return Failure::that_ends_session("refused");
    }
    let by_words = find(WORDS, words);
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

fn find(table: &[(&str, Failure)], text: &str) -> Option<Failure> {
    table.iter().find(|(words, _)| text.contains(words)).map(|(_, failure)| *failure)
}

fn is_any_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}
