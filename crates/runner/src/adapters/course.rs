//! The course of a run as a CLI tells it, and the judgement on it. What the readers of `gemini`,
//! `opencode`, `cursor` and `cli` have in common: each of them only says what an event means.
//! The verdict is the last one told; the exit status is only asked when there is none.

use std::path::Path;

use serde_json::{Map, Value};
use wakeful_domain::outcome::{Outcome, SessionChange, SessionState};
use wakeful_domain::usage::Usage;

use super::events::EventLines;
use super::excerpt::{LastLines, cut, cut_bytes};
use super::failures::{Failure, Table};
use super::results::call_id;
use super::steps::Answer;
use super::tools::RunningTools;
use super::{Conclusion, Exit, Signal, ending, figures, session};

/// A summary is read by people.
const SUMMARY_BYTES_MAX: usize = 16 * 1024;
/// Messages in the event list are excerpts: the log has the whole.
const MESSAGE_CHARS_MAX: usize = 500;
/// Data of an event are a few fields: the log has the whole.
const DATA_BYTES_MAX: usize = 8 * 1024;
/// An explanation is a sentence, not a log.
const ERROR_CHARS_MAX: usize = 2_000;

/// How a turn ended.
#[derive(Debug)]
enum Verdict {
    Succeeded,
    Failed { error: String, failure: Option<Failure> },
}

/// What was told so far.
#[derive(Debug)]
pub(super) struct Course {
    program: String,
    table: &'static Table,
    cwd: String,
    /// A session was to be resumed.
    pub resumes: bool,
    session_id: Option<String>,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub billing: Option<String>,
    /// The last thing the agent said: its answer, if nothing comes after it.
    text: String,
    pub usage: Option<Usage>,
    pub cost_micros: Option<i64>,
    verdict: Option<Verdict>,
    last_error: Option<String>,
    pub events: EventLines,
    pub tools: RunningTools,
    pub stderr: LastLines,
}

impl Course {
    pub(super) fn new(program: &str, table: &'static Table, session: Option<&SessionState>, cwd: &Path) -> Self {
        Self {
            program: program.to_owned(),
            table,
            cwd: cwd.to_string_lossy().into_owned(),
            resumes: session.is_some(),
            session_id: None,
            model: None,
            provider: None,
            billing: None,
            text: String::new(),
            usage: None,
            cost_micros: None,
            verdict: None,
            last_error: None,
            events: EventLines::default(),
            tools: RunningTools::default(),
            stderr: LastLines::default(),
        }
    }

    /// The id of the session, told anew or again.
    pub(super) fn session(&mut self, id: &Value) -> Vec<Signal> {
        match id.as_str().filter(|id| session::is_id(id)) {
            Some(id) if self.session_id.as_deref() != Some(id) => {
                self.session_id = Some(id.to_owned());
                vec![signal("session", id, serde_json::json!({"session_id": id, "model": self.model}))]
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn has_session(&self) -> bool {
        self.session_id.is_some()
    }

    /// The agent has said this.
    pub(super) fn said(&mut self, text: &str) -> Vec<Signal> {
        if text.is_empty() {
            return Vec::new();
        }
        self.text = cut_bytes(text, SUMMARY_BYTES_MAX);
        vec![signal("message", text, Value::Null)]
    }

    /// A piece of an answer of its model.
    pub(super) fn goes_on_answering(&mut self) {
        self.tools.answered(Answer::piece(self.model.as_deref()));
    }

    /// The agent goes on: what was judged before is not the end.
    pub(super) fn goes_on(&mut self) {
        self.verdict = None;
    }

    pub(super) fn succeeded(&mut self) {
        self.verdict = Some(Verdict::Succeeded);
        self.tools.all_ended();
    }

    /// The turn has failed; `failure` where the event tells more than its words.
    pub(super) fn failed(&mut self, error: &str, failure: Option<Failure>) {
        let error = cut(error.trim(), ERROR_CHARS_MAX);
        let error = if error.is_empty() { format!("{} reported a failure and no reason", self.program) } else { error };
        self.verdict = Some(Verdict::Failed { error, failure });
        self.tools.all_ended();
    }

    /// An error that the agent may get over.
    pub(super) fn complained(&mut self, error: &str) -> Vec<Signal> {
        self.last_error = Some(cut(error, ERROR_CHARS_MAX));
        vec![signal("error", error, Value::Null)]
    }

    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Counted on top of what was used before.
    pub(super) fn used(&mut self, usage: &Usage) {
        self.usage = Some(figures::sum(&self.usage.unwrap_or_default(), usage));
    }

    pub(super) fn cost(&mut self, micros: Option<i64>) {
        let Some(micros) = micros else { return };
        self.cost_micros =
            Some(self.cost_micros.unwrap_or(0).saturating_add(micros).min(wakeful_domain::usage::USAGE_MAX));
    }

    pub(super) fn has_ended(&self) -> bool {
        self.verdict.is_some()
    }

    /// What every outcome carries, however the run ended.
    pub(super) fn so_far(&self) -> Outcome {
        let session = self.session_id.as_deref().map(|id| session::state(id, &self.cwd, Map::new()));
        Outcome {
            session: session.map_or(SessionChange::Keep, SessionChange::Set),
            usage: self.usage,
            cost_micros: self.cost_micros,
            model: self.model.clone(),
            provider: self.provider.clone(),
            billing: self.billing.clone(),
            summary: (!self.text.is_empty()).then(|| self.text.clone()),
            ..Outcome::succeeded()
        }
    }

    fn outcome_of(&self, failure: Failure, error: &str, exit: &Exit) -> Outcome {
        ending::failed(failure, error, exit, self.so_far())
    }

    /// The judgement, once the process is gone.
    pub(super) fn conclude(&self, exit: &Exit) -> Conclusion {
        match &self.verdict {
            Some(Verdict::Succeeded) => Conclusion::Done(Box::new(self.so_far())),
            Some(Verdict::Failed { error, .. }) if self.resumes && self.table.is_session_unknown(error) => {
                Conclusion::SessionUnknown { error: error.clone() }
            }
            Some(Verdict::Failed { error, failure }) => {
                let known = failure.or_else(|| self.table.of_words(error)).map(|failure| (failure, error.as_str()));
                let (failure, words) = known.or_else(|| self.by_stderr()).unwrap_or((Failure::UNKNOWN, error));
                Conclusion::Done(Box::new(self.outcome_of(failure, words, exit)))
            }
            None => self.conclude_without_verdict(exit),
        }
    }

    /// What standard error tells, when the events do not.
    fn by_stderr(&self) -> Option<(Failure, &str)> {
        self.stderr.newest_first().find_map(|line| Some((self.table.of_stderr(line)?, line)))
    }

    fn conclude_without_verdict(&self, exit: &Exit) -> Conclusion {
        let told = || self.last_error.as_deref().into_iter().chain(self.stderr.newest_first());
        // Once a session has begun it is there, whatever is complained about.
        if self.resumes
            && self.session_id.is_none()
            && let Some(line) = told().find(|line| self.table.is_session_unknown(line))
        {
            return Conclusion::SessionUnknown { error: line.to_owned() };
        }
        let failed_by_itself = exit.signal.is_none() && exit.code != Some(0);
        let by_event = || {
            let line = self.last_error.as_deref()?;
            Some((self.table.of_words(line)?, line))
        };
        let known = if failed_by_itself { by_event().or_else(|| self.by_stderr()) } else { None };
        if let Some((failure, line)) = known {
            return Conclusion::Done(Box::new(self.outcome_of(failure, line, exit)));
        }
        let last = self.last_error.as_deref().or(self.stderr.last());
        let by_exit = ending::without_result_among(self.events.unreadable(), exit, &self.program, last);
        let of_exit = self.table.of_exit(exit.code).filter(|_| failed_by_itself);
        if let (Some(failure), Some(error)) = (of_exit, by_exit.error.as_deref()) {
            return Conclusion::Done(Box::new(self.outcome_of(failure, error, exit)));
        }
        Conclusion::Done(Box::new(Outcome { summary: None, ..ending::judged_by(by_exit, self.so_far()) }))
    }
}

/// A signal within its limits: what a CLI puts into its events may be of any size.
pub(super) fn signal(kind: &'static str, message: &str, data: Value) -> Signal {
    let is_small = data.is_null() || data.to_string().len() <= DATA_BYTES_MAX;
    let data = if is_small { data } else { serde_json::json!({"cut": true}) };
    Signal { kind, message: cut(message, MESSAGE_CHARS_MAX), data }
}

/// A tool and the part of its input that says what it is used on.
pub(super) fn tool(name: &str, id: &Value, input: &Value) -> Signal {
    const SUBJECTS: &[&str] = &[
        "command",
        "file_path",
        "filePath",
        "notebook_path",
        "path",
        "pattern",
        "url",
        "query",
        "description",
        "skill",
    ];
    let subject = SUBJECTS.iter().find_map(|key| input[*key].as_str());
    let message = subject.map_or_else(|| name.to_owned(), |subject| format!("{name}: {subject}"));
    signal("tool", &message, serde_json::json!({"name": cut(name, MESSAGE_CHARS_MAX), "id": call_id(id)}))
}
