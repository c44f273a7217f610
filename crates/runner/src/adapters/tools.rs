//! Which tool calls are running, by their ids: while one runs, silence is work.

use std::collections::VecDeque;

use serde_json::Value;

use super::excerpt::cut;

/// No agent runs more at once; beyond that the oldest is taken to have ended.
const RUNNING_MAX: usize = 256;
/// Longer ids are compared by their beginning.
const ID_CHARS_MAX: usize = 128;

/// The tool calls that have begun and not ended.
#[derive(Debug, Default)]
pub(super) struct RunningTools(VecDeque<String>);

impl RunningTools {
    /// A call has begun; one without an id cannot be seen to end and is passed over.
    pub(super) fn began(&mut self, id: &Value) {
        let Some(id) = id.as_str().map(|id| cut(id, ID_CHARS_MAX)) else { return };
        if self.0.contains(&id) {
            return;
        }
        if self.0.len() == RUNNING_MAX {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }

    pub(super) fn ended(&mut self, id: &Value) {
        if let Some(id) = id.as_str().map(|id| cut(id, ID_CHARS_MAX)) {
            self.0.retain(|running| *running != id);
        }
    }

    /// The turn is over: what was not seen to end has ended with it.
    pub(super) fn all_ended(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_any(&self) -> bool {
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_begin_and_end_by_id() {
        let mut tools = RunningTools::default();
        tools.began(&Value::Null);
        assert!(!tools.is_any());
        tools.began(&json!("a"));
        tools.began(&json!("a"));
        tools.began(&json!("b"));
        tools.ended(&json!("a"));
        assert!(tools.is_any());
        tools.ended(&json!("never begun"));
        tools.ended(&json!("b"));
        assert!(!tools.is_any());
        (0..10_000).for_each(|n| tools.began(&json!(format!("{n}{}", "x".repeat(1_000)))));
        assert_eq!(tools.0.len(), RUNNING_MAX);
        tools.all_ended();
        assert!(!tools.is_any());
    }
}
