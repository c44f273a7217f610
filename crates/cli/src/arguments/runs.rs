//! Verbs of runs and of wakeups, described.

use clap::Subcommand;

#[derive(Debug, Clone, Subcommand)]
pub enum RunVerb {
    /// List runs, newest first
    Ls {
        #[arg(long)]
        agent: Option<String>,
        /// starting, running, succeeded, failed, cancelled, timed_out or lost
        #[arg(long)]
        status: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: i64,
    },
    /// Show a run
    Show { run: String },
    /// Print what a run wrote
    Logs {
        run: String,
        /// Go on as it grows, until the run is over
        #[arg(short, long)]
        follow: bool,
        /// Only the last lines
        #[arg(long, value_name = "LINES", conflicts_with = "follow")]
        tail: Option<usize>,
    },
    /// Say something to the agent of a live run
    Steer {
        run: String,
        #[arg(short, long, value_name = "TEXT")]
        message: String,
    },
    /// Keep a run, its events and its log whatever their age
    Pin { run: String },
    /// Let a run go when it is old
    Unpin { run: String },
    /// Stop a run: its whole process tree
    Cancel {
        run: String,
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub enum WakeupVerb {
    /// List wakeups, newest first
    Ls {
        #[arg(long)]
        agent: Option<String>,
        /// pending, claimed, completed, failed, cancelled, skipped, coalesced or expired
        #[arg(long)]
        status: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: i64,
    },
    /// Show a wakeup
    Show { wakeup: String },
    /// Cancel a pending wakeup
    Cancel { wakeup: String },
    /// Try a failed wakeup again
    Retry { wakeup: String },
    /// Note that somebody has seen a failed wakeup, and leave it at that
    Ack { wakeup: String },
}
