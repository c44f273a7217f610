//! Accepting wakes and acknowledging them, as wakes.md §2 and §5 have it.

use std::cmp::Reverse;
use std::time::Duration;

use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{RunId, WakeupId};
use wakeful_domain::run::RunFence;
use wakeful_domain::task::TaskStatus;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::ops::inbox::{AcknowledgeRequest, Acknowledgement};
use wakeful_store::ops::wake::{Maker, Wake};

use super::{Ledger, Written, expect, hours, rank_of};
use crate::heard::Told;
use crate::invariants::{ACCEPTED_AS_ASKED, Broken, KEY_IS_ONE_WAKEUP, LATE_WAKE_WAITS, require};
use crate::mirror::{LaneRow, Run, Wakeup};

/// A key is kept this long after its wakeup has its fate.
const KEY_KEPT: Duration = Duration::from_secs(86_400);
/// What must become of a wake.
pub(super) enum Verdict {
    Refused(&'static str),
    /// The first wakeup under the same key.
    Known(WakeupId),
    /// The timer that waits already, or that the live run has satisfied: it counts one more.
    Counted(WakeupId),
    New(Box<Wakeup>),
}

impl Ledger {
    pub(super) fn accept(&mut self, written: &Written<'_>, wake: &Wake) -> Result<(), Broken> {
        let verdict = self.judge(wake);
        let refusal = match &verdict {
            Verdict::Refused(code) => Some(*code),
            Verdict::Known(_) | Verdict::Counted(_) | Verdict::New(_) => None,
        };
        expect(written, refusal)?;
        let found = match written.told {
            Some(Told::Accepted(answers)) => answers.first(),
            Some(_) | None => None,
        };
        self.settle(written.is_kept, wake, verdict, found)
    }

    pub(super) fn accept_all(&mut self, written: &Written<'_>, wakes: &[Wake]) -> Result<(), Broken> {
        expect(written, None)?;
        if !written.is_kept {
            return Ok(());
        }
        for (place, wake) in wakes.iter().enumerate() {
            let verdict = self.judge(wake);
            let found = match written.told {
                Some(Told::Accepted(answers)) => answers.get(place),
                Some(_) | None => None,
            };
            self.settle(true, wake, verdict, found)?;
        }
        Ok(())
    }

    /// Holds the answer against the verdict, and enters what was kept.
    fn settle(
        &mut self,
        is_kept: bool,
        wake: &Wake,
        verdict: Verdict,
        found: Option<&Result<(WakeupId, WakeupStatus, bool), &'static str>>,
    ) -> Result<(), Broken> {
        let (expected, invariant) = match &verdict {
            Verdict::Refused(code) => (Err(*code), ACCEPTED_AS_ASKED),
            Verdict::Known(id) => (Ok((*id, self.rows.wakeups[id].status, false)), KEY_IS_ONE_WAKEUP),
            Verdict::Counted(id) => (Ok((*id, self.rows.wakeups[id].status, false)), ACCEPTED_AS_ASKED),
            Verdict::New(row) => (Ok((wake.id, row.status, true)), ACCEPTED_AS_ASKED),
        };
        if let Some(found) = found {
            let folded = matches!(found, Ok((_, WakeupStatus::Claimed | WakeupStatus::Coalesced, true)));
            let invariant = if folded { LATE_WAKE_WAITS } else { invariant };
            require(*found == expected, invariant, || format!("expected {expected:?}, found {found:?} for {wake:?}"))?;
        }
        match verdict {
            Verdict::Counted(id) if is_kept => {
                self.keep_counted_key(wake, id);
                if let Some(row) = self.rows.wakeups.get_mut(&id) {
                    row.count += 1;
                }
            }
            Verdict::New(row) if is_kept => self.enter(wake, *row),
            Verdict::Refused(_) | Verdict::Known(_) | Verdict::Counted(_) | Verdict::New(_) => {}
        }
        Ok(())
    }

    /// A counted timer has no row of its own to keep its key.
    fn keep_counted_key(&mut self, wake: &Wake, counted_on: WakeupId) {
        if let (Some(key), Some(row)) = (&wake.idempotency_key, self.rows.wakeups.get(&counted_on)) {
            let first = (counted_on, wake.request_hash.clone());
            self.counted_keys.entry((row.company, key.clone())).or_insert(first);
        }
    }

    pub(super) fn enter(&mut self, wake: &Wake, row: Wakeup) {
        if let Some(key) = &wake.idempotency_key {
            self.keys.insert((row.company, key.clone()), (wake.id, wake.request_hash.clone()));
        }
        if row.status == WakeupStatus::Pending {
            self.rows.lanes.entry(row.lane()).or_insert_with(|| LaneRow {
                fence: 0,
                live_run: None,
                failures: 0,
                failed_at: Vec::new(),
                circuit_opened_at: None,
            });
        }
        self.rows.wakeups.insert(wake.id, row);
    }

    pub(super) fn judge(&self, wake: &Wake) -> Verdict {
        let agent = match self.rows.agents.get(&wake.agent) {
            Some(agent) if wake.company.is_none_or(|company| company == agent.company) => agent,
            Some(_) | None => return Verdict::Refused("not_found"),
        };
        let key = wake.idempotency_key.as_ref().map(|key| (agent.company, key.clone()));
        if let Some(key) = key.as_ref().filter(|_| wake.source == Source::Timer)
            && let Some((counted_on, hash)) = self.counted_keys.get(key)
        {
            return if *hash == wake.request_hash { Verdict::Known(*counted_on) } else { Verdict::Refused("invalid") };
        }
        if let Some(key) = &wake.idempotency_key
            && let Some((first, hash)) = self.keys.get(&(agent.company, key.clone()))
            && self.rows.wakeups[first].finished_at.is_none_or(|at| at + KEY_KEPT > wake.now)
        {
            return if *hash == wake.request_hash { Verdict::Known(*first) } else { Verdict::Refused("invalid") };
        }
        if agent.state != AgentState::Active && wake.maker == Maker::Request {
            return Verdict::Refused("agent_not_wakeable");
        }
        let own = wake.by_run.filter(|_| !matches!(wake.maker, Maker::InStead(_)));
        let is_live = |own: RunFence| {
            self.rows.runs.get(&own.run).is_some_and(|run| run.status.is_live() && run.fence == own.fence)
        };
        if own.is_some_and(|own| !is_live(own)) {
            return Verdict::Refused("fenced");
        }
        let mut row = self.draft(wake);
        if let Some(reason) = self.skipped(wake, &row) {
            (row.status, row.status_reason) = (WakeupStatus::Skipped, Some(reason.to_owned()));
            row.finished_at = Some(wake.now);
            (row.eligible_at, row.is_eligible) = (row.due_at, row.due_at <= wake.now);
            return Verdict::New(Box::new(row));
        }
        if wake.source == Source::Timer {
            let lane = (wake.agent, wake.task);
            let mut waiting = self.rows.pending().filter(|(_, row)| row.source == Source::Timer && row.lane() == lane);
            if let Some((id, _)) = waiting.next() {
                return Verdict::Counted(*id);
            }
            if let Some(run) = self.rows.lanes.get(&lane).and_then(|lane| lane.live_run) {
                let mut satisfied = self.rows.wakeups.iter().filter(|(_, row)| {
                    row.run == Some(run) && row.status == WakeupStatus::Coalesced && row.source == Source::Timer
                });
                if let Some((id, _)) = satisfied.next() {
                    return Verdict::Counted(*id);
                }
                (row.status, row.run) = (WakeupStatus::Coalesced, Some(run));
                row.finished_at = Some(wake.now);
                (row.eligible_at, row.is_eligible) = (row.due_at, row.due_at <= wake.now);
            }
        }
        Verdict::New(Box::new(row))
    }

    fn draft(&self, wake: &Wake) -> Wakeup {
        let agent = &self.rows.agents[&wake.agent];
        let cause = wake.by_run.and_then(|own| self.longest_chain(own.run));
        let cause = match wake.maker {
            Maker::InStead(earlier) => self.rows.wakeups.get(&earlier).map(|earlier| (earlier.root, earlier.depth)),
            Maker::After { run, .. } => self.longest_chain(run),
            Maker::Request | Maker::Wakeful => cause,
        };
        let due_at = wake.due_at.map_or(wake.now, |at| at.max(wake.now));
        let closed_until = hours::closed_until(&agent.heartbeat, due_at).filter(|_| wake.source == Source::Timer);
        let eligible_at = closed_until.unwrap_or(due_at);
        let priority = wake.priority.unwrap_or_else(|| usual_priority(wake.source));
        Wakeup {
            company: agent.company,
            agent: wake.agent,
            task: wake.task,
            source: wake.source,
            count: 1,
            priority,
            root: cause.map_or(wake.id, |(root, _)| root),
            depth: cause.map_or(0, |(_, depth)| depth),
            requested_at: wake.now,
            due_at,
            expires_at: wake.expires_at,
            status: WakeupStatus::Pending,
            status_reason: None,
            run: None,
            is_lead: false,
            attempt: 0,
            max_attempts: wake.max_attempts.unwrap_or(agent.retry.delays_s.len() as i64 + 1),
            finished_at: None,
            rank: rank_of(due_at, priority),
            is_eligible: eligible_at <= wake.now,
            eligible_at,
        }
    }

    /// Of all that a run was started for or has taken over, the longest chain of causes, one link longer.
    fn longest_chain(&self, run: RunId) -> Option<(WakeupId, i64)> {
        let batch = self.rows.batches.get(&run)?.iter().map(|id| (id, &self.rows.wakeups[id]));
        let (_, longest) =
            batch.max_by_key(|(id, row)| (row.depth, self.leads.get(&run) == Some(*id), Reverse(**id)))?;
        Some((longest.root, longest.depth + 1))
    }

    fn skipped(&self, wake: &Wake, row: &Wakeup) -> Option<&'static str> {
        let agent = &self.rows.agents[&wake.agent];
        if agent.state == AgentState::Terminated {
            return Some("agent_terminated");
        }
        let heartbeat = &agent.heartbeat;
        match wake.source {
            Source::Timer if !heartbeat.enabled => return Some("heartbeat_disabled"),
            Source::Timer => {}
            _ if !heartbeat.wake_on_demand => return Some("wake_on_demand_disabled"),
            _ => {}
        }
        if matches!(wake.maker, Maker::InStead(_)) {
            return None;
        }
        if let Some(task) = wake.task {
            match self.rows.tasks.get(&task).filter(|task| task.company == row.company) {
                None => return Some("task_not_found"),
                Some(task) if matches!(task.status, TaskStatus::Done | TaskStatus::Cancelled) => {
                    return Some("task_closed");
                }
                Some(_) => {}
            }
        }
        let by_run = match wake.maker {
            Maker::After { run, is_asked } => (!is_asked).then_some(run),
            Maker::InStead(_) => None,
            Maker::Request | Maker::Wakeful => wake.by_run.map(|own| own.run),
        };
        let by_lane = by_run.map(|run| self.rows.runs[&run].lane());
        if by_lane == Some((wake.agent, wake.task)) && wake.due_at.is_none_or(|at| at <= wake.now) {
            return Some("self_caused");
        }
        self.is_loop(row, wake.now).then_some("loop_limit")
    }

    pub(super) fn acknowledge(&mut self, written: &Written<'_>, request: &AcknowledgeRequest) -> Result<(), Broken> {
        expect(written, None)?;
        if !written.is_kept {
            return Ok(());
        }
        let run = self.rows.runs[&request.run].clone();
        let mut expected = Acknowledgement::default();
        for id in &request.wakeups {
            match self.take_over(request.now, &run, request.run, *id) {
                Ok(()) => {
                    expected.acknowledged.push(*id);
                    self.read_with(request.now, request.run, *id);
                }
                Err(reason) => expected.refused.push((*id, reason)),
            }
        }
        for id in &request.messages {
            match self.read_mail(request.now, &run, request.run, *id) {
                Ok(()) => expected.read.push(*id),
                Err(reason) => expected.unread.push((*id, reason)),
            }
        }
        match written.told {
            Some(Told::Acknowledged(found)) => {
                require(*found == expected, LATE_WAKE_WAITS, || format!("expected {expected:?}, found {found:?}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Gives a wakeup to a live run, or says why not.
    pub(super) fn take_over(
        &mut self,
        now: Timestamp,
        run: &Run,
        id: RunId,
        wakeup: WakeupId,
    ) -> Result<(), &'static str> {
        let row = self.rows.wakeups.get_mut(&wakeup).filter(|row| row.company == run.company).ok_or("not_found")?;
        if row.lane() != run.lane() {
            return Err("other_lane");
        }
        if row.status == WakeupStatus::Claimed && row.run == Some(id) {
            return Ok(());
        }
        if row.status != WakeupStatus::Pending {
            return Err("not_pending");
        }
        if !is_takeable(row, now) {
            return Err("not_due");
        }
        take(row, id);
        self.rows.batches.entry(id).or_default().insert(wakeup);
        Ok(())
    }
}

/// The wakeup is with the run from now on, for one more attempt.
pub(super) fn take(row: &mut Wakeup, run: wakeful_domain::id::RunId) {
    (row.status, row.run) = (WakeupStatus::Claimed, Some(run));
    row.attempt += 1;
}

fn usual_priority(source: Source) -> i64 {
    match source {
        Source::Manual => 80,
        Source::Goal => 75,
        Source::Assignment | Source::Comment | Source::Message => 70,
        Source::Child | Source::Dependency | Source::Subscription => 65,
        Source::Routine | Source::Webhook => 60,
        Source::Timer | Source::Schedule | Source::Recovery => 50,
    }
}

/// Whether a wakeup's time has come and not gone.
pub(super) fn is_takeable(row: &Wakeup, now: Timestamp) -> bool {
    row.status == WakeupStatus::Pending && row.is_eligible && row.expires_at.is_none_or(|at| at > now)
}
