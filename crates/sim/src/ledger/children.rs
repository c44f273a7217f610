//! Children and blockers that tell others how they ended; what is kept for a task that nobody has.

use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, RunId, TaskId, WakeupId};
use wakeful_domain::task::{TaskStatus, WakeParent};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::Source;
use wakeful_store::ops::finish::FinishRequest;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::wake::{Maker, Wake};

use super::Ledger;
use super::tasks::is_closed;
use crate::invariants::Broken;
use crate::mirror::Mirror;

/// What waits for somebody to be assigned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    /// In the stead of a former assignee's wakeup; when it is due, if that is still to be kept.
    InStead(WakeupId, Option<Timestamp>),
    /// A child's end, in the chain of this run if one was at work.
    Child(Option<RunId>),
}

/// Nobody in particular, at this moment.
pub(super) fn at(now: Timestamp) -> Origin {
    Origin { now, actor: Actor::system(), by_run: None, id_seed: 0 }
}

impl Ledger {
    /// Whoever gets a task is told what was kept for it.
    pub(super) fn issue_kept(
        &mut self,
        now: Timestamp,
        task: TaskId,
        agent: AgentId,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let (issued, left) = std::mem::take(&mut self.kept).into_iter().partition(|(of, _)| *of == task);
        self.kept = left;
        let issued: Vec<(TaskId, Kept)> = issued;
        for (_, kept) in issued {
            let wake = match kept {
                Kept::InStead(id, due_at) => {
                    let row = &self.rows.wakeups[&id];
                    Wake {
                        priority: Some(row.priority),
                        expires_at: row.expires_at,
                        due_at,
                        max_attempts: Some(row.max_attempts),
                        maker: Maker::InStead(id),
                        ..self.about(&at(now), task, agent, row.source)
                    }
                }
                Kept::Child(run) => Wake {
                    maker: run.map_or(Maker::Wakeful, |run| Maker::After { run, is_asked: false }),
                    ..self.about(&at(now), task, agent, Source::Child)
                },
            };
            self.issue(wake, mirror)?;
        }
        Ok(())
    }

    /// Tells the parent's agent, or keeps it for the next.
    fn tell_parent(
        &mut self,
        origin: &Origin,
        parent: TaskId,
        after: Option<RunId>,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let Some(agent) = self.rows.tasks[&parent].assignee else {
            self.kept.push((parent, Kept::Child(after.or(origin.by_run.map(|own| own.run)))));
            return Ok(());
        };
        let maker = after.map_or(Maker::Wakeful, |run| Maker::After { run, is_asked: false });
        self.issue(Wake { maker, ..self.about(origin, parent, agent, Source::Child) }, mirror)
    }

    /// All children are closed, and one of them wanted that to be known.
    fn are_all_closed(&self, parent: TaskId) -> bool {
        let mut children = self.rows.tasks.values().filter(|task| task.parent == Some(parent));
        let mut is_wanted = false;
        children.all(|task| {
            is_wanted |= task.wake_parent == WakeParent::All;
            is_closed(task.status)
        }) && is_wanted
    }

    pub(super) fn child_was_closed(&mut self, origin: &Origin, id: TaskId, mirror: &Mirror) -> Result<(), Broken> {
        let child = self.rows.tasks[&id].clone();
        let Some(parent) = child.parent else { return Ok(()) };
        let is_last = self.are_all_closed(parent);
        if let Some(own) = origin.by_run.filter(|own| self.rows.runs[&own.run].task == Some(id)) {
            self.closed_by.insert(own.run, is_last);
            return Ok(());
        }
        match is_last || child.wake_parent == WakeParent::Each {
            true => self.tell_parent(origin, parent, None, mirror),
            false => Ok(()),
        }
    }

    pub(super) fn child_run_ended(
        &mut self,
        request: &FinishRequest,
        task: Option<TaskId>,
        goes_on: bool,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let closed = self.closed_by.remove(&request.run);
        let Some(child) = task.and_then(|task| self.rows.tasks.get(&task)).cloned() else { return Ok(()) };
        let Some(parent) = child.parent else { return Ok(()) };
        let is_told = match child.wake_parent {
            WakeParent::Each => closed.is_some() || !goes_on,
            WakeParent::All | WakeParent::Never => closed == Some(true),
        };
        self.untold.retain(|earlier| self.rows.batches[earlier].is_disjoint(&self.rows.batches[&request.run]));
        if !is_told && child.wake_parent == WakeParent::Each && self.is_left(request.run) {
            self.untold.insert(request.run);
        }
        match is_told {
            true => self.tell_parent(&at(request.now), parent, Some(request.run), mirror),
            false => Ok(()),
        }
    }

    /// Whether something that a run had is still to come to its end.
    fn is_left(&self, run: RunId) -> bool {
        self.rows.batches[&run].iter().any(|id| !self.rows.wakeups[id].status.is_terminal())
    }

    /// The ends that were not told because of a further try which never came.
    pub(super) fn tell_untold(&mut self, now: Timestamp, mirror: &Mirror) -> Result<(), Broken> {
        let over: Vec<RunId> = self.untold.iter().copied().filter(|run| !self.is_left(*run)).collect();
        for run in over {
            self.untold.remove(&run);
            let child = self.rows.runs[&run].task.and_then(|task| self.rows.tasks.get(&task));
            let child = child.filter(|child| child.wake_parent == WakeParent::Each && !is_closed(child.status));
            if let Some(parent) = child.and_then(|child| child.parent) {
                self.tell_parent(&at(now), parent, Some(run), mirror)?;
            }
        }
        Ok(())
    }

    /// These are told otherwise, or go on with somebody else.
    pub(super) fn forget_untold(&mut self, is_meant: impl Fn(AgentId, TaskId) -> bool) {
        let runs = &self.rows.runs;
        self.untold.retain(|run| !runs[run].task.is_some_and(|task| is_meant(runs[run].agent, task)));
    }

    /// Nothing more is to come for a task that others wait for.
    pub(super) fn blocker_is_stuck(
        &mut self,
        request: &FinishRequest,
        task: TaskId,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let goes_on = self.rows.wakeups.values().any(|row| row.task == Some(task) && !row.status.is_terminal());
        let is_over = self.rows.tasks.get(&task).is_none_or(|row| is_closed(row.status));
        match goes_on || is_over {
            true => Ok(()),
            false => {
                self.tell_dependents(&at(request.now), task, Maker::After { run: request.run, is_asked: false }, mirror)
            }
        }
    }

    fn tell_dependents(
        &mut self,
        origin: &Origin,
        blocker: TaskId,
        maker: Maker,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let dependents = self.rows.blockers.iter().filter(|(_, blockers)| blockers.contains(&blocker));
        let dependents: Vec<TaskId> = dependents.map(|(id, _)| *id).collect();
        for id in dependents {
            let row = &self.rows.tasks[&id];
            let is_wanted = !is_closed(row.status) && row.status != TaskStatus::Backlog;
            if let Some(agent) = row.assignee.filter(|_| is_wanted) {
                self.issue(Wake { maker, ..self.about(origin, id, agent, Source::Dependency) }, mirror)?;
            }
        }
        Ok(())
    }

    /// The open tasks of a terminated agent: nobody will finish them.
    pub(super) fn agent_is_gone(&mut self, now: Timestamp, agent: AgentId, mirror: &Mirror) -> Result<(), Broken> {
        let of_agent = self.rows.tasks.iter().filter(|(_, row)| row.assignee == Some(agent) && !is_closed(row.status));
        let of_agent: Vec<TaskId> = of_agent.map(|(id, _)| *id).collect();
        for id in of_agent {
            self.tell_dependents(&at(now), id, Maker::Wakeful, mirror)?;
            let is_live = self.rows.lanes.get(&(agent, Some(id))).is_some_and(|lane| lane.live_run.is_some());
            let row = &self.rows.tasks[&id];
            if let Some(parent) = row.parent.filter(|_| !is_live && row.wake_parent != WakeParent::Never) {
                self.tell_parent(&at(now), parent, None, mirror)?;
            }
        }
        Ok(())
    }
}
