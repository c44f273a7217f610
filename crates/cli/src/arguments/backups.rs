//! Options of backups and of what is kept for how long, described.

use clap::Args;
use std::path::PathBuf;

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
