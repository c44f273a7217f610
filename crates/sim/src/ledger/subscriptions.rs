//! Whoever subscribed is told in the transaction of what happened: once, under the most special name it asked for, with
//! what its `once`, its window and its timeout make of it.

use std::time::Duration;

use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{AgentId, RunId, SubscriptionId, TaskId};
use wakeful_domain::run::RunStatus;
use wakeful_domain::subscription::{EventName, Source, Subscription};
use wakeful_domain::task::TaskStatus;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::Source as WakeSource;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::subscriptions::declare::Declaration;
use wakeful_store::ops::subscriptions::topics::Publication;
use wakeful_store::ops::wake::{Maker, Wake};

use super::children::at;
use super::tasks::is_closed;
use super::{Ledger, Written, expect};
use crate::heard::Told;
use crate::invariants::{Broken, SUBSCRIBED_IS_TOLD, require};
use crate::mirror::Mirror;
use crate::subscribed::Subscribed;

/// However often something comes, a window closes after so many times its width.
const WIDTHS_MAX: u32 = 10;

/// What happened.
#[derive(Debug, Clone, Copy)]
struct Happened {
    now: Timestamp,
    /// The run that did it, or whose end it is.
    cause: Option<RunId>,
    /// It is told to somebody who asks for it at this moment.
    is_asked_now: bool,
    /// What a publication says.
    says: Option<i64>,
}

/// What that is to those who wait for something of a source.
#[derive(Debug, Clone)]
struct Seen {
    source: Source,
    /// The most special first.
    names: Vec<EventName>,
    /// Nothing more can come of the source.
    is_last: bool,
}

fn names_of_end(status: RunStatus) -> Vec<EventName> {
    let how = if status == RunStatus::Succeeded { EventName::RunSucceeded } else { EventName::RunFailed };
    vec![how, EventName::RunFinished]
}

impl Ledger {
    pub(super) fn declare(
        &mut self,
        written: &Written<'_>,
        declaration: &Declaration,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let wanted = &declaration.subscription;
        let now = wanted.updated_at;
        let asker = Origin { by_run: declaration.by_run, ..at(now) };
        expect(written, self.fenced(&asker).or_else(|| self.refuses(wanted)))?;
        let of_key = |(_, row): &(&SubscriptionId, &Subscribed)| {
            row.is_open() && row.agent == wanted.agent && wanted.key.is_some() && row.key == wanted.key
        };
        let earlier = self.rows.subscriptions.iter().find(of_key).map(|(id, row)| (*id, row.clone()));
        let id = earlier.as_ref().map_or(wanted.id, |(id, _)| *id);
        if let Some(Told::Subscribed(found, is_new)) = written.told {
            let is_right = *found == id && *is_new == earlier.is_none();
            require(is_right, SUBSCRIBED_IS_TOLD, || format!("expected {id}, was answered {found}, new: {is_new}"))?;
        }
        if !written.is_kept {
            return Ok(());
        }
        let wants = serde_json::to_value(&wanted.filter).ok().and_then(|filter| filter.get("n")?.as_i64());
        let mut row = Subscribed {
            company: wanted.company,
            agent: wanted.agent,
            task: wanted.task,
            source: wanted.source.clone(),
            on: wanted.on.clone(),
            wants,
            once: wanted.once,
            debounce: wanted.debounce,
            key: wanted.key.clone(),
            by_run: declaration.by_run.map(|own| own.run),
            matches: 0,
            wakeups: 0,
            window: None,
            timeout_at: wanted.timeout.map(|timeout| now + timeout),
            ended_at: None,
            end_reason: None,
        };
        let mut knows_it = false;
        match earlier {
            None => self.count_open(row.company, 1),
            Some((_, earlier)) => {
                knows_it = (&earlier.source, &earlier.on, earlier.wants) == (&row.source, &row.on, row.wants);
                (row.matches, row.wakeups, row.window) = (earlier.matches, earlier.wakeups, earlier.window);
                row.timeout_at = row.timeout_at.filter(|_| row.window.is_none());
            }
        }
        let past = self.past(&row);
        self.rows.subscriptions.insert(id, row);
        if let Some((seen, cause)) = past.filter(|_| !knows_it) {
            self.tell_one(id, Happened { now, cause, is_asked_now: true, says: None }, &seen, mirror)?;
        }
        Ok(())
    }

    /// Whatever it names must be there, in its own company.
    fn refuses(&self, wanted: &Subscription) -> Option<&'static str> {
        let agent = self.rows.agents.get(&wanted.agent).filter(|agent| agent.company == wanted.company);
        let Some(agent) = agent else { return Some("invalid") };
        if agent.state == AgentState::Terminated {
            return Some("agent_terminated");
        }
        let has_task = |id: TaskId| self.rows.tasks.get(&id).is_some_and(|task| task.company == wanted.company);
        let has_source = match &wanted.source {
            Source::Run(id) => self.rows.runs.get(id).is_some_and(|run| run.company == wanted.company),
            Source::Task(id) | Source::Children(id) => has_task(*id),
            Source::Agent(id) => {
                !self.deleted.contains(id)
                    && self.rows.agents.get(id).is_some_and(|agent| agent.company == wanted.company)
            }
            Source::Topic(_) | Source::Webhook(_) => true,
        };
        (!has_source || !wanted.task.is_none_or(has_task)).then_some("invalid")
    }

    /// What has happened already and will not happen again; the run whose end it is.
    fn past(&self, row: &Subscribed) -> Option<(Seen, Option<RunId>)> {
        let source = row.source.clone();
        let asks = |name: EventName| row.on.contains(&name);
        let (names, is_last, cause) = match row.source {
            Source::Run(id) => {
                let status = self.rows.runs[&id].status;
                (!status.is_live()).then(|| (names_of_end(status), true, Some(id)))
            }
            Source::Task(id) => {
                let is_over = asks(EventName::TaskClosed) && is_closed(self.rows.tasks[&id].status);
                is_over.then(|| (vec![EventName::TaskClosed], false, None))
            }
            Source::Children(id) => {
                let below = self.below(id);
                let is_over = !below.is_empty() && below.iter().all(|task| is_closed(self.rows.tasks[task].status));
                let names = vec![EventName::AllClosed, EventName::AnyClosed];
                (is_over && (asks(EventName::AllClosed) || asks(EventName::AnyClosed))).then_some((names, false, None))
            }
            Source::Agent(id) => {
                let is_over = self.rows.agents[&id].state == AgentState::Terminated;
                is_over.then(|| (vec![EventName::AgentStateChanged], true, None))
            }
            Source::Topic(_) | Source::Webhook(_) => None,
        }?;
        Some((Seen { source, names, is_last }, cause))
    }

    pub(super) fn unsubscribe(&mut self, written: &Written<'_>, id: SubscriptionId) -> Result<(), Broken> {
        let found = self.rows.subscriptions.get(&id).map(|row| (row.company, row.is_open()));
        expect(written, found.is_none().then_some("not_found"))?;
        if let Some((company, is_open)) = found.filter(|_| written.is_kept) {
            self.rows.subscriptions.remove(&id);
            self.rows.matches.remove(&id);
            self.count_open(company, -i64::from(is_open));
        }
        Ok(())
    }

    /// What a deleted agent subscribed to is of no use any more.
    pub(super) fn unsubscribe_all(&mut self, agent: AgentId) {
        let of_agent = self.rows.subscriptions.iter().filter(|(_, row)| row.agent == agent);
        let of_agent: Vec<_> = of_agent.map(|(id, row)| (*id, row.company, row.is_open())).collect();
        for (id, company, is_open) in of_agent {
            self.rows.subscriptions.remove(&id);
            self.rows.matches.remove(&id);
            self.count_open(company, -i64::from(is_open));
        }
    }

    pub(super) fn publish(
        &mut self,
        written: &Written<'_>,
        origin: &Origin,
        publication: &Publication,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        expect(written, self.fenced(origin))?;
        if !written.is_kept {
            return Ok(());
        }
        let source = Source::Topic(publication.topic.clone());
        let seen = Seen { source, names: vec![EventName::TopicPublished], is_last: false };
        let of_company = self.rows.subscriptions.iter().filter(|(_, row)| row.company == publication.company);
        let of_company: Vec<SubscriptionId> = of_company.map(|(id, _)| *id).collect();
        let says = publication.data.get("n").and_then(serde_json::Value::as_i64);
        let happened = Happened { now: origin.now, cause: origin.run(), is_asked_now: false, says };
        let mut matched = 0;
        for id in of_company {
            matched += i64::from(self.tell_one(id, happened, &seen, mirror)?);
        }
        match written.told {
            Some(Told::Published(found)) => {
                require(*found == matched, SUBSCRIBED_IS_TOLD, || format!("matched {found} instead of {matched}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn tell_end(&mut self, now: Timestamp, id: RunId, mirror: &Mirror) -> Result<(), Broken> {
        let run = self.rows.runs[&id].clone();
        let seen = |source, is_last| Seen { source, names: names_of_end(run.status), is_last };
        let mut all = vec![seen(Source::Run(id), true), seen(Source::Agent(run.agent), false)];
        if let Some(task) = run.task.filter(|task| self.rows.tasks.contains_key(task)) {
            all.push(seen(Source::Task(task), false));
            all.extend(self.above(task).into_iter().map(|task| seen(Source::Children(task), false)));
        }
        self.tell(Happened { now, cause: Some(id), is_asked_now: false, says: None }, &all, mirror)
    }

    pub(super) fn tell_status(
        &mut self,
        now: Timestamp,
        task: TaskId,
        from: TaskStatus,
        cause: Option<RunId>,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let status = self.rows.tasks[&task].status;
        if status == from {
            return Ok(());
        }
        let mut names = vec![EventName::TaskStatusChanged];
        if is_closed(status) && !is_closed(from) {
            names.insert(0, EventName::TaskClosed);
        }
        let mut all = vec![Seen { source: Source::Task(task), names: names.clone(), is_last: false }];
        for above in self.above(task) {
            let mut names = names.clone();
            if names.len() > 1 {
                names.insert(0, EventName::AnyClosed);
                if self.below(above).iter().all(|task| is_closed(self.rows.tasks[task].status)) {
                    names.insert(0, EventName::AllClosed);
                }
            }
            all.push(Seen { source: Source::Children(above), names, is_last: false });
        }
        self.tell(Happened { now, cause, is_asked_now: false, says: None }, &all, mirror)
    }

    pub(super) fn tell_comment(&mut self, origin: &Origin, task: TaskId, mirror: &Mirror) -> Result<(), Broken> {
        let mut sources = vec![Source::Task(task)];
        sources.extend(self.above(task).into_iter().map(Source::Children));
        let seen = |source| Seen { source, names: vec![EventName::TaskCommented], is_last: false };
        let all: Vec<Seen> = sources.into_iter().map(seen).collect();
        self.tell(Happened { now: origin.now, cause: origin.run(), is_asked_now: false, says: None }, &all, mirror)
    }

    pub(super) fn tell_state(&mut self, now: Timestamp, agent: AgentId, mirror: &Mirror) -> Result<(), Broken> {
        let is_last = self.rows.agents[&agent].state == AgentState::Terminated;
        let seen = Seen { source: Source::Agent(agent), names: vec![EventName::AgentStateChanged], is_last };
        self.tell(Happened { now, cause: None, is_asked_now: false, says: None }, &[seen], mirror)
    }

    /// All above a task.
    fn above(&self, task: TaskId) -> Vec<TaskId> {
        let parent = |task: &TaskId| self.rows.tasks.get(task).and_then(|row| row.parent);
        std::iter::successors(parent(&task), parent).collect()
    }

    /// All below a task, at any depth.
    fn below(&self, task: TaskId) -> Vec<TaskId> {
        self.rows.tasks.keys().filter(|below| self.above(**below).contains(&task)).copied().collect()
    }

    fn tell(&mut self, happened: Happened, all: &[Seen], mirror: &Mirror) -> Result<(), Broken> {
        for seen in all {
            let open: Vec<SubscriptionId> = self.rows.subscriptions.keys().copied().collect();
            for id in open {
                self.tell_one(id, happened, seen, mirror)?;
            }
        }
        Ok(())
    }

    /// Tells one subscription, if it is open and about this. Whether it asked for it.
    fn tell_one(
        &mut self,
        id: SubscriptionId,
        happened: Happened,
        seen: &Seen,
        mirror: &Mirror,
    ) -> Result<bool, Broken> {
        let mut row = self.rows.subscriptions[&id].clone();
        if !row.is_open() || row.source != seen.source {
            return Ok(false);
        }
        let is_let_through = row.wants.is_none() || row.wants == happened.says;
        let name = seen.names.iter().find(|name| is_let_through && row.on.contains(name));
        if name.is_none() && !seen.is_last {
            return Ok(false);
        }
        // What the waiting lane does itself is not what it waits for.
        let is_own = happened.cause.is_some_and(|run| self.rows.runs[&run].lane() == (row.agent, row.task));
        if is_own && !seen.is_last && !happened.is_asked_now {
            return Ok(false);
        }
        let told = name.map_or("source.over", |name| name.as_str());
        row.matches += 1;
        row.timeout_at = None;
        let width = row.debounce.filter(|_| !seen.is_last);
        if width.is_some() || row.window.is_some() {
            let width = width.unwrap_or(Duration::ZERO);
            let since = row.window.map_or(happened.now, |(since, _)| since);
            row.window = Some((since, (happened.now + width).min(since + width * WIDTHS_MAX)));
            self.rows.matches.entry(id).or_default().insert(row.matches, happened.cause);
            if width.is_zero() {
                self.close_window(id, &mut row, happened.now, told, mirror)?;
            }
        } else {
            let maker = match happened.cause {
                Some(run) => Maker::After { run, is_asked: happened.is_asked_now },
                None => Maker::Wakeful,
            };
            self.wake_subscriber(id, &mut row, happened.now, maker, told, mirror)?;
            if row.once {
                self.end_subscription(&mut row, happened.now, "fired");
            }
        }
        if seen.is_last && row.is_open() {
            self.end_subscription(&mut row, happened.now, "source_over");
        }
        self.last_told.insert(id, told.to_owned());
        self.rows.subscriptions.insert(id, row);
        Ok(name.is_some())
    }

    /// All that the window holds, in one wakeup. Only if the subscriber's own lane did all of it, that is nothing to
    /// wake it for.
    fn close_window(
        &mut self,
        id: SubscriptionId,
        row: &mut Subscribed,
        now: Timestamp,
        told: &str,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        let matches = self.rows.matches.remove(&id).unwrap_or_default();
        row.window = None;
        let own = (row.agent, row.task);
        let is_own = |cause: &Option<RunId>| cause.is_some_and(|run| self.rows.runs[&run].lane() == own);
        let is_all_own = matches.values().all(is_own);
        let maker = match matches.values().rev().find_map(|cause| *cause) {
            Some(run) => Maker::After { run, is_asked: !is_all_own },
            None => Maker::Wakeful,
        };
        self.wake_subscriber(id, row, now, maker, told, mirror)?;
        if row.once {
            self.end_subscription(row, now, "fired");
        }
        Ok(())
    }

    /// What time does by itself: windows close, and what did not come in time is told.
    pub(super) fn subscriptions_due(&mut self, now: Timestamp, mirror: &Mirror) -> Result<(), Broken> {
        let all: Vec<SubscriptionId> = self.rows.subscriptions.keys().copied().collect();
        for id in all {
            let mut row = self.rows.subscriptions[&id].clone();
            if row.window.is_some_and(|(_, closes_at)| closes_at <= now) {
                let told = self.last_told.get(&id).cloned().unwrap_or_default();
                self.close_window(id, &mut row, now, &told, mirror)?;
            } else if row.timeout_at.is_some_and(|at| at <= now) {
                row.timeout_at = None;
                let maker = row.by_run.map_or(Maker::Wakeful, |run| Maker::After { run, is_asked: true });
                self.wake_subscriber(id, &mut row, now, maker, "timeout", mirror)?;
                if row.once {
                    self.end_subscription(&mut row, now, "timed_out");
                }
            }
            self.rows.subscriptions.insert(id, row);
        }
        Ok(())
    }

    fn wake_subscriber(
        &mut self,
        id: SubscriptionId,
        row: &mut Subscribed,
        now: Timestamp,
        maker: Maker,
        told: &str,
        mirror: &Mirror,
    ) -> Result<(), Broken> {
        row.wakeups += 1;
        let about = self.about(&at(now), TaskId::from_uuid(id.uuid()), row.agent, WakeSource::Subscription);
        let context = [("subscription".to_owned(), id.to_string().into())].into_iter().collect();
        self.issue(Wake { task: row.task, maker, context, trigger_detail: Some(told.to_owned()), ..about }, mirror)
    }

    fn end_subscription(&mut self, row: &mut Subscribed, now: Timestamp, reason: &str) {
        (row.ended_at, row.end_reason, row.timeout_at) = (Some(now), Some(reason.to_owned()), None);
        self.count_open(row.company, -1);
    }

    /// A subscription that is open although nothing can come of its source any more.
    pub fn left_untold(&self) -> Option<&Subscribed> {
        let is_over = |row: &&Subscribed| match row.source {
            Source::Run(id) => !self.rows.runs[&id].status.is_live(),
            Source::Agent(id) => self.rows.agents[&id].state == AgentState::Terminated,
            Source::Task(_) | Source::Children(_) | Source::Topic(_) | Source::Webhook(_) => false,
        };
        self.rows.subscriptions.values().filter(|row| row.is_open()).find(is_over)
    }

    fn count_open(&mut self, company: wakeful_domain::id::CompanyId, by: i64) {
        if let Some(company) = self.rows.companies.get_mut(&company) {
            company.open_subscriptions += by;
        }
    }
}
