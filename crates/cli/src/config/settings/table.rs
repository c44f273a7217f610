//! The table of settings.

use std::fmt;

use serde_json::{Value, json};
use wakeful_engine::pressure::meminfo;

use super::kind::Kind;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Of the file: `[server]`.
    pub section: &'static str,
    pub key: &'static str,
    /// On the command line; in capitals behind `WAKEFUL_` it is the variable.
    pub option: &'static str,
    pub kind: Kind,
    pub unset: Unset,
    /// One line, without a stop.
    pub says: &'static str,
    /// Whether reading the file again changes it; anything else takes a restart.
    pub changes_while_running: bool,
}

/// What a setting is when nobody says.
#[derive(Debug)]
pub enum Unset {
    Text(&'static str),
    Number(u64),
    /// Reckoned from this machine, and how.
    Reckoned(fn() -> u64, &'static str),
    /// Nothing, and what that means.
    Nothing(&'static str),
    Empty,
}

impl Unset {
    pub fn value(&self) -> Value {
        match self {
            Unset::Text(text) => json!(text),
            Unset::Number(number) => json!(number),
            Unset::Reckoned(reckon, _) => json!(reckon()),
            Unset::Nothing(_) => Value::Null,
            Unset::Empty => json!([]),
        }
    }
}

/// As the help says it: the same on every machine.
impl fmt::Display for Unset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unset::Text(text) => f.write_str(text),
            Unset::Number(number) => write!(f, "{number}"),
            Unset::Reckoned(_, words) | Unset::Nothing(words) => f.write_str(words),
            Unset::Empty => f.write_str("none"),
        }
    }
}

impl Setting {
    /// As `config show` and `status` name it: `server.listen`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The variable of the environment.
    pub fn variable(&self) -> String {
        format!("WAKEFUL_{}", self.option.to_uppercase().replace('-', "_"))
    }
}

const MIB: u64 = 1024 * 1024;
/// Memory that the default takes for one live run.
const MIB_PER_RUN: u64 = 512;
/// More live runs than any machine has.
const LIVE_RUNS_MAX: u64 = 10_000;
/// 1 TiB: more is a mistake of the unit.
const FREE_MB_MAX: u64 = 1_048_576;

/// 100 GiB: more is a mistake of the unit.
const LOG_FILE_MB_MAX: u64 = 102_400;
/// Each turn renames them all.
const LOG_FILES_MAX: u64 = 100;

/// A hundred years, so that no reckoning with it overflows.
const DAYS_MAX: u64 = 36_500;
/// More rows than any store holds.
const ROWS_MAX: u64 = 1_000_000_000_000;

fn memory_mib() -> u64 {
    meminfo("MemTotal").unwrap_or(0) / MIB
}

/// Agents mostly wait for the network.
fn live_runs() -> u64 {
    (memory_mib() / MIB_PER_RUN).clamp(4, 64)
}

fn free_memory() -> u64 {
    (memory_mib() / 20).min(MIB_PER_RUN)
}

const SETTINGS: &[Setting] = &[
    Setting {
        section: "server",
        key: "listen",
        option: "listen",
        kind: Kind::Address,
        unset: Unset::Text("127.0.0.1:7777"),
        says: "Address to listen on; port 0 takes a free one",
        changes_while_running: false,
    },
    Setting {
        section: "server",
        key: "public_url",
        option: "public-url",
        kind: Kind::Url,
        unset: Unset::Nothing("where it listens"),
        says: "Base URL under which services on other machines reach this server, for callbacks",
        changes_while_running: false,
    },
    Setting {
        section: "server",
        key: "max_live_runs",
        option: "max-live-runs",
        kind: Kind::Count { min: 0, max: LIVE_RUNS_MAX },
        unset: Unset::Reckoned(live_runs, "one per 512 MiB of memory, 4 to 64"),
        says: "Live runs on this host",
        changes_while_running: true,
    },
    Setting {
        section: "server",
        key: "http_allow",
        option: "http-allow",
        kind: Kind::Networks,
        unset: Unset::Empty,
        says: "Let http agents be at these private addresses or networks, as 10.0.0.0/8; `all` for any",
        changes_while_running: false,
    },
    Setting {
        section: "server",
        key: "master_key_file",
        option: "master-key-file",
        kind: Kind::File,
        unset: Unset::Nothing("WAKEFUL_MASTER_KEY, or master.key of the data directory"),
        says: "File with the master key that secrets are sealed under",
        changes_while_running: false,
    },
    Setting {
        section: "server",
        key: "master_key_command",
        option: "master-key-command",
        kind: Kind::Command,
        unset: Unset::Nothing("none"),
        says: "Command that prints the master key, for a shell",
        changes_while_running: false,
    },
    Setting {
        section: "store",
        key: "database",
        option: "database",
        kind: Kind::Database,
        unset: Unset::Nothing("the embedded SQLite"),
        says: "postgres://… instead of the embedded SQLite",
        changes_while_running: false,
    },
    Setting {
        section: "limits",
        key: "min_free_memory_mb",
        option: "min-free-memory-mb",
        kind: Kind::Count { min: 0, max: FREE_MB_MAX },
        unset: Unset::Reckoned(free_memory, "a twentieth of the memory, 512 at most"),
        says: "Start nothing while less memory than this, in MiB, is available; 0 for no such limit",
        changes_while_running: true,
    },
    Setting {
        section: "limits",
        key: "min_free_disk_mb",
        option: "min-free-disk-mb",
        kind: Kind::Count { min: 0, max: FREE_MB_MAX },
        unset: Unset::Number(64),
        says: "Start nothing while less room than this, in MiB, is left on the disk of the data directory; 0 for no such limit",
        changes_while_running: true,
    },
    Setting {
        section: "retention",
        key: "days",
        option: "retain-days",
        kind: Kind::Count { min: 1, max: DAYS_MAX },
        unset: Unset::Number(90),
        says: "Keep runs, wakeups, slots, notifications and mail that was read for so many days",
        changes_while_running: false,
    },
    Setting {
        section: "retention",
        key: "events_days",
        option: "retain-events-days",
        kind: Kind::Count { min: 1, max: DAYS_MAX },
        unset: Unset::Number(30),
        says: "Keep events of companies for so many days",
        changes_while_running: false,
    },
    Setting {
        section: "retention",
        key: "logs_days",
        option: "retain-logs-days",
        kind: Kind::Count { min: 1, max: DAYS_MAX },
        unset: Unset::Number(30),
        says: "Keep the logs of runs for so many days",
        changes_while_running: false,
    },
    Setting {
        section: "retention",
        key: "keys_days",
        option: "retain-keys-days",
        kind: Kind::Count { min: 1, max: DAYS_MAX },
        unset: Unset::Number(7),
        says: "Keep idempotency keys for so many days",
        changes_while_running: false,
    },
    Setting {
        section: "retention",
        key: "rows",
        option: "retain-rows",
        kind: Kind::Count { min: 0, max: ROWS_MAX },
        unset: Unset::Number(1_000_000),
        says: "Keep so many of the newest runs, wakeups and events each, and a day's in any case",
        changes_while_running: false,
    },
    Setting {
        section: "daemon",
        key: "drain",
        option: "drain",
        kind: Kind::Duration,
        unset: Unset::Text("30s"),
        says: "How long a stop waits for calls to services, and then for requests, that are in flight",
        changes_while_running: true,
    },
    Setting {
        section: "log",
        key: "level",
        option: "log-level",
        kind: Kind::Levels,
        unset: Unset::Text("info"),
        says: "How much is logged, by module, as info,wakeful_engine=debug",
        changes_while_running: true,
    },
    Setting {
        section: "log",
        key: "format",
        option: "log-format",
        kind: Kind::OneOf(&["text", "json"]),
        unset: Unset::Text("text"),
        says: "How a line of the log is written: text, or json for one object a line",
        changes_while_running: false,
    },
    Setting {
        section: "log",
        key: "max_file_mb",
        option: "log-max-file-mb",
        kind: Kind::Count { min: 1, max: LOG_FILE_MB_MAX },
        unset: Unset::Number(20),
        says: "The log of a server in the background turns to a new file before this one is larger, in MiB",
        changes_while_running: false,
    },
    Setting {
        section: "log",
        key: "max_files",
        option: "log-max-files",
        kind: Kind::Count { min: 2, max: LOG_FILES_MAX },
        unset: Unset::Number(5),
        says: "Files of the log that are kept, the one that is written included",
        changes_while_running: false,
    },
    Setting {
        section: "otlp",
        key: "endpoint",
        option: "otlp-endpoint",
        kind: Kind::Url,
        unset: Unset::Nothing("OTEL_EXPORTER_OTLP_ENDPOINT, or nothing is sent"),
        says: "Base URL of a receiver of OTLP over HTTP, as http://127.0.0.1:4318: traces and metrics are sent there",
        changes_while_running: false,
    },
    Setting {
        section: "otlp",
        key: "headers_file",
        option: "otlp-headers-file",
        kind: Kind::File,
        unset: Unset::Nothing("OTEL_EXPORTER_OTLP_HEADERS, or none"),
        says: "File with headers for it, a line each, as `authorization: Bearer …`",
        changes_while_running: false,
    },
    Setting {
        section: "otlp",
        key: "interval",
        option: "otlp-interval",
        kind: Kind::Duration,
        unset: Unset::Text("60s"),
        says: "How often metrics are sent, at least a second apart",
        changes_while_running: false,
    },
];

/// Every setting, in the order of the file.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter()
}

/// The sections of the file, each once.
pub fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&str> = settings().map(|setting| setting.section).collect();
    sections.dedup();
    sections
}

/// The settings of a section.
pub fn of_section(section: &str) -> impl Iterator<Item = &'static Setting> {
    settings().filter(move |setting| setting.section == section)
}

/// The keys of a section.
pub fn keys(section: &str) -> Vec<&'static str> {
    of_section(section).map(|setting| setting.key).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_has_names_of_its_own_and_a_default_that_it_would_take() {
        let count = settings().count();
        assert_eq!(settings().map(Setting::name).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(settings().map(Setting::variable).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(sections().len(), sections().into_iter().collect::<BTreeSet<_>>().len(), "sections are not torn");
        for setting in settings().filter(|setting| !setting.unset.value().is_null()) {
            setting.kind.checked(&setting.unset.value()).unwrap_or_else(|told| panic!("{}: {told}", setting.name()));
        }
    }

    #[test]
    fn the_documents_list_every_setting_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/concepts/configuration.md");
        let row = |setting: &Setting| {
            let Setting { option, unset, says, .. } = setting;
            let reload = if setting.changes_while_running { " ↻" } else { "" };
            format!("| `{}` | `--{option}` | `{}` | {unset} | {says}{reload} |", setting.name(), setting.variable())
        };
        let rows: Vec<String> = settings().map(row).collect();
        let listed = std::fs::read_to_string(path).unwrap();
        let listed: Vec<&str> = listed.lines().filter(|line| line.contains("` | `--")).collect();
        assert!(listed == rows, "write it:\n{}\n", rows.join("\n"));
    }
}
