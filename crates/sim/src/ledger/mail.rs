//! Comments and mail: whom they wake, and when a message is read.

use wakeful_domain::actor::Actor;
use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{AgentId, MessageId, RunId, TaskId, WakeupId};
use wakeful_domain::task::TaskStatus;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::ops::finish::FinishRequest;
use wakeful_store::ops::mail::NewMessage;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::tasks::TaskChange;

use super::tasks::is_closed;
use super::{Ledger, Written, expect};
use crate::invariants::{Broken, READ_WITH_ITS_WAKEUP, require};
use crate::mirror::{Letter, Mirror, Run};

/// Nobody has more than so many unread.
const UNREAD_MAX: usize = 200;

impl Ledger {
    pub(super) fn comment(
        &mut self,
        written: &Written<'_>,
        origin: &Origin,
        task: TaskId,
        mentioned: &[AgentId],
        reopen: bool,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let is_closed = self.rows.tasks.get(&task).is_some_and(|row| is_closed(row.status));
        match reopen && is_closed {
            true => {
                let change = TaskChange { status: Some(TaskStatus::Todo), ..TaskChange::default() };
                self.task_change(written, origin, task, &change, mirror)?;
            }
            false => expect(written, self.fenced(origin))?,
        }
        if !written.is_kept {
            return Ok(());
        }
        let assignee = self.rows.tasks[&task].assignee;
        let mut concerned: Vec<AgentId> = assignee.into_iter().collect();
        concerned.extend(mentioned.iter().filter(|agent| Some(**agent) != assignee));
        concerned.retain(|agent| origin.actor != Actor::agent(*agent));
        for agent in concerned {
            self.issue(self.about(origin, task, agent, Source::Comment), mirror)?;
        }
        self.tell_comment(origin, task, mirror)
    }

    pub(super) fn send(
        &mut self,
        written: &Written<'_>,
        origin: &Origin,
        new: &NewMessage,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let Some(to) = new.to else { return expect(written, None) };
        let reader = self.rows.agents.get(&to);
        let is_there = reader.is_some_and(|row| row.company == new.company && row.state != AgentState::Terminated);
        let is_of_company = |task: TaskId| self.rows.tasks.get(&task).is_some_and(|row| row.company == new.company);
        let is_right = is_there && origin.actor != Actor::agent(to) && new.task.is_none_or(is_of_company);
        let unread = self.rows.letters.values().filter(|letter| letter.to == to && letter.acked_at.is_none()).count();
        let refusal = self.fenced(origin).or((!is_right).then_some("invalid"));
        expect(written, refusal.or((unread >= UNREAD_MAX).then_some("mailbox_full")))?;
        if !written.is_kept {
            return Ok(());
        }
        let Some(found) = mirror.letters.get(&new.id) else {
            return Err(Broken::new(READ_WITH_ITS_WAKEUP, format!("{new:?} is not there")));
        };
        let wakeup = found.wakeup;
        let is_new = wakeup.is_some_and(|wakeup| !self.rows.wakeups.contains_key(&wakeup));
        match new.task {
            Some(task) => self.issue(self.about(origin, task, to, Source::Message), mirror)?,
            None => {
                let wake = self.about(origin, TaskId::from_uuid(new.id.uuid()), to, Source::Message);
                self.issue(wakeful_store::ops::wake::Wake { task: None, ..wake }, mirror)?;
            }
        }
        let brings = wakeup.and_then(|wakeup| self.rows.wakeups.get(&wakeup)).filter(|_| is_new);
        let is_brought = brings.is_some_and(|row| row.lane() == (to, new.task) && row.source == Source::Message);
        require(is_brought, READ_WITH_ITS_WAKEUP, || format!("{found:?} has no wakeup of its own"))?;
        let letter = Letter { company: new.company, to, task: new.task, wakeup, acked_at: None, acked_by: None };
        self.rows.letters.insert(new.id, letter);
        Ok(())
    }

    /// The message that a wakeup brings is read by a run.
    pub(super) fn read_with(&mut self, now: Timestamp, run: RunId, wakeup: WakeupId) {
        for letter in self.rows.letters.values_mut().filter(|letter| letter.wakeup == Some(wakeup)) {
            if letter.acked_at.is_none() {
                (letter.acked_at, letter.acked_by) = (Some(now), Some(run));
            }
        }
    }

    /// A run has read a message; what would wake its agent with it is the run's.
    pub(super) fn read_mail(
        &mut self,
        now: Timestamp,
        run: &Run,
        id: RunId,
        message: MessageId,
    ) -> Result<(), &'static str> {
        let letter = self.rows.letters.get(&message).filter(|letter| letter.to == run.agent).ok_or("not_found")?;
        let wakeup = letter.wakeup.filter(|wakeup| !self.rows.wakeups[wakeup].status.is_terminal());
        if let Some(wakeup) = wakeup {
            self.take_over(now, run, id, wakeup)?;
        }
        if let Some(letter) = self.rows.letters.get_mut(&message).filter(|letter| letter.acked_at.is_none()) {
            (letter.acked_at, letter.acked_by) = (Some(now), Some(id));
        }
        Ok(())
    }

    pub(super) fn read_outside(
        &mut self,
        written: &Written<'_>,
        now: Timestamp,
        message: MessageId,
    ) -> Result<(), Broken> {
        expect(written, None)?;
        let Some(letter) = self.rows.letters.get_mut(&message).filter(|_| written.is_kept) else { return Ok(()) };
        letter.acked_at = letter.acked_at.or(Some(now));
        let wakeup = letter.wakeup;
        if let Some(row) = wakeup.and_then(|wakeup| self.rows.wakeups.get_mut(&wakeup))
            && row.status == WakeupStatus::Pending
        {
            (row.status, row.finished_at) = (WakeupStatus::Cancelled, Some(now));
        }
        Ok(())
    }

    /// A run that succeeds has read its mail; one that does not leaves even that unread which it has acknowledged.
    pub(super) fn run_has_read(&mut self, request: &FinishRequest, has_succeeded: bool) {
        let batch = self.rows.batches.get(&request.run).cloned().unwrap_or_default();
        let brought = |letter: &Letter| letter.wakeup.is_some_and(|wakeup| batch.contains(&wakeup));
        for letter in self.rows.letters.values_mut().filter(|letter| brought(letter)) {
            match has_succeeded {
                true if letter.acked_at.is_none() => {
                    (letter.acked_at, letter.acked_by) = (Some(request.now), Some(request.run));
                }
                false if letter.acked_by == Some(request.run) => (letter.acked_at, letter.acked_by) = (None, None),
                true | false => {}
            }
        }
    }
}
