//! What a configuration says of a CLI: read once, and refused with the field and the remedy.

use serde_json::{Map, Value};
use wakeful_domain::usage::Usage;

use crate::adapters::settings::{self, Keys, Kind};
use crate::adapters::{ConfigError, StopSignal, figures, report};

pub(super) const KEYS: Keys = &[
    ("command", Kind::Command),
    ("account", Kind::Text),
    ("model", Kind::Text),
    ("cwd", Kind::Text),
    ("env", Kind::Environment),
    ("prompt", Kind::Text),
    ("prompt_via", Kind::OneOf(&["stdin", "argument", "file"])),
    ("session_args", Kind::Texts),
    ("model_args", Kind::Texts),
    ("events", Kind::OneOf(&["json_lines", "text"])),
    ("fields", Kind::Own),
    ("usage", Kind::OneOf(&["last", "sum"])),
    ("success", Kind::Own),
    ("failure", Kind::Own),
    ("session_unknown", Kind::Texts),
    ("error_patterns", Kind::Own),
    ("success_exit_codes", Kind::Own),
    ("stop_signal", Kind::OneOf(&["interrupt", "terminate"])),
];
/// What can be found in an event.
const FIELDS: &[&str] = &[
    "session_id",
    "text",
    "tool",
    "model",
    "error",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_dollars",
    "cost_micros",
];

/// How the CLI is given its prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Prompt {
    #[default]
    Stdin,
    /// Seen by everybody on the machine, and limited in length: only if it is asked for.
    Argument,
    File,
}

/// What the CLI writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Events {
    JsonLines,
    #[default]
    Text,
}

/// A CLI, as it is described.
#[derive(Debug)]
pub(super) struct Description {
    pub prompt: Prompt,
    pub session_args: Vec<String>,
    pub model_args: Vec<String>,
    pub events: Events,
    pub fields: Fields,
    /// Figures are added up; otherwise the last ones stand.
    pub sums_usage: bool,
    pub success: Match,
    pub failure: Match,
    session_unknown: Vec<String>,
    error_patterns: Vec<(String, String)>,
    pub success_exit_codes: Vec<i32>,
    pub stop_signal: StopSignal,
}

impl Default for Description {
    fn default() -> Self {
        Self {
            prompt: Prompt::default(),
            session_args: Vec::new(),
            model_args: Vec::new(),
            events: Events::default(),
            fields: Fields::default(),
            sums_usage: false,
            success: Match::default(),
            failure: Match::default(),
            session_unknown: Vec::new(),
            error_patterns: Vec::new(),
            success_exit_codes: vec![0],
            stop_signal: StopSignal::Terminate,
        }
    }
}

/// Where in an event a thing stands, as a JSON pointer.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn of<'a>(&self, field: &str, event: &'a Value) -> Option<&'a Value> {
        let (_, pointer) = self.0.iter().find(|(name, _)| name == field)?;
        event.pointer(pointer).filter(|value| !value.is_null())
    }

    /// The tokens that an event speaks of, if it does.
    pub(super) fn usage(&self, event: &Value) -> Option<Usage> {
        let count = |field: &str| self.of(field, event).map(figures::tokens);
        let (input, output) = (count("input_tokens"), count("output_tokens"));
        let (read, written) = (count("cache_read_tokens"), count("cache_write_tokens"));
        [input, output, read, written].iter().any(Option::is_some).then(|| Usage {
            input_tokens: input.unwrap_or(0),
            output_tokens: output.unwrap_or(0),
            cache_read_tokens: read.unwrap_or(0),
            cache_write_tokens: written.unwrap_or(0),
        })
    }
}

/// What an event must hold: pointers and the values that stand there.
#[derive(Debug, Default)]
pub(super) struct Match(Vec<(String, Value)>);

impl Match {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn matches(&self, event: &Value) -> bool {
        !self.is_empty() && self.0.iter().all(|(pointer, value)| event.pointer(pointer) == Some(value))
    }
}

impl Description {
    pub(super) fn read(config: &Value) -> Result<Self, ConfigError> {
        settings::check("cli", KEYS, config)?;
        if config.get("command").is_none() {
            return Err(refused("command", "is required: the program, or a list of program and arguments"));
        }
        let description = Self {
            prompt: match settings::text(config, "prompt_via") {
                Some("argument") => Prompt::Argument,
                Some("file") => Prompt::File,
                _ => Prompt::Stdin,
            },
            session_args: settings::texts(config, "session_args"),
            model_args: settings::texts(config, "model_args"),
            events: match settings::text(config, "events") {
                Some("json_lines") => Events::JsonLines,
                _ => Events::Text,
            },
            fields: fields(config)?,
            sums_usage: settings::text(config, "usage") == Some("sum"),
            success: matching(config, "success")?,
            failure: matching(config, "failure")?,
            session_unknown: lowered(settings::texts(config, "session_unknown")),
            error_patterns: patterns(config)?,
            success_exit_codes: exit_codes(config)?,
            stop_signal: match settings::text(config, "stop_signal") {
                Some("interrupt") => StopSignal::Interrupt,
                _ => StopSignal::Terminate,
            },
        };
        description.check_parts_together(config)?;
        Ok(description)
    }

    /// Settings that mean nothing without another are mistakes.
    fn check_parts_together(&self, config: &Value) -> Result<(), ConfigError> {
        let holds = |arguments: &[String], name: &str| arguments.iter().any(|argument| argument.contains(name));
        if !self.session_args.is_empty() && !holds(&self.session_args, "{session}") {
            return Err(refused("session_args", "must hold `{session}`, as in [\"--resume\", \"{session}\"]"));
        }
        if !self.model_args.is_empty() && !holds(&self.model_args, "{model}") {
            return Err(refused("model_args", "must hold `{model}`, as in [\"--model\", \"{model}\"]"));
        }
        if config.get("model").is_some() && self.model_args.is_empty() {
            return Err(refused("model", "needs model_args: how the command is told, as [\"--model\", \"{model}\"]"));
        }
        let command = settings::program(config, "");
        if self.prompt == Prompt::File && !command.iter().any(|argument| argument == "{prompt_file}") {
            return Err(refused("prompt_via", "`file` needs an argument `{prompt_file}` in adapter.command"));
        }
        if self.events == Events::Text {
            let of_events = ["fields", "usage", "success", "failure"];
            if let Some(name) = of_events.iter().find(|name| config.get(**name).is_some()) {
                return Err(refused(name, "speaks of events: set adapter.events to `json_lines`"));
            }
        }
        if !self.session_args.is_empty() && !self.fields.0.iter().any(|(name, _)| name == "session_id") {
            return Err(refused("session_args", "needs fields.session_id: where the id stands in an event"));
        }
        Ok(())
    }

    /// The code that a line means, if a pattern knows it.
    pub(super) fn code_of(&self, line: &str) -> Option<&str> {
        let line = line.to_lowercase();
        self.error_patterns.iter().find(|(words, _)| line.contains(words)).map(|(_, code)| code.as_str())
    }

    pub(super) fn says_session_unknown(&self, line: &str) -> bool {
        let line = line.to_lowercase();
        self.session_unknown.iter().any(|words| line.contains(words))
    }
}

fn refused(field: &str, message: &str) -> ConfigError {
    ConfigError { field: format!("adapter.{field}"), message: message.into() }
}

fn lowered(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().map(|text| text.to_lowercase()).filter(|text| !text.is_empty()).collect()
}

fn object<'a>(config: &'a Value, name: &str, example: &str) -> Result<Option<&'a Map<String, Value>>, ConfigError> {
    match config.get(name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(refused(name, &format!("must be an object, as {example}"))),
    }
}

/// A JSON pointer begins with a slash; a tilde in it stands for one of two letters.
fn is_pointer(text: &str) -> bool {
    let is_escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && is_escaped
}

fn fields(config: &Value) -> Result<Fields, ConfigError> {
    let mut fields = Vec::new();
    for (name, pointer) in object(config, "fields", "{\"session_id\": \"/session/id\"}")?.into_iter().flatten() {
        let path = format!("fields.{name}");
        if !FIELDS.contains(&name.as_str()) {
            return Err(refused(&path, &format!("is not known: use {}", FIELDS.join(", "))));
        }
        match pointer.as_str().filter(|pointer| is_pointer(pointer)) {
            Some(pointer) => fields.push((name.clone(), pointer.to_owned())),
            None => return Err(refused(&path, "must be a JSON pointer, as `/message/text`")),
        }
    }
    let has = |wanted: &str| fields.iter().any(|(name, _)| name == wanted);
    if has("cost_dollars") && has("cost_micros") {
        return Err(refused("fields.cost_micros", "cannot stand beside cost_dollars: name the one that the CLI gives"));
    }
    Ok(Fields(fields))
}

fn matching(config: &Value, name: &str) -> Result<Match, ConfigError> {
    let Some(object) = object(config, name, "{\"/type\": \"result\"}")? else { return Ok(Match::default()) };
    if object.is_empty() {
        return Err(refused(name, "must name at least one pointer, as {\"/type\": \"result\"}"));
    }
    for (pointer, value) in object {
        if !is_pointer(pointer) {
            return Err(refused(&format!("{name}.{pointer}"), "is not a JSON pointer: write it as `/type`"));
        }
        if value.is_array() || value.is_object() {
            return Err(refused(&format!("{name}.{pointer}"), "must be a text, a number, true, false or null"));
        }
    }
    Ok(Match(object.iter().map(|(pointer, value)| (pointer.clone(), value.clone())).collect()))
}

fn patterns(config: &Value) -> Result<Vec<(String, String)>, ConfigError> {
    let mut patterns = Vec::new();
    for (words, code) in object(config, "error_patterns", "{\"out of credit\": \"usage_limit\"}")?.into_iter().flatten()
    {
        let path = format!("error_patterns.{words}");
        if words.trim().is_empty() {
            return Err(refused(&path, "matches everything: name words of the message"));
        }
        let Some(code) = code.as_str() else { return Err(refused(&path, "must be an error code")) };
        report::check_code(code).map_err(|problem| refused(&path, &problem))?;
        patterns.push((words.to_lowercase(), code.to_owned()));
    }
    // The longest knows most.
    patterns.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
    Ok(patterns)
}

fn exit_codes(config: &Value) -> Result<Vec<i32>, ConfigError> {
    let Some(given) = config.get("success_exit_codes") else { return Ok(vec![0]) };
    let wrong = || refused("success_exit_codes", "must be a list of exit statuses from 0 to 255, as [0, 3]");
    let list = given.as_array().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
    let of_status = |value: &Value| value.as_u64().and_then(|code| u8::try_from(code).ok()).map(i32::from);
    list.iter().map(|value| of_status(value).ok_or_else(wrong)).collect()
}
