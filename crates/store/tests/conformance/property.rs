//! Random lives of a small town, step by step against the [`model`](crate::model): after every step each wakeup stands
//! where the model has it, and every invariant holds. A seed that fails says so, with the shortest script that fails.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::company::CompanyState;
use wakeful_domain::id::{AgentId, CompanyId, TaskId, WakeupId};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::ops::wakeups::{self, WakeupFilter};
use wakeful_store::ops::{claim, runs};

use crate::model::{Agent, Company, How, Model, Run, Wakeup};
use crate::wishes::{batch, cancelled, timed_out};
use crate::world::{Engine, World, conflict, on, seconds};

/// What is asked for. Places are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Wake {
        agent: usize,
        task: usize,
        timer: bool,
        priority: i64,
        later_s: u64,
        lasts_s: u64,
        attempts: Option<i64>,
    },
    /// Any wakeup by any run.
    Acknowledge {
        run: usize,
        wakeup: usize,
    },
    /// A wakeup that a live run may take.
    TakeOver {
        run: usize,
        wakeup: usize,
    },
    /// A wake of a lane that is at work.
    Interrupt {
        run: usize,
        priority: i64,
    },
    Claim,
    Finish {
        run: usize,
        how: How,
    },
    FinishAgain {
        run: usize,
    },
    Cancel {
        wakeup: usize,
    },
    Retry {
        wakeup: usize,
    },
    Agent {
        agent: usize,
        event: AgentEvent,
    },
    Company {
        company: usize,
        is_paused: bool,
    },
    Stop {
        run: usize,
        puts_back: bool,
    },
    Pass {
        count: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let agent = 0..4_usize;
    let pick = any::<usize>;
    let wake = (agent.clone(), 0..3_usize, 0..4_u8, 0..=100_i64, 0..4_u8, 0..4_u8, proptest::option::of(1..4_i64));
    let how = prop_oneof![
        3 => Just(How::Succeed),
        4 => Just(How::Transient),
        1 => (1..400_u64).prop_map(How::Quota),
        1 => Just(How::Drained),
        1 => Just(How::TimedOut),
        1 => Just(How::Permanent),
        1 => Just(How::Cancelled),
    ];
    let event = prop_oneof![
        6 => Just(AgentEvent::Resume),
        4 => Just(AgentEvent::Pause),
        1 => Just(AgentEvent::Terminate),
    ];
    prop_oneof![
        14 => wake.prop_map(|(agent, task, timer, priority, later, lasts, attempts)| Step::Wake {
            agent,
            task,
            timer: timer == 0,
            priority,
            later_s: if later == 0 { 50 } else { 0 },
            lasts_s: if lasts == 0 { 130 } else { 0 },
            attempts,
        }),
        2 => (pick(), pick()).prop_map(|(run, wakeup)| Step::Acknowledge { run, wakeup }),
        3 => (pick(), pick()).prop_map(|(run, wakeup)| Step::TakeOver { run, wakeup }),
        5 => (pick(), 0..=100_i64).prop_map(|(run, priority)| Step::Interrupt { run, priority }),
        12 => Just(Step::Claim),
        9 => (pick(), how).prop_map(|(run, how)| Step::Finish { run, how }),
        1 => pick().prop_map(|run| Step::FinishAgain { run }),
        2 => pick().prop_map(|wakeup| Step::Cancel { wakeup }),
        3 => pick().prop_map(|wakeup| Step::Retry { wakeup }),
        3 => (agent, event).prop_map(|(agent, event)| Step::Agent { agent, event }),
        2 => (0..2_usize, 0..3_u8).prop_map(|(company, n)| Step::Company { company, is_paused: n == 0 }),
        2 => (pick(), any::<bool>()).prop_map(|(run, puts_back)| Step::Stop { run, puts_back }),
        5 => prop_oneof![1..100_u64, 100..3_000_u64].prop_map(|count| Step::Pass { count }),
    ]
}

/// The store and the model side by side, and the ids of what the model knows by place.
struct Town<'a> {
    world: &'a World,
    model: Model,
    companies: Vec<CompanyId>,
    agents: Vec<AgentId>,
    tasks: Vec<[TaskId; 2]>,
    wakeups: Vec<WakeupId>,
    runs: Vec<wakeful_domain::run::Run>,
}

impl Town<'_> {
    async fn found(world: &World) -> Town<'_> {
        let mut town = Town {
            world,
            model: Model::default(),
            companies: vec![],
            agents: vec![],
            tasks: vec![],
            wakeups: vec![],
            runs: vec![],
        };
        for (slug, cap, agent_caps) in [("wide", 3, &[1, 2, 3][..]), ("narrow", 1, &[2][..])] {
            let company = world.company(slug, cap as i64).await;
            let mut tasks = [world.draft_task("one"), world.draft_task("two")];
            tasks.iter_mut().for_each(|task| task.company = company);
            let [one, two] = tasks;
            town.tasks.push([world.insert_task(one).await, world.insert_task(two).await]);
            for cap in agent_caps {
                let name = format!("{slug}-{cap}");
                let change = |agent: &mut wakeful_domain::agent::Agent| {
                    (agent.company, agent.max_concurrent_runs) = (company, *cap);
                };
                town.agents.push(world.agent_with(&name, change).await);
                let company = town.companies.len();
                let cap = *cap as usize;
                town.model.agents.push(Agent { company, cap, is_paused: false, is_gone: false, parked_until: None });
            }
            town.companies.push(company);
            town.model.companies.push(Company { cap, is_paused: false });
        }
        town
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Wake { .. } => self.wake(step).await,
            Step::Claim => drop(self.claim().await),
            Step::Acknowledge { run, wakeup } => {
                if let (Some(run), Some(place)) = (among(self.runs.len(), run), among(self.wakeups.len(), wakeup)) {
                    self.acknowledge(run, place).await;
                }
            }
            Step::TakeOver { run, wakeup } => {
                if let Some(run) = self.run_where(run, |run| run.is_live) {
                    let due = self.model.due(self.model.runs[run].lane);
                    if let Some(place) = among(due.len(), wakeup) {
                        self.acknowledge(run, due[place]).await;
                    }
                }
            }
            Step::Interrupt { run, priority } => {
                if let Some(run) = self.run_where(run, |run| run.is_live) {
                    let (agent, task) = self.model.runs[run].lane;
                    let task = task.map_or(0, |task| task + 1);
                    let (timer, later_s, lasts_s, attempts) = (false, 0, 0, None);
                    self.wake(&Step::Wake { agent, task, timer, priority, later_s, lasts_s, attempts }).await;
                }
            }
            Step::Finish { run, how } => self.finish(run, how).await,
            Step::FinishAgain { run } => self.finish_again(run).await,
            Step::Cancel { wakeup } => self.cancel(wakeup).await,
            Step::Retry { wakeup } => self.retry(wakeup).await,
            Step::Agent { agent, event } => self.change_agent(agent, event).await,
            Step::Company { company, is_paused } => {
                let state = if is_paused { CompanyState::Paused } else { CompanyState::Active };
                self.world.company_state(self.companies[company], state).await;
                self.model.companies[company].is_paused = is_paused;
            }
            Step::Stop { run, puts_back } => self.stop(run, puts_back).await,
            Step::Pass { count } => {
                self.world.pass(seconds(count));
                self.model.pass(count);
            }
        }
        self.world.tick().await;
        self.model.tick();
    }

    async fn wake(&mut self, step: &Step) {
        let Step::Wake { agent, task, timer, priority, later_s, lasts_s, attempts } = *step else { return };
        let now = self.world.now();
        let task = task.checked_sub(1);
        let lane = (agent, task);
        let mut wake = self.world.draft(self.agents[agent]);
        wake.task = task.map(|task| self.tasks[self.model.agents[agent].company][task]);
        wake.source = if timer { Source::Timer } else { Source::Manual };
        wake.priority = Some(priority);
        wake.due_at = (later_s > 0).then(|| now + seconds(later_s));
        wake.expires_at = (lasts_s > 0).then(|| now + seconds(lasts_s));
        wake.max_attempts = attempts;
        let mut expected = Wakeup {
            lane,
            is_timer: timer,
            priority,
            due_at: now + seconds(later_s),
            expires_at: wake.expires_at,
            attempt: 0,
            max_attempts: Wakeup::attempts_max(attempts),
            status: WakeupStatus::Pending,
            run: None,
        };
        let answer = self.world.accept(wake).await;
        if self.model.agents[agent].is_paused || self.model.agents[agent].is_gone {
            assert_eq!(conflict(answer), "agent_not_wakeable");
            return;
        }
        let accepted = answer.unwrap();
        let is_waiting =
            |wakeup: &Wakeup| wakeup.is_timer && wakeup.lane == lane && wakeup.status == WakeupStatus::Pending;
        if timer && self.model.wakeups.iter().any(is_waiting) {
            let place = self.wakeups.iter().position(|id| *id == accepted.wakeup.id).unwrap();
            assert!(!accepted.is_new && is_waiting(&self.model.wakeups[place]));
            return;
        }
        if let Some(run) = self.model.live_on(lane).filter(|_| timer) {
            (expected.status, expected.run) = (WakeupStatus::Coalesced, Some(run));
        }
        assert!(accepted.is_new);
        self.model.accept(expected);
        self.wakeups.push(accepted.wakeup.id);
    }

    async fn claim(&mut self) -> bool {
        let lanes = self.model.best_lanes();
        let request = self.world.claim_request();
        let claimed = self.world.db.write("claim", request, |tx, request| Box::pin(claim::claim(tx, request)));
        let Some(claimed) = claimed.await.unwrap() else {
            assert!(lanes.is_empty(), "one of {lanes:?} could have started");
            return false;
        };
        let agent = self.agents.iter().position(|id| *id == claimed.agent.id).unwrap();
        let tasks = self.tasks[self.model.agents[agent].company];
        let lane = (agent, claimed.run.task.map(|task| tasks.iter().position(|id| *id == task).unwrap()));
        assert!(lanes.contains(&lane), "{lane:?} started instead of one of {lanes:?}");
        let (fence, places) = self.model.claim(lane);
        let expected: Vec<_> = places.iter().map(|place| self.wakeups[*place]).collect();
        assert_eq!((claimed.run.fence, batch(&claimed)), (fence, expected));
        self.runs.push(claimed.run);
        true
    }

    async fn acknowledge(&mut self, run: usize, place: usize) {
        let id = self.wakeups[place];
        let answer = self.world.try_acknowledge(&self.runs[run], &[id]).await;
        if !self.model.runs[run].is_live {
            assert_eq!(conflict(answer), "fenced");
            return;
        }
        let answer = answer.unwrap();
        match self.model.acknowledge(run, place) {
            None => assert_eq!(answer.acknowledged, [id]),
            Some(reason) => assert_eq!(answer.refused, [(id, reason)]),
        }
    }

    /// One of the runs of which `is_wanted` holds.
    fn run_where(&self, pick: usize, is_wanted: impl Fn(&Run) -> bool) -> Option<usize> {
        let wanted: Vec<_> = (0..self.runs.len()).filter(|run| is_wanted(&self.model.runs[*run])).collect();
        among(wanted.len(), pick).map(|place| wanted[place])
    }

    async fn finish(&mut self, pick: usize, how: How) {
        let Some(run) = self.run_where(pick, |run| run.is_live) else { return };
        let outcome = match how {
            How::Succeed => Outcome::succeeded(),
            How::Transient => Outcome::failed("killed", "x"),
            How::Quota(rest_s) => {
                let retry_at = Some(self.world.now() + seconds(rest_s));
                Outcome { retry_at, ..Outcome::failed("usage_limit", "x") }
            }
            How::Drained => Outcome::failed("drained", "x"),
            How::TimedOut => timed_out(),
            How::Permanent => Outcome::failed("auth_required", "x"),
            How::Cancelled => cancelled(),
        };
        self.world.finish(&self.runs[run], outcome).await;
        self.model.finish(run, how);
    }

    async fn finish_again(&mut self, pick: usize) {
        let Some(run) = self.run_where(pick, |run| !run.is_live) else { return };
        let request = self.world.ending(&self.runs[run], Outcome::succeeded());
        assert_eq!(conflict(self.world.try_finish(request).await), "fenced");
    }

    async fn cancel(&mut self, pick: usize) {
        let Some(place) = among(self.wakeups.len(), pick) else { return };
        let answer = self.world.cancel(self.wakeups[place]).await;
        let wakeup = &mut self.model.wakeups[place];
        match wakeup.status {
            WakeupStatus::Pending => {
                answer.unwrap();
                wakeup.status = WakeupStatus::Cancelled;
            }
            WakeupStatus::Claimed => assert_eq!(conflict(answer), "wakeup_claimed"),
            _ => assert_eq!(conflict(answer), "wakeup_terminal"),
        }
    }

    async fn retry(&mut self, pick: usize) {
        let Some(place) = among(self.wakeups.len(), pick) else { return };
        let answer = self.world.retry(self.wakeups[place]).await;
        let has_other_timer = self.model.has_other_timer(place);
        let wakeup = &mut self.model.wakeups[place];
        if wakeup.status != WakeupStatus::Failed {
            assert_eq!(conflict(answer), "wakeup_not_failed");
        } else if self.model.agents[wakeup.lane.0].is_gone {
            assert_eq!(conflict(answer), "agent_terminated");
        } else if has_other_timer {
            assert_eq!(conflict(answer), "timer_pending");
        } else {
            answer.unwrap();
            (wakeup.status, wakeup.attempt, wakeup.run) = (WakeupStatus::Pending, 0, None);
            (wakeup.due_at, wakeup.expires_at) = (self.world.now(), None);
        }
    }

    async fn change_agent(&mut self, agent: usize, event: AgentEvent) {
        let answer = self.world.agent_event(self.agents[agent], event).await;
        match event {
            AgentEvent::Terminate => {
                answer.unwrap();
                self.model.terminate(agent);
            }
            _ if self.model.agents[agent].is_gone => assert_eq!(conflict(answer), "agent_terminated"),
            _ => {
                answer.unwrap();
                self.model.agents[agent].is_paused = event == AgentEvent::Pause;
                if event == AgentEvent::Resume {
                    self.model.agents[agent].parked_until = None;
                }
            }
        }
    }

    async fn stop(&mut self, pick: usize, puts_back: bool) {
        let Some(run) = self.run_where(pick, |run| run.is_live) else { return };
        self.world.stop(&self.runs[run], puts_back).await.unwrap();
        let standing = &mut self.model.runs[run].stop_puts_back;
        *standing = Some(standing.unwrap_or(true) && puts_back);
    }

    /// The store says of every wakeup, agent and company what the model says.
    async fn compare(&self) {
        let list = self.world.db.read("list", (), |tx, ()| {
            Box::pin(async move { wakeups::list(tx, &WakeupFilter::default(), None, 10_000).await })
        });
        let mut found = list.await.unwrap().items;
        found.reverse();
        assert_eq!(found.len(), self.wakeups.len(), "each accepted wakeup is one row");
        for (place, found) in found.iter().enumerate() {
            let model = &self.model.wakeups[place];
            let expected = (self.wakeups[place], model.status, model.attempt, model.due_at, model.expires_at);
            assert_eq!((found.id, found.status, found.attempt, found.due_at, found.expires_at), expected);
            assert_eq!(found.run, model.run.map(|run| self.runs[run].id), "{}", found.id);
            assert_eq!(found.finished_at.is_some(), found.status.is_terminal(), "{}", found.id);
        }
        let live = self.world.db.read("live", (), |tx, ()| Box::pin(runs::live(tx))).await.unwrap();
        assert_eq!(live.len(), self.model.runs.iter().filter(|run| run.is_live).count());
        for (place, id) in self.agents.iter().enumerate() {
            let agent = self.world.get_agent(*id).await;
            let model = &self.model.agents[place];
            let expected = (self.model.live_of_agent(place) as i64, model.parked_until);
            assert_eq!((agent.live_runs, agent.quota_until), expected, "{}", agent.name);
        }
        self.world.assert_sound().await;
    }

    /// Lets everyone work until nothing waits: then every wakeup has its fate.
    async fn wind_up(&mut self) {
        for company in 0..self.companies.len() {
            self.take(&Step::Company { company, is_paused: false }).await;
        }
        for agent in 0..self.agents.len() {
            self.change_agent(agent, AgentEvent::Resume).await;
        }
        loop {
            while let Some(run) = self.model.runs.iter().position(|run| run.is_live) {
                self.world.succeed(&self.runs[run]).await;
                self.model.finish(run, How::Succeed);
            }
            if self.model.wakeups.iter().all(|wakeup| wakeup.status.is_terminal()) {
                return;
            }
            self.take(&Step::Pass { count: 3_600 }).await;
            while self.claim().await {}
        }
    }
}

fn among(count: usize, pick: usize) -> Option<usize> {
    pick.checked_rem(count)
}

async fn live(world: &World, steps: &[Step]) {
    let mut town = Town::found(world).await;
    for step in steps {
        town.take(step).await;
        town.compare().await;
    }
    town.wind_up().await;
    town.compare().await;
}

const STEPS_MAX: usize = 70;

fn check(engine: Engine, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let script = proptest::collection::vec(step(), 40..STEPS_MAX);
        let result = TestRunner::new_with_rng(config, rng).run(&script, |steps| {
            on(engine, async |world| live(world, &steps).await);
            Ok(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(reason, steps)) => panic!("seed {seed} on {engine:?}: {reason}\n{steps:#?}"),
            Err(TestError::Abort(reason)) => panic!("seed {seed} on {engine:?}: {reason}"),
        }
    }
}

#[test]
fn random_lives_agree_with_the_model_on_sqlite() {
    check(Engine::Sqlite, 0..75);
}

#[test]
fn more_random_lives_agree_with_the_model_on_sqlite() {
    check(Engine::Sqlite, 75..150);
}

#[test]
fn random_lives_agree_with_the_model_on_postgres() {
    check(Engine::Postgres, 0..16);
}
