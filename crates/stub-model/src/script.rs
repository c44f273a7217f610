//! What the stub answers, and what it was asked. Shared between the server and the test.
//! A behaviour holds until the next one is set; queued ones are used up first, one a model call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// More requests than this are forgotten, oldest first: nobody reads a stub's log that far back.
const RECORDED_MAX: usize = 1_000;

/// Tokens that every answer reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageNumbers {
    /// Without what was read from or written to a cache.
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_tokens: i64,
}

/// What a single answer costs. The Responses API reports 1230 input tokens: there those read from
/// and written to a cache are a part of the input.
pub const USAGE: UsageNumbers =
    UsageNumbers { input_tokens: 1_000, output_tokens: 50, cache_read_tokens: 200, cache_write_tokens: 30 };

/// How the next model call is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// Answers this; `null` answers `stub answer N`, N being the number of the model call.
    Answer { text: Option<String> },
    /// Asks for a shell command first and answers once its result has come back.
    Shell { command: String },
    /// Declines with the stop reason `refusal`.
    Refusal,
    /// 429, `rate_limit_error`.
    RateLimited429,
    /// 529, `overloaded_error` (503 in the Responses API).
    Overloaded529,
    /// 429 of a subscription whose limit lifts at `resets_at` (seconds since 1970).
    UsageLimit { resets_at: i64 },
    /// 401.
    AuthError401,
    /// 404, naming the model that was asked for.
    ModelNotFound404,
    /// 500.
    ServerError500,
    /// Never answers.
    Hang,
    /// Answers after so many milliseconds.
    Slow { ms: u64 },
}

impl Behaviour {
    /// The default: answers `stub answer N`.
    pub const fn answers() -> Self {
        Behaviour::Answer { text: None }
    }
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Name and value, for the headers that say who asks and in which session.
    pub headers: Vec<(String, String)>,
    /// The body; a string if it is no JSON, `null` if there is none.
    pub body: Value,
    /// The number of the model call, for requests that were one.
    pub model_call: Option<u64>,
}

impl Recorded {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a text occurs anywhere in the body: a prompt, say. The text must not need escaping in JSON.
    pub fn body_contains(&self, text: &str) -> bool {
        self.body.to_string().contains(text)
    }
}

/// The handle on what is answered and what arrived.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    queue: VecDeque<Behaviour>,
    recorded: VecDeque<Recorded>,
    model_calls: u64,
}

impl Default for State {
    fn default() -> Self {
        Self { behaviour: Behaviour::answers(), queue: VecDeque::new(), recorded: VecDeque::new(), model_calls: 0 }
    }
}

impl Script {
    /// From now on; what was queued is forgotten.
    pub fn set(&self, behaviour: Behaviour) {
        let mut state = self.state();
        state.queue.clear();
        state.behaviour = behaviour;
    }

    /// For one model call, after those that are queued already.
    pub fn queue(&self, behaviour: Behaviour) {
        self.state().queue.push_back(behaviour);
    }

    /// Everything that arrived, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().recorded.iter().cloned().collect()
    }

    /// The requests that asked the model something, oldest first.
    pub fn model_requests(&self) -> Vec<Recorded> {
        self.state().recorded.iter().filter(|request| request.model_call.is_some()).cloned().collect()
    }

    /// How often the model was asked, refusals and errors included.
    pub fn model_calls(&self) -> u64 {
        self.state().model_calls
    }

    /// Records a request that is no model call.
    pub(crate) fn record(&self, request: Recorded) {
        self.state().push(request);
    }

    /// Records a model call: its number and how to answer it.
    pub(crate) fn take(&self, mut request: Recorded) -> (u64, Behaviour) {
        let mut state = self.state();
        state.model_calls += 1;
        let number = state.model_calls;
        request.model_call = Some(number);
        state.push(request);
        let behaviour = state.queue.pop_front().unwrap_or_else(|| state.behaviour.clone());
        (number, behaviour)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while holding it left the state whole: nothing in here can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, request: Recorded) {
        if self.recorded.len() == RECORDED_MAX {
            self.recorded.pop_front();
        }
        self.recorded.push_back(request);
    }
}
