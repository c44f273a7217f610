//! A store, a clock and short words for the scenarios, which are too large to be held against the ledger.

use std::time::Duration;

use serde_json::{Map, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{Agent, AgentState, Heartbeat, Limits};
use wakeful_domain::company::{Company, CompanyState};
use wakeful_domain::id::{AgentId, CompanyId, Id, IdSource, Kind, RunId, TaskId};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::run::Run;
use wakeful_domain::session::SessionPolicy;
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::Source;
use wakeful_store::ops::claim::{ClaimRequest, Claimed};
use wakeful_store::ops::dispatch::dispatch;
use wakeful_store::ops::finish::{FinishRequest, finish};
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::wake::{Maker, Wake, accept_all};
use wakeful_store::ops::{agents, companies, invariants, tasks};
use wakeful_store::{Commit, Direct, Operation};

pub struct Stage {
    store: Direct,
    ids: IdSource,
    pub now: Timestamp,
}

impl Stage {
    pub fn new() -> Stage {
        let now = Timestamp::from_millis(1_800_000_000_000);
        Stage { store: Direct::in_memory().unwrap(), ids: IdSource::new(7), now }
    }

    fn id<K: Kind>(&mut self) -> Id<K> {
        self.ids.next(self.now)
    }

    fn write<A, T>(&mut self, arguments: &A, operation: Operation<A, T>) -> T {
        self.store.write("scenario", arguments, operation, Commit::Kept).unwrap()
    }

    pub fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    pub fn company(&mut self, slug: &str, cap: i64) -> CompanyId {
        let id = self.id();
        let company = Company {
            id,
            slug: slug.into(),
            name: slug.into(),
            time_zone: "UTC".into(),
            max_concurrent_runs: cap,
            max_runs_per_root_hour: 100,
            state: CompanyState::Active,
            state_reason: None,
            live_runs: 0,
            created_at: self.now,
            updated_at: self.now,
        };
        self.write(&company, |tx, company| Box::pin(companies::insert(tx, company)));
        id
    }

    pub fn agent(&mut self, company: CompanyId, name: &str, cap: i64) -> AgentId {
        let id = self.id();
        let agent = Agent {
            id,
            company,
            name: name.into(),
            title: None,
            adapter: object!({ "type": "process" }),
            capabilities: vec![],
            heartbeat: Heartbeat::default(),
            max_concurrent_runs: cap,
            retry: RetryPolicy::default(),
            limits: Limits::default(),
            session: SessionPolicy::default(),
            state: AgentState::Active,
            state_reason: None,
            quota_until: None,
            live_runs: 0,
            created_at: self.now,
            updated_at: self.now,
        };
        self.write(&agent, |tx, agent| Box::pin(agents::insert(tx, agent)));
        id
    }

    pub fn task(&mut self, company: CompanyId) -> TaskId {
        let id = self.id();
        let task = Task::new(id, company, "a task", self.now);
        let origin = Origin { now: self.now, actor: Actor::system(), by_run: None, id_seed: 1 };
        self.write(&(origin, task), |tx, (origin, task)| Box::pin(tasks::insert(tx, origin, task, &[])));
        id
    }

    pub fn draft(&mut self, agent: AgentId, task: Option<TaskId>, priority: i64) -> Wake {
        Wake {
            id: self.id(),
            company: None,
            agent,
            task,
            source: Source::Manual,
            trigger_detail: None,
            reason: None,
            priority: Some(priority),
            payload: Map::new(),
            context: Map::new(),
            actor: Actor::system(),
            idempotency_key: None,
            request_hash: None,
            now: self.now,
            due_at: None,
            expires_at: None,
            max_attempts: None,
            by_run: None,
            maker: Maker::Request,
        }
    }

    pub fn accept(&mut self, wakes: Vec<Wake>) {
        let answers = self.write(&wakes, |tx, wakes| Box::pin(accept_all(tx, wakes)));
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|accepted| accepted.is_new)));
    }

    /// What the dispatcher starts where there is room for `room` runs.
    pub fn dispatch(&mut self, room: usize) -> Vec<Claimed> {
        let requests: Vec<ClaimRequest> = (0..room)
            .map(|_| {
                let run: RunId = self.id();
                ClaimRequest { now: self.now, run, token_hash: run.to_string() }
            })
            .collect();
        self.write(&(self.now, requests), |tx, told| Box::pin(dispatch(tx, told))).claimed
    }

    pub fn succeed(&mut self, run: &Run) {
        let request = FinishRequest {
            now: self.now,
            draw: 0.5,
            id_seed: 1,
            run: run.id,
            fence: run.fence,
            outcome: Outcome::succeeded(),
            exit_code: None,
            signal: None,
            log: None,
        };
        self.write(&request, |tx, request| Box::pin(finish(tx, request)));
    }

    pub fn assert_sound(&mut self) {
        let violations = self.store.read("check", &(), |tx, ()| Box::pin(invariants::check(tx))).unwrap();
        assert_eq!(violations, []);
    }
}
