//! What an agent does, step by step, as a trace shows it: when its model is asked and answers, which tools it calls.
//! Names, ids and counts only: no step holds a prompt, an answer, or what a tool was given or gave back.

use serde_json::Value;
use wakeful_domain::usage::Usage;

use super::excerpt::cut;

/// More than one line tells. Whoever wants them takes them line by line; nobody else is to fill memory with them.
const STEPS_MAX: usize = 512;
/// A name or an id that is longer is none.
const NAME_CHARS_MAX: usize = 128;

/// One step of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// From here on its model is asked.
    Asked,
    /// The model has answered, or has gone on with an answer.
    Answered(Answer),
    ToolBegan {
        id: String,
        name: String,
    },
    ToolEnded {
        id: String,
        is_failed: bool,
    },
    /// A call that is told of once it is over.
    ToolTold {
        id: Option<String>,
        name: String,
        is_failed: bool,
        /// Milliseconds, where it is known.
        took_ms: Option<u64>,
    },
}

/// An answer of a model, or a piece of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The same for every piece of one answer. Without it, a piece belongs to the answer that is being given.
    pub id: Option<String>,
    pub model: Option<String>,
    /// The tool call that it is given within: it is a subagent's.
    pub within: Option<String>,
    /// What the answer took, where it is told answer by answer.
    pub usage: Option<Usage>,
    /// Whether the output in `usage` is all of it; otherwise only the rest of it is to be believed.
    pub output_is_known: bool,
}

impl Answer {
    /// A piece of what is being answered.
    pub(super) fn piece(model: Option<&str>) -> Answer {
        Answer { model: model.map(str::to_owned), ..Answer::default() }
    }
}

/// Steps that nobody has taken so far.
#[derive(Debug, Default)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    pub(super) fn push(&mut self, step: Step) {
        if self.0.len() < STEPS_MAX {
            self.0.push(step);
        }
    }

    pub(super) fn take(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.0)
    }
}

/// A name or an id as an event has it.
pub(super) fn named(value: &Value) -> Option<String> {
    value.as_str().map(|name| cut(name, NAME_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wakeful_domain::outcome::SessionState;

    use super::super::Adapter;
    use super::super::testing::recorded;
    use super::*;
    use crate::adapters::Stream;

    /// The steps of a recorded run, each as a word or two.
    fn steps(adapter: Adapter, name: &str) -> Vec<String> {
        let (stdout, _) = recorded(name);
        let mut reader = adapter.reader(&json!({}), None::<&SessionState>, std::path::Path::new("/srv/agent"));
        let mut found = Vec::new();
        for line in stdout.lines() {
            reader.line(Stream::Stdout, line);
            found.extend(reader.steps());
        }
        let tokens = |usage: &Usage| usage.total() - usage.output_tokens;
        found
            .iter()
            .map(|step| match step {
                Step::Asked => "asked".to_owned(),
                Step::Answered(Answer { usage, .. }) => format!("answered {}", usage.as_ref().map_or(0, tokens)),
                Step::ToolBegan { name, .. } => format!("began {name}"),
                Step::ToolEnded { is_failed, .. } => format!("ended {}", if *is_failed { "badly" } else { "well" }),
                Step::ToolTold { name, took_ms, .. } => format!("told {name} {}", took_ms.unwrap_or(0)),
            })
            .collect()
    }

    #[test]
    fn every_adapter_tells_turns_and_tool_calls() {
        let check = |adapter, name: &str, expected: &[&str]| assert_eq!(steps(adapter, name), expected, "{name}");
        let asks = ["asked", "answered 1230", "began Bash", "ended well", "answered 1230"];
        check(Adapter::Claude, "claude/tool", &asks);
        let turn = ["asked", "answered 0", "began command_execution", "ended well", "answered 2460"];
        check(Adapter::Codex, "codex/tool", &turn);
        let pieces = ["asked", "answered 0", "began run_shell_command", "ended well", "answered 0"];
        check(Adapter::Gemini, "gemini/tool", &pieces);
        let told = ["asked", "answered 0", "told bash 192", "answered 1230", "asked", "answered 0", "answered 1230"];
        check(Adapter::Opencode, "opencode/tool", &told);
    }

    #[test]
    fn steps_that_nobody_takes_are_few() {
        let mut steps = Steps::default();
        (0..10_000).for_each(|_| steps.push(Step::Asked));
        assert_eq!((steps.take().len(), steps.take().len()), (STEPS_MAX, 0));
    }
}
