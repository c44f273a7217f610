//! A live run from outside: its processes, and saying something to its agent while it works. What is said is a wakeup of the run's lane, so that
//! it cannot be lost: an agent that takes messages gets it at its next turn, and the run then takes
//! the wakeup over; else it waits in the inbox, and for the follow-up run.

use std::io;

use wakeful_domain::id::RunId;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_runner::process::{TreeProcess, process_tree};
use wakeful_store::Refusal;
use wakeful_store::ops::messages;
use wakeful_store::ops::wake::{Accepted, Wake};

use crate::engine::Engine;
use crate::live::Input;
use crate::run::last_launch;

/// Longer commands are cut, once secrets are out of them.
const COMMAND_CHARS_MAX: usize = 200;

/// Where a text for a live agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// On its way into the live session; an event `steered` of the run confirms it.
    Session,
    /// In the inbox of the run.
    Inbox,
    /// Nowhere: the agent's policy does not want it.
    Skipped,
}

impl Engine {
    /// Accepts a wake for the lane of a live run, and hands its text to the agent if it takes any while it works.
    pub async fn steer(&self, run: RunId, wake: Wake, text: &str) -> Result<(Accepted, Delivery), Refusal> {
        let (accepted, _) = self.accept(wake).await?;
        let delivery = match accepted.wakeup.status {
            WakeupStatus::Pending => {
                let input = Input { id: accepted.wakeup.id.to_string(), text: text.to_owned() };
                // The shim knows texts by their ids: one that is said again is not written again.
                if self.say(run, input) { Delivery::Session } else { Delivery::Inbox }
            }
            WakeupStatus::Skipped => Delivery::Skipped,
            _ if accepted.wakeup.run == Some(run) => Delivery::Session,
            _ => Delivery::Inbox,
        };
        Ok((accepted, delivery))
    }

    /// Notes that the agent of a live run has read messages; gives those that it was never told.
    pub async fn mark_read(&self, request: messages::ReadRequest) -> Result<Vec<String>, Refusal> {
        self.write("messages.mark_read", request, |tx, request| Box::pin(messages::mark_read(tx, request))).await
    }

    /// The processes of a live run as they are now, parents before their children.
    pub async fn processes(&self, run: RunId) -> io::Result<Vec<TreeProcess>> {
        let (dir, scrubber) = (self.run_dir(run), self.scrubber(run));
        let number = last_launch(&dir);
        let found = tokio::task::spawn_blocking(move || process_tree(&dir, number)).await;
        let mut found = found.map_err(io::Error::other).flatten()?;
        for process in &mut found {
            scrubber.scrub(&mut process.command);
            process.command = process.command.chars().take(COMMAND_CHARS_MAX).collect();
        }
        Ok(found)
    }

    /// Hands a text to a live agent that takes any; tells whether it is on its way.
    pub(crate) fn say(&self, run: RunId, input: Input) -> bool {
        let live = self.live();
        live.get(&run).is_some_and(|live| live.takes_messages && live.input.try_send(input).is_ok())
    }
}
