//! The course of a run: what its agent did, step by step, for whoever traces runs. It is gathered while the log is read,
//! and the log is read from its beginning by every server that follows the run: so a course is whole after a restart
//! too. Nothing is gathered unless somebody listens, and a listener who does not keep up holds nobody up: what has no
//! room is left out and counted.

use tokio::sync::mpsc;
use wakeful_domain::id::RunId;
use wakeful_domain::run::Run;
use wakeful_domain::time::Timestamp;
use wakeful_runner::adapters::Step;

use crate::engine::Engine;
use crate::meters::Meter;

/// Steps kept of one run: what more it does is counted. A long run of a coding agent has some hundreds.
const STEPS_MAX: usize = 2_000;
/// Ended runs that wait for the listener.
const ENDED_MAX: usize = 1_000;

/// What an agent did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    /// In the order of the log, each with when it was begun and last told.
    pub steps: Vec<TimedStep>,
    /// Steps that had no room.
    pub left_out: u64,
}

/// A step and when it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedStep {
    pub at: Timestamp,
    /// Later than `at` where pieces of one answer have come together.
    pub until: Timestamp,
    pub step: Step,
}

/// A run that has ended, and how it went.
#[derive(Debug, Clone)]
pub struct EndedRun {
    pub run: Run,
    pub course: Course,
}

impl Course {
    /// Takes what was seen at `at`.
    pub(crate) fn take(&mut self, at: Timestamp, step: Step) {
        // An answer may come in many pieces, one after the other: they are one step.
        if let (Some(last), Step::Answered(piece)) = (self.steps.last_mut(), &step)
            && let Step::Answered(answer) = &mut last.step
            && (&answer.id, &answer.within) == (&piece.id, &piece.within)
        {
            last.until = at;
            if piece.usage.is_some() {
                *answer = piece.clone();
            }
            return;
        }
        match self.steps.len() < STEPS_MAX {
            true => self.steps.push(TimedStep { at, until: at, step }),
            false => self.left_out += 1,
        }
    }
}

impl Engine {
    /// From here on every run that ends is told here, with its course. There is one listener: a second takes its place
    /// from nobody and gets nothing.
    pub fn listen_to_ends(&self) -> Option<mpsc::Receiver<EndedRun>> {
        let (sender, receiver) = mpsc::channel(ENDED_MAX);
        self.inner.ends.set(sender).ok().map(|()| receiver)
    }

    /// Whether somebody wants to know the courses of runs.
    pub(crate) fn courses_are_wanted(&self) -> bool {
        self.inner.ends.get().is_some()
    }

    /// A run is read from the beginning of its log.
    pub(crate) fn begin_course(&self, run: RunId) {
        if let Some(live) = self.live().get_mut(&run) {
            live.course = Course::default();
        }
    }

    /// Tells the listener, if there is one, that a run has ended.
    pub(crate) fn tell_end(&self, run: &Run) {
        let Some(ends) = self.inner.ends.get() else { return };
        let course = self.live().get_mut(&run.id).map(|live| std::mem::take(&mut live.course)).unwrap_or_default();
        if ends.try_send(EndedRun { run: run.clone(), course }).is_err() {
            self.meters().count(Meter::TracesDropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use wakeful_runner::adapters::Answer;

    use super::*;

    #[test]
    fn pieces_of_an_answer_are_one_step_and_a_course_has_an_end() {
        let mut course = Course::default();
        let at = |ms: i64| Timestamp::from_millis(1_000_000 + ms);
        let piece = |id: &str| Step::Answered(Answer { id: Some(id.to_owned()), ..Answer::default() });
        course.take(at(0), Step::Asked);
        course.take(at(5), piece("a"));
        course.take(at(9), piece("a"));
        course.take(at(12), piece("b"));
        let seen: Vec<_> = course.steps.iter().map(|step| (step.at, step.until)).collect();
        assert_eq!(seen, [(at(0), at(0)), (at(5), at(9)), (at(12), at(12))]);
        (0..10_000).for_each(|_| course.take(at(20), Step::Asked));
        assert_eq!((course.steps.len(), course.left_out), (STEPS_MAX, 10_003 - STEPS_MAX as u64));
    }
}
