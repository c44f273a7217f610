//! The command line, described once: parsing, help and completions come from here.

mod backups;
mod budgets;
mod channels;
mod mail;
mod places;
mod runs;
mod schedules;
mod servers;
mod settings;
mod subscriptions;
mod tokens;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use backups::{BackupArguments, RestoreArguments};
pub use budgets::{BudgetAddArguments, BudgetVerb, CostsArguments, WindowArgument};
pub use channels::{ChannelAddArguments, ChannelVerb, NotificationVerb, NotificationsArguments};
pub use mail::{MailSendArguments, MailVerb};
pub use places::{GoalVerb, ProjectAddArguments, ProjectVerb, WorktreeVerb};
pub use runs::{RunVerb, WakeupVerb};
pub use schedules::{ScheduleAddArguments, ScheduleVerb};
pub use servers::{
    ApplyArguments, ConfigArguments, ConfigVerb, DaemonInstallArguments, DaemonVerb, DoctorArguments, UpArguments,
};
pub use settings::SettingOptions;
pub use subscriptions::{
    PublishArguments, SubscriptionAddArguments, SubscriptionVerb, WaitArguments, WantedArguments, WebhookAddArguments,
    WebhookVerb,
};
pub use tokens::{TokenAddArguments, TokenVerb};

/// Wakes, runs and watches AI agents.
#[derive(Debug, Parser)]
#[command(name = "wakeful", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that stand before or after the subcommand.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Directory of the store, logs and tokens [default: WAKEFUL_DATA_DIR, or the XDG state directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// URL of the server [default: WAKEFUL_URL, or the server of the data directory]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// File that holds the token [default: WAKEFUL_TOKEN, or admin.token of the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Company, by id or slug [default: WAKEFUL_COMPANY, or `default`]
    #[arg(long, global = true, value_name = "COMPANY")]
    pub company: Option<String>,
    /// Print data as JSON: one document, or one a line for streams
    #[arg(long, global = true)]
    pub json: bool,
    /// Never use colours
    #[arg(long, global = true)]
    pub no_color: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server in the foreground
    Up(UpArguments),
    /// See the main job done, crash included, in a temporary directory
    Demo(DemoArguments),
    /// Write a configuration for this machine to begin with
    Init(ConfigArguments),
    /// Show the settings of the server and who says them, or the schema of the file
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Say every mistake in a configuration
    Check(ConfigArguments),
    /// Bring the server in line with a configuration: makes, changes, and removes what it made before
    Apply(ApplyArguments),
    /// Start, stop, look after or install the server in the background
    #[command(subcommand)]
    Daemon(DaemonVerb),
    /// Wake an agent
    Wake(WakeArguments),
    /// Add, list, show, pause, resume or remove agents
    #[command(subcommand)]
    Agent(AgentVerb),
    /// Add, list, show or change tasks
    #[command(subcommand)]
    Task(TaskVerb),
    /// Add, list or show projects: where tasks are worked on
    #[command(subcommand)]
    Project(ProjectVerb),
    /// Add, list or show goals: what tasks are for
    #[command(subcommand)]
    Goal(GoalVerb),
    /// List the git worktrees that were made for tasks, and what is in those that are kept
    #[command(subcommand)]
    Worktree(WorktreeVerb),
    /// Add, list, pause, fire or remove schedules, and see what is planned
    #[command(subcommand)]
    Schedule(ScheduleVerb),
    /// List, show, follow or cancel runs
    #[command(subcommand)]
    Run(RunVerb),
    /// List, show, cancel or retry wakeups
    #[command(subcommand)]
    Wakeup(WakeupVerb),
    /// Open the console in a browser, signed in
    Open {
        /// Only print the link: it is good once, for two minutes
        #[arg(long)]
        print: bool,
    },
    /// Explain a wakeup, run, agent or task
    Why {
        /// Its id, the key of a task, or the name of an agent
        id: String,
    },
    /// Show what happened, and what happens
    Events(EventsArguments),
    /// List, acknowledge or resolve what a person has to know or decide
    #[command(subcommand)]
    Escalation(EscalationVerb),
    /// List what people were told: the inbox of the company
    Notifications(NotificationsArguments),
    /// Add, list, try out or remove channels: where notifications go besides the inbox
    #[command(subcommand)]
    Channel(ChannelVerb),
    /// Add, list, change or remove budgets: what agents, tasks, schedules or the company may spend
    #[command(subcommand)]
    Budget(BudgetVerb),
    /// Show what runs have cost
    Costs(CostsArguments),
    /// Send, list, show, answer or acknowledge mail between agents and people
    #[command(subcommand)]
    Mail(MailVerb),
    /// Add, list, show or remove subscriptions: who is woken when something happens
    #[command(subcommand)]
    Subscription(SubscriptionVerb),
    /// Publish to a topic: whoever subscribed to it is woken
    Publish(PublishArguments),
    /// Inside a run: be woken when something happens; end the run then
    Wait(Box<WaitArguments>),
    /// Add, list, show or remove webhooks: where others tell Wakeful what happens, and see what they told
    #[command(subcommand)]
    Webhook(WebhookVerb),
    /// Ask for a person's attention
    Escalate(EscalateArguments),
    /// Set, list or remove secrets: values that agents are given and nobody is shown
    #[command(subcommand)]
    Secret(SecretVerb),
    /// Give, list or revoke tokens: who may see or change what in a company
    #[command(subcommand)]
    Token(TokenVerb),
    /// Start nothing new; live runs go on
    Drain {
        /// End the drain
        #[arg(long)]
        off: bool,
    },
    /// Inside a run: show what came meanwhile, and take it over
    Inbox(InboxArguments),
    /// Inside a run: note something down for the next run of this lane, or show what is noted
    Checkpoint {
        /// JSON of at most 256 KiB; `-` reads it from standard input; absent: show what is noted
        note: Option<String>,
    },
    /// Inside a run: say something about the run's task
    Comment { message: String },
    /// Inside a run: ask a person; leave a checkpoint and finish, the answer wakes you
    Ask { question: String },
    /// Print the skill that teaches agents to work under Wakeful
    Skill,
    /// Inside a run: report the outcome; the run ends when the process does
    Done(DoneArguments),
    /// Write the store to one file, whether or not the server runs, and check it
    Backup(BackupArguments),
    /// Put a backup in the place of the store; say what would run then, and let it
    Restore(RestoreArguments),
    /// Remove what is old now; the server does so every hour
    Gc {
        /// Only say what would go, and what keeps the rest
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the machine, the data directory and the store
    Doctor(DoctorArguments),
    /// Print a completion script
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// Leave the server up, and say how to use it
    #[arg(long)]
    pub keep: bool,
}

#[derive(Debug, Clone, Args)]
pub struct WakeArguments {
    /// Name or id of the agent
    pub agent: String,
    /// Why it is woken: the agent reads it
    #[arg(short = 'm', long = "message", value_name = "TEXT")]
    pub message: Option<String>,
    /// Task to work on
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,
    /// 0 to 100; higher goes first
    #[arg(long, value_name = "N")]
    pub priority: Option<i64>,
    /// Wake it after a while: 90s, 5m, 2h30m
    #[arg(long = "in", value_name = "DURATION", conflicts_with = "at")]
    pub after: Option<String>,
    /// Wake it at a time, as in 2026-11-21T09:00:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Idempotency key: the same key wakes only once
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// JSON object handed to the agent
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// Wait for the run, show its log, and exit with its outcome
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Clone, Subcommand)]
pub enum AgentVerb {
    /// Add an agent
    Add(Box<AgentAddArguments>),
    /// List agents
    Ls,
    /// Show an agent
    Show { agent: String },
    /// Start nothing new for an agent
    Pause {
        agent: String,
        /// Why; shown by `why`
        #[arg(long)]
        reason: Option<String>,
        /// Stop its live runs too; their wakeups wait
        #[arg(long)]
        now: bool,
    },
    /// Show the key that requests to an http agent are signed with
    SigningSecret { agent: String },
    /// Let an agent start again
    Resume { agent: String },
    /// Terminate an agent and hide it
    Rm { agent: String },
}

#[derive(Debug, Clone, Args)]
pub struct AgentAddArguments {
    /// Its name: letters, digits, - _ .
    pub name: String,
    /// How it is started: process, http, claude, codex, gemini, opencode, cursor or cli
    #[arg(long, default_value = "process", value_name = "ADAPTER")]
    pub adapter: String,
    /// What it is, as people call it
    #[arg(long)]
    pub title: Option<String>,
    /// Model of a claude or codex agent
    #[arg(long)]
    pub model: Option<String>,
    /// Directory it works in [default: a directory of its own]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// What a claude or codex agent is told first
    #[arg(long)]
    pub prompt: Option<String>,
    /// Variable for its runs, NAME=VALUE; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Variable that holds a secret, NAME=SECRET or the name of both; may be repeated
    #[arg(long, value_name = "NAME=SECRET")]
    pub secret: Vec<String>,
    /// URL of an http agent
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// More of the adapter's configuration, as a JSON object
    #[arg(long, value_name = "JSON")]
    pub config: Option<String>,
    /// Live runs at once, 1 to 50
    #[arg(long, value_name = "N")]
    pub max_concurrent_runs: Option<i64>,
    /// Stop a run after this: 90s, 5m, 2h30m
    #[arg(long, value_name = "DURATION")]
    pub max_duration: Option<String>,
    /// Pauses before retries, as in 2m,10m,30m; `none` for no retry
    #[arg(long, value_name = "DURATIONS")]
    pub retry: Option<String>,
    /// Rotate a session after this many runs; 0 for no limit [default: 200]
    #[arg(long, value_name = "N")]
    pub max_session_runs: Option<i64>,
    /// Command of a process agent, behind `--`
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum TaskVerb {
    /// Add a task
    Add(Box<TaskAddArguments>),
    /// List tasks
    Ls {
        /// backlog, todo, in_progress, in_review, blocked, done or cancelled
        #[arg(long)]
        status: Option<String>,
        /// Name or id of the agent that is to do them
        #[arg(long, value_name = "AGENT")]
        assignee: Option<String>,
    },
    /// Show a task and what was said about it
    Show {
        /// Its key (T-12) or id
        task: String,
    },
    /// Change a task's status: backlog, todo, in_progress, in_review, blocked, done, cancelled
    Set { task: String, status: String },
    /// Assign a task to an agent, which is woken; what waits for the former one is called off
    Assign {
        task: String,
        /// Name or id; absent: nobody is to do it
        agent: Option<String>,
    },
    /// Comment on a task
    Comment {
        task: String,
        #[arg(short, long, value_name = "TEXT")]
        message: String,
        /// Open the task again if it is closed
        #[arg(long)]
        reopen: bool,
    },
    /// Reject what was handed in: the task is open again, and its agent is woken with the reason
    Reject {
        task: String,
        #[arg(short = 'm', long = "message", value_name = "TEXT")]
        reason: String,
    },
    /// Inside a run: take a task for as long as the run lives
    Checkout { task: String },
    /// Inside a run: let a task go that the run has taken
    Release { task: String },
}

#[derive(Debug, Clone, Args)]
pub struct TaskAddArguments {
    pub title: String,
    #[arg(long)]
    pub description: Option<String>,
    /// Name or id of the agent that is to do it; it is woken
    #[arg(long, value_name = "AGENT")]
    pub assignee: Option<String>,
    /// low, medium, high or critical
    #[arg(long)]
    pub priority: Option<String>,
    /// Id of its project
    #[arg(long)]
    pub project: Option<String>,
    /// Id of its goal
    #[arg(long)]
    pub goal: Option<String>,
    /// Key or id of the task that this one is a part of; without a value, inside a run, the run's own
    #[arg(long, value_name = "TASK", num_args = 0..=1, default_missing_value = "")]
    pub parent: Option<String>,
    /// When its end wakes the agent of its parent: each (of its runs, the default), all (once all are closed) or never
    #[arg(long, value_name = "WHEN", requires = "parent")]
    pub wake_parent: Option<String>,
    /// Key or id of a task that must be done first; may be repeated
    #[arg(long, value_name = "TASK")]
    pub blocked_by: Vec<String>,
    /// May be repeated
    #[arg(long)]
    pub label: Vec<String>,
    /// When it should be done, as 2026-12-24T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub due: Option<String>,
    /// Give each lane of the task a git worktree of its own
    #[arg(long)]
    pub worktree: bool,
}

#[derive(Debug, Clone, Subcommand)]
pub enum EscalationVerb {
    /// List escalations, newest first
    Ls {
        /// Resolved ones too
        #[arg(long)]
        all: bool,
    },
    /// Note that you have seen it
    Ack { escalation: String },
    /// Close it
    Resolve { escalation: String },
}

#[derive(Debug, Clone, Args)]
pub struct EscalateArguments {
    pub title: String,
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub detail: Option<String>,
    /// low, medium, high or critical
    #[arg(long)]
    pub severity: Option<String>,
    /// What makes a second one the same: nobody is told again
    #[arg(long)]
    pub key: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum SecretVerb {
    /// Set a secret to what comes over standard input; a line end at its end is left out
    Set { name: String },
    /// List the names of secrets
    Ls,
    /// Remove a secret
    Rm { name: String },
}

#[derive(Debug, Clone, Args)]
pub struct EventsArguments {
    /// Go on as they happen
    #[arg(short, long)]
    pub follow: bool,
    /// Begin behind this event
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct InboxArguments {
    /// Take over these wakeups: they share the end of this run
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub ack: Vec<String>,
    /// Take over all of them
    #[arg(long, conflicts_with = "ack")]
    pub ack_all: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DoneArguments {
    /// What came of it, for a person
    #[arg(short = 'm', long = "message", value_name = "TEXT")]
    pub message: Option<String>,
    /// Report a failure, with this reason
    #[arg(long, value_name = "REASON")]
    pub failed: Option<String>,
    /// Result for programs, as JSON
    #[arg(long, value_name = "JSON")]
    pub result: Option<String>,
}
