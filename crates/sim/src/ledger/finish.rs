//! The end of a run: the table of failure classes in wakes.md §6, and who is let go.

use std::time::Duration;

use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{RunId, WakeupId};
use wakeful_domain::outcome::End;
use wakeful_domain::run::{RunStatus, StopRequest};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::ops::finish::FinishRequest;

use super::{Ledger, Written, expect, guards, rank_of, tasks};
use crate::invariants::{Broken, FATE_AS_DECIDED, require};
use crate::mirror::{Mirror, Run, Wakeup};

/// How long an account rests after a usage limit that named no time.
const QUOTA_REST: Duration = Duration::from_secs(900);
/// What waited for a usage limit comes back within this time after it.
const QUOTA_SPREAD: Duration = Duration::from_secs(60);
/// Nobody is asked to come back later than this.
const AHEAD_MAX: Duration = Duration::from_secs(8 * 86_400);
/// What rounding may add or take away.
const ROUNDING: Duration = Duration::from_millis(2);

/// The way out of a run for its wakeups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Done,
    Cancelled,
    /// The run never had its chance.
    Released,
    Quota,
    Permanent,
    /// Tried again while there are attempts, of which there are at most this many.
    Retried(i64),
}

fn way(run: &Run, request: &FinishRequest) -> Way {
    if let Some(puts_back) = run.stop_puts_back {
        return if puts_back { Way::Released } else { Way::Cancelled };
    }
    match request.outcome.end {
        End::Succeeded => Way::Done,
        End::Cancelled => Way::Cancelled,
        End::TimedOut => Way::Retried(2),
        End::Failed | End::Lost => match request.outcome.error_code.as_deref().unwrap_or_default() {
            "usage_limit" => Way::Quota,
            "launch_interrupted" | "drained" | "paused" => Way::Released,
            "timed_out" | "stalled" => Way::Retried(2),
            "bad_config"
            | "command_not_found"
            | "not_executable"
            | "working_directory_missing"
            | "auth_required"
            | "model_not_found"
            | "refused"
            | "max_turns" => Way::Permanent,
            _ => Way::Retried(i64::MAX),
        },
    }
}

fn status(run: &Run, request: &FinishRequest) -> RunStatus {
    match request.outcome.end {
        _ if run.stop_puts_back.is_some() => RunStatus::Cancelled,
        End::Succeeded => RunStatus::Succeeded,
        End::Failed => RunStatus::Failed,
        End::Cancelled => RunStatus::Cancelled,
        End::TimedOut => RunStatus::TimedOut,
        End::Lost => RunStatus::Lost,
    }
}

impl Ledger {
    pub(super) fn finish(
        &mut self,
        written: &Written<'_>,
        request: &FinishRequest,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let run = self.rows.runs[&request.run].clone();
        let is_live = run.status.is_live() && run.fence == request.fence;
        expect(written, (!is_live).then_some("fenced"))?;
        if !written.is_kept {
            return Ok(());
        }
        let way = way(&run, request);
        let (mut goes_on, mut is_given_up) = (false, false);
        let mut claimed: Vec<_> = self.rows.batches.get(&request.run).into_iter().flatten().copied().collect();
        claimed.retain(|id| {
            let row = &self.rows.wakeups[id];
            row.status == WakeupStatus::Claimed && row.run == Some(request.run)
        });
        // As they were handed over: what is handed on gets its ids in this order.
        claimed.sort_by_key(|id| (self.rows.wakeups[id].requested_at, *id));
        for id in claimed {
            let found = mirror.wakeups.get(&id);
            let mut expected = self.fate(id, &run, way, request, found)?;
            let task = run.task.and_then(|task| self.rows.tasks.get(&task));
            let is_heard = tasks::is_handed_on(expected.source) && task.is_some_and(|task| task.assignee.is_some());
            if run.is_reassigned && is_heard && expected.status == WakeupStatus::Failed {
                expected.status = WakeupStatus::Cancelled;
            }
            let is_called_off = expected.status == WakeupStatus::Cancelled && way != Way::Cancelled;
            let is_handed_on = run.is_reassigned && is_called_off;
            let has_assignee = task.is_some_and(|task| task.assignee.is_some());
            goes_on |= expected.status == WakeupStatus::Pending || (is_handed_on && has_assignee);
            is_given_up |= expected.status == WakeupStatus::Failed;
            self.rows.wakeups.insert(id, expected);
            self.completed += u64::from(way == Way::Done);
            if is_handed_on {
                self.reissue(request.now, id, mirror)?;
            }
        }
        if way == Way::Quota {
            self.park(&run, request);
        }
        if let Some(lane) = self.rows.lanes.get_mut(&run.lane()) {
            lane.live_run = None;
            match way {
                Way::Done => guards::succeeded(lane),
                Way::Permanent | Way::Retried(_) => guards::failed(lane, request.now),
                Way::Cancelled | Way::Released | Way::Quota => {}
            }
        }
        for task in self.rows.tasks.values_mut().filter(|task| task.held_by == Some(request.run)) {
            task.held_by = None;
        }
        self.count(run.company, run.lane(), -1);
        let task = run.task;
        let ended = Run { status: status(&run, request), finished_at: Some(request.now), ..run };
        self.rows.runs.insert(request.run, ended);
        self.run_has_read(request, way == Way::Done);
        self.child_run_ended(request, task, goes_on, mirror)?;
        if let Some(task) = task.filter(|_| is_given_up) {
            self.blocker_is_stuck(request, task, mirror)?;
        }
        self.tell_end(request.now, request.run, mirror)
    }

    /// The wakeup as it must stand after the run. Where jitter falls is taken from what was found, once it is allowed.
    fn fate(
        &self,
        id: WakeupId,
        run: &Run,
        way: Way,
        request: &FinishRequest,
        found: Option<&Wakeup>,
    ) -> Result<Wakeup, Broken> {
        let (now, row) = (request.now, &self.rows.wakeups[&id]);
        let agent = &self.rows.agents[&row.agent];
        let ended = |status: WakeupStatus| Wakeup { status, finished_at: Some(now), ..row.clone() };
        let retry_at = request.outcome.retry_at.map(|at| at.min(now + AHEAD_MAX));
        let (earliest, latest, is_counted) = match way {
            Way::Done => return Ok(ended(WakeupStatus::Completed)),
            Way::Cancelled => return Ok(ended(WakeupStatus::Cancelled)),
            Way::Permanent => return Ok(ended(WakeupStatus::Failed)),
            Way::Released => (now, now, false),
            Way::Quota => {
                let until = quota_until(retry_at, now);
                (until, until + QUOTA_SPREAD, false)
            }
            Way::Retried(most) => {
                let delay = agent.retry.delays_s.get(place(row.attempt)).or(agent.retry.delays_s.last());
                let Some(delay) = delay.filter(|_| row.attempt < row.max_attempts.min(most)) else {
                    return Ok(ended(WakeupStatus::Failed));
                };
                match retry_at {
                    Some(at) => (at.max(now), at.max(now), true),
                    None => {
                        let delay = f64::from(*delay);
                        let (low, high) = (delay * (1.0 - agent.retry.jitter), delay * (1.0 + agent.retry.jitter));
                        (now + Duration::from_secs_f64(low.max(0.0)), now + Duration::from_secs_f64(high), true)
                    }
                }
            }
        };
        let found_due = found.filter(|found| found.status == WakeupStatus::Pending).map(|found| found.due_at);
        let may_expire = way != Way::Released && row.expires_at.is_some_and(|at| latest + ROUNDING >= at);
        let is_given_up = may_expire && found.is_none_or(|found| found.status == WakeupStatus::Failed);
        if is_given_up {
            return Ok(ended(WakeupStatus::Failed));
        }
        let task = run.task.and_then(|task| self.rows.tasks.get(&task));
        let is_closed = task.is_some_and(|task| tasks::is_closed(task.status));
        let is_pointless = is_closed && tasks::ends_with_task(row.source);
        // By somebody who is no run of its reader.
        let mut letters = self.rows.letters.values().filter(|letter| letter.wakeup == Some(id));
        let is_read = letters.any(|letter| letter.acked_at.is_some() && letter.acked_by.is_none());
        if agent.state == AgentState::Terminated || run.is_reassigned || is_pointless || is_read {
            return Ok(ended(WakeupStatus::Cancelled));
        }
        let due_at = found_due.unwrap_or(earliest);
        let is_allowed = due_at + ROUNDING >= earliest && due_at <= latest + ROUNDING;
        require(is_allowed, FATE_AS_DECIDED, || format!("due {due_at}, not between {earliest} and {latest}: {row:?}"))?;
        let is_expired = way != Way::Released && row.expires_at.is_some_and(|at| due_at >= at);
        require(!is_expired, FATE_AS_DECIDED, || format!("tried again at {due_at}, after it expires: {row:?}"))?;
        Ok(Wakeup {
            status: WakeupStatus::Pending,
            run: None,
            is_lead: false,
            attempt: row.attempt - i64::from(!is_counted),
            due_at,
            rank: rank_of(due_at, row.priority),
            is_eligible: due_at <= now,
            eligible_at: due_at,
            ..row.clone()
        })
    }

    /// Every agent of the same account waits for the limit to lift.
    fn park(&mut self, run: &Run, request: &FinishRequest) {
        let retry_at = request.outcome.retry_at.map(|at| at.min(request.now + AHEAD_MAX));
        let until = quota_until(retry_at, request.now);
        let account = self.rows.agents[&run.agent].account.clone();
        let parked =
            self.rows.agents.values_mut().filter(|agent| agent.company == run.company && agent.account == account);
        for agent in parked {
            agent.quota_until = Some(agent.quota_until.map_or(until, |standing| standing.max(until)));
        }
    }

    pub(super) fn started(&mut self, written: &Written<'_>, run: RunId) -> Result<(), Broken> {
        let is_live = self.rows.runs.get(&run).is_some_and(|run| run.status.is_live());
        expect(written, (!is_live).then_some("fenced"))?;
        if let Some(run) = self.rows.runs.get_mut(&run).filter(|_| written.is_kept) {
            run.status = RunStatus::Running;
        }
        Ok(())
    }

    /// The first request to stop stands, but a cancel beats a pause.
    pub(super) fn ask_to_stop(&mut self, run: RunId, stop: &StopRequest) {
        let Some(run) = self.rows.runs.get_mut(&run).filter(|run| run.status.is_live()) else { return };
        run.stop_puts_back = Some(run.stop_puts_back.unwrap_or(true) && stop.puts_back);
    }
}

fn quota_until(retry_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    retry_at.filter(|at| *at > now).unwrap_or(now + QUOTA_REST)
}

fn place(attempt: i64) -> usize {
    usize::try_from(attempt - 1).unwrap_or(0)
}
