//! What people call by a name or a key, where programs give its id.

use std::collections::BTreeMap;

use wakeful_domain::id::{AgentId, CompanyId, TaskId};
use wakeful_store::ops::{agents, names, tasks};

use crate::parameters::id_in;
use crate::{Api, Problem};

/// The task with this id or key, as `T-7`.
pub async fn task_of(api: &Api, company: CompanyId, field: &str, text: String) -> Result<TaskId, Problem> {
    if text.starts_with("tsk_") {
        return id_in(field, &text);
    }
    let filter = tasks::TaskFilter { company: Some(company), key: Some(text.clone()), ..tasks::TaskFilter::default() };
    let page =
        api.engine.db().read("task.by_key", filter, |tx, filter| Box::pin(tasks::list(tx, filter, None, 1))).await?;
    let found = page.items.first().map(|task| task.id);
    found.ok_or_else(|| Problem::invalid(field, format!("there is no task `{text}` in this company")))
}

/// The same, if one is named.
pub async fn task_of_option(
    api: &Api,
    company: CompanyId,
    field: &str,
    text: Option<String>,
) -> Result<Option<TaskId>, Problem> {
    match text {
        Some(text) => Ok(Some(task_of(api, company, field, text).await?)),
        None => Ok(None),
    }
}

/// Refuses ids, each with its field, of what is not the company's.
pub async fn check_own(api: &Api, company: CompanyId, named: Vec<(String, String)>) -> Result<(), Problem> {
    let ids: Vec<String> = named.iter().map(|(_, id)| id.clone()).collect();
    let read =
        api.engine.db().read("name.list", (company, ids), |tx, (company, ids)| Box::pin(names::of(tx, *company, ids)));
    let own = if named.is_empty() { BTreeMap::new() } else { read.await? };
    match named.into_iter().find(|(_, id)| !own.contains_key(id)) {
        Some((field, id)) => Err(Problem::invalid(&field, format!("there is no `{id}` in this company"))),
        None => Ok(()),
    }
}

/// The agent with this id or name.
pub async fn agent_of(api: &Api, company: CompanyId, field: &str, text: String) -> Result<AgentId, Problem> {
    if text.starts_with("agt_") {
        return id_in(field, &text);
    }
    let found = api
        .engine
        .db()
        .read("agent.by_name", (company, text.clone()), |tx, (company, name)| {
            Box::pin(async move { Ok(agents::by_name(tx, *company, name).await?) })
        })
        .await?;
    let found = found.map(|agent| agent.id);
    found.ok_or_else(|| Problem::invalid(field, format!("there is no agent `{text}` in this company")))
}
