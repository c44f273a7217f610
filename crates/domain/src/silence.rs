//! A live run from which nothing is heard: nudged, then shown to a person, then stopped. A process
//! that lives is no sign of work; output, events and running tool calls are.

use std::time::Duration;

/// Silence after which an agent is nudged, unless its limits say otherwise.
pub const STALE_AFTER_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// What is done about a silent run, once each, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The agent is told.
    Nudge,
    /// A person is told.
    Escalate,
    /// The run is stopped and fails as `stalled`.
    Stop,
}

impl Step {
    const ALL: [Step; 3] = [Step::Nudge, Step::Escalate, Step::Stop];

    /// The tier that a run is on once this was done.
    pub fn tier(self) -> i64 {
        match self {
            Step::Nudge => 1,
            Step::Escalate => 2,
            Step::Stop => 3,
        }
    }

    /// How long a run is silent before this is done.
    fn after(self, stale_after: Duration) -> Duration {
        match self {
            Step::Nudge => stale_after,
            Step::Escalate => stale_after * 2,
            Step::Stop => stale_after * 4,
        }
    }
}

/// What is due for a run that has been silent this long and is on `tier`: the furthest step that is
/// due and not done yet, so that a server that was away does not do three things at once.
pub fn due(silent_for: Duration, stale_after: Duration, tier: i64) -> Option<Step> {
    let is_due = |step: &Step| step.tier() > tier && step.after(stale_after) <= silent_for;
    Step::ALL.into_iter().rfind(is_due)
}

/// How long from now until the next step is due; `None` if none follows.
pub fn next_in(silent_for: Duration, stale_after: Duration, tier: i64) -> Option<Duration> {
    let next = Step::ALL.into_iter().find(|step| step.tier() > tier)?;
    Some(next.after(stale_after).saturating_sub(silent_for))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(100);

    #[test]
    fn each_step_is_due_once_and_in_its_time() {
        let check = |seconds: u64, tier: i64, expected: Option<Step>| {
            assert_eq!(due(Duration::from_secs(seconds), STALE, tier), expected, "{seconds} {tier}");
        };
        check(99, 0, None);
        check(100, 0, Some(Step::Nudge));
        check(100, 1, None);
        check(200, 1, Some(Step::Escalate));
        check(399, 2, None);
        check(400, 2, Some(Step::Stop));
        check(400, 3, None);
        check(500, 0, Some(Step::Stop));
    }

    #[test]
    fn the_next_look_is_when_the_next_step_is_due() {
        let check = |seconds: u64, tier: i64, expected: Option<u64>| {
            let found = next_in(Duration::from_secs(seconds), STALE, tier);
            assert_eq!(found, expected.map(Duration::from_secs), "{seconds} {tier}");
        };
        check(40, 0, Some(60));
        check(150, 1, Some(50));
        check(450, 2, Some(0));
        check(10, 3, None);
    }
}
