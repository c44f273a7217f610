//! How a task stands: who works on it, who waits for it, what it waits for.

use wakeful_domain::agent::Agent;
use wakeful_domain::id::TaskId;
use wakeful_domain::run::Run;
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::{Standing, TaskHolder, Waiting, why_waiting};
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::ops::events::Event;
use wakeful_store::ops::run_lists::{self, RunFilter};
use wakeful_store::ops::{agents, blockers, events, kept_wakes, standing, tasks, wakeups};
use wakeful_store::{Refusal, Tx};

use super::words::{link_of_run, links_of, what_ends};
use super::{Explanation, Link, in_order, waits};
use crate::clock;
use crate::engine::Engine;

/// Runs that are shown.
const RUNS_SHOWN: i64 = 50;

impl Engine {
    /// How a task stands and who worked on it.
    pub async fn why_task(&self, id: TaskId) -> Result<Explanation, Refusal> {
        let facts = self.db().read("why.task", id, |tx, id| Box::pin(facts(tx, *id))).await?;
        let now = clock::now();
        let waiting = facts.pending.as_ref().map(|standing| why_waiting(standing, self.host(), now));
        let chain = links_of(&facts.events).chain(facts.runs.iter().map(link_of_run));
        let chain = chain.chain(facts.waits.0.iter().chain(&facts.waits.1).cloned()).collect();
        Ok(Explanation {
            summary: say(&facts, waiting.as_ref()),
            next: next(&facts, waiting.as_ref(), now),
            chain: in_order(chain),
            waiting,
        })
    }
}

struct Facts {
    task: Task,
    assignee: Option<Agent>,
    holder: Option<TaskHolder>,
    blockers: Vec<Task>,
    /// How the newest wakeup about it that waits stands.
    pending: Option<Standing>,
    runs: Vec<Run>,
    events: Vec<Event>,
    /// What is to be told to whoever is assigned next.
    kept: i64,
    /// What somebody waits for on its lanes, then who waits for something of it.
    waits: (Vec<Link>, Vec<Link>),
}

async fn facts(tx: &mut Tx, id: TaskId) -> Result<Facts, Refusal> {
    let task = tasks::get(tx, id).await?;
    let assignee = match task.assignee {
        Some(agent) => Some(agents::get(tx, agent).await?),
        None => None,
    };
    let mut waits_for = Vec::new();
    for blocker in blockers::open(tx, id).await? {
        waits_for.push(tasks::get(tx, blocker).await?);
    }
    let about = Some(id.to_string());
    let filter = wakeups::WakeupFilter {
        agent: task.assignee,
        task: about.clone(),
        status: Some(WakeupStatus::Pending),
        ..wakeups::WakeupFilter::default()
    };
    let pending = match task.assignee {
        Some(_) => wakeups::list(tx, &filter, None, 1).await?.items.into_iter().next(),
        None => None,
    };
    let pending = match pending {
        Some(wakeup) => Some(standing::of(tx, &wakeup).await?),
        None => None,
    };
    let of_task = RunFilter { company: Some(task.company), task: about, ..RunFilter::default() };
    Ok(Facts {
        holder: standing::holder(tx, id).await?,
        runs: run_lists::list(tx, &of_task, None, RUNS_SHOWN).await?.items,
        events: events::about(tx, &id.to_string()).await?,
        kept: kept_wakes::count(tx, id).await?,
        waits: (waits::of_lanes(tx, id).await?, waits::for_task(tx, &task).await?),
        blockers: waits_for,
        assignee,
        pending,
        task,
    })
}

fn say(facts: &Facts, waiting: Option<&Waiting>) -> String {
    let Facts { task, assignee, holder, .. } = facts;
    let assigned = match assignee {
        Some(agent) => format!("assigned to {}", agent.name),
        None => "assigned to nobody".into(),
    };
    let doing = match (holder, waiting) {
        (Some(holder), _) => format!("{} works on it in {}", holder.agent_name, holder.run),
        (None, Some(waiting)) => format!("no run works on it: {}", waiting.detail),
        (None, None) => "no run works on it".into(),
    };
    format!("{} \"{}\" is {}, {assigned}; {doing}.", task.key, task.title, task.status.in_words())
}

fn next(facts: &Facts, waiting: Option<&Waiting>, now: Timestamp) -> Option<String> {
    let Facts { task, assignee, holder, blockers, pending, .. } = facts;
    if task.status.is_closed() {
        return None;
    }
    if !blockers.is_empty() {
        let named: Vec<String> = blockers
            .iter()
            .map(|task| format!("{} \"{}\" ({})", task.key, task.title, task.status.in_words()))
            .collect();
        return Some(format!(
            "It waits for {}; its assignee is woken when the last of them is done.",
            named.join(", ")
        ));
    }
    if holder.is_some() {
        return Some("It goes on until that run ends.".into());
    }
    if let (None, Some(wait)) = (pending, facts.waits.0.first()) {
        return Some(format!("It goes on when what is waited for happens: {}.", wait.text));
    }
    match (pending, waiting, assignee) {
        (Some(standing), Some(waiting), _) => {
            Some(what_ends(waiting, &standing.agent.name, &standing.company.slug, now))
        }
        (_, _, None) => {
            let kept = match facts.kept {
                0 => String::new(),
                1 => " and told what happened meanwhile (1 wakeup is kept)".into(),
                count => format!(" and told what happened meanwhile ({count} wakeups are kept)"),
            };
            Some(format!("`wakeful task assign {} AGENT` gives it to an agent, which is woken{kept}.", task.key))
        }
        (_, _, Some(agent)) => {
            Some(format!("Nothing wakes anyone about it; `wakeful wake {} --task {}` does.", agent.name, task.key))
        }
    }
}
