//! The settings of the server itself: what each is called in the file, on the command line and in the environment,
//! what it may be, and what it is when nobody says. One table, from which the options, the variables, the sections of
//! the file, `config show`, the schema and `init` are made, so that none knows what another does not.

mod kind;
mod layers;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use wakeful_domain::retention;
use wakeful_domain::time::parse_duration;
use wakeful_engine::pressure::Reserve;

use crate::logging::Levels;

pub use kind::Kind;
pub use layers::{Effective, Held, Loaded, Written, found, load};
pub use table::{Setting, keys, of_section, sections, settings};

/// All of them, as the server reads them. Each field is a row of the table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub server: Server,
    pub store: Store,
    pub limits: Limits,
    pub retention: Retention,
    pub daemon: Daemon,
    pub log: Log,
    pub otlp: Otlp,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: String,
    pub public_url: Option<String>,
    pub max_live_runs: usize,
    pub http_allow: Vec<String>,
    pub master_key_file: Option<PathBuf>,
    pub master_key_command: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub database: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub min_free_memory_mb: u64,
    pub min_free_disk_mb: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub days: u32,
    pub events_days: u32,
    pub logs_days: u32,
    pub keys_days: u32,
    pub rows: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Daemon {
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub level: Levels,
    pub format: LogFormat,
    pub max_file_mb: u64,
    pub max_files: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    pub endpoint: Option<String>,
    pub headers_file: Option<PathBuf>,
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

const MIB: u64 = 1024 * 1024;

impl Limits {
    /// What must be left of the host for anything to start.
    pub fn reserve(&self) -> Reserve {
        Reserve { memory_bytes: self.min_free_memory_mb * MIB, disk_bytes: self.min_free_disk_mb * MIB }
    }
}

impl Retention {
    /// The same as the engine reads it.
    pub fn policy(&self) -> retention::Retention {
        let days = |count: u32| Duration::from_secs(u64::from(count) * 86_400);
        retention::Retention {
            rows: days(self.days),
            events: days(self.events_days),
            logs: days(self.logs_days),
            keys: days(self.keys_days),
            rows_max: self.rows,
        }
    }
}

impl Settings {
    /// From one value for each row of the table.
    fn of<'a>(values: impl Iterator<Item = (&'static Setting, &'a Value)>) -> Result<Settings, serde_json::Error> {
        let mut sections = serde_json::Map::new();
        for (setting, value) in values {
            let section = sections.entry(setting.section).or_insert_with(|| Value::Object(Default::default()));
            section[setting.key] = value.clone();
        }
        serde_json::from_value(Value::Object(sections))
    }
}
