//! Tasks: who is woken, what is called off and what is handed on when one is made, changed, checked out or let go.

use std::collections::BTreeSet;

use serde_json::Map;
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{AgentId, TaskId, WakeupId};
use wakeful_domain::task::{Task as Draft, TaskStatus};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::ops::holds::HoldRequest;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::tasks::TaskChange;
use wakeful_store::ops::wake::{Maker, Wake};

use super::accept::Verdict;
use super::children::Kept;
use super::{Ledger, Written, expect};
use crate::invariants::{ACCEPTED_AS_ASKED, Broken, SUBSCRIBED_IS_TOLD};
use crate::mirror::{Mirror, Task};
use crate::subscribed;

pub(super) fn is_closed(status: TaskStatus) -> bool {
    matches!(status, TaskStatus::Done | TaskStatus::Cancelled)
}

fn calls_for_work(status: TaskStatus) -> bool {
    matches!(status, TaskStatus::Todo | TaskStatus::InProgress)
}

/// What others have to say goes to whoever has the task.
pub(super) fn is_handed_on(source: Source) -> bool {
    matches!(source, Source::Comment | Source::Child | Source::Dependency | Source::Subscription)
}

/// What a closed task makes pointless.
pub(super) fn ends_with_task(source: Source) -> bool {
    matches!(source, Source::Assignment | Source::Dependency | Source::Recovery | Source::Timer | Source::Schedule)
}

impl Ledger {
    pub(super) fn task_insert(
        &mut self,
        written: &Written<'_>,
        origin: &Origin,
        draft: &Draft,
        blocked_by: &[TaskId],
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let is_right = draft.assignee.is_none_or(|agent| self.may_be_assigned(agent, draft))
            && blocked_by
                .iter()
                .all(|blocker| self.rows.tasks.get(blocker).is_some_and(|b| b.company == draft.company))
            && draft
                .parent
                .is_none_or(|parent| self.rows.tasks.get(&parent).is_some_and(|p| p.company == draft.company));
        expect(written, self.fenced(origin).or((!is_right).then_some("invalid")))?;
        if !written.is_kept {
            return Ok(());
        }
        let row = Task {
            company: draft.company,
            status: draft.status,
            assignee: draft.assignee,
            held_by: None,
            parent: draft.parent,
            wake_parent: draft.wake_parent,
        };
        self.rows.tasks.insert(draft.id, row);
        self.block(draft.id, blocked_by);
        match self.call_anew(draft.id) {
            Some(agent) => self.issue(self.about(origin, draft.id, agent, Source::Assignment), mirror),
            None => Ok(()),
        }
    }

    fn may_be_assigned(&self, agent: AgentId, task: &Draft) -> bool {
        let found = self.rows.agents.get(&agent);
        found.is_some_and(|found| found.company == task.company && found.state != AgentState::Terminated)
    }

    fn block(&mut self, task: TaskId, blocked_by: &[TaskId]) {
        if self.rows.blockers.contains_key(&task) || !blocked_by.is_empty() {
            self.rows.blockers.insert(task, blocked_by.iter().copied().collect());
        }
    }

    pub(super) fn open_blockers(&self, task: TaskId) -> BTreeSet<TaskId> {
        let blockers = self.rows.blockers.get(&task).into_iter().flatten();
        blockers.filter(|id| self.rows.tasks.get(id).is_some_and(|task| !is_closed(task.status))).copied().collect()
    }

    /// Whom a task calls to work, if it calls anyone.
    fn call(&self, task: TaskId) -> Option<AgentId> {
        let row = self.rows.tasks.get(&task).filter(|row| calls_for_work(row.status))?;
        row.assignee.filter(|_| self.open_blockers(task).is_empty())
    }

    /// The same for one who was just given the task: a review is something to look at, too.
    fn call_anew(&self, task: TaskId) -> Option<AgentId> {
        let row = self.rows.tasks.get(&task)?;
        let is_wanted = calls_for_work(row.status) || row.status == TaskStatus::InReview;
        row.assignee.filter(|_| is_wanted && self.open_blockers(task).is_empty())
    }

    /// A run that has ended changes nothing any more.
    pub(super) fn fenced(&self, origin: &Origin) -> Option<&'static str> {
        let own = origin.by_run?;
        let is_live = self.rows.runs.get(&own.run).is_some_and(|run| run.status.is_live() && run.fence == own.fence);
        (!is_live).then_some("fenced")
    }

    pub(super) fn task_change(
        &mut self,
        written: &Written<'_>,
        origin: &Origin,
        id: TaskId,
        change: &TaskChange,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let Some(old) = self.rows.tasks.get(&id).cloned() else { return expect(written, Some("not_found")) };
        let assignee = change.assignee.unwrap_or(old.assignee);
        let draft = Draft::new(id, old.company, "", origin.now);
        let may_take = change
            .assignee
            .flatten()
            .is_none_or(|agent| Some(agent) == old.assignee || self.may_be_assigned(agent, &draft));
        let is_right = may_take && change.blocked_by.as_ref().is_none_or(|blockers| self.may_block(id, blockers));
        expect(written, self.fenced(origin).or((!is_right).then_some("invalid")))?;
        if !written.is_kept {
            return Ok(());
        }
        let before = self.call(id);
        let status = change.status.unwrap_or(old.status);
        self.rows.tasks.insert(id, Task { status, assignee, ..old.clone() });
        if let Some(blocked_by) = &change.blocked_by {
            self.block(id, blocked_by);
        }
        if let Some(former) = old.assignee.filter(|_| old.assignee != assignee) {
            self.hand_over(origin, id, former, mirror)?;
            if assignee.is_some() {
                self.forget_untold(|agent, task| (agent, task) == (former, id));
            }
        }
        for run in self.rows.runs.values_mut().filter(|run| run.task == Some(id) && run.status.is_live()) {
            if old.assignee != assignee && assignee == Some(run.agent) {
                run.is_reassigned = false;
            }
        }
        if let Some(agent) = assignee.filter(|_| old.assignee != assignee) {
            self.issue_kept(origin.now, id, agent, mirror)?;
        }
        if is_closed(status) && !is_closed(old.status) {
            self.call_off(origin, id);
            self.forget_untold(|_, task| task == id);
            self.wake_dependents(origin, id, status, mirror)?;
            self.child_was_closed(origin, id, mirror)?;
        }
        if is_closed(old.status) && !is_closed(status) {
            let rows = &self.rows;
            self.closed_by.retain(|run, _| rows.runs[run].task != Some(id));
        }
        let is_given = old.assignee != assignee;
        let after = if is_given { self.call_anew(id) } else { self.call(id) };
        match after {
            Some(agent) if is_given || before != Some(agent) => {
                self.issue(self.about(origin, id, agent, Source::Assignment), mirror)?;
            }
            Some(_) | None => {}
        }
        self.tell_status(origin.now, id, old.status, origin.run(), mirror)
    }

    /// Blockers are tasks of the same company, and none of them waits for the task itself.
    fn may_block(&self, task: TaskId, blockers: &[TaskId]) -> bool {
        let company = self.rows.tasks[&task].company;
        let mut upstream: Vec<TaskId> = blockers.to_vec();
        let mut seen = BTreeSet::new();
        while let Some(next) = upstream.pop() {
            if next == task || self.rows.tasks.get(&next).is_none_or(|row| row.company != company) {
                return false;
            }
            if seen.insert(next) {
                upstream.extend(self.rows.blockers.get(&next).into_iter().flatten());
            }
        }
        true
    }

    /// What waits for the former assignee is called off; what others have to say goes to the new one.
    fn hand_over(&mut self, origin: &Origin, id: TaskId, former: AgentId, mirror: &Mirror) -> Result<(), Broken> {
        let lane = (former, Some(id));
        let mut called_off = Vec::new();
        for (wakeup, row) in self.rows.wakeups.iter_mut().filter(|(_, row)| row.lane() == lane) {
            if row.status == WakeupStatus::Pending {
                (row.status, row.finished_at) = (WakeupStatus::Cancelled, Some(origin.now));
                called_off.push((row.requested_at, *wakeup));
            }
        }
        called_off.sort_unstable();
        for (_, wakeup) in called_off {
            self.reissue(origin.now, wakeup, mirror)?;
        }
        for run in self.rows.runs.values_mut().filter(|run| run.lane() == lane && run.status.is_live()) {
            run.is_reassigned = true;
        }
        Ok(())
    }

    fn call_off(&mut self, origin: &Origin, id: TaskId) {
        for row in self.rows.wakeups.values_mut().filter(|row| row.task == Some(id)) {
            if row.status == WakeupStatus::Pending && ends_with_task(row.source) {
                (row.status, row.finished_at) = (WakeupStatus::Cancelled, Some(origin.now));
            }
        }
    }

    fn wake_dependents(
        &mut self,
        origin: &Origin,
        closed: TaskId,
        status: TaskStatus,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let dependents = self.rows.blockers.iter().filter(|(_, blockers)| blockers.contains(&closed));
        let dependents: Vec<TaskId> = dependents.map(|(id, _)| *id).collect();
        for id in dependents {
            let Some(row) = self.rows.tasks.get(&id).filter(|row| !is_closed(row.status)) else { continue };
            let is_wanted = row.status != TaskStatus::Backlog;
            let Some(agent) = row.assignee.filter(|_| is_wanted) else { continue };
            if status == TaskStatus::Cancelled || self.open_blockers(id).is_empty() {
                self.issue(self.about(origin, id, agent, Source::Dependency), mirror)?;
            }
        }
        Ok(())
    }

    pub(super) fn about(&self, origin: &Origin, task: TaskId, agent: AgentId, source: Source) -> Wake {
        Wake {
            id: WakeupId::from_uuid(task.uuid()),
            company: None,
            agent,
            task: Some(task),
            source,
            trigger_detail: None,
            reason: None,
            priority: None,
            payload: Map::new(),
            context: Map::new(),
            actor: Actor::system(),
            idempotency_key: None,
            request_hash: None,
            now: origin.now,
            due_at: None,
            expires_at: None,
            max_attempts: None,
            by_run: origin.by_run,
            maker: Maker::Wakeful,
        }
    }

    /// What others have to say about a task goes to its present assignee.
    pub(super) fn reissue(&mut self, now: Timestamp, id: WakeupId, mirror: &Mirror) -> Result<(), Broken> {
        let row = &self.rows.wakeups[&id];
        let Some(task) = row.task else { return Ok(()) };
        if !is_handed_on(row.source) {
            return Ok(());
        }
        let Some(agent) = self.rows.tasks[&task].assignee else {
            let due_at = (row.attempt == 0).then_some(row.due_at);
            self.kept.push((task, Kept::InStead(id, due_at)));
            return Ok(());
        };
        let origin = Origin { now, actor: Actor::system(), by_run: None, id_seed: 0 };
        let wake = Wake {
            priority: Some(row.priority),
            expires_at: row.expires_at,
            due_at: (row.attempt == 0).then_some(row.due_at),
            max_attempts: Some(row.max_attempts),
            maker: Maker::InStead(id),
            ..self.about(&origin, task, agent, row.source)
        };
        self.issue(wake, mirror)
    }

    /// Wakeful wakes somebody itself. The id is whichever the store gave the next wakeup of that kind.
    pub(super) fn issue(&mut self, wake: Wake, mirror: &Mirror) -> Result<(), Broken> {
        let asked = match wake.maker {
            Maker::InStead(earlier) => mirror.asked.get(&earlier).cloned(),
            Maker::Request | Maker::Wakeful | Maker::After { .. } => subscribed::asked_by(&wake),
        };
        let new = mirror.wakeups.iter().filter(|(id, row)| {
            !self.rows.wakeups.contains_key(id) && row.lane() == (wake.agent, wake.task) && row.source == wake.source
        });
        let new: Vec<WakeupId> = new.map(|(id, _)| *id).filter(|id| mirror.asked.get(id) == asked.as_ref()).collect();
        // Of several that say the same, the one that stands in the same chain.
        let is_alike = |id: &&WakeupId| match self.judge(&Wake { id: **id, ..wake.clone() }) {
            Verdict::New(row) => {
                let found = &mirror.wakeups[*id];
                (row.root, row.depth, row.priority) == (found.root, found.depth, found.priority)
                    && (row.requested_at, row.due_at) == (found.requested_at, found.due_at)
            }
            Verdict::Refused(_) | Verdict::Known(_) | Verdict::Counted(_) => false,
        };
        let found = new.iter().find(is_alike).or(new.first()).copied();
        let wake = Wake { id: found.unwrap_or(wake.id), ..wake };
        match (self.judge(&wake), found) {
            (Verdict::New(row), Some(_)) => self.enter(&wake, *row),
            (Verdict::New(_), None) => {
                let is_told = wake.source == Source::Subscription;
                let invariant = if is_told { SUBSCRIBED_IS_TOLD } else { ACCEPTED_AS_ASKED };
                return Err(Broken::new(invariant, format!("nobody was woken: expected {wake:?}")));
            }
            (Verdict::Counted(id), _) => {
                self.rows.wakeups.entry(id).and_modify(|row| row.count += 1);
            }
            (Verdict::Refused(_) | Verdict::Known(_), _) => {}
        }
        Ok(())
    }

    pub(super) fn check_out(
        &mut self,
        written: &Written<'_>,
        request: &HoldRequest,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let run = self.rows.runs[&request.run].clone();
        let Some(task) = self.rows.tasks.get_mut(&request.task) else { return expect(written, Some("not_found")) };
        let refusal = if !run.status.is_live() || run.fence != request.fence {
            Some("fenced")
        } else if task.company != run.company {
            Some("not_found")
        } else if is_closed(task.status) {
            Some("task_closed")
        } else if task.held_by.is_some_and(|holder| holder != request.run) {
            Some("task_held")
        } else {
            None
        };
        let mut is_taken_up = false;
        let before = task.status;
        if written.is_kept && refusal.is_none() && task.held_by.is_none() {
            is_taken_up = task.assignee.is_none();
            task.held_by = Some(request.run);
            task.assignee = task.assignee.or(Some(run.agent));
            if matches!(task.status, TaskStatus::Backlog | TaskStatus::Todo | TaskStatus::Blocked) {
                task.status = TaskStatus::InProgress;
            }
        }
        expect(written, refusal)?;
        if is_taken_up {
            self.issue_kept(request.now, request.task, run.agent, mirror)?;
        }
        self.tell_status(request.now, request.task, before, Some(request.run), mirror)
    }

    pub(super) fn let_go(&mut self, written: &Written<'_>, request: &HoldRequest) -> Result<(), Broken> {
        let run = self.rows.runs[&request.run].clone();
        let Some(task) = self.rows.tasks.get_mut(&request.task) else { return expect(written, Some("not_found")) };
        let refusal = if !run.status.is_live() || run.fence != request.fence {
            Some("fenced")
        } else if task.company != run.company {
            Some("not_found")
        } else if task.held_by.is_some_and(|holder| holder != request.run) {
            Some("task_held")
        } else {
            None
        };
        if written.is_kept && refusal.is_none() && run.task != Some(request.task) {
            task.held_by = None;
        }
        expect(written, refusal)
    }
}
