//! The `cli` adapter: an agent's CLI that Wakeful does not know, described in the configuration: how it is
//! given its prompt, session and model, where in its events things stand, and what its words mean.
//! Without a terminal event in the description the exit status is the judgement.

mod description;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::Value;
use wakeful_domain::outcome::{End, Outcome, SessionChange, SessionState};
use wakeful_domain::usage::Usage;

use self::description::{Description, Events, Prompt};
use super::course::{Course, tool};
use super::excerpt::{LastLines, name};
use super::{Command, Conclusion, ConfigError, Exit, Invocation, Reader, Signal, Step, Stream};
use super::{failures, figures, reset_time, session, settings};

/// Time to stop after the signal: as for a command of any kind.
const GRACE_S: u32 = 20;
/// What a shell exits with if it does not find a command.
const EXIT_NOT_FOUND: i32 = 127;
/// Codes after which resuming the session would end in the same way again.
const CODES_ENDING_SESSION: &[&str] = &["context_too_long", "max_turns", "refused", "session_broken"];
/// Puts standard input into a file beside the run's own files and names it to the program.
const WITH_PROMPT_FILE: &str = r#"f="${WAKEFUL_RESULT_FILE%/*}/prompt.txt"; (umask 077; cat > "$f") || exit 75
n=$#; while [ "$n" -gt 0 ]; do a=$1; shift; [ "$a" = "{prompt_file}" ] && a=$f; set -- "$@" "$a"; n=$((n-1)); done
exec "$@" < /dev/null"#;

pub(super) fn check(config: &Value) -> Result<(), ConfigError> {
    Description::read(config).map(|_| ())
}

pub(super) fn command(invocation: &Invocation<'_>) -> Result<Command, ConfigError> {
    let config = invocation.config;
    let description = Description::read(config)?;
    let session_id = invocation.session.and_then(session::id);
    let prompt = settings::prompt(config, invocation.prompt, session_id.is_none());
    let mut argv = settings::program(config, "");
    let filled = |arguments: &[String], name: &str, value: &str| -> Vec<String> {
        arguments.iter().map(|argument| argument.replace(name, value)).collect()
    };
    if let Some(id) = session_id {
        argv.extend(filled(&description.session_args, "{session}", id));
    }
    if let Some(model) = settings::text(config, "model") {
        argv.extend(filled(&description.model_args, "{model}", model));
    }
    let stdin = match description.prompt {
        Prompt::Stdin => prompt,
        Prompt::Argument => {
            match argv.iter_mut().find(|argument| *argument == "{prompt}") {
                Some(place) => *place = prompt,
                None => argv.push(prompt),
            }
            String::new()
        }
        Prompt::File => {
            let shell = ["/bin/sh", "-c", WITH_PROMPT_FILE, "sh"].map(str::to_owned);
            argv.splice(0..0, shell);
            prompt
        }
    };
    Ok(Command {
        argv,
        env: settings::environment(config),
        env_remove: Vec::new(),
        stdin,
        keeps_stdin_open: false,
        stop_signal: description.stop_signal,
        grace_s_default: GRACE_S,
    })
}

/// Reads events or text, as the description says.
#[derive(Debug)]
pub(super) struct CliReader {
    description: Description,
    course: Course,
    /// What was written last, where output is text: an answer or an explanation.
    stdout: LastLines,
}

impl CliReader {
    pub(super) fn new(config: &Value, session: Option<&SessionState>, cwd: &Path) -> Self {
        // It was checked when the agent was started.
        let description = Description::read(config).unwrap_or_default();
        let program = settings::program(config, "the command");
        let name = program.first().map_or("the command", |path| path.rsplit('/').next().unwrap_or(path));
        let mut course = Course::new(name, &failures::ANY, session, cwd);
        course.model = settings::text(config, "model").map(str::to_owned);
        Self { description, course, stdout: LastLines::default() }
    }

    fn event(&mut self, event: &Value) -> Vec<Signal> {
        let fields = &self.description.fields;
        let text = |field: &str| fields.of(field, event).and_then(Value::as_str);
        if let Some(model) = text("model") {
            self.course.model = Some(name(model));
        }
        let mut signals = self.course.session(fields.of("session_id", event).unwrap_or(&Value::Null));
        if let Some(said) = text("text") {
            signals.extend(self.course.said(said));
            self.course.goes_on_answering();
        }
        if let Some(name) = text("tool") {
            self.course.goes_on_answering();
            self.course.tools.told(&Value::Null, name, false, None);
            signals.push(tool(name, &Value::Null, &Value::Null));
        }
        let usage = fields.usage(event);
        let cost = fields.of("cost_micros", event).map(figures::tokens);
        let dollars = fields.of("cost_dollars", event).and_then(Value::as_f64);
        let cost = cost.or(dollars.and_then(figures::micros_of_dollars));
        let error = text("error").map(str::to_owned);
        self.count(usage, cost);
        if let Some(error) = &error {
            signals.extend(self.course.complained(error));
        }
        if self.description.failure.matches(event) {
            let error = error.or(self.course.last_error().map(str::to_owned));
            self.course.failed(&error.unwrap_or_default(), None);
        } else if self.description.success.matches(event) {
            self.course.succeeded();
        } else if !signals.is_empty() {
            self.course.goes_on();
        }
        signals
    }

    fn count(&mut self, usage: Option<Usage>, cost_micros: Option<i64>) {
        if self.description.sums_usage {
            usage.iter().for_each(|usage| self.course.used(usage));
            return self.course.cost(cost_micros);
        }
        self.course.usage = usage.or(self.course.usage);
        self.course.cost_micros = cost_micros.or(self.course.cost_micros);
    }

    /// Lines in which the CLI may have said why it failed, the latest first.
    fn complaints(&self) -> impl Iterator<Item = &str> {
        let stdout = (self.description.events == Events::Text).then_some(&self.stdout);
        let stdout = stdout.into_iter().flat_map(LastLines::newest_first);
        self.course.last_error().into_iter().chain(self.course.stderr.newest_first()).chain(stdout)
    }

    /// What the description's patterns make of a failure that has no better name.
    fn named(&self, outcome: Outcome, exit: &Exit) -> Outcome {
        if exit.signal.is_some() && !self.course.has_ended() {
            return outcome;
        }
        let shell_found_nothing = self.description.prompt == Prompt::File
            && exit.code == Some(EXIT_NOT_FOUND)
            && self.course.stderr.last().is_some_and(|line| line.ends_with("not found"));
        if shell_found_nothing {
            return Outcome { error_code: Some("command_not_found".into()), ..outcome };
        }
        let told = outcome.error.as_deref().into_iter().chain(self.complaints());
        let known = told.filter_map(|line| Some((self.description.code_of(line)?.to_owned(), line.to_owned()))).next();
        let Some((code, line)) = known else { return outcome };
        let zone = jiff::tz::TimeZone::system();
        Outcome {
            retry_at: if code == "usage_limit" { reset_time::read(&line, exit.at, &zone) } else { None },
            session: match CODES_ENDING_SESSION.contains(&code.as_str()) {
                true => SessionChange::Clear,
                false => outcome.session.clone(),
            },
            error_code: Some(code),
            error: Some(line),
            ..outcome
        }
    }
}

impl Reader for CliReader {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Signal> {
        match (stream, self.description.events) {
            (Stream::Stderr, _) => self.course.stderr.push(line),
            (Stream::Stdout, Events::Text) => self.stdout.push(line),
            (Stream::Stdout, Events::JsonLines) => {
                if let Some(event) = self.course.events.read(line) {
                    return self.event(&event);
                }
            }
        }
        Vec::new()
    }

    fn conclude(&mut self, exit: &Exit) -> Conclusion {
        let is_unknown = |line: &str| self.description.says_session_unknown(line);
        if self.course.resumes
            && !self.course.has_session()
            && let Some(line) = self.complaints().find(|line| is_unknown(line))
        {
            return Conclusion::SessionUnknown { error: line.to_owned() };
        }
        let by_exit = self.description.success.is_empty() && !self.course.has_ended();
        if by_exit && exit.code.is_some_and(|code| self.description.success_exit_codes.contains(&code)) {
            if self.description.events == Events::Text {
                let mut lines: Vec<&str> = self.stdout.newest_first().collect();
                lines.reverse();
                let text = lines.join("\n");
                self.course.said(&text);
            }
            self.course.succeeded();
        }
        match self.course.conclude(exit) {
            Conclusion::Done(outcome) if outcome.end == End::Failed => {
                Conclusion::Done(Box::new(self.named(*outcome, exit)))
            }
            concluded => concluded,
        }
    }

    fn so_far(&self) -> Outcome {
        self.course.so_far()
    }

    fn has_ended(&self) -> bool {
        self.course.has_ended()
    }

    fn steps(&mut self) -> Vec<Step> {
        self.course.tools.take_steps()
    }
}
