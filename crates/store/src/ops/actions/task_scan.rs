//! `task-scan`: open tasks that nobody has and that the agent could do. Each is told once.

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::id::TaskId;
use wakeful_domain::notification::Level;
use wakeful_domain::schedule::{Action, Scan, SlotStatus};

use super::{notice, reported, tell};
use crate::ops::agents;
use crate::ops::fires::{Moment, Wanted, wake_of_its_own};
use crate::ops::slots::Fate;
use crate::{Error, Refusal, Tx};

/// New tasks in one scan; the rest is found by the next.
const TASKS_MAX: usize = 1_000;
/// Tasks that are named to people and to the agent; of more, only how many.
const NAMED_MAX: usize = 50;

struct Found {
    id: TaskId,
    key: String,
    title: String,
    reward: Option<i64>,
}

/// Tasks that are open, that nobody has, that pay enough and that were not told yet.
const FREE: &str = "
    select id, key, title, labels, reward
    from tasks
    where company_id = $1
      and assignee_id is null
      and status = 'todo'
      and coalesce(reward, 0) >= $2
      and not exists (
        select 1
        from reported
        where reported.schedule_id = $3
          and reported.key = tasks.id)
    order by id";

pub(super) async fn carry_out(tx: &mut Tx, moment: &Moment<'_>, action: &Action, scan: &Scan) -> Result<Fate, Refusal> {
    let schedule = moment.schedule;
    let capabilities = match (&scan.capabilities, action.agent) {
        (Some(capabilities), _) => capabilities.clone(),
        (None, Some(agent)) => agents::get(tx, agent).await?.capabilities,
        (None, None) => Vec::new(),
    };
    forget_closed(tx, moment).await?;
    let found = free(tx, moment, scan, &capabilities).await?;
    if found.is_empty() {
        return Ok(super::quiet());
    }
    for task in &found {
        reported::keep(tx, moment.now, schedule.id, &task.id.to_string()).await?;
    }
    let says = format!("Found {} new tasks matching your capabilities", found.len());
    let named = found.iter().take(NAMED_MAX);
    let lines = named.clone().map(|task| format!("\n- {} {}", task.key, task.title));
    let text = std::iter::once(says.clone()).chain(lines).collect::<String>();
    let tasks: Vec<Json> = named
        .map(|task| object!({ "id": task.id, "key": task.key, "title": task.title, "reward": task.reward }))
        .collect();
    let payload = Map::from_iter([("count".into(), object!(found.len())), ("tasks".into(), tasks.into())]);
    let told = notice(schedule, Level::Info, text, Json::Object(payload.clone()));
    let answer = object!({ "action": tell(tx, moment, told, true).await? });
    let fate = match action.agent.filter(|_| scan.wake) {
        None => Fate::of(SlotStatus::Fired),
        Some(agent) => {
            let wanted = Wanted { agent, reason: says, priority: None, payload, model: None };
            wake_of_its_own(tx, moment, &wanted).await?
        }
    };
    Ok(Fate { answer: Some(answer), ..fate })
}

async fn free(tx: &mut Tx, moment: &Moment<'_>, scan: &Scan, capabilities: &[String]) -> Result<Vec<Found>, Error> {
    let parameters = [moment.schedule.company.into(), scan.min_reward.into(), moment.schedule.id.into()];
    let mut found = Vec::new();
    for mut row in tx.query(FREE, &parameters).await? {
        let (id, key, title) = (row.get()?, row.get()?, row.get()?);
        let labels: Vec<String> = row.json()?;
        // What a task asks for stands in its labels: the agent must be able to do all of it.
        if labels.iter().all(|label| capabilities.contains(label)) && found.len() < TASKS_MAX {
            found.push(Found { id, key, title, reward: row.get()? });
        }
    }
    Ok(found)
}

const FORGET_CLOSED: &str = "
    delete from reported
    where schedule_id = $1
      and exists (
        select 1
        from tasks
        where tasks.id = reported.key
          and tasks.closed_at is not null)";

/// A task that is closed is told of no more, and need not be remembered.
async fn forget_closed(tx: &mut Tx, moment: &Moment<'_>) -> Result<(), Error> {
    tx.execute(FORGET_CLOSED, &[moment.schedule.id.into()]).await.map(|_| ())
}
