//! When and how a launch ends: limits, stop, last word, linger, grace, KILL. Pure: it is told what happened
//! and at what time, and says what to do. It does not know when the tree is empty; the caller does.

use std::time::{Duration, Instant};

use wakeful_domain::time::Timestamp;

use super::super::launch::Launch;
use super::super::record::{Limit, StopRecord};

/// KILL is repeated for what appeared meanwhile, at first quickly.
const KILL_AGAIN_FIRST: Duration = Duration::from_millis(10);
const KILL_AGAIN_MAX: Duration = Duration::from_secs(1);
/// A tree that outlives KILL for this long is reported.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// What the caller has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Wait,
    /// The stop signal to everything.
    AskToStop,
    /// KILL to everything.
    Kill,
    /// KILL to everything, and say that it does not help.
    KillAndReport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The main process has ended; others may end by themselves.
    Lingering {
        until: Instant,
    },
    Stopping {
        kill_at: Instant,
    },
    Killing {
        again_at: Instant,
        wait: Duration,
        report_at: Instant,
    },
}

/// The way of one launch to its end.
#[derive(Debug)]
pub struct Ending {
    phase: Phase,
    time_limit_at: Option<Instant>,
    /// Until there was output.
    first_output_at: Option<Instant>,
    /// Since the agent said its last word.
    finish_at: Option<Instant>,
    grace: Duration,
    linger: Duration,
    pub limit: Option<Limit>,
    pub ended_after_finish: bool,
    /// Whether what the main process had left behind had to be ended.
    pub was_held_open: bool,
    pub stop: Option<StopRecord>,
}

impl Ending {
    pub fn new(launch: &Launch, now: Instant) -> Ending {
        let after = |limit_ms: u64| later(now, Duration::from_millis(limit_ms));
        Ending {
            phase: Phase::Running,
            time_limit_at: launch.max_duration_ms.map(after),
            first_output_at: launch.first_output_ms.map(after),
            finish_at: None,
            grace: Duration::from_millis(launch.grace_ms),
            linger: Duration::from_millis(launch.linger_ms),
            limit: None,
            ended_after_finish: false,
            was_held_open: false,
            stop: None,
        }
    }

    /// The agent has written something.
    pub fn output_came(&mut self) {
        self.first_output_at = None;
    }

    /// The agent has said its last word and may take this long to end. What it has said stands:
    /// from now on no other limit of time applies. Of two orders the earlier end counts.
    pub fn order_finish(&mut self, within: Duration, now: Instant) {
        let at = later(now, within);
        self.finish_at = Some(self.finish_at.map_or(at, |earlier| earlier.min(at)));
        (self.time_limit_at, self.first_output_at) = (None, None);
    }

    /// The tree has taken more than it may: nothing of it is waited for.
    pub fn exceed(&mut self, limit: Limit, now: Instant) -> Action {
        match self.phase {
            Phase::Running | Phase::Lingering { .. } => {
                self.limit = Some(limit);
                self.kill(now)
            }
            Phase::Stopping { .. } => self.kill(now),
            Phase::Killing { .. } => Action::Wait,
        }
    }

    /// The main process has ended and others live on.
    pub fn main_ended(&mut self, now: Instant) {
        if self.phase == Phase::Running {
            self.phase = Phase::Lingering { until: later(now, self.linger) };
        }
    }

    /// Someone asked for the end. The first reason is kept; a later order may only hasten it.
    pub fn order_stop(&mut self, reason: String, grace: Option<Duration>, at: Timestamp, now: Instant) -> Action {
        self.stop.get_or_insert(StopRecord { reason, at });
        let wanted = later(now, grace.unwrap_or(self.grace));
        match self.phase {
            Phase::Running | Phase::Lingering { .. } => {
                self.phase = Phase::Stopping { kill_at: wanted };
                Action::AskToStop
            }
            Phase::Stopping { kill_at } => {
                self.phase = Phase::Stopping { kill_at: kill_at.min(wanted) };
                Action::Wait
            }
            Phase::Killing { .. } => Action::Wait,
        }
    }

    /// Processes were collected while others live on: what they left behind is killed without delay.
    pub fn some_ended(&mut self, now: Instant) {
        if let Phase::Killing { again_at, wait, .. } = &mut self.phase {
            (*again_at, *wait) = (now, KILL_AGAIN_FIRST);
        }
    }

    /// What the time calls for.
    pub fn due(&mut self, now: Instant) -> Action {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.phase {
            Phase::Running if is_due(self.finish_at) => {
                self.ended_after_finish = true;
                self.ask_to_stop(now)
            }
            Phase::Running if is_due(self.time_limit_at) => {
                self.limit = Some(Limit::WallTime);
                self.ask_to_stop(now)
            }
            Phase::Running if is_due(self.first_output_at) => {
                self.limit = Some(Limit::FirstOutput);
                self.ask_to_stop(now)
            }
            Phase::Lingering { until } if until <= now => {
                self.was_held_open = true;
                self.ask_to_stop(now)
            }
            Phase::Stopping { kill_at } if kill_at <= now => self.kill(now),
            Phase::Killing { again_at, wait, report_at } if again_at <= now => {
                let is_stuck = report_at <= now;
                let wait = (wait * 2).min(KILL_AGAIN_MAX);
                let report_at = if is_stuck { later(now, STUCK_AFTER) } else { report_at };
                self.phase = Phase::Killing { again_at: later(now, wait), wait, report_at };
                if is_stuck { Action::KillAndReport } else { Action::Kill }
            }
            Phase::Running | Phase::Lingering { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => Action::Wait,
        }
    }

    /// When to ask again.
    pub fn due_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => [self.time_limit_at, self.first_output_at, self.finish_at].into_iter().flatten().min(),
            Phase::Lingering { until } => Some(until),
            Phase::Stopping { kill_at } => Some(kill_at),
            Phase::Killing { again_at, .. } => Some(again_at),
        }
    }

    fn ask_to_stop(&mut self, now: Instant) -> Action {
        self.phase = Phase::Stopping { kill_at: later(now, self.grace) };
        Action::AskToStop
    }

    fn kill(&mut self, now: Instant) -> Action {
        let wait = KILL_AGAIN_FIRST;
        self.phase = Phase::Killing { again_at: later(now, wait), wait, report_at: later(now, STUCK_AFTER) };
        Action::Kill
    }

    /// Whether KILL has been sent, so that a death by it is our doing.
    pub fn is_killing(&self) -> bool {
        matches!(self.phase, Phase::Killing { .. })
    }
}

/// Limits may be absurdly far away.
fn later(now: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
    now + duration.min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::clock;

    fn ending(max_duration_ms: Option<u64>) -> (Ending, Instant) {
        let now = clock::monotonic();
        let ending = Ending {
            phase: Phase::Running,
            time_limit_at: max_duration_ms.map(|limit| now + Duration::from_millis(limit)),
            first_output_at: None,
            finish_at: None,
            grace: Duration::from_millis(100),
            linger: Duration::from_millis(10),
            limit: None,
            ended_after_finish: false,
            was_held_open: false,
            stop: None,
        };
        (ending, now)
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_time_limit_asks_then_kills_then_kills_again() {
        let (mut ending, now) = ending(Some(50));
        assert_eq!(ending.due(now + ms(49)), Action::Wait);
        assert_eq!(ending.due(now + ms(50)), Action::AskToStop);
        assert_eq!(ending.limit, Some(Limit::WallTime));
        assert_eq!(ending.due(now + ms(149)), Action::Wait);
        assert_eq!(ending.due(now + ms(150)), Action::Kill);
        assert_eq!(ending.due(now + ms(159)), Action::Wait);
        assert_eq!(ending.due(now + ms(160)), Action::Kill);
        assert_eq!(ending.due(now + ms(60_150)), Action::KillAndReport);
    }

    #[test]
    fn what_outlives_the_main_process_may_linger() {
        let (mut ending, now) = ending(Some(5));
        ending.main_ended(now);
        assert_eq!(ending.due(now + ms(9)), Action::Wait);
        assert_eq!(ending.due(now + ms(10)), Action::AskToStop);
        assert!(ending.was_held_open && ending.limit.is_none() && ending.stop.is_none());
        assert_eq!(ending.due_at(), Some(now + ms(110)));
    }

    #[test]
    fn a_second_stop_only_hastens_and_does_not_rename() {
        let (mut ending, now) = ending(None);
        let at = Timestamp::from_millis(0);
        assert_eq!(ending.order_stop("first".into(), None, at, now), Action::AskToStop);
        assert_eq!(ending.order_stop("second".into(), Some(ms(500)), at, now), Action::Wait);
        assert_eq!(ending.due_at(), Some(now + ms(100)));
        assert_eq!(ending.order_stop("third".into(), Some(ms(0)), at, now), Action::Wait);
        assert_eq!(ending.due(now), Action::Kill);
        assert_eq!(ending.stop.unwrap().reason, "first");
    }

    #[test]
    fn the_first_output_is_waited_for_only_until_it_comes() {
        let (mut silent, now) = ending(None);
        silent.first_output_at = Some(now + ms(5));
        assert_eq!((silent.due_at(), silent.due(now + ms(4))), (Some(now + ms(5)), Action::Wait));
        assert_eq!((silent.due(now + ms(5)), silent.limit), (Action::AskToStop, Some(Limit::FirstOutput)));
        let (mut talking, now) = ending(None);
        talking.first_output_at = Some(now + ms(5));
        talking.output_came();
        assert_eq!((talking.due_at(), talking.due(now + ms(50))), (None, Action::Wait));
    }

    #[test]
    fn after_the_last_word_only_its_own_deadline_counts() {
        let (mut ending, now) = ending(Some(5));
        ending.order_finish(ms(20), now);
        ending.order_finish(ms(50), now);
        assert_eq!(ending.due(now + ms(19)), Action::Wait);
        assert_eq!(ending.due(now + ms(20)), Action::AskToStop);
        assert!(ending.ended_after_finish && ending.limit.is_none() && ending.stop.is_none());
        assert_eq!(ending.due(now + ms(120)), Action::Kill);
    }

    #[test]
    fn what_takes_too_much_is_killed_at_once() {
        let (mut ending, now) = ending(None);
        assert_eq!((ending.exceed(Limit::Pids, now), ending.limit), (Action::Kill, Some(Limit::Pids)));
        assert_eq!((ending.exceed(Limit::Memory, now), ending.limit), (Action::Wait, Some(Limit::Pids)));
        assert_eq!(ending.due(now + ms(10)), Action::Kill);
    }
}
