//! A copy of the store's rows as they were after the last step, kept up to date by what each step touched. Temporary
//! triggers note every touched row, also those that a step changes and changes back: nothing escapes the ledger, and
//! looking costs as much as the step, not as much as the store.

use std::collections::{BTreeMap, BTreeSet};

use wakeful_domain::agent::{AgentState, Heartbeat};
use wakeful_domain::company::CompanyState;
use wakeful_domain::id::{AgentId, CompanyId, MessageId, RunId, SubscriptionId, TaskId, WakeupId};
use wakeful_domain::invariant::Violation;
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::run::{RunStatus, StopRequest};
use wakeful_domain::task::{TaskStatus, WakeParent};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::ops::invariants;
use wakeful_store::{Commit, Direct, Error, Refusal, Row, Tx};

use crate::subscribed::{self, Asked, Matches, Subscribed};

/// An agent and a task, or none.
pub type Lane = (AgentId, Option<TaskId>);

#[derive(Debug, Clone, PartialEq)]
pub struct Wakeup {
    pub company: CompanyId,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub source: Source,
    pub count: i64,
    pub priority: i64,
    pub root: WakeupId,
    pub depth: i64,
    pub requested_at: Timestamp,
    pub due_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub status: WakeupStatus,
    pub status_reason: Option<String>,
    pub run: Option<RunId>,
    pub is_lead: bool,
    pub attempt: i64,
    pub max_attempts: i64,
    pub finished_at: Option<Timestamp>,
    pub rank: i64,
    pub is_eligible: bool,
    pub eligible_at: Timestamp,
}

impl Wakeup {
    pub fn lane(&self) -> Lane {
        (self.agent, self.task)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub company: CompanyId,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub fence: i64,
    pub status: RunStatus,
    /// Whether a stop that was asked for puts the wakeups back.
    pub stop_puts_back: Option<bool>,
    /// Whether its task was given to another agent meanwhile.
    pub is_reassigned: bool,
    pub finished_at: Option<Timestamp>,
}

impl Run {
    pub fn lane(&self) -> Lane {
        (self.agent, self.task)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct LaneRow {
    pub fence: i64,
    pub live_run: Option<RunId>,
    /// Failed runs in a row; the times of the newest.
    pub failures: i64,
    pub failed_at: Vec<Timestamp>,
    pub circuit_opened_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    pub company: CompanyId,
    pub account: String,
    pub heartbeat: Heartbeat,
    pub retry: RetryPolicy,
    pub cap: i64,
    pub state: AgentState,
    pub quota_until: Option<Timestamp>,
    pub live_runs: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Company {
    pub cap: i64,
    pub runs_per_root_hour: i64,
    pub state: CompanyState,
    pub live_runs: i64,
    pub open_subscriptions: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub company: CompanyId,
    pub status: TaskStatus,
    pub assignee: Option<AgentId>,
    pub held_by: Option<RunId>,
    pub parent: Option<TaskId>,
    pub wake_parent: WakeParent,
}

/// A message to an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    pub company: CompanyId,
    pub to: AgentId,
    pub task: Option<TaskId>,
    pub wakeup: Option<WakeupId>,
    pub acked_at: Option<Timestamp>,
    pub acked_by: Option<RunId>,
}

/// All rows.
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    pub wakeups: BTreeMap<WakeupId, Wakeup>,
    pub runs: BTreeMap<RunId, Run>,
    pub lanes: BTreeMap<Lane, LaneRow>,
    pub agents: BTreeMap<AgentId, Agent>,
    pub companies: BTreeMap<CompanyId, Company>,
    pub tasks: BTreeMap<TaskId, Task>,
    /// The tasks that a task waits for.
    pub blockers: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// The wakeups that a run has had.
    pub batches: BTreeMap<RunId, BTreeSet<WakeupId>>,
    pub letters: BTreeMap<MessageId, Letter>,
    pub subscriptions: BTreeMap<SubscriptionId, Subscribed>,
    /// What their windows hold.
    pub matches: BTreeMap<SubscriptionId, Matches>,
    /// What wakeups say of the subscriptions that made them.
    pub asked: BTreeMap<WakeupId, Asked>,
}

/// A touched row, as it was and as it is.
pub type Change<K, V> = (K, Option<V>, Option<V>);

/// What one step touched.
#[derive(Debug, Default)]
pub struct Changes {
    pub wakeups: Vec<Change<WakeupId, Wakeup>>,
    pub runs: Vec<Change<RunId, Run>>,
    pub lanes: Vec<Change<Lane, LaneRow>>,
    pub agents: Vec<Change<AgentId, Agent>>,
    pub companies: Vec<Change<CompanyId, Company>>,
    pub tasks: Vec<Change<TaskId, Task>>,
    pub batches: Vec<(RunId, WakeupId)>,
    /// Tables of which some row was touched.
    pub tables: BTreeSet<String>,
}

/// Tables that the mirror watches, each with the expressions that name a row of it.
const WATCHED: &[(&str, &str, &str)] = &[
    ("wakeups", "id", "''"),
    ("runs", "id", "''"),
    ("lanes", "agent_id", "task_id"),
    ("agents", "id", "''"),
    ("companies", "id", "''"),
    ("tasks", "id", "''"),
    ("batches", "run_id", "wakeup_id"),
    ("messages", "id", "''"),
    ("subscriptions", "id", "''"),
    ("subscription_matches", "subscription_id", "number"),
    ("task_blockers", "task_id", "blocker_id"),
    ("root_runs", "root_id", "run_id"),
    ("escalations", "id", "''"),
    ("comments", "id", "''"),
    ("run_events", "run_id", "''"),
    ("events", "subject", "''"),
    ("sessions", "agent_id", "task_id"),
    ("checkpoints", "run_id", "''"),
];

const MAKE_LOG: &str = "create temp table touched (name text, id text, other text)";

/// Begins to watch the store.
pub async fn watch(tx: &mut Tx) -> Result<(), Refusal> {
    tx.execute(MAKE_LOG, &[]).await?;
    for (table, id, other) in WATCHED {
        for (event, row) in [("insert", "new"), ("update", "new"), ("delete", "old")] {
            let other = if *other == "''" { "''".to_owned() } else { format!("{row}.{other}") };
            let sql = format!(
                "create temp trigger touched_{table}_{event} after {event} on main.{table} begin \
                 insert into touched values ('{table}', {row}.{id}, {other}); end"
            );
            tx.execute(&sql, &[]).await?;
        }
    }
    Ok(())
}

const TOUCHED: &str = "select distinct name, id, other from temp.touched order by name, id, other";
const FORGET: &str = "delete from temp.touched";

/// The rows of one step, and what the store's own invariants say about all of them.
type Seen = (Vec<Touched>, Vec<Violation>);

/// A touched row: its table, its names, itself, and what it says of a subscription if it is a wakeup.
type Touched = (String, String, String, Option<Row>, Option<Asked>);

async fn see(tx: &mut Tx) -> Result<Seen, Refusal> {
    let mut rows = Vec::new();
    for mut touched in tx.query(TOUCHED, &[]).await? {
        let (name, id, other): (String, String, String) = (touched.get()?, touched.get()?, touched.get()?);
        let row = match select_of(&name) {
            None => None,
            Some(sql) if matches!(name.as_str(), "lanes" | "task_blockers" | "subscription_matches") => {
                tx.query_first(sql, &[(&id).into(), (&other).into()]).await?
            }
            Some(sql) => tx.query_first(sql, &[(&id).into()]).await?,
        };
        let asked = match name.as_str() {
            "wakeups" => subscribed::asked(tx, &id).await?,
            _ => None,
        };
        rows.push((name, id, other, row, asked));
    }
    if rows.is_empty() {
        return Ok((rows, Vec::new()));
    }
    tx.execute(FORGET, &[]).await?;
    Ok((rows, invariants::check(tx).await?))
}

fn select_of(table: &str) -> Option<&'static str> {
    Some(match table {
        "wakeups" => {
            "select company_id, agent_id, task_id, source, count, priority, root_id, depth, requested_at, due_at, \
             expires_at, status, status_reason, run_id, lead, attempt, max_attempts, finished_at, rank, \
             eligible, eligible_at from wakeups where id = $1"
        }
        "runs" => {
            "select company_id, agent_id, task_id, fence, status, stop, is_reassigned, finished_at from runs where id = $1"
        }
        "lanes" => {
            "select fence, live_run_id, failures, failed_at, circuit_opened_at from lanes \
             where agent_id = $1 and task_id = $2"
        }
        "messages" => {
            "select company_id, to_agent, task_id, wakeup_id, acked_at, acked_by_run from messages where id = $1"
        }
        "subscriptions" => subscribed::SELECT,
        "subscription_matches" => subscribed::SELECT_MATCH,
        "task_blockers" => "select 1 from task_blockers where task_id = $1 and blocker_id = $2",
        "agents" => {
            "select company_id, adapter_type || '/' || account, heartbeat, retry, max_concurrent_runs, state, \
             quota_until, live_runs from agents where id = $1"
        }
        "companies" => {
            "select max_concurrent_runs, max_runs_per_root_hour, state, live_runs, open_subscriptions \
             from companies where id = $1"
        }
        "tasks" => {
            "select company_id, status, assignee_id, held_by_run, parent_id, wake_parent from tasks where id = $1"
        }
        _ => return None,
    })
}

impl Mirror {
    /// Brings the mirror up to date; tells what changed and which of the store's invariants do not hold.
    pub fn look(&mut self, store: &mut Direct) -> Result<(Changes, Vec<Violation>), Refusal> {
        let (rows, violations) = store.write("sim.see", &(), |tx, ()| Box::pin(see(tx)), Commit::Kept)?;
        let mut changes = Changes::default();
        for (table, id, other, row, asked) in rows {
            if table == "wakeups" {
                subscribed::keep(&mut self.asked, key(&id).map_err(Refusal::Store)?, asked);
            }
            self.take(&table, &id, &other, row, &mut changes).map_err(Refusal::Store)?;
            changes.tables.insert(table);
        }
        Ok((changes, violations))
    }

    fn take(
        &mut self,
        table: &str,
        id: &str,
        other: &str,
        row: Option<Row>,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        match table {
            "wakeups" => put(&mut self.wakeups, &mut changes.wakeups, key(id)?, row.map(wakeup).transpose()?),
            "runs" => put(&mut self.runs, &mut changes.runs, key(id)?, row.map(run).transpose()?),
            "lanes" => {
                let task = if other.is_empty() { None } else { Some(key(other)?) };
                put(&mut self.lanes, &mut changes.lanes, (key(id)?, task), row.map(lane).transpose()?);
            }
            "agents" => put(&mut self.agents, &mut changes.agents, key(id)?, row.map(agent).transpose()?),
            "companies" => put(&mut self.companies, &mut changes.companies, key(id)?, row.map(company).transpose()?),
            "tasks" => put(&mut self.tasks, &mut changes.tasks, key(id)?, row.map(task).transpose()?),
            "messages" => match row {
                Some(row) => drop(self.letters.insert(key(id)?, letter(row)?)),
                None => drop(self.letters.remove(&key(id)?)),
            },
            "subscriptions" => match row {
                Some(row) => drop(self.subscriptions.insert(key(id)?, subscribed::read(row)?)),
                None => drop(self.subscriptions.remove(&key(id)?)),
            },
            "subscription_matches" => {
                let id = key(id)?;
                let matches = self.matches.entry(id).or_default();
                match row {
                    Some(mut row) => drop(matches.insert(key(other)?, row.get()?)),
                    None => drop(matches.remove(&key(other)?)),
                }
                if matches.is_empty() {
                    self.matches.remove(&id);
                }
            }
            "task_blockers" => {
                let blockers = self.blockers.entry(key(id)?).or_default();
                match row {
                    Some(_) => blockers.insert(key(other)?),
                    None => blockers.remove(&key(other)?),
                };
            }
            "batches" => {
                let (run, wakeup) = (key(id)?, key(other)?);
                self.batches.entry(run).or_default().insert(wakeup);
                changes.batches.push((run, wakeup));
            }
            _ => {}
        }
        Ok(())
    }

    /// The live runs there are.
    pub fn live(&self) -> impl Iterator<Item = (&RunId, &Run)> {
        self.runs.iter().filter(|(_, run)| run.status.is_live())
    }

    /// The wakeups that wait.
    pub fn pending(&self) -> impl Iterator<Item = (&WakeupId, &Wakeup)> {
        self.wakeups.iter().filter(|(_, wakeup)| wakeup.status == WakeupStatus::Pending)
    }
}

fn put<K: Ord + Copy, V: Clone>(rows: &mut BTreeMap<K, V>, changes: &mut Vec<Change<K, V>>, key: K, found: Option<V>) {
    let before = match &found {
        Some(row) => rows.insert(key, row.clone()),
        None => rows.remove(&key),
    };
    changes.push((key, before, found));
}

fn key<K: std::str::FromStr>(text: &str) -> Result<K, Error>
where
    K::Err: std::fmt::Display,
{
    text.parse().map_err(|error: K::Err| Error::Column { place: 0, what: error.to_string() })
}

fn wakeup(mut row: Row) -> Result<Wakeup, Error> {
    Ok(Wakeup {
        company: row.get()?,
        agent: row.get()?,
        task: row.task()?,
        source: row.name()?,
        count: row.get()?,
        priority: row.get()?,
        root: row.get()?,
        depth: row.get()?,
        requested_at: row.get()?,
        due_at: row.get()?,
        expires_at: row.get()?,
        status: row.name()?,
        status_reason: row.get()?,
        run: row.get()?,
        is_lead: row.get()?,
        attempt: row.get()?,
        max_attempts: row.get()?,
        finished_at: row.get()?,
        rank: row.get()?,
        is_eligible: row.get()?,
        eligible_at: row.get()?,
    })
}

fn run(mut row: Row) -> Result<Run, Error> {
    Ok(Run {
        company: row.get()?,
        agent: row.get()?,
        task: row.task()?,
        fence: row.get()?,
        status: row.name()?,
        stop_puts_back: row.json_option::<StopRequest>()?.map(|stop| stop.puts_back),
        is_reassigned: row.get()?,
        finished_at: row.get()?,
    })
}

fn lane(mut row: Row) -> Result<LaneRow, Error> {
    Ok(LaneRow {
        fence: row.get()?,
        live_run: row.get()?,
        failures: row.get()?,
        failed_at: row.json()?,
        circuit_opened_at: row.get()?,
    })
}

fn agent(mut row: Row) -> Result<Agent, Error> {
    Ok(Agent {
        company: row.get()?,
        account: row.get()?,
        heartbeat: row.json()?,
        retry: row.json()?,
        cap: row.get()?,
        state: row.name()?,
        quota_until: row.get()?,
        live_runs: row.get()?,
    })
}

fn company(mut row: Row) -> Result<Company, Error> {
    Ok(Company {
        cap: row.get()?,
        runs_per_root_hour: row.get()?,
        state: row.name()?,
        live_runs: row.get()?,
        open_subscriptions: row.get()?,
    })
}

fn letter(mut row: Row) -> Result<Letter, Error> {
    Ok(Letter {
        company: row.get()?,
        to: row.get()?,
        task: row.get()?,
        wakeup: row.get()?,
        acked_at: row.get()?,
        acked_by: row.get()?,
    })
}

fn task(mut row: Row) -> Result<Task, Error> {
    Ok(Task {
        company: row.get()?,
        status: row.name()?,
        assignee: row.get()?,
        held_by: row.get()?,
        parent: row.get()?,
        wake_parent: row.name()?,
    })
}
