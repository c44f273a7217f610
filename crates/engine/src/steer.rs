//! Saying something to an agent while it works. What is said is a wakeup of the run's lane, so that
//! it cannot be lost: an agent that takes messages gets it at its next turn, and the run then takes
//! the wakeup over; else it waits in the inbox, and for the follow-up run.

use wakeful_domain::id::RunId;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::Refusal;
use wakeful_store::ops::wake::{Accepted, Wake};

use crate::engine::Engine;
use crate::live::Input;

/// Where a text for a live agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// On its way into the live session; an event `steered` of the run confirms it.
    Session,
    /// In the inbox of the run.
    Inbox,
}

impl Engine {
    /// Accepts a wake for the lane of a live run, and hands its text to the agent if it takes any while it works.
    pub async fn steer(&self, run: RunId, wake: Wake, text: &str) -> Result<(Accepted, Delivery), Refusal> {
        let (accepted, _) = self.accept(wake).await?;
        let is_said = accepted.is_new
            && accepted.wakeup.status == WakeupStatus::Pending
            && self.say(run, Input { id: accepted.wakeup.id.to_string(), text: text.to_owned() });
        Ok((accepted, if is_said { Delivery::Session } else { Delivery::Inbox }))
    }

    /// Hands a text to a live agent that takes any; tells whether it is on its way.
    pub(crate) fn say(&self, run: RunId, input: Input) -> bool {
        let live = self.live();
        live.get(&run).is_some_and(|live| live.takes_messages && live.input.try_send(input).is_ok())
    }
}
