//! Verbs of subscriptions, topics and webhooks, described.

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Subcommand)]
pub enum SubscriptionVerb {
    /// Wake an agent when something happens
    Add(Box<SubscriptionAddArguments>),
    /// List subscriptions, newest first
    Ls {
        /// Name or id of the agent that is woken
        #[arg(long)]
        agent: Option<String>,
        /// Those that have ended, too
        #[arg(long)]
        all: bool,
    },
    /// Show a subscription
    Show { subscription: String },
    /// Remove a subscription; what it has woken goes on
    Rm { subscription: String },
}

/// What is waited for.
#[derive(Debug, Clone, Args)]
pub struct WantedArguments {
    /// run, task, children (the tasks below one), agent, topic or webhook
    #[arg(value_name = "KIND", value_parser = ["run", "task", "children", "agent", "topic", "webhook"])]
    pub kind: String,
    /// Which one: an id, the key of a task, or a name
    pub name: Option<String>,
    /// What of it, as run.finished, run.failed, task.closed, task.commented, children.all_closed; may be repeated
    #[arg(long, value_name = "EVENT")]
    pub on: Vec<String>,
    /// Only what has these values, as a JSON object: {"status": ["failed", "lost"]}
    #[arg(long, value_name = "JSON")]
    pub filter: Option<String>,
    /// Wake without it after so long: 10m
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct SubscriptionAddArguments {
    /// Name or id of the agent that is woken
    pub agent: String,
    #[command(flatten)]
    pub wanted: WantedArguments,
    /// Key or id of the task that it is woken about
    #[arg(long = "about", value_name = "TASK")]
    pub task: Option<String>,
    /// Wake it once, for the first
    #[arg(long)]
    pub once: bool,
    /// Tell all together when nothing more has come for so long: 5s
    #[arg(long, value_name = "DURATION")]
    pub debounce: Option<String>,
    /// Leave out what runs have said and given
    #[arg(long)]
    pub no_result: bool,
    /// JSON object handed to the agent
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// The same key again replaces the subscription
    #[arg(long)]
    pub key: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct WaitArguments {
    #[command(flatten)]
    pub wanted: WantedArguments,
}

#[derive(Debug, Clone, Args)]
pub struct PublishArguments {
    /// Name of the topic
    pub topic: String,
    /// JSON object of at most 256 KiB; `-` reads it from standard input [default: {}]
    pub data: Option<String>,
    /// Idempotency key: the same key publishes only once
    #[arg(long)]
    pub key: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum WebhookVerb {
    /// Add a webhook; its URL and secret are shown, the secret this once
    Add(WebhookAddArguments),
    /// List webhooks
    Ls,
    /// Show a webhook
    Show {
        /// Name or id
        webhook: String,
    },
    /// Give a webhook a new secret, shown this once; the old one works on for a while
    Rotate {
        webhook: String,
        /// How long the old secret works on
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        overlap: String,
    },
    /// List what was told through a webhook, newest first
    Deliveries { webhook: String },
    /// Let something that was told count once more
    Replay {
        /// Id of what was told: rcp_…
        delivery: String,
    },
    /// Remove a webhook; whoever waits for it is told
    Rm { webhook: String },
}

#[derive(Debug, Clone, Args)]
pub struct WebhookAddArguments {
    pub name: String,
    /// How callers prove who they are: standard (Standard Webhooks), github or bearer
    #[arg(long, default_value = "standard", value_name = "SCHEME")]
    pub scheme: String,
    /// Wake this agent, by name or id, for whatever is told
    #[arg(long)]
    pub agent: Option<String>,
    /// Key or id of the task that it is woken about
    #[arg(long, value_name = "TASK", requires = "agent")]
    pub about: Option<String>,
}
