//! What a person means by a few letters: agents, schedules, tasks, projects and goals by name, or anything by its id.

use wakeful_domain::id::CompanyId;

use crate::dialect::{beginning, containing};
use crate::ops::names;
use crate::value::json;
use crate::{Refusal, Tx};

/// Results in one answer.
pub const RESULTS_MAX: usize = 20;

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// As `agent` or `run`.
    pub kind: &'static str,
    pub id: String,
    pub name: String,
    /// A title, or a status.
    pub detail: Option<String>,
}

// $2 is the pattern of texts that hold the letters, $3 that of texts that begin with them: those come first.
const AGENTS: &str = "
    select id, name, coalesce(title, state), case when name {ilike} $3 escape '\\' or title {ilike} $3 escape '\\' then 0 else 1 end
    from agents
    where company_id = $1
      and deleted_at is null
      and (name {ilike} $2 escape '\\' or title {ilike} $2 escape '\\')
    order by 4, name
    limit $4";
const SCHEDULES: &str = "
    select id, name, state, case when name {ilike} $3 escape '\\' then 0 else 1 end
    from schedules
    where company_id = $1
      and name {ilike} $2 escape '\\'
    order by 4, name
    limit $4";
// The key of any, the title of the newest.
const TASKS: &str = "
    select id, key || ' ' || title, status, case when key {ilike} $3 escape '\\' or title {ilike} $3 escape '\\' then 0 else 1 end
    from (
      select id, key, title, status
      from tasks
      where company_id = $1
      order by id desc
      limit 10000) as newest
    where key {ilike} $2 escape '\\'
      or title {ilike} $2 escape '\\'
    order by 4, id desc
    limit $4";
const PROJECTS: &str = "
    select id, name, cast(null as text), case when name {ilike} $3 escape '\\' then 0 else 1 end
    from projects
    where company_id = $1
      and name {ilike} $2 escape '\\'
    order by 4, id desc
    limit $4";
const GOALS: &str = "
    select id, title, cast(null as text), case when title {ilike} $3 escape '\\' then 0 else 1 end
    from goals
    where company_id = $1
      and title {ilike} $2 escape '\\'
    order by 4, id desc
    limit $4";
const TASK_OF_KEY: &str = "
    select id, key || ' ' || title, status
    from tasks
    where company_id = $1
      and key = $2";

/// What is searched by name, in the order in which it is shown.
const NAMED: &[(&str, &str)] =
    &[("agent", AGENTS), ("schedule", SCHEDULES), ("task", TASKS), ("project", PROJECTS), ("goal", GOALS)];

/// What begins with the letters, and then what holds them.
pub async fn by_name(tx: &mut Tx, company: CompanyId, letters: &str) -> Result<Vec<Hit>, Refusal> {
    let (mut first, mut then) = (Vec::new(), Vec::new());
    // An old task is found by its key all the same.
    let key = letters.to_uppercase();
    for mut row in tx.query(TASK_OF_KEY, &[company.into(), (&key).into()]).await? {
        first.push(Hit { kind: "task", id: row.get()?, name: row.get()?, detail: row.get()? });
    }
    let most = i64::try_from(RESULTS_MAX).unwrap_or(i64::MAX);
    for (kind, sql) in NAMED {
        let parameters = [company.into(), containing(letters).into(), beginning(letters).into(), most.into()];
        for mut row in tx.query(sql, &parameters).await? {
            let hit = Hit { kind, id: row.get()?, name: row.get()?, detail: row.get()? };
            let begins = row.get::<i64>()? == 0;
            if first.iter().all(|known: &Hit| known.id != hit.id) {
                if begins { first.push(hit) } else { then.push(hit) }
            }
        }
    }
    first.extend(then);
    first.truncate(RESULTS_MAX);
    Ok(first)
}

/// What else has an id: the beginning of the id, its kind, and where its name and status are.
const OF_ID: &[(&str, &str, &str)] = &[
    ("agt_", "agent", "select state from agents where company_id = $1 and id {in_list}"),
    ("tsk_", "task", "select status from tasks where company_id = $1 and id {in_list}"),
    ("sch_", "schedule", "select state from schedules where company_id = $1 and id {in_list}"),
    ("run_", "run", "select status from runs where company_id = $1 and id {in_list}"),
    ("wak_", "wakeup", "select status from wakeups where company_id = $1 and id {in_list}"),
    ("sub_", "subscription", "select end_reason from subscriptions where company_id = $1 and id {in_list}"),
    ("goal_", "goal", "select cast(null as text) from goals where company_id = $1 and id {in_list}"),
    ("prj_", "project", "select cast(null as text) from projects where company_id = $1 and id {in_list}"),
    ("esc_", "escalation", "select title from escalations where company_id = $1 and id {in_list}"),
    ("ntf_", "notification", "select title from notifications where company_id = $1 and id {in_list}"),
    ("msg_", "message", "select subject from messages where company_id = $1 and id {in_list}"),
    ("bud_", "budget", "select scope from budgets where company_id = $1 and id {in_list}"),
];

/// What has exactly this id.
pub async fn by_id(tx: &mut Tx, company: CompanyId, id: &str) -> Result<Option<Hit>, Refusal> {
    let Some((_, kind, sql)) = OF_ID.iter().find(|(prefix, _, _)| id.starts_with(prefix)) else { return Ok(None) };
    let ids = [id.to_owned()];
    let Some(mut row) = tx.query_first(sql, &[company.into(), json(&ids)]).await? else { return Ok(None) };
    let detail: Option<String> = row.get()?;
    let name = names::of(tx, company, &ids).await?.remove(id);
    let (name, detail) = match (name, detail) {
        (Some(name), detail) => (name, detail),
        (None, detail) => (detail.unwrap_or_else(|| id.to_owned()), None),
    };
    Ok(Some(Hit { kind, id: id.to_owned(), name, detail }))
}
