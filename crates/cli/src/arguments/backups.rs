//! Options of backups and of what is kept for how long, described.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use wakeful_domain::retention::Retention;

#[derive(Debug, Clone, Args)]
pub struct BackupArguments {
    /// File to write, or the directory for it [default: wakeful-<time>.tar.zst here]
    pub file: Option<PathBuf>,
    /// Check the file instead, and change nothing
    #[arg(long)]
    pub verify: bool,
    /// Put the logs of runs in, too
    #[arg(long, conflicts_with = "verify")]
    pub with_logs: bool,
    /// postgres://… that the store is in [default: as the server was started last]
    #[arg(long, value_name = "URL", conflicts_with = "verify")]
    pub database: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct RestoreArguments {
    /// Backup to put in the place of the store; no server may run
    pub file: Option<PathBuf>,
    /// Say what a restored store waits for, and what would run
    #[arg(long, conflicts_with_all = ["file", "database"])]
    pub plan: bool,
    /// Let a restored store go on
    #[arg(long, conflicts_with_all = ["file", "database", "plan"])]
    pub go_on: bool,
    /// Enter the slots that came since the backup as missed, instead of catching up with them
    #[arg(long, requires = "go_on")]
    pub skip_missed: bool,
    /// postgres://… that was restored by its own tools: end what was live in it
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
}

/// The longest age, so that no reckoning with it overflows.
const DAYS_MAX: i64 = 36_500;

#[derive(Debug, Clone, Args)]
pub struct RetainArguments {
    /// Keep runs, wakeups, slots, notifications and mail that was read for so many days
    #[arg(long = "retain-days", default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    days: u32,
    /// Keep events of companies for so many days
    #[arg(long = "retain-events-days", default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    events_days: u32,
    /// Keep the logs of runs for so many days
    #[arg(long = "retain-logs-days", default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    logs_days: u32,
    /// Keep idempotency keys for so many days
    #[arg(long = "retain-keys-days", default_value_t = 7, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
    keys_days: u32,
    /// Keep so many of the newest runs, wakeups and events each, and a day's in any case
    #[arg(long = "retain-rows", default_value_t = 1_000_000, value_name = "N")]
    rows: u64,
}

impl RetainArguments {
    /// Each option and its value.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("--retain-days", self.days.into()),
            ("--retain-events-days", self.events_days.into()),
            ("--retain-logs-days", self.logs_days.into()),
            ("--retain-keys-days", self.keys_days.into()),
            ("--retain-rows", self.rows),
        ]
        .into_iter()
    }

    pub fn policy(&self) -> Retention {
        let days = |count: u32| Duration::from_secs(u64::from(count) * 86_400);
        Retention {
            rows: days(self.days),
            events: days(self.events_days),
            logs: days(self.logs_days),
            keys: days(self.keys_days),
            rows_max: self.rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        retain: RetainArguments,
    }

    #[test]
    fn without_options_the_policy_is_the_domains_and_less_than_a_day_is_refused() {
        assert_eq!(Line::parse_from(["x"]).retain.policy(), Retention::default());
        for option in ["--retain-days=0", "--retain-logs-days=0", "--retain-keys-days=100000"] {
            assert!(Line::try_parse_from(["x", option]).is_err(), "{option}");
        }
        let given = Line::parse_from(["x", "--retain-logs-days=3", "--retain-rows=5"]).retain;
        let again: Vec<String> = given.each().map(|(name, value)| format!("{name}={value}")).collect();
        let line = std::iter::once("x".to_owned()).chain(again);
        assert_eq!(Line::parse_from(line).retain.policy(), given.policy());
    }
}
