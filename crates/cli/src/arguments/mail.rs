//! Verbs of mail, described.

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Subcommand)]
pub enum MailVerb {
    /// Send a message; an agent is woken by it, people are notified
    Send(MailSendArguments),
    /// List mail, newest first; inside a run, one's own
    Ls {
        /// Only what is unread
        #[arg(long)]
        unread: bool,
        /// Only what is for this agent, or `user` for people
        #[arg(long, value_name = "AGENT")]
        to: Option<String>,
        /// Only what this agent or person has sent
        #[arg(long, value_name = "AGENT")]
        from: Option<String>,
        /// Only the thread of this message
        #[arg(long, value_name = "ID")]
        thread: Option<String>,
    },
    /// Show a message; that does not make it read
    Show { message: String },
    /// Acknowledge a message, and with it what would wake its reader
    Ack { message: String },
    /// Answer a message
    Reply {
        message: String,
        /// `-` reads it from standard input
        #[arg(short = 'm', long = "message", value_name = "TEXT")]
        body: String,
    },
}

#[derive(Debug, Clone, Args)]
pub struct MailSendArguments {
    /// Name or id of an agent, or `user` for people
    pub to: String,
    /// At most 64 KiB; `-` reads it from standard input
    #[arg(short = 'm', long = "message", value_name = "TEXT")]
    pub body: String,
    #[arg(short, long)]
    pub subject: Option<String>,
    /// note, request, escalation, or nudge: a word to a live run, which wakes nobody
    #[arg(long)]
    pub kind: Option<String>,
    /// Key or id of the task that it is about: its reader is woken there
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
}
