//! What is said to a live agent, and when it has said its last word itself. Every text begins with
//! its id, so that the agent's confirmation of it can be told from that of any other, also by a
//! server that did not say it. A process that has nothing more to say is told to end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wakeful_domain::id::RunId;
use wakeful_domain::run::Run;
use wakeful_runner::adapters::{Adapter, Reader};
use wakeful_runner::process::Attached;
use wakeful_store::Refusal;
use wakeful_store::ops::inbox::AcknowledgeRequest;
use wakeful_store::ops::messages::ReadRequest;
use wakeful_store::ops::run_events::{self, NewRunEvent};

use super::follow::note;
use crate::clock;
use crate::context::RunContext;
use crate::engine::Engine;
use crate::live::Input;

/// How long an agent may take to exit once it has said that it is done, and says nothing more.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How long one that is done may take to take a text that was written to it.
const UNTAKEN: Duration = Duration::from_secs(60);
/// Between two tries to tell the shim or the store something.
const PAUSE: Duration = Duration::from_secs(1);
/// The event that a text was written to the agent; its data name it.
const SAID: &str = "said";
/// Events of a run in one look.
const EVENTS_MAX: i64 = 500;

/// What has been said to the agent of one launch.
pub(super) struct Conversation<'a> {
    adapter: Adapter,
    pub context: &'a RunContext,
    /// Given to the shim, and not yet answered.
    sent: Vec<Input>,
    /// Written to the agent, and not yet confirmed.
    written: BTreeSet<String>,
    /// Confirmed, and not yet taken over by the run.
    confirmed: BTreeSet<String>,
    /// Taken over; the agent may confirm a text before we hear that it was written.
    settled: BTreeSet<String>,
    /// When an agent that is done is ended, if it says nothing more.
    end_at: Option<Instant>,
    retry_at: Option<Instant>,
    is_ending: bool,
}

/// The text as the agent gets it.
fn worded(id: &str, text: &str) -> String {
    format!("[{id}] {text}")
}

/// The id that a confirmed text begins with.
pub(super) fn id_of(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.split_once("] ").map(|(id, _)| id)
}

impl<'a> Conversation<'a> {
    pub async fn begin(
        engine: &Engine,
        run: &Run,
        adapter: Adapter,
        context: &'a RunContext,
        attached: &Attached,
    ) -> Conversation<'a> {
        let takes_messages = adapter.steer(&context.adapter, "").is_some();
        let is_ours = attached.shim_pid().is_some();
        // A run of an earlier build may have been started without an open input: it must show that it listens.
        set_takes_messages(engine, run.id, takes_messages && is_ours);
        let written = if takes_messages && !is_ours { said_before(engine, run).await } else { BTreeSet::new() };
        Conversation {
            adapter,
            context,
            sent: Vec::new(),
            written,
            confirmed: BTreeSet::new(),
            settled: BTreeSet::new(),
            end_at: None,
            retry_at: None,
            is_ending: false,
        }
    }

    /// Gives the shim a text for the agent.
    pub fn say(&mut self, attached: &Attached, input: Input) {
        if let Some(line) = self.adapter.steer(&self.context.adapter, &worded(&input.id, &input.text)) {
            // If the shim cannot be told, it is told again once it is found again.
            if let Err(error) = attached.input(&input.id, &line) {
                tracing::warn!("a shim could not be given a text for its agent: {error}");
            }
            self.sent.push(input);
        }
    }

    /// The shim was found again: what it may not have heard is said again. It knows texts by their ids.
    pub fn say_again(&mut self, attached: &Attached) {
        self.is_ending = false;
        for input in std::mem::take(&mut self.sent) {
            self.say(attached, input);
        }
    }

    /// A text was written to the agent.
    pub async fn written(&mut self, engine: &Engine, run: &Run, id: &str) {
        self.sent.retain(|input| input.id != id);
        if !self.settled.contains(id) && self.written.insert(id.to_owned()) {
            let told = "a message was given to the agent; it confirms it when it takes it";
            note(engine, run, NewRunEvent::plain(SAID, told, serde_json::json!({ "id": id }))).await;
        }
    }

    /// A text could not be written; its wakeup goes on waiting.
    pub async fn refused(&mut self, engine: &Engine, run: &Run, id: &str, reason: &str) {
        self.sent.retain(|input| input.id != id);
        let told = format!("a message could not be given to the agent, and waits in its inbox: {reason}");
        note(engine, run, NewRunEvent::warn("not_steered", told, serde_json::json!({ "id": id }))).await;
    }

    /// Draws the conclusions of what was read: `taken` are the texts that the agent has confirmed.
    pub async fn heard(
        &mut self,
        engine: &Engine,
        run: &Run,
        reader: &dyn Reader,
        taken: Vec<String>,
        attached: &Attached,
    ) {
        if reader.inputs_taken() > 0 {
            set_takes_messages(engine, run.id, true);
        }
        self.confirmed.extend(taken);
        self.settle(engine, run).await;
        match reader.has_ended() {
            false => self.end_at = None,
            true if self.is_ending => {}
            true => {
                let patience = if self.is_answered() { LAST_WORD } else { UNTAKEN };
                self.end_at = Some(clock::monotonic() + patience);
                // An agent that listens goes on listening until nobody can speak any more.
                if self.is_answered() {
                    attached.close_input().ok();
                }
            }
        }
    }

    /// What the time calls for.
    pub async fn due(&mut self, engine: &Engine, run: &Run, attached: &Attached) {
        self.retry_at = None;
        self.settle(engine, run).await;
        let now = clock::monotonic();
        if self.end_at.is_some_and(|at| at <= now) && !self.is_ending {
            match attached.finish(Duration::ZERO) {
                Ok(()) => self.is_ending = true,
                Err(error) => {
                    tracing::warn!("a shim could not be told that its agent is done: {error}");
                    self.end_at = Some(now + PAUSE);
                }
            }
        }
    }

    /// When to look again though nothing is heard.
    pub fn due_at(&self) -> Option<Instant> {
        self.end_at.filter(|_| !self.is_ending).into_iter().chain(self.retry_at).min()
    }

    fn is_answered(&self) -> bool {
        self.sent.is_empty() && self.written.iter().all(|id| self.confirmed.contains(id))
    }

    /// The run takes over the wakeups whose texts its agent has taken.
    async fn settle(&mut self, engine: &Engine, run: &Run) {
        for id in self.confirmed.clone() {
            match acknowledge(engine, run, &id).await {
                Ok(()) => {
                    self.confirmed.remove(&id);
                    self.written.remove(&id);
                    self.settled.insert(id);
                }
                Err(error) => {
                    tracing::warn!(run.id = %run.id, "run {} could not take over {id} yet: {error}", run.id);
                    self.retry_at = Some(clock::monotonic() + PAUSE);
                }
            }
        }
    }
}

fn set_takes_messages(engine: &Engine, run: RunId, takes_messages: bool) {
    if let Some(live) = engine.live().get_mut(&run) {
        live.takes_messages = takes_messages;
    }
}

/// What an earlier server has given to the agent. What it has confirmed since is read in the log again.
async fn said_before(engine: &Engine, run: &Run) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    let mut after = 0;
    loop {
        let page = engine
            .db()
            .read("run.said", (run.id, after), |tx, (run, after)| {
                Box::pin(run_events::after(tx, *run, *after, EVENTS_MAX))
            })
            .await;
        let Ok(page) = page else { return said };
        let Some(last) = page.last() else { return said };
        after = last.seq;
        let named = page.iter().filter(|event| event.kind == SAID).filter_map(|event| event.data["id"].as_str());
        said.extend(named.map(str::to_owned));
    }
}

async fn acknowledge(engine: &Engine, run: &Run, id: &str) -> Result<(), Refusal> {
    let now = clock::now();
    let written = match id.parse() {
        Ok(wakeup) => {
            let request =
                AcknowledgeRequest { now, run: run.id, fence: run.fence, wakeups: vec![wakeup], messages: Vec::new() };
            engine.acknowledge(request).await.map(|_| ())
        }
        // A nudge is no wakeup.
        Err(_) => {
            let request = ReadRequest { now, run: run.id, fence: run.fence, messages: vec![id.to_owned()] };
            engine.mark_read(request).await.map(|_| ())
        }
    };
    match written {
        Ok(()) => Ok(()),
        Err(error @ Refusal::Store(_)) => Err(error),
        // The run is over, or the wakeup went another way: it has its fate.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_by_the_id_it_begins_with() {
        assert_eq!(id_of(&worded("wak_1", "look [there] first")), Some("wak_1"));
        assert_eq!(id_of("look [there] first"), None);
        assert_eq!(id_of("[nothing"), None);
    }
}
