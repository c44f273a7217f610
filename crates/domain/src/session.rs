//! Whether a run resumes its lane's session. A session is resumed unless it was ended (the adapter cleared
//! it, the operator reset it), the run works elsewhere, the adapter cannot, or it is beyond its limits:
//! then it is *rotated*, and the fresh one gets a hand-over note. Decided here, from what is known.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::RunId;
use crate::outcome::SessionState;
use crate::run::RunStatus;
use crate::time::{Timestamp, say_duration};

/// What is kept of a session that the adapter asked to clear.
pub const ENDED_BY_ADAPTER: &str = "the agent asked for a fresh one";
/// What is kept of a session that was reset.
pub const ENDED_BY_OPERATOR: &str = "the operator reset it";
/// What is kept of a session that a later run neither resumed nor replaced.
pub const ENDED_BY_SILENCE: &str = "the run after it started afresh and reported no session";

/// When the session of a lane is rotated; 0 stands for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionPolicy {
    /// Runs that share a session.
    pub max_runs: i64,
    /// Tokens used in it, those of caches included.
    pub max_tokens: i64,
    /// Seconds since its first run ended.
    pub max_age_s: i64,
}

impl Default for SessionPolicy {
    /// Far more than one piece of work takes, less than a lane that is never closed gathers over the years.
    fn default() -> Self {
        Self { max_runs: 200, max_tokens: 50_000_000, max_age_s: 30 * 24 * 60 * 60 }
    }
}

impl SessionPolicy {
    /// More than any session can reach.
    const RUNS_MAX: i64 = 1_000_000;
    const TOKENS_MAX: i64 = 1_000_000_000_000;
    /// Ten years.
    const AGE_S_MAX: i64 = 10 * 366 * 24 * 60 * 60;

    /// What is wrong with it, if anything: the field and the message.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let bounds = [
            ("session.max_runs", self.max_runs, Self::RUNS_MAX),
            ("session.max_tokens", self.max_tokens, Self::TOKENS_MAX),
            ("session.max_age_s", self.max_age_s, Self::AGE_S_MAX),
        ];
        bounds
            .into_iter()
            .find(|(_, value, high)| !(0..=*high).contains(value))
            .map(|(field, value, high)| (field, format!("is {value}; it must lie between 0 (no limit) and {high}")))
    }
}

/// The session of a lane, as it was left.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownSession {
    pub state: SessionState,
    /// Runs that it took part in.
    pub turns: i64,
    /// Tokens used in it, those of caches included.
    pub tokens: i64,
    pub created_at: Timestamp,
    pub last_run: RunId,
    /// Where its last run worked.
    pub cwd: Option<String>,
    /// Why it is not to be resumed, in words that follow its name.
    pub ended_because: Option<String>,
}

/// How a run comes by its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// It goes on in the lane's session.
    Resumed,
    /// It begins with none.
    Fresh,
    /// It begins with none because the lane's session has reached its limits.
    Rotated,
}

impl Start {
    /// As it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Start::Resumed => "resumed",
            Start::Fresh => "fresh",
            Start::Rotated => "rotated",
        }
    }
}

/// The decision, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub start: Start,
    /// A sentence for a person.
    pub reason: String,
    /// Whether the fresh session is told what the old one was about.
    pub hands_over: bool,
}

/// What a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    pub now: Timestamp,
    pub policy: &'a SessionPolicy,
    /// Where the run works.
    pub cwd: &'a str,
    /// Why the adapter cannot resume the session, if it cannot.
    pub adapter_refuses: Option<&'a str>,
}

/// Whether a run resumes what its lane has.
pub fn decide(known: Option<&KnownSession>, circumstances: &Circumstances<'_>) -> Decision {
    let fresh = |reason: String, hands_over| Decision { start: Start::Fresh, reason, hands_over };
    let Some(known) = known else { return fresh("the lane has no session yet".into(), false) };
    let name = &known.state.display_id;
    if let Some(because) = &known.ended_because {
        return fresh(format!("session {name} is not resumed: {because}"), false);
    }
    if let Some(cwd) = known.cwd.as_deref().filter(|cwd| *cwd != circumstances.cwd) {
        let told =
            format!("session {name} is not resumed: it worked in {cwd}, this run works in {}", circumstances.cwd);
        return fresh(told, true);
    }
    if let Some(refusal) = circumstances.adapter_refuses {
        return fresh(format!("session {name} is not resumed: {refusal}"), true);
    }
    match beyond(known, circumstances) {
        Some(limit) => {
            let reason = format!("session {name} was rotated: {limit}");
            Decision { start: Start::Rotated, reason, hands_over: true }
        }
        None => {
            let reason = format!("session {name} is this lane's");
            Decision { start: Start::Resumed, reason, hands_over: false }
        }
    }
}

/// The limit that a session has reached, if any.
fn beyond(known: &KnownSession, circumstances: &Circumstances<'_>) -> Option<String> {
    let SessionPolicy { max_runs, max_tokens, max_age_s } = *circumstances.policy;
    if max_runs > 0 && known.turns >= max_runs {
        return Some(format!("it took part in {}; {max_runs} is the limit (session.max_runs)", runs(known.turns)));
    }
    if max_tokens > 0 && known.tokens >= max_tokens {
        return Some(format!("it used {} tokens; {max_tokens} is the limit (session.max_tokens)", known.tokens));
    }
    let age = circumstances.now.since(known.created_at);
    let limit = Duration::from_secs(u64::try_from(max_age_s).unwrap_or(0));
    (!limit.is_zero() && age >= limit)
        .then(|| format!("it is {} old; {} is the limit (session.max_age_s)", say_duration(age), say_duration(limit)))
}

fn runs(count: i64) -> String {
    if count == 1 { "1 run".into() } else { format!("{count} runs") }
}

/// Longer accounts of the last run are cut in a note.
const ACCOUNT_CHARS_MAX: usize = 4_000;
/// A larger checkpoint is not repeated in a note; `wakeful checkpoint` shows it.
const CHECKPOINT_BYTES_MAX: usize = 16 * 1024;

/// What a fresh session is told about the one before it. Made from what is known, by no model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handover {
    /// The session before, as people are shown it.
    pub session: String,
    /// Why it is not resumed.
    pub reason: String,
    /// Runs that the session took part in.
    pub runs: i64,
    pub last_run: Option<LastRun>,
    /// What an earlier run of the lane noted down, if it is small enough.
    pub checkpoint: Option<Value>,
}

/// The last run of the session before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    pub id: RunId,
    pub status: RunStatus,
    /// Its own account, or its error; cut at 4,000 characters.
    pub summary: Option<String>,
    pub error: Option<String>,
}

impl LastRun {
    /// The run as a note tells it.
    pub fn new(id: RunId, status: RunStatus, summary: Option<&str>, error: Option<&str>) -> LastRun {
        LastRun { id, status, summary: summary.map(cut), error: error.map(cut) }
    }
}

impl Handover {
    /// A note on `known`, which is not resumed for this reason.
    pub fn new(known: &KnownSession, reason: &str, last_run: Option<LastRun>, checkpoint: Option<&Value>) -> Handover {
        Handover {
            session: known.state.display_id.clone(),
            reason: reason.to_owned(),
            runs: known.turns,
            last_run,
            checkpoint: checkpoint.filter(|note| note.to_string().len() <= CHECKPOINT_BYTES_MAX).cloned(),
        }
    }

    /// The note as an agent reads it. The checkpoint is not repeated: every fresh start is told of it.
    pub fn text(&self) -> String {
        let mut text = format!(
            "You worked on this before, in another session ({}, {}), whose words you do not have any more: {}.\n",
            self.session,
            runs(self.runs),
            self.reason
        );
        if let Some(last) = &self.last_run {
            text.push_str(&format!("Its last run {} {}", last.id, last.status.as_str().replace('_', " ")));
            match last.error.as_ref().or(last.summary.as_ref()) {
                Some(account) => text.push_str(&format!(":\n{account}\n")),
                None => text.push_str(" and left no account.\n"),
            }
        }
        text.push_str("Look at the state of the work itself before you go on.\n");
        text
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(ACCOUNT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdSource;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn known(change: impl FnOnce(&mut KnownSession)) -> KnownSession {
        let mut known = KnownSession {
            state: SessionState::new(Value::Null, "s1"),
            turns: 3,
            tokens: 1_000,
            created_at: Timestamp::from_millis(NOW.as_millis() - 60_000),
            last_run: IdSource::new(1).next(NOW),
            cwd: Some("/srv/a".into()),
            ended_because: None,
        };
        change(&mut known);
        known
    }

    #[track_caller]
    fn check(known: Option<KnownSession>, policy: SessionPolicy, refuses: Option<&str>, expected: (Start, bool, &str)) {
        let circumstances = Circumstances { now: NOW, policy: &policy, cwd: "/srv/a", adapter_refuses: refuses };
        let found = decide(known.as_ref(), &circumstances);
        assert_eq!((found.start, found.hands_over, found.reason.as_str()), expected);
    }

    #[test]
    fn a_session_is_resumed_unless_something_stands_against_it() {
        use Start::{Fresh, Resumed, Rotated};
        let policy = SessionPolicy::default();
        check(None, policy, None, (Fresh, false, "the lane has no session yet"));
        check(Some(known(|_| ())), policy, None, (Resumed, false, "session s1 is this lane's"));
        let reset = known(|known| known.ended_because = Some(ENDED_BY_OPERATOR.into()));
        check(Some(reset), policy, None, (Fresh, false, "session s1 is not resumed: the operator reset it"));
        let elsewhere = known(|known| known.cwd = Some("/srv/b".into()));
        let told = "session s1 is not resumed: it worked in /srv/b, this run works in /srv/a";
        check(Some(elsewhere), policy, None, (Fresh, true, told));
        check(
            Some(known(|_| ())),
            policy,
            Some("it has no id"),
            (Fresh, true, "session s1 is not resumed: it has no id"),
        );
        let limits = |max_runs, max_tokens, max_age_s| SessionPolicy { max_runs, max_tokens, max_age_s };
        let told = "session s1 was rotated: it took part in 3 runs; 3 is the limit (session.max_runs)";
        check(Some(known(|_| ())), limits(3, 0, 0), None, (Rotated, true, told));
        check(Some(known(|_| ())), limits(4, 0, 0), None, (Resumed, false, "session s1 is this lane's"));
        let told = "session s1 was rotated: it used 1000 tokens; 999 is the limit (session.max_tokens)";
        check(Some(known(|_| ())), limits(0, 999, 0), None, (Rotated, true, told));
        check(Some(known(|_| ())), limits(0, 1_001, 0), None, (Resumed, false, "session s1 is this lane's"));
        let told = "session s1 was rotated: it is 1 min old; 59 s is the limit (session.max_age_s)";
        check(Some(known(|_| ())), limits(0, 0, 59), None, (Rotated, true, told));
        check(Some(known(|_| ())), limits(0, 0, 61), None, (Resumed, false, "session s1 is this lane's"));
        let endless = known(|known| (known.turns, known.tokens) = (i64::MAX, i64::MAX));
        check(Some(endless), limits(0, 0, 0), None, (Resumed, false, "session s1 is this lane's"));
    }

    #[test]
    fn limits_have_limits() {
        assert_eq!(SessionPolicy::default().problem(), None);
        let none = SessionPolicy { max_runs: 0, max_tokens: 0, max_age_s: 0 };
        assert_eq!(none.problem(), None);
        for (policy, field) in [
            (SessionPolicy { max_runs: -1, ..none }, "session.max_runs"),
            (SessionPolicy { max_tokens: i64::MAX, ..none }, "session.max_tokens"),
            (SessionPolicy { max_age_s: i64::MAX, ..none }, "session.max_age_s"),
        ] {
            assert_eq!(policy.problem().unwrap().0, field);
        }
    }

    #[test]
    fn a_note_says_what_is_known_and_stays_small() {
        let known = known(|_| ());
        let last = LastRun::new(known.last_run, RunStatus::Succeeded, Some(&"x".repeat(9_000)), None);
        let huge = Value::String("y".repeat(CHECKPOINT_BYTES_MAX));
        let note = Handover::new(&known, "it grew old", Some(last), Some(&huge));
        assert_eq!((note.checkpoint.as_ref(), note.runs), (None, 3));
        let text = note.text();
        assert!(text.len() < 6_000 && text.contains("s1") && text.contains("it grew old"), "{text}");
        let small = serde_json::json!({ "step": 7 });
        let failed = LastRun::new(known.last_run, RunStatus::TimedOut, Some("half"), Some("took too long"));
        let note = Handover::new(&known, "it grew old", Some(failed), Some(&small));
        assert_eq!(note.checkpoint, Some(small));
        assert!(note.text().contains("timed out:\ntook too long"), "{}", note.text());
    }
}
