//! What a setting may be: checked alike whether a file, a variable or an option says it.

use serde_json::{Value, json};
use url::Url;
use wakeful_domain::time::parse_duration;
use wakeful_runner::http::Guard;

use crate::logging::Levels;

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `HOST:PORT`.
    Address,
    /// `http://…` or `https://…`.
    Url,
    /// `postgres://…`, or `host=… user=…`; both may hold a password.
    Database,
    Networks,
    /// A file; one that a configuration names is looked for beside it.
    File,
    /// For a shell.
    Command,
    Count {
        min: u64,
        max: u64,
    },
    Duration,
    OneOf(&'static [&'static str]),
    /// Of the log.
    Levels,
}

/// What cannot be said in words that hold no secret.
const MASK: &str = "***";

impl Kind {
    /// What stands for its value in the help.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::Address => "ADDRESS",
            Kind::Url | Kind::Database => "URL",
            Kind::Networks => "NETWORK",
            Kind::File => "FILE",
            Kind::Command => "COMMAND",
            Kind::Count { .. } => "N",
            Kind::Duration => "DURATION",
            Kind::OneOf(_) => "WORD",
            Kind::Levels => "LEVELS",
        }
    }

    /// A value as it may be, where there is none without a word.
    pub fn example(self) -> &'static str {
        match self {
            Kind::Address => "127.0.0.1:7777",
            Kind::Url => "https://wakeful.example.com",
            Kind::Database => "postgres://wakeful@localhost/wakeful",
            Kind::Networks => "10.0.0.0/8",
            Kind::File => "/etc/wakeful/master.key",
            Kind::Command => "pass show wakeful/master-key",
            Kind::Count { .. } => "1",
            Kind::Duration => "30s",
            Kind::OneOf(words) => words.first().copied().unwrap_or_default(),
            Kind::Levels => "info,wakeful_engine=debug",
        }
    }

    /// Whether it may be said more than once.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Networks)
    }

    /// Whether nobody is shown it as it is.
    pub fn is_secret(self) -> bool {
        matches!(self, Kind::Database)
    }

    /// The value that a text says, as an option or a variable has it; or what it must be.
    pub fn of_text(self, text: &str) -> Result<Value, String> {
        match self {
            Kind::Count { .. } => self.checked(&text.trim().parse::<u64>().map_or_else(|_| json!(text), Value::from)),
            Kind::Networks => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                self.checked(&parts.map(str::to_owned).collect())
            }
            _ => self.checked(&json!(text)),
        }
    }

    /// The value, if it is one; or what it must be.
    pub fn checked(self, value: &Value) -> Result<Value, String> {
        let is_right = match (self, value) {
            (Kind::Address, Value::String(text)) => is_address(text),
            (Kind::Url, Value::String(text)) => is_url(text, &["http", "https"]),
            (Kind::Database, Value::String(text)) => is_database(text),
            (Kind::File | Kind::Command, Value::String(text)) => !text.trim().is_empty(),
            (Kind::Duration, Value::String(text)) => parse_duration(text).is_ok(),
            (Kind::Count { min, max }, Value::Number(number)) => {
                number.as_u64().is_some_and(|number| (min..=max).contains(&number))
            }
            (Kind::OneOf(words), Value::String(text)) => words.contains(&text.as_str()),
            (Kind::Levels, Value::String(text)) => {
                return text
                    .parse::<Levels>()
                    .map(|_| value.clone())
                    .map_err(|error| format!("must be levels: {error}"));
            }
            (Kind::Networks, Value::Array(items)) => return networks(items).map(|()| value.clone()),
            _ => false,
        };
        if is_right { Ok(value.clone()) } else { Err(format!("must be {}{}", self.wanted(), self.given(value))) }
    }

    fn wanted(self) -> String {
        match self {
            Kind::Address => "HOST:PORT, as 127.0.0.1:7777".into(),
            Kind::Url => "a URL that begins with http:// or https://".into(),
            Kind::Database => "a URL, as postgres://user@host/name, or host=/run/postgresql user=wakeful".into(),
            Kind::Networks => "a list of networks, as [\"10.0.0.0/8\"]".into(),
            Kind::File => "the path of a file".into(),
            Kind::Command => "a command for a shell".into(),
            Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Duration => "a duration, as 90s, 5m or 2h30m".into(),
            Kind::OneOf(words) => words.join(" or "),
            Kind::Levels => "levels, as info,wakeful_engine=debug".into(),
        }
    }

    fn given(self, value: &Value) -> String {
        if self.is_secret() { String::new() } else { format!("; it is {value}") }
    }

    /// The same as a JSON Schema.
    pub fn schema(self) -> Value {
        match self {
            Kind::Address => json!({ "type": "string", "examples": ["127.0.0.1:7777"] }),
            Kind::Url => json!({ "type": "string", "pattern": "^https?://" }),
            Kind::Database => json!({ "type": "string", "pattern": "^postgres(ql)?://|^[a-z_]+ *=" }),
            Kind::Networks => json!({ "type": "array", "items": { "type": "string" } }),
            Kind::File | Kind::Command => json!({ "type": "string", "minLength": 1 }),
            Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Kind::OneOf(words) => json!({ "enum": words }),
            Kind::Levels => json!({ "type": "string", "examples": ["info,wakeful_engine=debug"] }),
            Kind::Duration => json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" }),
        }
    }

    /// The value as people may see it.
    pub fn shown(self, value: &Value) -> Value {
        match value {
            Value::String(url) if matches!(self, Kind::Database | Kind::Url) => json!(masked(url)),
            _ => value.clone(),
        }
    }
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_one = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    !host.is_empty() && is_one && port.parse::<u16>().is_ok()
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    Url::parse(text).is_ok_and(|url| schemes.contains(&url.scheme()))
}

/// Both forms that PostgreSQL's own programs take.
fn is_database(text: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    is_url(text, &["postgres", "postgresql"]) || text.split_once('=').is_some_and(|(name, _)| is_name(name.trim()))
}

fn networks(items: &[Value]) -> Result<(), String> {
    let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    let texts = texts.ok_or_else(|| format!("must be {}", Kind::Networks.wanted()))?;
    Guard::new(&texts).map(|_| ()).map_err(|error| error.to_string())
}

/// The same without the password in it.
fn masked(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return if text.contains("password") { MASK.into() } else { text.to_owned() };
    };
    // What has no host takes no password.
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.into();
    }
    if url.query_pairs().any(|(name, _)| name == "password") {
        url.set_query(Some(MASK));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_takes_what_it_is_and_says_what_it_must_be() {
        let check = |kind: Kind, right: &[&str], wrong: &[&str]| {
            for text in right {
                assert!(kind.of_text(text).is_ok(), "{kind:?} {text}: {:?}", kind.of_text(text));
            }
            for text in wrong {
                let told = kind.of_text(text).expect_err(text);
                assert!(told.contains("must be ") || told.contains("write it as"), "{told}");
            }
        };
        check(
            Kind::Address,
            &["127.0.0.1:7777", "[::1]:0", "localhost:80"],
            &["7777", "::1:80", ":80", "a:b", "a:70000"],
        );
        check(Kind::Url, &["https://a.example/b"], &["a.example", "ftp://a", ""]);
        check(
            Kind::Database,
            &["postgres://u:p@h/d", "postgresql:///d?host=/run", "host=/run user=ann"],
            &["mysql://h/d?a=b", "d"],
        );
        check(Kind::Networks, &["10.0.0.0/8", "10.0.0.0/8, fd00::/8", "all"], &["ten"]);
        check(Kind::Count { min: 1, max: 5 }, &["1", "5"], &["0", "6", "-1", "x", "1.5"]);
        check(Kind::Duration, &["30s", "2h30m"], &["30", "soon"]);
        check(Kind::OneOf(&["text", "json"]), &["json"], &["xml"]);
        check(Kind::Levels, &["info", "warn,wakeful_engine=trace"], &["loud", "info,x=loud"]);
        check(Kind::Command, &["pass show key"], &[" "]);
        assert_eq!(Kind::Count { min: 0, max: 9 }.of_text("7"), Ok(json!(7)));
        assert!(Kind::Networks.checked(&json!([5])).is_err() && Kind::Duration.checked(&json!(30)).is_err());
    }

    #[test]
    fn a_password_is_shown_to_nobody_not_even_in_a_mistake() {
        let shown = |url: &str| Kind::Database.shown(&json!(url)).as_str().unwrap().to_owned();
        assert_eq!(shown("postgres://ann:canary@db/wakeful"), "postgres://ann:***@db/wakeful");
        assert_eq!(shown("postgres:///wakeful?password=canary"), "postgres:///wakeful?***");
        assert_eq!(shown("host=/run user=ann"), "host=/run user=ann");
        assert_eq!(shown("host=/run password = canary"), "***");
        assert!(!Kind::Database.of_text("pg://canary").unwrap_err().contains("canary"));
    }
}
