//! The same random script on SQLite and on PostgreSQL: every answer and every row must be the same. It goes through
//! what the model of `property.rs` leaves out: tasks, holds, blockers, circuits, chains, hours, comments.

use std::fmt::Debug;

use fastrand::Rng;
use wakeful_domain::active_hours::{ActiveHours, ClockTime};
use wakeful_domain::agent::{AgentEvent, Heartbeat};
use wakeful_domain::id::{AgentId, TaskId, WakeupId};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::run::Run;
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_domain::wakeup::Source;
use wakeful_store::Tx;
use wakeful_store::ops::agents::{self, AgentChange};
use wakeful_store::ops::comments::{self, NewComment};
use wakeful_store::ops::holds::{self, HoldRequest};
use wakeful_store::ops::tasks::TaskChange;
use wakeful_store::ops::wake::{Maker, Wake};

use crate::wishes::{cancelled, timed_out};
use crate::world::{Engine, World, on, seconds};

const STEPS: usize = 120;

/// What a script has made so far, in the order of making: the same on both engines.
struct Script<'a> {
    world: &'a World,
    rng: Rng,
    agents: Vec<AgentId>,
    tasks: Vec<TaskId>,
    wakeups: Vec<WakeupId>,
    live: Vec<Run>,
    ended: Vec<Run>,
    /// Every answer and every row after it.
    told: Vec<String>,
}

const STATUSES: [TaskStatus; 7] = [
    TaskStatus::Backlog,
    TaskStatus::Todo,
    TaskStatus::InProgress,
    TaskStatus::InReview,
    TaskStatus::Blocked,
    TaskStatus::Done,
    TaskStatus::Cancelled,
];

impl Script<'_> {
    fn tell(&mut self, answer: impl Debug) {
        self.told.push(format!("{answer:?}"));
    }

    fn one<T: Copy>(rng: &mut Rng, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[rng.usize(..from.len())])
    }

    fn some_live(&mut self) -> Option<Run> {
        (!self.live.is_empty()).then(|| self.live[self.rng.usize(..self.live.len())].clone())
    }

    async fn step(&mut self) {
        match self.rng.u32(..20) {
            0..=3 => self.wake().await,
            4..=6 => self.claim().await,
            7..=9 => self.finish().await,
            10 => self.make_task().await,
            11..=12 => self.change_task().await,
            13 => self.hold().await,
            14 => self.change_wakeup().await,
            15 => self.change_agent().await,
            16 => self.comment().await,
            17 => self.acknowledge().await,
            _ => {
                self.world.pass(seconds(self.rng.u64(1..900)));
                let report = self.world.tick().await;
                self.tell(report);
            }
        }
    }

    async fn wake(&mut self) {
        let rng = &mut self.rng;
        let Some(agent) = Self::one(rng, &self.agents) else { return };
        let by_run = (rng.u32(..3) == 0).then(|| Self::one(rng, &[0, 1])).flatten();
        let by_run = match by_run {
            Some(0) => self.live.first().map(Run::proof),
            Some(_) => self.ended.last().map(Run::proof),
            None => None,
        };
        let rng = &mut self.rng;
        let wake = Wake {
            source: Source::ALL[rng.usize(..Source::ALL.len())].1,
            task: if rng.bool() { Self::one(rng, &self.tasks) } else { None },
            due_at: (rng.u32(..4) == 0).then(|| self.world.now() + seconds(rng.u64(..900))),
            expires_at: (rng.u32(..6) == 0).then(|| self.world.now() + seconds(rng.u64(900..3_000))),
            idempotency_key: (rng.u32(..4) == 0).then(|| format!("k{}", rng.u32(..5))),
            request_hash: Some(rng.u32(..2).to_string()),
            max_attempts: (rng.u32(..3) == 0).then_some(2),
            by_run,
            maker: if rng.u32(..4) == 0 { Maker::Wakeful } else { Maker::Request },
            ..self.world.draft(agent)
        };
        let accepted = self.world.accept(wake).await;
        if let Ok(accepted) = &accepted {
            self.wakeups.push(accepted.wakeup.id);
        }
        self.tell(accepted);
    }

    async fn claim(&mut self) {
        if let Some(claimed) = self.world.claim_any().await {
            self.live.push(claimed.run.clone());
            self.tell((claimed.run, claimed.wakeups, claimed.task));
        }
    }

    async fn finish(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let run = self.live.swap_remove(self.rng.usize(..self.live.len()));
        if self.rng.u32(..6) == 0 {
            let puts_back = self.rng.bool();
            let stopped = self.world.stop(&run, puts_back).await;
            self.tell(stopped);
        }
        let outcome = match self.rng.u32(..8) {
            0..=1 => Outcome::succeeded(),
            2..=4 => Outcome::failed("exit_nonzero", "x"),
            5 => Outcome::failed("auth_required", "x"),
            6 => timed_out(),
            _ if self.rng.bool() => cancelled(),
            _ => Outcome::failed("usage_limit", "x"),
        };
        let ended = self.world.finish(&run, outcome).await;
        self.ended.push(run);
        self.tell(ended);
    }

    async fn make_task(&mut self) {
        let rng = &mut self.rng;
        let draft = Task {
            assignee: if rng.bool() { Self::one(rng, &self.agents) } else { None },
            parent: if rng.u32(..4) == 0 { Self::one(rng, &self.tasks) } else { None },
            status: STATUSES[rng.usize(..STATUSES.len())],
            ..self.world.draft_task("t")
        };
        let blockers: Vec<TaskId> = Self::one(rng, &self.tasks).into_iter().filter(|_| rng.bool()).collect();
        let made = self.world.make_task(draft, &blockers).await;
        if let Ok(task) = &made {
            self.tasks.push(task.id);
        }
        self.tell(made);
    }

    async fn change_task(&mut self) {
        let rng = &mut self.rng;
        let Some(task) = Self::one(rng, &self.tasks) else { return };
        let mut change = TaskChange::default();
        match rng.u32(..4) {
            0 => change.status = Some(STATUSES[rng.usize(..STATUSES.len())]),
            1 => change.assignee = Some(Self::one(rng, &self.agents).filter(|_| rng.u32(..4) > 0)),
            2 => change.blocked_by = Some(Self::one(rng, &self.tasks).into_iter().collect()),
            _ => change.parent = Some(Self::one(rng, &self.tasks)),
        }
        let changed = self.world.change_task(task, change).await;
        self.tell(changed);
    }

    async fn hold(&mut self) {
        let Some(task) = Self::one(&mut self.rng, &self.tasks) else { return };
        let Some(run) = self.some_live() else { return };
        let request = HoldRequest { now: self.world.now(), run: run.id, fence: run.fence, task };
        let answer = match self.rng.bool() {
            true => self.world.db.write("hold", request, |tx, request| Box::pin(holds::check_out(tx, request))).await,
            false => self.world.db.write("hold", request, |tx, request| Box::pin(holds::release(tx, request))).await,
        };
        self.tell(answer);
    }

    async fn change_wakeup(&mut self) {
        let Some(wakeup) = Self::one(&mut self.rng, &self.wakeups) else { return };
        let answer = match self.rng.u32(..3) {
            0 => self.world.cancel(wakeup).await,
            _ => self.world.retry(wakeup).await,
        };
        self.tell(answer);
    }

    async fn change_agent(&mut self) {
        let Some(agent) = Self::one(&mut self.rng, &self.agents) else { return };
        if self.rng.u32(..4) == 0 {
            let clock = |hour: u32| ClockTime::try_from(format!("{hour:02}:00")).unwrap();
            let from = self.rng.u32(..24);
            let hours = ActiveHours { from: clock(from), to: clock((from + 12) % 24), days: None };
            let hours = self.rng.bool().then_some(hours);
            let heartbeat = Heartbeat { enabled: true, active_hours: hours, ..Heartbeat::default() };
            let change = AgentChange { heartbeat: Some(heartbeat), ..AgentChange::default() };
            let arguments = (self.world.now(), agent, change);
            let write = self
                .world
                .db
                .write("agent", arguments, |tx, (now, id, change)| Box::pin(agents::change(tx, *now, *id, change)));
            let answer = write.await;
            return self.tell(answer);
        }
        let event = match self.rng.u32(..12) {
            0 => AgentEvent::Terminate,
            1..=3 => AgentEvent::Pause,
            _ => AgentEvent::Resume,
        };
        let answer = self.world.agent_event(agent, event).await;
        self.tell(answer);
    }

    async fn comment(&mut self) {
        let Some(task) = Self::one(&mut self.rng, &self.tasks) else { return };
        let new = NewComment { id: self.world.id(), task, body: "x".into(), reopen: self.rng.bool() };
        let arguments = (self.world.origin(), new);
        let write =
            self.world.db.write("comment", arguments, |tx, (origin, new)| Box::pin(comments::insert(tx, origin, new)));
        let answer = write.await;
        self.tell(answer);
    }

    async fn acknowledge(&mut self) {
        let Some(run) = self.some_live() else { return };
        let waiting = self.world.inbox(&run).await;
        let answer = self.world.try_acknowledge(&run, &waiting).await;
        self.tell(answer);
    }

    /// Every row that a step may have changed.
    async fn dump(&mut self) {
        for query in DUMPS {
            let read = self.world.db.read("dump", (*query).to_owned(), |tx: &mut Tx, query| {
                Box::pin(async move {
                    let mut rows = Vec::new();
                    for mut row in tx.query(query, &[]).await? {
                        rows.push(row.get::<String>()?);
                    }
                    Ok(rows)
                })
            });
            let rows = read.await.unwrap();
            self.tell(rows);
        }
        self.world.assert_sound().await;
    }
}

/// Each row as one text, so that both engines give the same.
const DUMPS: &[&str] = &[
    "select id || '|' || agent_id || '|' || task_id || '|' || source || '|' || status || '|' || coalesce(status_reason, '') \
     || '|' || cast(count as text) || '|' || cast(attempt as text) || '|' || cast(due_at as text) || '|' \
     || cast(eligible_at as text) || '|' || cast(eligible as text) || '|' || cast(depth as text) || '|' || root_id || '|' \
     || coalesce(cause_id, '') || '|' || coalesce(run_id, '') || '|' || context from wakeups order by id",
    "select agent_id || '|' || task_id || '|' || cast(fence as text) || '|' || coalesce(live_run_id, '') || '|' \
     || cast(failures as text) || '|' || failed_at || '|' || coalesce(cast(circuit_opened_at as text), '') || '|' \
     || coalesce(cast(ready_rank as text), '') from lanes order by agent_id, task_id",
    "select id || '|' || status || '|' || coalesce(assignee_id, '') || '|' || coalesce(held_by_run, '') || '|' \
     || coalesce(cast(closed_at as text), '') from tasks order by id",
    "select id || '|' || state || '|' || cast(live_runs as text) || '|' || coalesce(cast(quota_until as text), '') || '|' \
     || coalesce(cast(ready_rank as text), '') from agents order by id",
    "select key || '|' || status || '|' || cast(count as text) || '|' || title || '|' || detail from escalations order by id",
    "select type || '|' || subject || '|' || data from events order by seq",
    "select root_id || '|' || run_id from root_runs order by root_id, run_id",
];

async fn lived(world: &World, seed: u64) -> Vec<String> {
    let mut script = Script {
        world,
        rng: Rng::with_seed(seed),
        agents: vec![],
        tasks: vec![],
        wakeups: vec![],
        live: vec![],
        ended: vec![],
        told: vec![],
    };
    for number in 0..3 {
        let cap = number + 1;
        script.agents.push(world.agent_with(&format!("a{number}"), |agent| agent.max_concurrent_runs = cap).await);
    }
    for _ in 0..STEPS {
        script.step().await;
        script.dump().await;
    }
    script.told
}

fn check(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let both = [Engine::Sqlite, Engine::Postgres].map(|engine| {
            let told = std::cell::RefCell::new(Vec::new());
            on(engine, async |world| *told.borrow_mut() = lived(world, seed).await);
            told.into_inner()
        });
        let [sqlite, postgres] = both;
        for (place, (one, other)) in sqlite.iter().zip(&postgres).enumerate() {
            assert_eq!(one, other, "seed {seed}, answer {place}");
        }
        assert_eq!(sqlite.len(), postgres.len(), "seed {seed}");
    }
}

#[test]
fn random_scripts_answer_the_same_on_both_engines() {
    check(0..10);
}

#[test]
fn more_random_scripts_answer_the_same_on_both_engines() {
    check(10..20);
}
