//! The tree of a course: which answers of the model there were, from when to when, and which tool calls each asked for.
//! An answer begins when its model is asked: at the beginning, when a tool call before it has ended, or when the answer
//! before it was whole. A tool call hangs below the answer that asked for it, a subagent's answers below its call.

use std::collections::HashMap;

use wakeful_domain::time::Timestamp;
use wakeful_domain::usage::Usage;
use wakeful_engine::{Course, TimedStep};
use wakeful_runner::adapters::{Answer, Step};

/// What was done, in the order in which it was begun.
#[derive(Debug, Default)]
pub struct Tree {
    pub answers: Vec<Answered>,
    pub calls: Vec<Call>,
}

/// An answer of the model.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    pub from: Timestamp,
    pub until: Timestamp,
    /// The call of the subagent that it is of.
    pub within: Option<usize>,
    pub model: Option<String>,
    pub usage: Option<Usage>,
    pub output_is_known: bool,
}

/// A call of a tool.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    pub from: Timestamp,
    /// `None`: it was not seen to end.
    pub until: Option<Timestamp>,
    /// The answer that asked for it.
    pub asked_by: Option<usize>,
    pub id: Option<String>,
    pub name: String,
    pub is_failed: bool,
}

/// Whose words an answer is: the agent's own, or a subagent's, by its call.
type Speaker = Option<String>;

#[derive(Debug, Default)]
struct Growing {
    tree: Tree,
    began_at: Option<Timestamp>,
    /// Since when each speaker's model is asked.
    asked_at: HashMap<Speaker, Timestamp>,
    /// The answer that each speaker is giving.
    open: HashMap<Speaker, usize>,
    answers: HashMap<String, usize>,
    /// By the id of the call: its place, and who asked for it.
    calls: HashMap<String, (usize, Speaker)>,
    /// The answer that was told last, and whose it is.
    last: Option<(usize, Speaker)>,
}

/// The tree of a course that began at `began_at`.
pub fn tree(course: &Course, began_at: Timestamp) -> Tree {
    let mut growing = Growing { began_at: Some(began_at), ..Growing::default() };
    course.steps.iter().for_each(|step| growing.take(step));
    growing.tree
}

impl Growing {
    fn take(&mut self, TimedStep { at, until, step }: &TimedStep) {
        match step {
            Step::Asked => {
                self.asked_at.insert(None, *at);
                self.open.remove(&None);
            }
            Step::Answered(answer) => self.answered(answer, *until),
            Step::ToolBegan { id, name } => {
                let (asked_by, speaker) = self.last.clone().unzip();
                let call = Call {
                    from: *at,
                    until: None,
                    asked_by,
                    id: Some(id.clone()),
                    name: name.clone(),
                    is_failed: false,
                };
                self.calls.insert(id.clone(), (self.tree.calls.len(), speaker.flatten()));
                self.tree.calls.push(call);
            }
            Step::ToolEnded { id, is_failed } => {
                let Some((place, speaker)) = self.calls.get(id).cloned() else { return };
                let call = &mut self.tree.calls[place];
                (call.until, call.is_failed) = (Some(*at), *is_failed);
                self.asked_at.insert(speaker.clone(), *at);
                self.open.remove(&speaker);
            }
            Step::ToolTold { id, name, is_failed, took_ms } => {
                let (asked_by, speaker) = self.last.clone().unzip();
                let took = std::time::Duration::from_millis(took_ms.unwrap_or(0));
                let call = Call {
                    from: *at - took,
                    until: Some(*at),
                    asked_by,
                    id: id.clone(),
                    name: name.clone(),
                    is_failed: *is_failed,
                };
                self.tree.calls.push(call);
                self.open.remove(&speaker.flatten());
            }
        }
    }

    fn answered(&mut self, told: &Answer, until: Timestamp) {
        let speaker = told.within.clone();
        let known = match &told.id {
            Some(id) => self.answers.get(id).copied(),
            None => self.open.get(&speaker).copied(),
        };
        let place = known.unwrap_or_else(|| self.begin(told, until));
        let answer = &mut self.tree.answers[place];
        answer.until = answer.until.max(until);
        if told.model.is_some() {
            answer.model.clone_from(&told.model);
        }
        if told.usage.is_some() {
            (answer.usage, answer.output_is_known) = (told.usage, told.output_is_known);
        }
        self.asked_at.insert(speaker.clone(), until);
        self.open.insert(speaker.clone(), place);
        self.last = Some((place, speaker));
    }

    fn begin(&mut self, told: &Answer, until: Timestamp) -> usize {
        let within = told.within.as_ref().and_then(|id| Some(self.calls.get(id)?.0));
        let since = within.map(|call| self.tree.calls[call].from).or(self.began_at).unwrap_or(until);
        let from = self.asked_at.get(&told.within).copied().unwrap_or(since).min(until);
        let place = self.tree.answers.len();
        let answer = Answered { from, until, within, model: None, usage: None, output_is_known: false };
        self.tree.answers.push(answer);
        if let Some(id) = &told.id {
            self.answers.insert(id.clone(), place);
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    fn step(ms: i64, step: Step) -> TimedStep {
        TimedStep { at: at(ms), until: at(ms), step }
    }

    fn answer(id: Option<&str>, within: Option<&str>) -> Step {
        let named = |name: &str| name.to_owned();
        Step::Answered(Answer { id: id.map(named), within: within.map(named), ..Answer::default() })
    }

    fn began(id: &str) -> Step {
        Step::ToolBegan { id: id.into(), name: "Bash".into() }
    }

    fn ended(id: &str) -> Step {
        Step::ToolEnded { id: id.into(), is_failed: false }
    }

    /// Answers as `from..until^within`, calls as `from..until<answer`.
    fn check(steps: Vec<TimedStep>, expected: &[&str]) {
        let tree = tree(&Course { steps, left_out: 0 }, at(0));
        let ms = |at: Timestamp| at.as_millis() - 1_000_000;
        let answers = tree.answers.iter().map(|answer| {
            let within = answer.within.map(|call| format!("^{call}")).unwrap_or_default();
            format!("{}..{}{within}", ms(answer.from), ms(answer.until))
        });
        let calls = tree.calls.iter().map(|call| {
            let until = call.until.map(|until| ms(until).to_string()).unwrap_or_default();
            format!("{}..{until}<{}", ms(call.from), call.asked_by.map_or("-".into(), |answer| answer.to_string()))
        });
        let found: Vec<String> = answers.chain(calls).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn answers_follow_what_they_waited_for_and_calls_hang_below_who_asked() {
        check(
            vec![
                step(10, Step::Asked),
                step(30, answer(Some("a"), None)),
                step(31, answer(Some("a"), None)),
                step(31, began("t")),
                step(50, ended("t")),
                step(80, answer(Some("b"), None)),
            ],
            &["10..31", "50..80", "31..50<0"],
        );
        // Pieces without an id belong together until something comes in between.
        check(
            vec![
                step(5, answer(None, None)),
                step(9, answer(None, None)),
                step(9, began("t")),
                step(12, ended("t")),
                step(20, answer(None, None)),
            ],
            &["0..9", "12..20", "9..12<0"],
        );
        // One turn that holds its calls, as codex tells it; a call that never ends.
        check(
            vec![
                step(3, Step::Asked),
                step(3, answer(Some("turn"), None)),
                step(4, began("t")),
                step(9, answer(Some("turn"), None)),
            ],
            &["3..9", "4..<0"],
        );
        check(
            vec![step(3, Step::ToolTold { id: None, name: "x".into(), is_failed: false, took_ms: Some(2) })],
            &["1..3<-"],
        );
    }

    #[test]
    fn a_subagent_answers_below_its_call() {
        check(
            vec![
                step(1, Step::Asked),
                step(5, answer(Some("a"), None)),
                step(5, began("task")),
                step(8, answer(Some("s1"), Some("task"))),
                step(8, began("inner")),
                step(9, ended("inner")),
                step(12, answer(Some("s2"), Some("task"))),
                step(13, ended("task")),
                step(20, answer(Some("b"), None)),
            ],
            &["1..5", "5..8^0", "9..12^0", "13..20", "5..13<0", "8..9<1"],
        );
    }
}
