//! Verbs of schedules, described.

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Subcommand)]
pub enum ScheduleVerb {
    /// Add a schedule: what wakes an agent or makes a task by the clock
    Add(Box<ScheduleAddArguments>),
    /// List schedules
    Ls,
    /// Show a schedule, its next slots and what became of the last ones
    Show {
        /// Name or id
        schedule: String,
    },
    /// Let a schedule rest: it has no slots meanwhile, and none is missed
    Pause {
        schedule: String,
        /// Why; shown by `schedule ls`
        #[arg(long)]
        note: Option<String>,
    },
    /// Let a schedule fire again
    Resume { schedule: String },
    /// Fire a schedule now, beside its slots
    Run { schedule: String },
    /// Remove a schedule
    Rm { schedule: String },
    /// List the slots to come of all schedules
    Plan {
        /// As 2026-11-23T09:00:00Z [default: now]
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// At most a year ahead [default: a day after --from]
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
    },
}

#[derive(Debug, Clone, Args)]
pub struct ScheduleAddArguments {
    pub name: String,
    /// Pattern of 5 or 6 fields, or @daily; as '0 9 * * MON-FRI'
    #[arg(long, value_name = "PATTERN", required_unless_present_any = ["every", "at"])]
    pub cron: Option<String>,
    /// Zone of the pattern, as Europe/Paris [default: the company's]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    pub time_zone: Option<String>,
    /// Period: 90s, 5m, 2h30m
    #[arg(long, value_name = "DURATION", conflicts_with = "cron")]
    pub every: Option<String>,
    /// Once, at a time as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with_all = ["cron", "every"])]
    pub at: Option<String>,
    /// Name or id of the agent to wake, or that the task is for
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Make a task with this title instead of waking the agent; {{date}} and others are filled in
    #[arg(long, value_name = "TITLE")]
    pub task: Option<String>,
    /// Why it wakes, or the description of the task
    #[arg(short = 'm', long = "message", value_name = "TEXT")]
    pub message: Option<String>,
    /// JSON object handed to the agent
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// While an earlier fire is live: coalesce (default), queue, skip or cancel_running
    #[arg(long, value_name = "POLICY")]
    pub overlap: Option<String>,
    /// After downtime: latest (default), skip or all
    #[arg(long, value_name = "POLICY")]
    pub catch_up: Option<String>,
    /// Slots that are older are missed: 10m, 2h
    #[arg(long, value_name = "DURATION")]
    pub stale_after: Option<String>,
    /// Fire up to this much later, the same every time
    #[arg(long, value_name = "DURATION")]
    pub jitter: Option<String>,
    /// Fire this often and no more
    #[arg(long, value_name = "N")]
    pub max_fires: Option<u64>,
}
