//! What is said to a live agent, and when it has said its last word itself. A text counts as taken
//! when the agent confirms it; a process that has nothing more to say is told to end.

use std::time::{Duration, Instant};

use wakeful_domain::run::Run;
use wakeful_runner::adapters::{Adapter, Reader};
use wakeful_runner::process::Attached;
use wakeful_store::ops::inbox::AcknowledgeRequest;
use wakeful_store::ops::run_events::NewRunEvent;

use super::follow::note;
use crate::clock;
use crate::context::RunContext;
use crate::engine::Engine;
use crate::live::Input;

/// How long an agent may take to exit once it has said that it is done.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How long one that is done may take to take a text that was written to it.
const UNTAKEN: Duration = Duration::from_secs(60);

/// What has been said to the agent of one launch.
pub(super) struct Conversation<'a> {
    adapter: Adapter,
    pub context: &'a RunContext,
    /// Given to the shim, and not yet answered.
    sent: Vec<Input>,
    /// Written to the agent, with the number of texts it has confirmed once it has confirmed this one.
    written: Vec<(String, u64)>,
    /// When an agent that is done is ended, though a text is still written to it.
    end_at: Option<Instant>,
    is_ending: bool,
}

impl<'a> Conversation<'a> {
    pub fn begin(engine: &Engine, run: &Run, adapter: Adapter, context: &'a RunContext) -> Conversation<'a> {
        if let Some(live) = engine.live().get_mut(&run.id) {
            live.takes_messages = adapter.steer(&context.adapter, "").is_some();
        }
        Conversation { adapter, context, sent: Vec::new(), written: Vec::new(), end_at: None, is_ending: false }
    }

    /// Gives the shim a text for the agent.
    pub fn say(&mut self, attached: &Attached, input: Input) {
        if let Some(line) = self.adapter.steer(&self.context.adapter, &input.text) {
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
    pub fn written(&mut self, reader: &dyn Reader, id: &str) {
        self.sent.retain(|input| input.id != id);
        // The first one confirmed is the prompt.
        let before = self.written.last().map_or(0, |(_, confirmed)| *confirmed).max(reader.inputs_taken()).max(1);
        self.written.push((id.to_owned(), before + 1));
    }

    /// A text could not be written; its wakeup goes on waiting.
    pub async fn refused(&mut self, engine: &Engine, run: &Run, id: &str, reason: &str) {
        self.sent.retain(|input| input.id != id);
        let told = format!("a message could not be given to the agent, and waits in its inbox: {reason}");
        note(engine, run, NewRunEvent::warn("not_steered", told, serde_json::json!({ "id": id }))).await;
    }

    /// Draws the conclusions of what was read: texts that were taken, and the end of the agent's work.
    pub async fn heard(&mut self, engine: &Engine, run: &Run, reader: &dyn Reader, attached: &Attached) {
        let taken = reader.inputs_taken();
        for (id, _) in self.written.extract_if(.., |(_, confirmed)| *confirmed <= taken) {
            acknowledge(engine, run, &id).await;
        }
        if !reader.has_ended() {
            self.end_at = None;
        } else if !self.is_ending {
            let now = clock::monotonic();
            let end_at = *self.end_at.get_or_insert(now + UNTAKEN);
            if (self.sent.is_empty() && self.written.is_empty()) || end_at <= now {
                self.end(attached);
            }
        }
    }

    /// When to look again though nothing is heard.
    pub fn due_at(&self) -> Option<Instant> {
        self.end_at.filter(|_| !self.is_ending)
    }

    fn end(&mut self, attached: &Attached) {
        match attached.finish(LAST_WORD) {
            Ok(()) => self.is_ending = true,
            Err(error) => tracing::warn!("a shim could not be told that its agent is done: {error}"),
        }
    }
}

/// The run takes over the wakeup whose text its agent has taken.
async fn acknowledge(engine: &Engine, run: &Run, id: &str) {
    // A nudge is no wakeup.
    let Ok(wakeup) = id.parse() else { return };
    let request = AcknowledgeRequest { now: clock::now(), run: run.id, fence: run.fence, wakeups: vec![wakeup] };
    if let Err(refusal) = engine.acknowledge(request).await {
        tracing::warn!(run.id = %run.id, "run {} could not take over {wakeup}: {refusal}", run.id);
    }
}
