//! A store with a company, agents and lanes in it, filled by plain SQL as far as millions of rows go.

use anyhow::Result;
use serde_json::{Map, json};
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{Agent, AgentState, Heartbeat, Limits, MAX_CONCURRENT_RUNS_MAX};
use wakeful_domain::company::{
    Company, CompanyState, MAX_CONCURRENT_RUNS_MAX as COMPANY_RUNS_MAX, MAX_RUNS_PER_ROOT_HOUR_DEFAULT,
};
use wakeful_domain::id::{AgentId, CompanyId, IdSource, TaskId};
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::session::SessionPolicy;
use wakeful_domain::wakeup::Source;
use wakeful_engine::clock;
use wakeful_store::ops::wake::{Maker, Wake};
use wakeful_store::ops::{agents, companies};
use wakeful_store::{Db, Refusal, Tx, Value};

/// Agents of the fleet; tasks are spread over them.
pub const AGENTS: i64 = 100;
/// Ids made by SQL: this, then 19 digits.
const SERIAL: &str = "0000001";
const SERIAL_BASE: i64 = 1_000_000_000_000_000_000;

/// A company with its agents.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub db: Db,
    pub company: CompanyId,
}

/// The agent with this number.
pub fn agent(number: i64) -> Result<AgentId> {
    Ok(format!("agt_{SERIAL}{}", SERIAL_BASE + number % AGENTS).parse()?)
}

/// The task with this number.
pub fn task(number: i64) -> Result<TaskId> {
    Ok(format!("tsk_{SERIAL}{}", SERIAL_BASE + number).parse()?)
}

/// A wake as the benchmark sends it: a payload of about a hundred bytes.
pub fn wake(ids: &mut IdSource, agent: AgentId, task: Option<TaskId>) -> Wake {
    let now = clock::now();
    Wake {
        id: ids.next(now),
        company: None,
        agent,
        task,
        source: Source::Manual,
        trigger_detail: None,
        reason: Some("a wake of the benchmark".into()),
        priority: None,
        payload: Map::from_iter([("text".to_owned(), json!("x".repeat(100)))]),
        context: Map::new(),
        actor: Actor::user("bench"),
        idempotency_key: None,
        request_hash: None,
        now,
        due_at: None,
        expires_at: None,
        max_attempts: None,
        by_run: None,
        maker: Maker::Request,
    }
}

impl Fleet {
    /// A company and its agents in an empty store.
    pub async fn make(db: Db) -> Result<Fleet> {
        let now = clock::now();
        let company = Company {
            id: IdSource::new(1).next(now),
            slug: "bench".into(),
            name: "Bench".into(),
            time_zone: "UTC".into(),
            max_concurrent_runs: COMPANY_RUNS_MAX,
            max_runs_per_root_hour: MAX_RUNS_PER_ROOT_HOUR_DEFAULT,
            state: CompanyState::Active,
            state_reason: None,
            live_runs: 0,
            created_at: now,
            updated_at: now,
        };
        let id = company.id;
        let fleet = (0..AGENTS).map(|number| draft(id, number)).collect::<Result<Vec<_>>>()?;
        db.write("fleet", (company, fleet), |tx, (company, fleet)| {
            Box::pin(async move {
                companies::insert(tx, company).await?;
                for agent in fleet {
                    agents::insert(tx, agent).await?;
                }
                Ok(())
            })
        })
        .await?;
        Ok(Fleet { db, company: id })
    }

    /// Adds tasks, each with its lane.
    pub async fn add_lanes(&self, count: i64) -> Result<()> {
        self.fill("lanes", count, &[TASKS, LANES]).await
    }

    /// Adds a waiting wakeup to each of the lanes.
    pub async fn add_waiting(&self, count: i64) -> Result<()> {
        self.add_lanes(count).await?;
        self.fill("waiting", count, &[WAITING, LANES_READY, AGENTS_READY, COMPANY_READY]).await
    }

    /// Adds finished wakeups and runs to the agents' own lanes.
    pub async fn add_finished(&self, count: i64) -> Result<()> {
        self.fill("finished", count, &[FINISHED_WAKEUPS, FINISHED_RUNS]).await
    }

    /// Adds schedules that have nothing to do for a month.
    pub async fn add_schedules(&self, count: i64) -> Result<()> {
        self.fill("schedules", count, &[SCHEDULES]).await
    }

    /// Adds subscriptions to topics of their own, or to one with filters that let nothing through.
    pub async fn add_subscriptions(&self, count: i64, is_on_one_topic: bool) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        match is_on_one_topic {
            true => self.fill("subscriptions", count, &[SUBSCRIPTIONS_HERE]).await,
            false => self.fill("subscriptions", count, &[SUBSCRIPTIONS_ELSEWHERE]).await,
        }
    }

    async fn fill(&self, name: &'static str, count: i64, statements: &'static [&'static str]) -> Result<()> {
        let arguments = (self.company, count, clock::now().as_micros(), statements);
        self.db
            .write(name, arguments, |tx, (company, count, now, statements)| {
                Box::pin(async move {
                    for statement in *statements {
                        run(tx, statement, *company, *count, *now).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        if self.db.engine_name() == "postgres" {
            // What autovacuum would do some time later.
            self.db
                .write("analyze", (), |tx, ()| {
                    Box::pin(async move { Ok(tx.execute("analyze", &[]).await.map(|_| ())?) })
                })
                .await?;
        }
        Ok(())
    }
}

async fn run(tx: &mut Tx, statement: &str, company: CompanyId, count: i64, now: i64) -> Result<(), Refusal> {
    let sql = statement
        .replace(
            "{n}",
            "with recursive n (i) as (select cast(0 as bigint) union all select i + 1 from n where i + 1 < $2)",
        )
        .replace("{agent}", &format!("'agt_{SERIAL}' || cast({SERIAL_BASE} + i % {AGENTS} as text)"))
        .replace("{task}", &format!("'tsk_{SERIAL}' || cast({SERIAL_BASE} + i as text)"))
        .replace("{serial}", &format!("'{SERIAL}' || cast({SERIAL_BASE} + i as text)"));
    // Every statement names all three, so that one list of parameters serves them all.
    let parameters: [Value<'_>; 3] = [company.into(), count.into(), now.into()];
    tx.execute(&sql, &parameters).await?;
    Ok(())
}

const TASKS: &str = "
    insert into tasks (id, company_id, key, title, status, created_at, updated_at)
    {n}
    select {task}, $1, 'B-' || cast(i as text), 'bench', 'todo', cast($3 as bigint), cast($3 as bigint) from n";
const LANES: &str = "
    insert into lanes (agent_id, task_id, company_id, fence)
    {n}
    select {agent}, {task}, $1, cast($3 as bigint) * 0 from n";
const WAITING: &str = "
    insert into wakeups (id, company_id, agent_id, task_id, source, count, priority, payload, context, actor_type,
      actor_id, root_id, depth, requested_at, due_at, status, max_attempts, rank, eligible, eligible_at)
    {n}
    select 'wak_' || {serial}, $1, {agent}, {task}, 'manual', 1, 80, '{\"text\":\"waiting\"}', '{}', 'user',
      'bench', 'wak_' || {serial}, 0, cast($3 as bigint), cast($3 as bigint), 'pending', 5,
      cast($3 as bigint) + 720000000 + i, 1, cast($3 as bigint)
    from n";
const LANES_READY: &str = "
    update lanes
    set ready_rank = (
      select rank from wakeups
      where wakeups.agent_id = lanes.agent_id and wakeups.task_id = lanes.task_id and wakeups.status = 'pending'
        and wakeups.eligible = 1)
    where company_id = $1 and cast($2 as bigint) > 0 and cast($3 as bigint) > 0";
const AGENTS_READY: &str = "
    update agents
    set ready_rank = (select min(ready_rank) from lanes where lanes.agent_id = agents.id)
    where company_id = $1 and cast($2 as bigint) > 0 and cast($3 as bigint) > 0";
const COMPANY_READY: &str = "
    update companies
    set ready_rank = (select min(ready_rank) from agents where agents.company_id = companies.id)
    where id = $1 and cast($2 as bigint) > 0 and cast($3 as bigint) > 0";
const FINISHED_WAKEUPS: &str = "
    insert into wakeups (id, company_id, agent_id, task_id, source, count, priority, payload, context, actor_type,
      actor_id, root_id, depth, requested_at, due_at, status, max_attempts, rank, eligible, eligible_at, finished_at)
    {n}
    select 'wak_1' || substr({serial}, 2), $1, {agent}, '', 'manual', 1, 80, '{\"text\":\"finished\"}', '{}', 'user',
      'bench', 'wak_1' || substr({serial}, 2), 0, cast($3 as bigint), cast($3 as bigint), 'completed', 5,
      cast($3 as bigint), 1, cast($3 as bigint), cast($3 as bigint)
    from n";
const FINISHED_RUNS: &str = "
    insert into runs (id, company_id, agent_id, task_id, adapter, fence, status, created_at, finished_at)
    {n}
    select 'run_' || {serial}, $1, {agent}, '', 'process', i, 'succeeded', cast($3 as bigint), cast($3 as bigint)
    from n";
const SCHEDULES: &str = "
    insert into schedules (id, company_id, name, trigger_json, target, agent_id, jitter_ms, overlap, catch_up, fires,
      state, next_slot_at, due_at, created_at, updated_at)
    {n}
    select 'sch_' || {serial}, $1, 'asleep ' || cast(i as text), '{\"every\":\"30d\"}',
      '{\"wake\":{\"agent\":\"' || {agent} || '\"}}', {agent}, 0, 'coalesce', 'latest', 0, 'active',
      cast($3 as bigint) + 2592000000000 + i, cast($3 as bigint) + 2592000000000 + i, cast($3 as bigint),
      cast($3 as bigint)
    from n";
const SUBSCRIPTIONS_ELSEWHERE: &str = "
    insert into subscriptions (id, company_id, agent_id, task_id, source, events, filter, filter_hash, once,
      include_result, payload, created_by_type, created_by_id, matches, wakeups, window_bytes, created_at, updated_at)
    {n}
    select 'sub_' || {serial}, $1, {agent}, '', 'topic:other-' || cast(i as text), '[\"topic.published\"]', '{}', 0, 0,
      1, '{}', 'user', 'bench', 0, 0, 0, cast($3 as bigint), cast($3 as bigint)
    from n";
const SUBSCRIPTIONS_HERE: &str = "
    insert into subscriptions (id, company_id, agent_id, task_id, source, events, filter, filter_hash, once,
      include_result, payload, created_by_type, created_by_id, matches, wakeups, window_bytes, created_at, updated_at)
    {n}
    select 'sub_' || {serial}, $1, {agent}, '', 'topic:news', '[\"topic.published\"]',
      '{\"to\":\"' || cast(i as text) || '\"}', i + 1, 0, 1, '{}', 'user', 'bench', 0, 0, 0, cast($3 as bigint),
      cast($3 as bigint)
    from n";

fn draft(company: CompanyId, number: i64) -> Result<Agent> {
    let now = clock::now();
    Ok(Agent {
        id: agent(number)?,
        company,
        name: format!("agent-{number}"),
        title: None,
        adapter: json!({ "type": "process", "command": ["/bin/true"] }),
        capabilities: vec![],
        heartbeat: Heartbeat::default(),
        max_concurrent_runs: MAX_CONCURRENT_RUNS_MAX,
        retry: RetryPolicy::default(),
        limits: Limits::default(),
        session: SessionPolicy::default(),
        state: AgentState::Active,
        state_reason: None,
        quota_until: None,
        live_runs: 0,
        created_at: now,
        updated_at: now,
    })
}
