//! A store of its own for a test, with a company, a clock that only the test moves, and the operations in short.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{Agent, AgentEvent, AgentState, Heartbeat, Limits};
use wakeful_domain::company::{Company, CompanyState, MAX_RUNS_PER_ROOT_HOUR_DEFAULT};
use wakeful_domain::id::{AgentId, CompanyId, Id, IdSource, Kind, TaskId};
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::session::SessionPolicy;
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::tasks::TaskChange;
use wakeful_store::ops::{agents, companies, invariants, tasks};
use wakeful_store::{Db, Location, Refusal, Tx, Value};

use crate::cluster;

/// When every test begins.
pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Runs a test on both engines, each with an empty store, and checks the invariants at its end.
pub fn on_both(test: impl AsyncFn(&World)) {
    let failed: Vec<Engine> = [Engine::Sqlite, Engine::Postgres]
        .into_iter()
        .filter(|engine| catch_unwind(AssertUnwindSafe(|| on(*engine, async |world| test(world).await))).is_err())
        .collect();
    assert!(failed.is_empty(), "failed on {failed:?}; the reasons are above");
}

/// The same on one engine, for what only one of them has.
pub fn on(engine: Engine, test: impl AsyncFn(&World)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::open(engine).await;
        test(&world).await;
        world.assert_sound().await;
        world.close().await;
    });
}

/// A store of its own.
pub struct World {
    pub db: Db,
    pub company: CompanyId,
    pub location: Location,
    pub ids: Mutex<IdSource>,
    now_micros: AtomicI64,
    cluster: Option<(PathBuf, String)>,
    /// Goes with the world.
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn open(engine: Engine) -> World {
        let folder = tempfile::tempdir().unwrap();
        let (location, cluster) = match engine {
            Engine::Sqlite => (Location::File(folder.path().join("store.db")), None),
            Engine::Postgres => {
                let home = cluster::socket().await;
                let name = folder.path().file_name().unwrap().to_str().unwrap();
                let database = format!("t{}", name.trim_start_matches('.').to_lowercase());
                let database = format!("{database}_{}", std::process::id());
                cluster::sql(&home, &format!("create database {database}")).await;
                (Location::Postgres(cluster::address(&home, &database)), Some((home, database)))
            }
        };
        let db = Db::open(&location).await.unwrap();
        let mut ids = IdSource::new(7);
        let company: CompanyId = ids.next(START);
        let world = World {
            db,
            company,
            location,
            ids: Mutex::new(ids),
            now_micros: AtomicI64::new(START.as_micros()),
            cluster,
            _folder: folder,
        };
        world.insert_company(draft_company(company, "acme", 5)).await.unwrap();
        world
    }

    pub async fn close(self) {
        if let Some((home, database)) = &self.cluster {
            cluster::sql(home, &format!("drop database {database} with (force)")).await;
        }
    }

    /// All invariants of the domain hold.
    pub async fn assert_sound(&self) {
        assert_eq!(self.violations().await, Vec::<String>::new());
    }

    pub async fn violations(&self) -> Vec<String> {
        let found = self.db.read("check", (), |tx, ()| Box::pin(invariants::check(tx))).await.unwrap();
        found.iter().map(|violation| format!("{}: {}", violation.invariant.name, violation.subject)).collect()
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now_micros.load(Ordering::SeqCst))
    }

    pub fn pass(&self, duration: Duration) {
        self.now_micros.fetch_add(i64::try_from(duration.as_micros()).unwrap(), Ordering::SeqCst);
    }

    pub fn set_time(&self, at: Timestamp) {
        self.now_micros.store(at.as_micros(), Ordering::SeqCst);
    }

    pub fn id<K: Kind>(&self) -> Id<K> {
        self.ids.lock().unwrap().next(self.now())
    }

    pub async fn insert_company(&self, company: Company) -> Result<(), Refusal> {
        self.db.write("company", company, |tx, company| Box::pin(companies::insert(tx, company))).await
    }

    /// Another company with a cap.
    pub async fn company(&self, slug: &str, cap: i64) -> CompanyId {
        let id = self.id();
        self.insert_company(draft_company(id, slug, cap)).await.unwrap();
        id
    }

    pub fn draft_agent(&self, name: &str) -> Agent {
        Agent {
            id: self.id(),
            company: self.company,
            name: name.into(),
            title: None,
            adapter: object!({ "type": "process" }),
            capabilities: vec![],
            heartbeat: Heartbeat { enabled: true, ..Heartbeat::default() },
            max_concurrent_runs: 1,
            retry: RetryPolicy::default(),
            limits: Limits::default(),
            session: SessionPolicy::default(),
            state: AgentState::Active,
            state_reason: None,
            quota_until: None,
            live_runs: 0,
            created_at: self.now(),
            updated_at: self.now(),
        }
    }

    pub async fn insert_agent(&self, agent: Agent) -> Result<AgentId, Refusal> {
        let id = agent.id;
        self.db.write("agent", agent, |tx, agent| Box::pin(agents::insert(tx, agent))).await?;
        Ok(id)
    }

    /// An active agent that may have one run.
    pub async fn agent(&self, name: &str) -> AgentId {
        self.insert_agent(self.draft_agent(name)).await.unwrap()
    }

    /// An agent with a change to the draft.
    pub async fn agent_with(&self, name: &str, change: impl FnOnce(&mut Agent)) -> AgentId {
        let mut agent = self.draft_agent(name);
        change(&mut agent);
        self.insert_agent(agent).await.unwrap()
    }

    pub fn draft_task(&self, title: &str) -> Task {
        Task::new(self.id(), self.company, title, self.now())
    }

    /// Where a change comes from that a person makes now.
    pub fn origin(&self) -> Origin {
        let id_seed = self.id::<wakeful_domain::id::kind::Event>().uuid().as_u128() as u64;
        Origin { now: self.now(), actor: Actor::user("tester"), by_run: None, id_seed }
    }

    pub async fn insert_task(&self, task: Task) -> TaskId {
        self.make_task(task, &[]).await.unwrap().id
    }

    pub async fn make_task(&self, task: Task, blocked_by: &[TaskId]) -> Result<Task, Refusal> {
        let arguments = (self.origin(), task, blocked_by.to_vec());
        self.db
            .write("task", arguments, |tx, (origin, task, blocked_by)| {
                Box::pin(tasks::insert(tx, origin, task, blocked_by))
            })
            .await
    }

    pub async fn change_task(&self, id: TaskId, change: TaskChange) -> Result<Task, Refusal> {
        let arguments = (self.origin(), id, change);
        self.db
            .write("change", arguments, |tx, (origin, id, change)| Box::pin(tasks::change(tx, origin, *id, change)))
            .await
    }

    pub async fn task(&self, title: &str) -> TaskId {
        self.insert_task(self.draft_task(title)).await
    }

    pub async fn get_agent(&self, id: AgentId) -> Agent {
        self.db.read("agent", id, |tx, id| Box::pin(agents::get(tx, *id))).await.unwrap()
    }

    pub async fn get_company(&self, id: CompanyId) -> Company {
        self.db.read("company", id, |tx, id| Box::pin(companies::get(tx, *id))).await.unwrap()
    }

    pub async fn get_task(&self, id: TaskId) -> Task {
        self.db.read("task", id, |tx, id| Box::pin(tasks::get(tx, *id))).await.unwrap()
    }

    pub async fn agent_event(&self, id: AgentId, event: AgentEvent) -> Result<Agent, Refusal> {
        let arguments = (self.now(), id, event);
        self.db
            .write("agent.state", arguments, |tx, (now, id, event)| {
                Box::pin(agents::set_state(tx, *now, *id, *event, Some("by a test")))
            })
            .await
    }

    pub async fn company_state(&self, id: CompanyId, state: CompanyState) -> Company {
        let arguments = (self.now(), id, state);
        self.db
            .write("company.state", arguments, |tx, (now, id, state)| {
                Box::pin(companies::set_state(tx, *now, *id, *state, None))
            })
            .await
            .unwrap()
    }

    /// Any statement, to make or to look at what no operation does.
    pub async fn sql(&self, statement: &str) -> Result<u64, Refusal> {
        self.db
            .write("sql", statement.to_owned(), |tx: &mut Tx, statement| {
                Box::pin(async move { Ok(tx.execute(statement, &[]).await?) })
            })
            .await
    }

    /// The only number of the only row of a query.
    pub async fn number(&self, query: &str) -> i64 {
        self.db
            .read("number", query.to_owned(), |tx: &mut Tx, query| {
                Box::pin(async move { Ok(tx.query_one(query, &[] as &[Value<'_>]).await?.get::<i64>()?) })
            })
            .await
            .unwrap()
    }
}

pub fn draft_company(id: CompanyId, slug: &str, cap: i64) -> Company {
    Company {
        id,
        slug: slug.into(),
        name: slug.to_uppercase(),
        time_zone: "UTC".into(),
        max_concurrent_runs: cap,
        max_runs_per_root_hour: MAX_RUNS_PER_ROOT_HOUR_DEFAULT,
        state: CompanyState::Active,
        state_reason: None,
        live_runs: 0,
        created_at: START,
        updated_at: START,
    }
}

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The code of a conflict.
#[track_caller]
pub fn conflict<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    match result {
        Err(Refusal::Conflict { code, .. }) => code,
        other => panic!("expected a conflict, found {other:?}"),
    }
}
