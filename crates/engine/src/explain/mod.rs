//! `why`: one sentence, the chain of causes, what it waits for and what happens next. Reads the
//! rows and events there are; nothing is kept for it. One file for each thing that can be asked about.

mod agent;
mod run;
mod task;
mod waits;
mod wakeup;
mod words;

use serde::Serialize;
use wakeful_domain::run::RunStatus;
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::Waiting;

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// One sentence.
    pub summary: String,
    /// What led here, oldest first.
    pub chain: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// What happens next, where something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One step of the chain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Link {
    pub at: Timestamp,
    pub kind: String,
    pub id: String,
    pub text: String,
    /// Of a run, or of the end of one: how it stands or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
}

/// Links shown at most; the newest are kept.
const CHAIN_MAX: usize = 200;

fn in_order(mut chain: Vec<Link>) -> Vec<Link> {
    chain.sort_by_key(|link| link.at);
    let surplus = chain.len().saturating_sub(CHAIN_MAX);
    chain.drain(..surplus);
    chain
}
