//! What a failed run of Codex means. It gives no codes, only words: those of a failed turn, of an
//! error event or of standard error. The agent's own messages are never looked at.

/// A failure and what it means for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub code: &'static str,
    /// Resuming the session would end in the same way again.
    pub ends_session: bool,
}

impl Failure {
    /// For words that no line of the table knows.
    pub const UNKNOWN: Failure = Failure::new("agent_error");

    const fn new(code: &'static str) -> Self {
        Self { code, ends_session: false }
    }

    const fn that_ends_session(code: &'static str) -> Self {
        Self { code, ends_session: true }
    }
}

/// Said when the thread to be resumed is not there.
const SESSION_UNKNOWN: &[&str] = &[
    "no rollout found for",
    "no thread with id",
    "thread not found",
    "no saved session found",
    "failed to read session",
    "rollout path",
];

/// Words of the CLI, in lower case and with straight apostrophes; the first that occurs decides.
const WORDS: &[(&str, Failure)] = &[
    ("you've hit your usage limit", Failure::new("usage_limit")),
    ("usage limit has been reached", Failure::new("usage_limit")),
    ("quota exceeded", Failure::new("usage_limit")),
    ("exceeded your current quota", Failure::new("usage_limit")),
    ("out of credits", Failure::new("usage_limit")),
    ("you hit your spend cap", Failure::new("usage_limit")),
    ("to use codex with your chatgpt plan", Failure::new("auth_required")),
    ("blocked by cloudflare", Failure::new("server_error")),
    ("context window", Failure::that_ends_session("context_too_long")),
    ("invalid_encrypted_content", Failure::that_ends_session("session_broken")),
    ("flagged as potentially violating", Failure::that_ends_session("refused")),
    ("refresh token", Failure::new("auth_required")),
    ("refresh_token", Failure::new("auth_required")),
    ("invalid_grant", Failure::new("auth_required")),
    ("401 unauthorized", Failure::new("auth_required")),
    ("403 forbidden", Failure::new("auth_required")),
    ("missing environment variable", Failure::new("auth_required")),
    ("incorrect api key", Failure::new("auth_required")),
    ("not logged in", Failure::new("auth_required")),
    ("please log out and sign in", Failure::new("auth_required")),
    ("model_not_found", Failure::new("model_not_found")),
    ("does not exist or you do not have access", Failure::new("model_not_found")),
    ("model is not supported", Failure::new("model_not_found")),
    ("requires a newer version of codex", Failure::new("model_not_found")),
    ("at capacity", Failure::new("overloaded")),
    ("overloaded", Failure::new("overloaded")),
    ("503 service unavailable", Failure::new("overloaded")),
    ("high demand", Failure::new("server_error")),
    ("429 too many requests", Failure::new("rate_limited")),
    ("rate limit", Failure::new("rate_limited")),
    ("last status: 5", Failure::new("server_error")),
    ("unexpected status 5", Failure::new("server_error")),
    ("stream disconnected", Failure::new("server_error")),
    ("error sending request", Failure::new("server_error")),
    ("connection failed", Failure::new("server_error")),
    ("request timed out", Failure::new("server_error")),
    ("error loading config", Failure::new("bad_config")),
    ("error loading configuration", Failure::new("bad_config")),
    ("error: unexpected argument", Failure::new("bad_config")),
    ("error: invalid value", Failure::new("bad_config")),
    ("no prompt provided via stdin", Failure::new("bad_config")),
    ("not inside a trusted directory", Failure::new("bad_config")),
];

/// What words of the CLI mean, if that is known.
pub(super) fn of_line(line: &str) -> Option<Failure> {
    let line = normal(line);
    WORDS.iter().find(|(words, _)| line.contains(words)).map(|(_, failure)| *failure)
}

/// Whether the thread to be resumed is not there.
pub(super) fn is_session_unknown(line: &str) -> bool {
    let line = normal(line);
    SESSION_UNKNOWN.iter().any(|words| line.contains(words))
}

fn normal(line: &str) -> String {
    line.to_lowercase().replace('’', "'")
}
