//! Settings of adapters: which keys exist, what may stand there, and what is said of the rest.
//! Checked when an agent is saved and again when it is started, so that nothing is ever ignored.

use serde_json::{Map, Value};
use wakeful_domain::secret::SecretRef;

use super::ConfigError;

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A text that is not empty.
    Text,
    /// A list of texts.
    Texts,
    /// A program, or a program and its arguments.
    Command,
    /// Names and values of environment variables.
    Environment,
    /// Names and values of HTTP headers.
    Headers,
    /// A reference to a secret.
    Secret,
    /// A whole number from 1.
    Count,
    /// Yes or no.
    Flag,
    /// Looked at by the adapter itself.
    Own,
    /// One of these texts.
    OneOf(&'static [&'static str]),
}

/// The settings of an adapter, by name.
pub(super) type Keys = &'static [(&'static str, Kind)];

/// Refuses unknown keys and values of the wrong kind. `type` is everybody's.
pub(super) fn check(adapter: &str, keys: Keys, config: &Value) -> Result<(), ConfigError> {
    let Value::Object(settings) = config else {
        return Err(ConfigError { field: "adapter".into(), message: "must be an object".into() });
    };
    for (name, value) in settings.iter().filter(|(name, _)| *name != "type") {
        let Some((_, kind)) = keys.iter().find(|(known, _)| known == name) else {
            return Err(unknown(adapter, keys, name));
        };
        check_value(*kind, name, value)?;
    }
    Ok(())
}

/// The text of a setting.
pub(super) fn text<'a>(config: &'a Value, name: &str) -> Option<&'a str> {
    config.get(name).and_then(Value::as_str)
}

/// Whether a setting says yes; `default` if it is missing.
pub(super) fn flag(config: &Value, name: &str, default: bool) -> bool {
    config.get(name).and_then(Value::as_bool).unwrap_or(default)
}

/// What the agent is told: a fresh session is opened by the standing prompt.
pub(super) fn prompt(config: &Value, prompt: &str, is_fresh: bool) -> String {
    match text(config, "prompt") {
        Some(standing) if is_fresh => format!("{standing}\n\n{prompt}"),
        _ => prompt.to_owned(),
    }
}

/// The texts of a setting; none if it is missing.
pub(super) fn texts(config: &Value, name: &str) -> Vec<String> {
    let list = config.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The program and its first arguments: `command`, or the default.
pub(super) fn program(config: &Value, default: &str) -> Vec<String> {
    match config.get("command") {
        Some(Value::String(program)) => vec![program.clone()],
        Some(_) => texts(config, "command"),
        None => vec![default.to_owned()],
    }
}

/// The environment that `env` asks for.
pub(super) fn environment(config: &Value) -> Vec<(String, String)> {
    let variables = config.get("env").and_then(Value::as_object);
    let text_of = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    variables.into_iter().flatten().filter_map(text_of).collect()
}

fn check_value(kind: Kind, name: &str, value: &Value) -> Result<(), ConfigError> {
    let refused = |message: String| ConfigError { field: format!("adapter.{name}"), message };
    let is_text = |value: &Value| value.as_str().is_some_and(is_passable);
    let is_filled = |value: &Value| is_text(value) && value.as_str() != Some("");
    match (kind, value) {
        (Kind::Text, value) if is_filled(value) => Ok(()),
        (Kind::Text, _) => Err(refused("must be a text that is not empty".into())),
        (Kind::Texts, Value::Array(list)) if list.iter().all(is_text) => Ok(()),
        (Kind::Texts, _) => Err(refused("must be a list of texts".into())),
        (Kind::Command, Value::Array(list)) => match list.split_first() {
            Some((first, rest)) if is_filled(first) && rest.iter().all(is_text) => Ok(()),
            _ => Err(refused("must be a list of texts that begins with the program".into())),
        },
        (Kind::Command, value) if is_filled(value) => Ok(()),
        (Kind::Command, _) => Err(refused("must be a text or a list of texts".into())),
        (Kind::Environment, Value::Object(variables)) => check_environment(variables),
        (Kind::Environment, _) => Err(refused("must be an object of names and texts".into())),
        (Kind::Headers, Value::Object(headers)) => check_headers(headers),
        (Kind::Headers, _) => Err(refused("must be an object of names and texts".into())),
        (Kind::Secret, value) => match SecretRef::read(value) {
            Some(Ok(SecretRef { file: false, .. })) => Ok(()),
            Some(Err(problem)) => Err(refused(problem)),
            Some(Ok(_)) | None => Err(refused("must be {\"secret\": NAME}".into())),
        },
        (Kind::Count, value) if value.as_u64().is_some_and(|count| (1..=u64::from(u32::MAX)).contains(&count)) => {
            Ok(())
        }
        (Kind::Count, _) => Err(refused("must be a whole number from 1".into())),
        (Kind::Own, _) | (Kind::Flag, Value::Bool(_)) => Ok(()),
        (Kind::Flag, _) => Err(refused("must be true or false".into())),
        (Kind::OneOf(texts), value) if value.as_str().is_some_and(|text| texts.contains(&text)) => Ok(()),
        (Kind::OneOf(texts), _) => Err(refused(format!("must be one of {}", texts.join(", ")))),
    }
}

fn check_environment(variables: &Map<String, Value>) -> Result<(), ConfigError> {
    for (name, value) in variables {
        let refused = |message: String| Err(ConfigError { field: format!("adapter.env.{name}"), message });
        if name.is_empty() || name.contains('=') || !is_passable(name) {
            return refused("is no name of an environment variable".into());
        }
        if name.starts_with("WAKEFUL_") {
            return refused("is given by every run: choose a name that does not begin with WAKEFUL_".into());
        }
        match value {
            Value::String(text) if is_passable(text) => {}
            _ => match SecretRef::read(value) {
                Some(Ok(_)) => {}
                Some(Err(problem)) => return refused(problem),
                None => return refused("must be a text, or {\"secret\": NAME}".into()),
            },
        }
    }
    Ok(())
}

fn check_headers(headers: &Map<String, Value>) -> Result<(), ConfigError> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let is_sendable = |text: &str| text.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte));
    for (name, value) in headers {
        let refused = |message: String| Err(ConfigError { field: format!("adapter.headers.{name}"), message });
        if !is_name(name) {
            return refused("is no name of a header".into());
        }
        if ["content-length", "host", "transfer-encoding", "connection"].contains(&name.to_lowercase().as_str())
            || name.to_lowercase().starts_with("webhook-")
        {
            return refused("is set by Wakeful itself: leave it out".into());
        }
        match (value, SecretRef::read(value)) {
            (Value::String(text), _) if is_sendable(text) => {}
            (_, Some(Ok(SecretRef { file: false, .. }))) => {}
            (_, Some(Ok(_))) => return refused("cannot name a file: leave `file` out".into()),
            (_, Some(Err(problem))) => return refused(problem),
            (_, None) => return refused("must be a text of visible ASCII, or {\"secret\": NAME}".into()),
        }
    }
    Ok(())
}

/// Whether a text can be handed to a process at all.
fn is_passable(text: &str) -> bool {
    !text.contains('\0')
}

fn unknown(adapter: &str, keys: Keys, name: &str) -> ConfigError {
    let nearest = keys.iter().map(|(known, _)| (distance(known, name), *known)).min();
    let hint = match nearest {
        Some((distance, known)) if distance <= 2 && distance < name.chars().count() => {
            format!("did you mean `{known}`?")
        }
        _ => format!("its settings are {}", keys.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ")),
    };
    let message = format!("is not a setting of the {adapter} adapter; {hint}");
    ConfigError { field: format!("adapter.{name}"), message }
}

/// How many letters must be added, left out, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEYS: Keys = &[
        ("command", Kind::Command),
        ("model", Kind::Text),
        ("extra_args", Kind::Texts),
        ("env", Kind::Environment),
        ("max_turns", Kind::Count),
        ("stdin", Kind::OneOf(&["context", "none"])),
        ("headers", Kind::Headers),
        ("signing_secret", Kind::Secret),
    ];

    #[test]
    fn what_is_wrong_is_named() {
        let check = |config: Value, refusal: &str| {
            let found = super::check("claude", KEYS, &config).err().map(|error| error.to_string());
            assert_eq!(found.unwrap_or_default(), refusal, "{config}");
        };
        check(json!({"type": "x", "command": "claude", "model": "m", "extra_args": ["", "-x"], "max_turns": 3}), "");
        check(json!({"command": ["claude", ""], "env": {"A": ""}, "stdin": "none"}), "");
        check(json!([]), "adapter: must be an object");
        check(json!({"modle": "m"}), "adapter.modle: is not a setting of the claude adapter; did you mean `model`?");
        check(
            json!({"temperature": 1}),
            "adapter.temperature: is not a setting of the claude adapter; its settings are \
             command, model, extra_args, env, max_turns, stdin, headers, signing_secret",
        );
        check(json!({"model": 3}), "adapter.model: must be a text that is not empty");
        check(json!({"model": ""}), "adapter.model: must be a text that is not empty");
        check(json!({"model": "a\0b"}), "adapter.model: must be a text that is not empty");
        check(json!({"extra_args": "-x"}), "adapter.extra_args: must be a list of texts");
        check(json!({"command": []}), "adapter.command: must be a list of texts that begins with the program");
        check(json!({"command": 1}), "adapter.command: must be a text or a list of texts");
        check(json!({"max_turns": 0}), "adapter.max_turns: must be a whole number from 1");
        check(json!({"max_turns": 1.5}), "adapter.max_turns: must be a whole number from 1");
        check(json!({"stdin": "all"}), "adapter.stdin: must be one of context, none");
        check(json!({"env": []}), "adapter.env: must be an object of names and texts");
        check(json!({"env": {"A": 1}}), r#"adapter.env.A: must be a text, or {"secret": NAME}"#);
        check(json!({"env": {"A=B": ""}}), "adapter.env.A=B: is no name of an environment variable");
        check(json!({"env": {"KEY": {"secret": "key"}, "OTHER": {"secret": "key", "file": true}}}), "");
        check(
            json!({"env": {"KEY": {"secret": "a b"}}}),
            "adapter.env.KEY: the name of a secret must have 1 to 64 letters (a to z), digits, `-`, `_` or `.`, \
             and not begin with `.`",
        );
        check(
            json!({"headers": {"authorization": {"secret": "key"}, "x-a": "b"}, "signing_secret": {"secret": "s"}}),
            "",
        );
        check(json!({"headers": {"x y": "b"}}), "adapter.headers.x y: is no name of a header");
        check(json!({"headers": {"Host": "b"}}), "adapter.headers.Host: is set by Wakeful itself: leave it out");
        check(
            json!({"headers": {"a": "b\r\nc: d"}}),
            r#"adapter.headers.a: must be a text of visible ASCII, or {"secret": NAME}"#,
        );
        check(
            json!({"headers": {"a": {"secret": "k", "file": true}}}),
            "adapter.headers.a: cannot name a file: leave `file` out",
        );
        check(json!({"signing_secret": "s"}), r#"adapter.signing_secret: must be {"secret": NAME}"#);
        check(
            json!({"env": {"WAKEFUL_RUN": "r"}}),
            "adapter.env.WAKEFUL_RUN: is given by every run: choose a name that does not begin with WAKEFUL_",
        );
    }

    #[test]
    fn neighbouring_letters_may_be_swapped() {
        for (left, right, expected) in
            [("model", "modle", 1), ("env", "environment", 8), ("", "abc", 3), ("cwd", "cwd", 0)]
        {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}
