//! What the words, statuses and exits of each CLI mean: one table per CLI, all of them here.
//! Words are only looked for where a CLI itself speaks (a failed result, an error event, standard
//! error), never in what the agent wrote. What a code means for the retry is `wakeful_domain::failure`'s.

#[cfg(test)]
mod tests;

/// A failure and what it means for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub code: &'static str,
    /// Resuming the session would end in the same way again.
    pub ends_session: bool,
}

impl Failure {
    /// For what no line of a table knows.
    pub const UNKNOWN: Failure = Failure::new("agent_error");

    pub const fn new(code: &'static str) -> Self {
        Self { code, ends_session: false }
    }

    pub const fn that_ends_session(code: &'static str) -> Self {
        Self { code, ends_session: true }
    }
}

/// What a CLI says and what it means. Words are in lower case with straight apostrophes; the first that
/// occurs decides.
#[derive(Debug)]
pub(super) struct Table {
    /// Said when the session to be resumed is not there.
    pub session_unknown: &'static [&'static str],
    /// In its events.
    pub words: &'static [(&'static str, Failure)],
    /// On standard error, when the events do not tell.
    pub stderr: &'static [(&'static str, Failure)],
    /// Exit statuses of its own.
    pub exits: &'static [(i32, Failure)],
}

impl Table {
    /// What words of an event mean, if that is known.
    pub(super) fn of_words(&self, text: &str) -> Option<Failure> {
        find(&[self.words, EVERYWHERE], &normal(text))
    }

    /// What a line on standard error means, if that is known.
    pub(super) fn of_stderr(&self, line: &str) -> Option<Failure> {
        find(&[self.stderr], &normal(line))
    }

    /// What an exit status means, if it is one of the CLI's own.
    pub(super) fn of_exit(&self, code: Option<i32>) -> Option<Failure> {
        let code = code?;
        self.exits.iter().find(|(known, _)| *known == code).map(|(_, failure)| *failure)
    }

    /// Whether the session to be resumed is not there.
    pub(super) fn is_session_unknown(&self, text: &str) -> bool {
        let text = normal(text);
        self.session_unknown.iter().any(|words| text.contains(words))
    }
}

/// What a status of the model's server means.
pub(super) fn of_status(status: Option<u64>) -> Option<Failure> {
    match status? {
        401 | 403 => Some(AUTH),
        404 => Some(MODEL),
        402 => Some(QUOTA),
        413 => Some(TOO_LONG),
        429 => Some(RATE),
        503 | 529 => Some(OVERLOADED),
        500..=599 => Some(SERVER),
        _ => None,
    }
}

fn find(tables: &[&[(&str, Failure)]], text: &str) -> Option<Failure> {
    let mut lines = tables.iter().flat_map(|table| table.iter());
    lines.find(|(words, _)| text.contains(words)).map(|(_, failure)| *failure)
}

fn normal(text: &str) -> String {
    text.to_lowercase().replace('’', "'")
}

const AUTH: Failure = Failure::new("auth_required");
const QUOTA: Failure = Failure::new("usage_limit");
const RATE: Failure = Failure::new("rate_limited");
const OVERLOADED: Failure = Failure::new("overloaded");
const SERVER: Failure = Failure::new("server_error");
const MODEL: Failure = Failure::new("model_not_found");
const CONFIG: Failure = Failure::new("bad_config");
const REFUSED: Failure = Failure::that_ends_session("refused");
const TURNS: Failure = Failure::that_ends_session("max_turns");
const TOO_LONG: Failure = Failure::that_ends_session("context_too_long");
const BROKEN: Failure = Failure::that_ends_session("session_broken");

/// Asked after a CLI's own words: what the providers say, whoever passes it on.
const EVERYWHERE: &[(&str, Failure)] = &[
    ("previous_message_id", BROKEN),
    ("`tool_use` ids", BROKEN),
    ("tool_use_id", BROKEN),
    ("tool_call_id", BROKEN),
    ("invalid_encrypted_content", BROKEN),
    ("prompt is too long", TOO_LONG),
    ("context_length_exceeded", TOO_LONG),
    ("maximum context length", TOO_LONG),
    ("exceeds the maximum number of tokens", TOO_LONG),
    ("exceeded your current quota", QUOTA),
    ("insufficient_quota", QUOTA),
    ("credit balance is too low", QUOTA),
    ("usage limit", QUOTA),
    ("quota exceeded", QUOTA),
    ("invalid api key", AUTH),
    ("invalid x-api-key", AUTH),
    ("incorrect api key", AUTH),
    ("api key not valid", AUTH),
    ("api_key_invalid", AUTH),
    ("authentication_error", AUTH),
    ("unauthenticated", AUTH),
    ("401 unauthorized", AUTH),
    ("not logged in", AUTH),
    ("model_not_found", MODEL),
    ("does not exist or you do not have access", MODEL),
    ("overloaded", OVERLOADED),
    ("rate limit", RATE),
    ("too many requests", RATE),
    ("internal server error", SERVER),
    ("bad gateway", SERVER),
    ("connection error", SERVER),
    ("econnrefused", SERVER),
    ("econnreset", SERVER),
    ("enotfound", SERVER),
    ("fetch failed", SERVER),
    ("request timed out", SERVER),
];

/// Claude Code.
pub(super) const CLAUDE: Table = Table {
    session_unknown: &[
        "no conversation found with session id",
        "requires a valid session id",
        "is not a uuid and does not match",
    ],
    words: &[
        ("maximum number of turns", TURNS),
        ("prompt is too long", TOO_LONG),
        ("previous_message_id", BROKEN),
        ("tool_use_id", BROKEN),
        ("`tool_use` ids", BROKEN),
        ("`thinking` blocks", BROKEN),
        ("violate our usage policy", REFUSED),
        ("please run /login", AUTH),
        ("invalid api key", AUTH),
        ("oauth token has expired", AUTH),
        ("oauth token revoked", AUTH),
        ("failed to authenticate", AUTH),
        ("authentication_error", AUTH),
        ("does not have access to claude", AUTH),
        ("issue with the selected model", MODEL),
        ("credit balance is too low", QUOTA),
        ("out of extra usage", QUOTA),
        ("limit reached", QUOTA),
        ("hit your limit", QUOTA),
        ("hit your session limit", QUOTA),
        ("hit your weekly limit", QUOTA),
        ("hit your opus limit", QUOTA),
        ("hit your sonnet limit", QUOTA),
        ("hit your usage limit", QUOTA),
        ("limit · resets", QUOTA),
        ("overloaded", OVERLOADED),
        ("request rejected (429)", RATE),
        ("rate limit", RATE),
        ("server-side issue", SERVER),
        ("internal server error", SERVER),
        ("connection error", SERVER),
        ("unable to connect to api", SERVER),
        ("request timed out", SERVER),
    ],
    stderr: &[
        ("cannot be used with root/sudo", CONFIG),
        ("error: unknown option", CONFIG),
        ("error: option '", CONFIG),
        ("input must be provided either through stdin", CONFIG),
        ("please run /login", AUTH),
        ("invalid api key", AUTH),
    ],
    exits: &[],
};

/// Codex. It gives no codes, only words.
pub(super) const CODEX: Table = Table {
    session_unknown: &[
        "no rollout found for",
        "no thread with id",
        "thread not found",
        "no saved session found",
        "failed to read session",
        "rollout path",
    ],
    words: CODEX_WORDS,
    stderr: CODEX_WORDS,
    exits: &[],
};

const CODEX_WORDS: &[(&str, Failure)] = &[
    ("you've hit your usage limit", QUOTA),
    ("usage limit has been reached", QUOTA),
    ("quota exceeded", QUOTA),
    ("exceeded your current quota", QUOTA),
    ("out of credits", QUOTA),
    ("you hit your spend cap", QUOTA),
    ("to use codex with your chatgpt plan", AUTH),
    ("blocked by cloudflare", SERVER),
    ("context window", TOO_LONG),
    ("invalid_encrypted_content", BROKEN),
    ("no tool output found for", BROKEN),
    ("flagged as potentially violating", REFUSED),
    ("refresh token", AUTH),
    ("refresh_token", AUTH),
    ("invalid_grant", AUTH),
    ("401 unauthorized", AUTH),
    ("403 forbidden", AUTH),
    ("missing environment variable", AUTH),
    ("incorrect api key", AUTH),
    ("not logged in", AUTH),
    ("please log out and sign in", AUTH),
    ("model_not_found", MODEL),
    ("does not exist or you do not have access", MODEL),
    ("model is not supported", MODEL),
    ("requires a newer version of codex", MODEL),
    ("at capacity", OVERLOADED),
    ("overloaded", OVERLOADED),
    ("503 service unavailable", OVERLOADED),
    ("high demand", SERVER),
    ("429 too many requests", RATE),
    ("rate limit", RATE),
    ("last status: 5", SERVER),
    ("unexpected status 5", SERVER),
    ("stream disconnected", SERVER),
    ("error sending request", SERVER),
    ("connection failed", SERVER),
    ("request timed out", SERVER),
    ("error loading config", CONFIG),
    ("error: unexpected argument", CONFIG),
    ("error: invalid value", CONFIG),
    ("no prompt provided via stdin", CONFIG),
    ("not inside a trusted directory", CONFIG),
];

/// Gemini CLI.
pub(super) const GEMINI: Table = Table {
    session_unknown: &[
        "invalid session identifier",
        "error resuming session",
        "no previous sessions found",
        "session not found",
    ],
    words: &[
        ("exhausted your daily quota", QUOTA),
        ("exhausted your capacity", QUOTA),
        ("quota will reset", QUOTA),
        ("terminalquotaerror", QUOTA),
        ("blocked due to safety", REFUSED),
        ("prohibited_content", REFUSED),
        ("reached max session turns", TURNS),
        ("maximum session turns", TURNS),
        ("exceeds maximum number of tokens", TOO_LONG),
        ("input token count", TOO_LONG),
        ("please set an auth method", AUTH),
        ("permission_denied", AUTH),
        ("is not found for api version", MODEL),
        ("requested entity was not found", MODEL),
        ("resource_exhausted", RATE),
        ("resource has been exhausted", RATE),
        ("no capacity available", OVERLOADED),
        ("an internal error has occurred", SERVER),
    ],
    stderr: &[
        ("please set an auth method", AUTH),
        ("you must specify the gemini_api_key", AUTH),
        ("when using vertex ai, you must specify", AUTH),
        ("invalid auth method selected", AUTH),
        ("is not running in a trusted directory", CONFIG),
        ("reached max session turns", TURNS),
        ("unknown argument", CONFIG),
        ("invalid values:", CONFIG),
    ],
    exits: &[(41, AUTH), (42, CONFIG), (44, CONFIG), (52, CONFIG), (53, TURNS)],
};

/// `OpenCode`.
pub(super) const OPENCODE: Table = Table {
    session_unknown: &["session not found", "notfounderror: session", "resource not found: session"],
    words: &[
        ("contentfiltererror", REFUSED),
        ("blocked by the provider's content filter", REFUSED),
        ("providerautherror", AUTH),
        ("providermodelnotfounderror", MODEL),
        ("model not found", MODEL),
        ("contextoverflowerror", TOO_LONG),
    ],
    stderr: &[
        ("providermodelnotfounderror", MODEL),
        ("model not found", MODEL),
        ("insufficient_quota", QUOTA),
        ("exceeded your current quota", QUOTA),
        ("usage limit", QUOTA),
        ("statuscode\":429", RATE),
        ("too many requests", RATE),
        ("rate limit", RATE),
        ("overloaded", OVERLOADED),
        ("internal server error", SERVER),
        ("configinvaliderror", CONFIG),
        ("configuration is invalid", CONFIG),
        ("unknown argument", CONFIG),
    ],
    exits: &[],
};

/// Cursor's agent.
pub(super) const CURSOR: Table = Table {
    session_unknown: &["chat not found", "session not found", "unknown session", "could not resume", "no chat with id"],
    words: &[],
    stderr: &[
        ("cursor-agent login", AUTH),
        ("agent login", AUTH),
        ("authentication required", AUTH),
        ("cursor_api_key", AUTH),
        ("not logged in", AUTH),
        ("cannot use this model", MODEL),
        ("model not found", MODEL),
        ("hit your usage limit", QUOTA),
        ("resource_exhausted", QUOTA),
        ("rate limit", RATE),
        ("workspace trust required", CONFIG),
        ("unknown option", CONFIG),
        ("unavailable", SERVER),
    ],
    exits: &[],
};

/// What is known of every CLI, for those that are described in the configuration.
pub(super) const ANY: Table = Table {
    session_unknown: &["session not found", "unknown session", "no such session", "no conversation found"],
    words: &[],
    stderr: &[],
    exits: &[],
};
