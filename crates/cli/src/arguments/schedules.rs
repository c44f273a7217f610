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
    #[arg(long, value_name = "PATTERN", required_unless_present_any = ["every", "at", "action"])]
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
    /// Name or id of the agent to wake, or that the task or the action is for
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Make a task with this title instead of waking the agent; {{date}} and others are filled in
    #[arg(long, value_name = "TITLE")]
    pub task: Option<String>,
    /// Carry out an action: task-scan, daily-summary, portfolio-monitor, or one of your own with --config
    #[arg(long, value_name = "NAME", conflicts_with_all = ["task", "message", "payload"])]
    pub action: Option<String>,
    /// What the action is told; for one of your own {"command": ["check-mail"]} or {"url": "https://…"}
    #[arg(long, value_name = "JSON", requires = "action")]
    pub config: Option<String>,
    /// Model for these wakes, instead of the agent's own
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["task", "action"])]
    pub model: Option<String>,
    /// Ask this program before a slot fires; it answers {"wake": true} or {"wake": false}
    #[arg(long, value_name = "COMMAND")]
    pub gate: Option<String>,
    /// The same of a service: JSON is posted there
    #[arg(long, value_name = "URL", conflicts_with = "gate")]
    pub gate_url: Option<String>,
    /// How long the gate may take [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub gate_timeout: Option<String>,
    /// A gate that fails counts as a no, instead of as a yes
    #[arg(long)]
    pub gate_fail_closed: bool,
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
