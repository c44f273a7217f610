//! Which tool calls are running, by their ids: while one runs, silence is work. What begins and ends here is also told
//! as steps of the agent.

use std::collections::VecDeque;

use serde_json::Value;

use super::excerpt::cut;
use super::steps::{Answer, Step, Steps, named};

/// No agent runs more at once; beyond that the oldest is taken to have ended.
const RUNNING_MAX: usize = 256;
/// Longer ids are compared by their beginning.
const ID_CHARS_MAX: usize = 128;

/// The tool calls that have begun and not ended.
#[derive(Debug, Default)]
pub(super) struct RunningTools {
    running: VecDeque<String>,
    steps: Steps,
}

impl RunningTools {
    /// A call has begun; one without an id cannot be seen to end and is passed over.
    pub(super) fn began(&mut self, id: &Value, name: &str) {
        let Some(id) = id.as_str().map(|id| cut(id, ID_CHARS_MAX)) else { return };
        if self.running.contains(&id) {
            return;
        }
        if self.running.len() == RUNNING_MAX {
            self.running.pop_front();
        }
        self.steps.push(Step::ToolBegan { id: id.clone(), name: cut(name, ID_CHARS_MAX) });
        self.running.push_back(id);
    }

    pub(super) fn ended(&mut self, id: &Value, is_failed: bool) {
        let Some(id) = id.as_str().map(|id| cut(id, ID_CHARS_MAX)) else { return };
        let before = self.running.len();
        self.running.retain(|running| *running != id);
        if self.running.len() < before {
            self.steps.push(Step::ToolEnded { id, is_failed });
        }
    }

    /// A call is told of that is over.
    pub(super) fn told(&mut self, id: &Value, name: &str, is_failed: bool, took_ms: Option<u64>) {
        self.steps.push(Step::ToolTold { id: named(id), name: cut(name, ID_CHARS_MAX), is_failed, took_ms });
    }

    /// The turn is over: what was not seen to end has ended with it.
    pub(super) fn all_ended(&mut self) {
        for id in self.running.drain(..) {
            self.steps.push(Step::ToolEnded { id, is_failed: false });
        }
    }

    pub(super) fn is_any(&self) -> bool {
        !self.running.is_empty()
    }

    /// The model is asked from here on.
    pub(super) fn asked(&mut self) {
        self.steps.push(Step::Asked);
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        self.steps.push(Step::Answered(answer));
    }

    /// The steps since this was asked.
    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        self.steps.take()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_begin_and_end_by_id() {
        let mut tools = RunningTools::default();
        tools.began(&Value::Null, "Bash");
        assert!(!tools.is_any());
        tools.began(&json!("a"), "Bash");
        tools.began(&json!("a"), "Bash");
        tools.began(&json!("b"), "Bash");
        tools.ended(&json!("a"), false);
        assert!(tools.is_any());
        tools.ended(&json!("never begun"), false);
        tools.ended(&json!("b"), false);
        assert!(!tools.is_any());
        (0..10_000).for_each(|n| tools.began(&json!(format!("{n}{}", "x".repeat(1_000))), "Bash"));
        assert_eq!(tools.running.len(), RUNNING_MAX);
        tools.all_ended();
        assert!(!tools.is_any());
    }
}
