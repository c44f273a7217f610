//! What the tests of the readers share: fixtures, ends, and a whole run read at once.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wakeful_domain::outcome::{Outcome, SessionChange, SessionState};

use super::{Adapter, Conclusion, Exit, Reader, Signal, Stream};

pub(super) const CWD: &str = "/srv/agent";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A recorded stream, as `gemini/success.jsonl`; nothing if there is none.
pub(super) fn fixture(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_default()
}

/// Both streams of a recorded run, as `gemini/success`.
pub(super) fn recorded(name: &str) -> (String, String) {
    let found = (fixture(&format!("{name}.jsonl")), fixture(&format!("{name}.stderr")));
    assert!(!(found.0.is_empty() && found.1.is_empty()), "{name} is not recorded");
    found
}

/// Every recorded standard output of an adapter.
pub(super) fn all_recorded(adapter: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path(adapter)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

pub(super) fn exit(code: i32) -> Exit {
    Exit { code: Some(code), signal: None, result_file: None, at: "2026-11-21T10:18:20Z".parse().unwrap() }
}

pub(super) fn killed(signal: i32) -> Exit {
    Exit { code: None, signal: Some(signal), ..exit(0) }
}

/// A reader that has read all of this, and what it made of it.
pub(super) fn read(
    adapter: Adapter,
    config: &Value,
    session: Option<&SessionState>,
    stdout: &str,
    stderr: &str,
) -> (Box<dyn Reader>, Vec<Signal>) {
    let mut reader = adapter.reader(config, session, Path::new(CWD));
    let mut signals: Vec<Signal> = stderr.lines().flat_map(|line| reader.line(Stream::Stderr, line)).collect();
    signals.extend(stdout.lines().flat_map(|line| reader.line(Stream::Stdout, line)));
    (reader, signals)
}

pub(super) fn done(conclusion: Conclusion) -> Outcome {
    match conclusion {
        Conclusion::Done(outcome) => *outcome,
        Conclusion::SessionUnknown { error } => panic!("the session is not known: {error}"),
    }
}

pub(super) fn session_of(outcome: &Outcome) -> SessionState {
    match &outcome.session {
        SessionChange::Set(session) => session.clone(),
        other => panic!("{other:?}"),
    }
}

/// `(code, error)` of a failure.
pub(super) fn failure_of(outcome: &Outcome) -> (&str, &str) {
    (outcome.error_code.as_deref().unwrap_or_default(), outcome.error.as_deref().unwrap_or_default())
}

pub(super) fn kinds(signals: &[Signal]) -> Vec<(&'static str, &str)> {
    signals.iter().map(|signal| (signal.kind, signal.message.as_str())).collect()
}

/// What calls returned: the text and the data of each result.
pub(super) fn results(signals: &[Signal]) -> Vec<(&str, &Value)> {
    let results = signals.iter().filter(|signal| signal.kind == "tool_result");
    results.map(|signal| (signal.message.as_str(), &signal.data)).collect()
}
