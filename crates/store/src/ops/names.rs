//! What things are called, many at once: for whoever shows ids to people.

use std::collections::BTreeMap;

use wakeful_domain::id::CompanyId;

use crate::value::json;
use crate::{Refusal, Tx};

const AGENTS: &str = "
    select id, name
    from agents
    where company_id = $1
      and id {in_list}";
const TASKS: &str = "
    select id, key || ' ' || title
    from tasks
    where company_id = $1
      and id {in_list}";
const SCHEDULES: &str = "
    select id, name
    from schedules
    where company_id = $1
      and id {in_list}";
const RUNS: &str = "
    select runs.id, agents.name || coalesce(' ' || tasks.key, '')
    from runs
    join agents on agents.id = runs.agent_id
    left join tasks on tasks.id = runs.task_id
    where runs.company_id = $1
      and runs.id {in_list}";
const WAKEUPS: &str = "
    select wakeups.id, agents.name || coalesce(' ' || tasks.key, '')
    from wakeups
    join agents on agents.id = wakeups.agent_id
    left join tasks on tasks.id = wakeups.task_id
    where wakeups.company_id = $1
      and wakeups.id {in_list}";
const SUBSCRIPTIONS: &str = "
    select subscriptions.id, agents.name || ' on ' || replace(subscriptions.source, ':', ' ')
    from subscriptions
    join agents on agents.id = subscriptions.agent_id
    where subscriptions.company_id = $1
      and subscriptions.id {in_list}";
const GOALS: &str = "
    select id, title
    from goals
    where company_id = $1
      and id {in_list}";
const PROJECTS: &str = "
    select id, name
    from projects
    where company_id = $1
      and id {in_list}";
const CHANNELS: &str = "
    select id, name
    from channels
    where company_id = $1
      and id {in_list}";
/// What has a name, by the beginning of its ids.
const NAMED: &[(&str, &str)] = &[
    ("agt_", AGENTS),
    ("tsk_", TASKS),
    ("sch_", SCHEDULES),
    ("run_", RUNS),
    ("wak_", WAKEUPS),
    ("sub_", SUBSCRIPTIONS),
    ("goal_", GOALS),
    ("prj_", PROJECTS),
    ("chn_", CHANNELS),
];

/// The names of those of these ids that the company has: one statement a kind.
pub async fn of(tx: &mut Tx, company: CompanyId, ids: &[String]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut names = BTreeMap::new();
    for (prefix, sql) in NAMED {
        let of_kind: Vec<&String> = ids.iter().filter(|id| id.starts_with(prefix)).collect();
        if of_kind.is_empty() {
            continue;
        }
        for mut row in tx.query(sql, &[company.into(), json(&of_kind)]).await? {
            names.insert(row.get()?, row.get()?);
        }
    }
    Ok(names)
}
