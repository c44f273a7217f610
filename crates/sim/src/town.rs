//! The companies, agents and tasks of a world, and how they come into being.

use serde_json::json as object;
use wakeful_domain::active_hours::{ActiveHours, ClockTime};
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{Agent, AgentState, Heartbeat, Limits};
use wakeful_domain::company::{Company, CompanyState};
use wakeful_domain::id::{AgentId, CompanyId, RunId, TaskId};
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::run::RunFence;
use wakeful_domain::session::SessionPolicy;
use wakeful_domain::task::{Task, TaskStatus, WakeParent};
use wakeful_domain::time::Timestamp;
use wakeful_store::Commit;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::{agents, companies, tasks};

use crate::deed::Deed;
use crate::invariants::{Broken, OPERATION_WORKS};
use crate::world::{Answer, World};

/// Who and what there is.
#[derive(Debug, Default)]
pub struct Town {
    pub companies: Vec<CompanyId>,
    pub agents: Vec<AgentId>,
    pub tasks: Vec<TaskId>,
}

/// Founds one to three companies, each with a few agents and tasks.
pub fn found(world: &mut World) -> Result<(), Broken> {
    if world.temper.is_hopeless {
        // Few lanes, so that failures meet in one of them.
        let company = company(world, 1)?;
        agent(world, company, 1)?;
        return if world.chance.bool() { task(world, company) } else { Ok(()) };
    }
    for _ in 0..world.chance.usize(1..=3) {
        let cap = world.chance.i64(1..=5);
        let company = company(world, cap)?;
        for _ in 0..world.chance.usize(1..=3) {
            let cap = if world.chance.bool() { 1 } else { world.chance.i64(1..=4) };
            agent(world, company, cap)?;
        }
        for _ in 0..world.chance.usize(0..=3) {
            task(world, company)?;
        }
    }
    Ok(())
}

/// A company with room for `cap` live runs.
pub fn company(world: &mut World, cap: i64) -> Result<CompanyId, Broken> {
    let id = world.id();
    let name = world.name(id);
    let draft = Company {
        id,
        slug: format!("company-{}", world.town.companies.len()),
        name,
        time_zone: "UTC".into(),
        max_concurrent_runs: cap,
        max_runs_per_root_hour: if world.chance.bool() { world.chance.i64(1..=4) } else { 100 },
        state: CompanyState::Active,
        state_reason: None,
        live_runs: 0,
        created_at: world.now,
        updated_at: world.now,
    };
    let made = world.store.write("company", &draft, |tx, draft| Box::pin(companies::insert(tx, draft)), Commit::Kept);
    settle(world, made)?;
    world.town.companies.push(id);
    Ok(id)
}

/// An agent with room for `cap` live runs.
pub fn agent(world: &mut World, company: CompanyId, cap: i64) -> Result<AgentId, Broken> {
    let id = world.id();
    let name = world.name(id);
    let account = if world.chance.bool() { "one" } else { "two" };
    let retry = match world.chance.u32(0..5) {
        _ if world.temper.is_hopeless => RetryPolicy { delays_s: vec![1; 12], jitter: 0.2 },
        0 => RetryPolicy { delays_s: vec![], jitter: 0.0 },
        2 => RetryPolicy { delays_s: vec![1; 8], jitter: 0.2 },
        1 => RetryPolicy { delays_s: vec![5, 20], jitter: 0.5 },
        _ => RetryPolicy::default(),
    };
    let draft = Agent {
        id,
        company,
        name,
        title: None,
        adapter: object!({ "type": "process", "account": account }),
        capabilities: vec![],
        heartbeat: heartbeat(world),
        max_concurrent_runs: cap,
        retry,
        limits: Limits::default(),
        session: SessionPolicy::default(),
        state: if world.chance.u32(0..20) == 0 { AgentState::PendingApproval } else { AgentState::Active },
        state_reason: None,
        quota_until: None,
        live_runs: 0,
        created_at: world.now,
        updated_at: world.now,
    };
    let made = world.store.write("agent", &draft, |tx, draft| Box::pin(agents::insert(tx, draft)), Commit::Kept);
    settle(world, made)?;
    world.town.agents.push(id);
    Ok(id)
}

/// When and by what an agent is woken. A life begins at eight in the morning.
pub fn heartbeat(world: &mut World) -> Heartbeat {
    let clock = |hour: u32| ClockTime::try_from(format!("{hour:02}:00")).ok();
    let (from, to) = (clock(world.chance.u32(6..12)), clock(world.chance.u32(6..14)));
    let hours = from.zip(to).map(|(from, to)| ActiveHours { from, to, days: None });
    Heartbeat {
        enabled: world.chance.u32(0..5) > 0,
        wake_on_demand: world.chance.u32(0..20) > 0,
        active_hours: hours.filter(|_| world.chance.u32(0..4) == 0),
        ..Heartbeat::default()
    }
}

/// A task of a company, for somebody or nobody, waiting for others or not.
pub fn task(world: &mut World, company: CompanyId) -> Result<(), Broken> {
    let id: TaskId = world.id();
    let title = world.name(id);
    let of_company = world.mirror.agents.iter().filter(|(_, agent)| agent.company == company);
    let of_company: Vec<AgentId> = of_company.map(|(id, _)| *id).collect();
    let assignee = if world.chance.bool() { world.one_of(&of_company) } else { None };
    let others = world.town.tasks.clone();
    let blocked_by: Vec<TaskId> = match world.chance.u32(0..3) {
        0 => world.one_of(&others).into_iter().collect(),
        _ => Vec::new(),
    };
    let status = match world.chance.u32(0..4) {
        0 => TaskStatus::Blocked,
        _ => TaskStatus::Todo,
    };
    let parent = if world.chance.bool() { world.one_of(&others) } else { None };
    let wake_parent = match world.chance.u32(0..6) {
        0 => WakeParent::Never,
        1 | 2 => WakeParent::All,
        _ => WakeParent::Each,
    };
    let draft = Task { status, assignee, parent, wake_parent, ..Task::new(id, company, title.clone(), world.now) };
    let origin = origin(world, world.now, None);
    let deed =
        Deed::TaskInsert { origin: origin.clone(), task: Box::new(draft.clone()), blocked_by: blocked_by.clone() };
    let said = |name: Option<String>| name.unwrap_or_else(|| "nobody".into());
    let (whom, blockers) = (said(assignee.map(|id| world.name(id))), blocked_by.len());
    let below = parent.map(|id| format!(", below {} ({wake_parent:?})", world.name(id))).unwrap_or_default();
    let told = format!("somebody makes {title}, {status:?}, for {whom}, {blockers} blockers{below}");
    let answer = world.write(&told, deed, &(origin, draft, blocked_by), |tx, (origin, draft, blocked_by)| {
        Box::pin(tasks::insert(tx, origin, draft, blocked_by))
    })?;
    if !matches!(answer, Answer::Refused(_)) && world.mirror.tasks.contains_key(&id) {
        world.town.tasks.push(id);
    }
    Ok(())
}

/// Somebody's doing at this moment, or a run's.
pub fn origin(world: &mut World, now: Timestamp, by_run: Option<RunId>) -> Origin {
    let by_run = by_run.map(|run| RunFence { run, fence: world.mirror.runs[&run].fence });
    Origin { now, actor: Actor::user("somebody"), by_run, id_seed: world.chance.u64(..) }
}

/// What the founding made is taken as it is.
fn settle<T>(world: &mut World, made: Result<T, wakeful_store::Refusal>) -> Result<(), Broken> {
    made.map_err(|refusal| Broken::new(OPERATION_WORKS, refusal.to_string()))?;
    let looked = world.mirror.look(&mut world.store);
    looked.map_err(|refusal| Broken::new(OPERATION_WORKS, refusal.to_string()))?;
    world.ledger.begin(&world.mirror);
    Ok(())
}
