//! Verbs of channels and of what people are told, described.

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Subcommand)]
pub enum ChannelVerb {
    /// Add a channel: where notifications go besides the inbox
    Add(Box<ChannelAddArguments>),
    /// List channels
    Ls,
    /// Show a channel and its last deliveries
    Show {
        /// Name or id
        channel: String,
    },
    /// Send a test through a channel, and wait for what comes of it
    Test { channel: String },
    /// Show the key that requests through a channel are signed with
    SigningSecret { channel: String },
    /// Send through a channel again, from now on
    Enable { channel: String },
    /// Send nothing through a channel; what waits for it is cancelled
    Disable {
        channel: String,
        /// Why; shown by `channel ls`
        #[arg(long)]
        reason: Option<String>,
    },
    /// Remove a channel
    Rm { channel: String },
}

#[derive(Debug, Clone, Args)]
pub struct ChannelAddArguments {
    pub name: String,
    /// Send signed CloudEvents to this URL
    #[arg(long, value_name = "URL", group = "kind")]
    pub webhook: Option<String>,
    /// Header of the webhook's requests, NAME=VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "webhook")]
    pub header: Vec<String>,
    /// Header of the webhook's requests that holds a secret, NAME=SECRET; may be repeated
    #[arg(long, value_name = "NAME=SECRET", requires = "webhook")]
    pub secret_header: Vec<String>,
    /// Send to the incoming webhook of Slack whose URL is in this secret
    #[arg(long, value_name = "SECRET", group = "kind")]
    pub slack: Option<String>,
    /// Send mail to this address; may be repeated
    #[arg(long, value_name = "ADDRESS", group = "kind", requires_all = ["from", "smtp"])]
    pub email: Vec<String>,
    /// Address that mail comes from
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,
    /// Mail server
    #[arg(long, value_name = "HOST")]
    pub smtp: Option<String>,
    /// Port of the mail server [default: 587, 465 with `tls`, 25 with `none`]
    #[arg(long, value_name = "PORT")]
    pub smtp_port: Option<u16>,
    /// How the way to the mail server is encrypted: starttls (default), tls or none
    #[arg(long, value_name = "TLS")]
    pub smtp_tls: Option<String>,
    /// User at the mail server
    #[arg(long, value_name = "NAME", requires = "smtp_password")]
    pub smtp_user: Option<String>,
    /// Secret that holds the user's password
    #[arg(long, value_name = "SECRET", requires = "smtp_user")]
    pub smtp_password: Option<String>,
    /// The whole target as a JSON object, for what has no option
    #[arg(long, value_name = "JSON", group = "kind")]
    pub target: Option<String>,
    /// Let this kind through: action, heartbeat, schedule or escalation; may be repeated [default: all]
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// Let through what is at least this: info, warning or critical
    #[arg(long, value_name = "LEVEL")]
    pub min_level: Option<String>,
    /// Let through what is about this agent, by name or id; may be repeated
    #[arg(long = "agent", value_name = "AGENT")]
    pub agents: Vec<String>,
    /// Let through what is about this schedule, by id; may be repeated
    #[arg(long = "schedule", value_name = "ID")]
    pub schedules: Vec<String>,
    /// Command that gets each notification on its standard input, behind `--`
    #[arg(last = true, value_name = "COMMAND", group = "kind", required_unless_present_any = ["webhook", "slack", "email", "target"])]
    pub command: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct NotificationsArguments {
    /// Only what nobody has seen
    #[arg(long)]
    pub unread: bool,
    #[command(subcommand)]
    pub verb: Option<NotificationVerb>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum NotificationVerb {
    /// Show a notification and what became of it in each channel
    Show { notification: String },
    /// Note that somebody has seen it
    Read {
        #[arg(required = true, value_name = "NOTIFICATION")]
        notifications: Vec<String>,
    },
    /// Try a delivery again that has failed or was cancelled
    Retry { delivery: String },
}
