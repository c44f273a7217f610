//! Who may be woken by what is about to happen: their tasks and agents are locked before, with all else that the
//! operation locks, in the order of `ready`. Whoever subscribes locks the source first ([`super::declare`]), so once
//! the source is locked nobody joins.

use std::collections::BTreeSet;

use wakeful_domain::id::{AgentId, CompanyId, TaskId};
use wakeful_domain::run::Run;
use wakeful_domain::subscription::Source;

use crate::ops::ready;
use crate::{Error, Tx, Value};

/// Whose lanes may be woken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub tasks: BTreeSet<TaskId>,
    pub agents: BTreeSet<AgentId>,
}

impl Waiting {
    /// Whether all of them are among `locked`.
    fn is_within(&self, locked: &Waiting) -> bool {
        self.tasks.is_subset(&locked.tasks) && self.agents.is_subset(&locked.agents)
    }

    /// Their tasks and these.
    pub(crate) fn tasks_with(&self, others: impl IntoIterator<Item = TaskId>) -> Vec<TaskId> {
        self.tasks.iter().copied().chain(others).collect()
    }

    /// Their agents and these.
    pub(crate) fn agents_with(&self, others: impl IntoIterator<Item = AgentId>) -> Vec<AgentId> {
        self.agents.iter().copied().chain(others).collect()
    }

    /// Refuses to go on, to be run again, if somebody has come who is not among those that were locked.
    pub(crate) fn require_all(&self, found: &Waiting) -> Result<(), Error> {
        match found.is_within(self) {
            true => Ok(()),
            false => Err(Error::changed_meanwhile("the subscriptions to what happens")),
        }
    }
}

/// Statements differ in how many values they name; powers of two keep them few.
pub(super) fn padded<T: Clone>(mut values: Vec<T>) -> Vec<T> {
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    values
}

/// `$n, $n+1, …`
pub(super) fn placeholders(from: usize, count: usize) -> String {
    (from..from + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

/// Those of these sources that somebody waits for something of.
pub(super) async fn heard(tx: &mut Tx, company: CompanyId, sources: Vec<Source>) -> Result<Vec<Source>, Error> {
    let names = padded(sources.iter().map(ToString::to_string).collect());
    let sql = format!(
        "select distinct source from subscriptions where company_id = $1 and source in ({}) and ended_at is null",
        placeholders(2, names.len())
    );
    let mut parameters: Vec<Value<'_>> = vec![company.into()];
    parameters.extend(names.iter().map(Value::from));
    let mut found: BTreeSet<String> = BTreeSet::new();
    for mut row in tx.query(&sql, &parameters).await? {
        found.insert(row.get()?);
    }
    Ok(sources.into_iter().filter(|source| found.contains(&source.to_string())).collect())
}

/// Whoever waits for something of one of these sources.
pub(crate) async fn on(tx: &mut Tx, company: CompanyId, sources: &[Source]) -> Result<Waiting, Error> {
    let names = padded(sources.iter().map(ToString::to_string).collect());
    let sql = format!(
        "select distinct agent_id, task_id, source from subscriptions
        where company_id = $1 and source in ({}) and ended_at is null",
        placeholders(2, names.len())
    );
    let mut parameters: Vec<Value<'_>> = vec![company.into()];
    parameters.extend(names.iter().map(Value::from));
    let mut waiting = Waiting::default();
    for mut row in tx.query(&sql, &parameters).await? {
        waiting.agents.insert(row.get()?);
        waiting.tasks.extend(row.task()?);
        // Two who close the last two children at once must not both see the other open.
        if let Ok(Source::Children(parent)) = row.get::<String>()?.parse() {
            waiting.tasks.insert(parent);
        }
    }
    Ok(waiting)
}

const UPWARDS: &str = "
    with recursive upwards (id) as (
      select cast($1 as text)
      union
      select tasks.parent_id
      from tasks
      join upwards on tasks.id = upwards.id
      where tasks.parent_id is not null)
    select company_id, id
    from tasks
    where id in (select id from upwards)";

/// The company of a task, and what something about it comes of: itself, and the children of all above it.
pub(crate) async fn sources_of_task(tx: &mut Tx, task: TaskId) -> Result<Option<(CompanyId, Vec<Source>)>, Error> {
    let mut sources = vec![Source::Task(task)];
    let mut company = None;
    for mut row in tx.query(UPWARDS, &[task.into()]).await? {
        company = Some(row.get()?);
        let above: TaskId = row.get()?;
        if above != task {
            sources.push(Source::Children(above));
        }
    }
    Ok(company.map(|company| (company, sources)))
}

/// What the end of a run comes of.
pub(crate) async fn sources_of_run(tx: &mut Tx, run: &Run) -> Result<Vec<Source>, Error> {
    let mut sources = vec![Source::Run(run.id), Source::Agent(run.agent)];
    if let Some(task) = run.task
        && let Some((_, of_task)) = sources_of_task(tx, task).await?
    {
        sources.extend(of_task);
    }
    Ok(sources)
}

/// Whoever waits for the end of a run.
pub(crate) async fn of_run(tx: &mut Tx, run: &Run) -> Result<Waiting, Error> {
    let sources = sources_of_run(tx, run).await?;
    on(tx, run.company, &sources).await
}

/// Whoever waits for something about a task.
pub(crate) async fn of_task(tx: &mut Tx, task: TaskId) -> Result<Waiting, Error> {
    match sources_of_task(tx, task).await? {
        Some((company, sources)) => on(tx, company, &sources).await,
        None => Ok(Waiting::default()),
    }
}

const COMPANY_OF: &str = "select company_id from agents where id = $1";

/// Whoever waits for something of an agent.
pub(crate) async fn of_agent(tx: &mut Tx, agent: AgentId) -> Result<Waiting, Error> {
    match tx.query_first(COMPANY_OF, &[agent.into()]).await? {
        Some(mut row) => on(tx, row.get()?, &[Source::Agent(agent)]).await,
        None => Ok(Waiting::default()),
    }
}

/// Locks an agent and whoever waits for something of it.
pub(crate) async fn lock_agent(tx: &mut Tx, agent: AgentId) -> Result<(), Error> {
    if tx.is_alone() {
        return Ok(());
    }
    let waiting = of_agent(tx, agent).await?;
    ready::lock(tx, waiting.tasks_with([]), waiting.agents_with([agent])).await?;
    waiting.require_all(&of_agent(tx, agent).await?)
}

const TRY_TASK: &str = "select id from tasks where id = $1 {skip_locked}";
const TRY_AGENT: &str = "select id from agents where id = $1 {skip_locked}";

/// Locks what can be locked at once; false if someone is at one of them.
pub(crate) async fn try_lock(tx: &mut Tx, waiting: &Waiting) -> Result<bool, Error> {
    if tx.is_alone() {
        return Ok(true);
    }
    for task in &waiting.tasks {
        if tx.query_first(TRY_TASK, &[(*task).into()]).await?.is_none() {
            return Ok(false);
        }
    }
    for agent in &waiting.agents {
        if tx.query_first(TRY_AGENT, &[(*agent).into()]).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Locks whoever waits for something about a task, for a claim, which has locked the task and must not wait.
pub(crate) async fn try_lock_of_task(tx: &mut Tx, task: TaskId) -> Result<bool, Error> {
    if tx.is_alone() {
        return Ok(true);
    }
    let waiting = of_task(tx, task).await?;
    try_lock(tx, &waiting).await
}
