//! The end of a run, decided: what becomes of each wakeup of its batch. Pure; the store
//! carries it out in one transaction.

use std::time::Duration;

use crate::failure::{FailureClass, class_of};
use crate::outcome::{End, Outcome};
use crate::retry::RetryPolicy;
use crate::run::StopRequest;
use crate::time::Timestamp;

/// How long an account rests after a usage limit that named no time.
pub const QUOTA_REST_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// A time to be tried again lies at most this far ahead, whoever names it: no limit lasts longer than a week.
pub const RETRY_AHEAD_MAX: Duration = Duration::from_secs(8 * 86_400);
/// Runs that wait for one usage limit come back spread over this long.
pub const QUOTA_SPREAD_MAX: Duration = Duration::from_secs(60);

/// What a wakeup brings to the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    pub attempt: i64,
    pub max_attempts: i64,
    pub expires_at: Option<Timestamp>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Completed,
    Cancelled,
    /// A dead letter: only an explicit retry brings it back.
    Failed,
    /// Back to waiting. `counted`: whether this run used up one of its attempts.
    Pending {
        due_at: Timestamp,
        counted: bool,
    },
}

/// The run's side of the decision.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    pub outcome: &'a Outcome,
    pub stop: Option<&'a StopRequest>,
    pub policy: &'a RetryPolicy,
    pub now: Timestamp,
    /// 0..1, drawn once per run.
    pub draw: f64,
}

impl Ending<'_> {
    /// The class of the failure; `None` for a success or an operator's cancel.
    pub fn class(&self) -> Option<FailureClass> {
        match self.outcome.end {
            End::Succeeded => None,
            End::Cancelled => self.stop.is_some_and(|stop| stop.puts_back).then_some(FailureClass::Release),
            End::Failed | End::Lost => Some(class_of(self.outcome.error_code.as_deref().unwrap_or_default())),
            End::TimedOut => Some(FailureClass::Once),
        }
    }

    /// Until when a usage limit holds the account; `None` if there is no limit.
    pub fn quota_until(&self) -> Option<Timestamp> {
        (self.class() == Some(FailureClass::Quota))
            .then(|| self.retry_at().filter(|at| *at > self.now).unwrap_or(self.now + QUOTA_REST_DEFAULT))
    }

    fn retry_at(&self) -> Option<Timestamp> {
        self.outcome.retry_at.map(|at| at.min(self.now + RETRY_AHEAD_MAX))
    }

    /// Whether the run counts as a failure of its lane.
    pub fn counts_as_failure(&self) -> bool {
        match self.class() {
            None | Some(FailureClass::Quota | FailureClass::Release | FailureClass::Uncertain) => false,
            Some(FailureClass::Transient | FailureClass::Once | FailureClass::Permanent) => true,
        }
    }

    /// What becomes of one wakeup of the batch.
    pub fn fate(&self, wakeup: Claimed) -> Fate {
        match self.class() {
            None => match self.outcome.end {
                End::Succeeded => Fate::Completed,
                End::Failed | End::Cancelled | End::TimedOut | End::Lost => Fate::Cancelled,
            },
            Some(FailureClass::Permanent | FailureClass::Uncertain) => Fate::Failed,
            Some(FailureClass::Release) => Fate::Pending { due_at: self.now, counted: false },
            Some(FailureClass::Quota) => {
                let until = self.quota_until().unwrap_or(self.now);
                self.back_by(wakeup, until + QUOTA_SPREAD_MAX.mul_f64(self.draw), false)
            }
            Some(FailureClass::Once) => self.retried(wakeup, wakeup.max_attempts.min(2)),
            Some(FailureClass::Transient) => self.retried(wakeup, wakeup.max_attempts),
        }
    }

    fn retried(&self, wakeup: Claimed, attempts_max: i64) -> Fate {
        if wakeup.attempt >= attempts_max {
            return Fate::Failed;
        }
        match self.policy.delay_after(wakeup.attempt, self.draw) {
            None => Fate::Failed,
            Some(delay) => self.back_by(wakeup, self.retry_at().unwrap_or(self.now + delay).max(self.now), true),
        }
    }

    fn back_by(&self, wakeup: Claimed, due_at: Timestamp, counted: bool) -> Fate {
        match wakeup.expires_at {
            Some(expires_at) if due_at >= expires_at => Fate::Failed,
            Some(_) | None => Fate::Pending { due_at, counted },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn fate(outcome: &Outcome, stop: Option<&StopRequest>, wakeup: Claimed) -> Fate {
        Ending { outcome, stop, policy: &RetryPolicy::default(), now: NOW, draw: 0.5 }.fate(wakeup)
    }

    fn claimed(attempt: i64) -> Claimed {
        Claimed { attempt, max_attempts: 5, expires_at: None }
    }

    #[test]
    fn five_attempts_then_a_dead_letter() {
        let failed = Outcome::failed("exit_nonzero", "the command exited with status 1");
        for (attempt, delay_s) in [(1, 120), (2, 600), (3, 1_800), (4, 7_200)] {
            let due_at = NOW + Duration::from_secs(delay_s);
            assert_eq!(fate(&failed, None, claimed(attempt)), Fate::Pending { due_at, counted: true });
        }
        assert_eq!(fate(&failed, None, claimed(5)), Fate::Failed);
    }

    #[test]
    fn a_usage_limit_waits_for_its_reset_and_costs_no_attempt() {
        let reset = NOW + Duration::from_secs(3_600);
        let limited = Outcome { retry_at: Some(reset), ..Outcome::failed("usage_limit", "limit reached") };
        let due_at = reset + Duration::from_secs(30);
        assert_eq!(fate(&limited, None, claimed(5)), Fate::Pending { due_at, counted: false });
        let unnamed = Outcome::failed("usage_limit", "limit reached");
        assert_eq!(
            fate(&unnamed, None, claimed(1)),
            Fate::Pending { due_at: NOW + QUOTA_REST_DEFAULT + Duration::from_secs(30), counted: false }
        );
    }

    #[test]
    fn a_timeout_is_tried_once_more() {
        let timed_out = Outcome::ended(End::TimedOut, "timed_out", "took too long");
        assert!(matches!(fate(&timed_out, None, claimed(1)), Fate::Pending { counted: true, .. }));
        assert_eq!(fate(&timed_out, None, claimed(2)), Fate::Failed);
    }

    #[test]
    fn a_cancel_ends_the_wakeups_and_a_pause_puts_them_back() {
        let cancelled = Outcome::ended(End::Cancelled, "cancelled", "by the operator");
        let stop = |puts_back| StopRequest { puts_back, ..StopRequest::cancel("x", NOW) };
        assert_eq!(fate(&cancelled, Some(&stop(false)), claimed(1)), Fate::Cancelled);
        assert_eq!(fate(&cancelled, Some(&stop(true)), claimed(1)), Fate::Pending { due_at: NOW, counted: false });
    }

    #[test]
    fn a_retry_that_would_come_after_the_expiry_is_a_dead_letter() {
        let failed = Outcome::failed("exit_nonzero", "x");
        let expiring = Claimed { expires_at: Some(NOW + Duration::from_secs(60)), ..claimed(1) };
        assert_eq!(fate(&failed, None, expiring), Fate::Failed);
    }

    #[test]
    fn a_permanent_failure_is_not_retried() {
        assert_eq!(fate(&Outcome::failed("command_not_found", "x"), None, claimed(1)), Fate::Failed);
    }

    #[test]
    fn a_run_of_which_the_restored_store_knows_no_end_is_not_repeated_and_is_no_failure_of_its_lane() {
        let lost = Outcome::ended(End::Lost, "restored", "x");
        assert_eq!(fate(&lost, None, claimed(1)), Fate::Failed);
        let ending = Ending { outcome: &lost, stop: None, policy: &RetryPolicy::default(), now: NOW, draw: 0.5 };
        assert!(!ending.counts_as_failure());
    }
}
