//! How an agent stands, what waits for it, and what it did last.

use wakeful_domain::agent::{Agent, AgentState};
use wakeful_domain::id::AgentId;
use wakeful_domain::time::{Timestamp, say_duration};
use wakeful_domain::waiting::{Standing, Waiting, why_waiting};
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::Refusal;
use wakeful_store::ops::run_lists::{self, RunFilter};
use wakeful_store::ops::{agents, events, standing, wakeups};

use super::words::{link_of_run, links_of, what_ends};
use super::{Explanation, in_order, waits};
use crate::clock;
use crate::engine::Engine;

/// Runs that are shown.
const RUNS_SHOWN: i64 = 10;

impl Engine {
    /// How an agent stands and what it did last.
    pub async fn why_agent(&self, id: AgentId) -> Result<Explanation, Refusal> {
        let (agent, pending, last, told, waits) = self
            .db()
            .read("why.agent", id, |tx, id| {
                Box::pin(async move {
                    let agent = agents::get(tx, *id).await?;
                    let filter = wakeups::WakeupFilter {
                        agent: Some(agent.id),
                        status: Some(WakeupStatus::Pending),
                        ..wakeups::WakeupFilter::default()
                    };
                    let pending = wakeups::list(tx, &filter, None, 1).await?.items;
                    let pending = match pending.into_iter().next() {
                        Some(wakeup) => Some(standing::of(tx, &wakeup).await?),
                        None => None,
                    };
                    let of_agent = RunFilter { agent: Some(agent.id), ..RunFilter::default() };
                    let last = run_lists::list(tx, &of_agent, None, RUNS_SHOWN).await?.items;
                    let told = events::about(tx, &agent.id.to_string()).await?;
                    let waits = waits::of_agent(tx, agent.id).await?;
                    Ok((agent, pending, last, told, waits))
                })
            })
            .await?;
        let now = clock::now();
        let waiting = pending.as_ref().map(|standing| why_waiting(standing, self.host(), now));
        let next = next(&agent, pending.as_ref(), waiting.as_ref(), now).or_else(|| {
            waits.first().map(|wait| format!("It is woken when what it waits for happens: {}.", wait.text))
        });
        let chain = links_of(&told).chain(last.iter().map(link_of_run)).chain(waits).collect();
        Ok(Explanation { summary: say(&agent, waiting.as_ref(), now), chain: in_order(chain), next, waiting })
    }
}

fn say(agent: &Agent, waiting: Option<&Waiting>, now: Timestamp) -> String {
    let reason = agent.state_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let doing = match (agent.live_runs, waiting) {
        (0, None) => "nothing is waiting for it".to_owned(),
        (0, Some(waiting)) => format!("its newest wakeup waits: {}", waiting.detail),
        (1, _) => "one run is live".to_owned(),
        (count, _) => format!("{count} runs are live"),
    };
    let parked = match agent.quota_until.filter(|until| *until > now) {
        Some(until) => {
            format!("; a usage limit holds its account until {until} (in {})", say_duration(until.since(now)))
        }
        None => String::new(),
    };
    format!("{} is {}{reason}; {doing}{parked}.", agent.name, agent.state.as_str().replace('_', " "))
}

fn next(agent: &Agent, standing: Option<&Standing>, waiting: Option<&Waiting>, now: Timestamp) -> Option<String> {
    match agent.state {
        AgentState::Active => standing
            .zip(waiting)
            .map(|(standing, waiting)| what_ends(waiting, &agent.name, &standing.company.slug, now)),
        AgentState::Paused => Some(format!("`wakeful agent resume {}` lets it start again.", agent.name)),
        AgentState::PendingApproval => Some("It may be woken once it is approved.".into()),
        AgentState::Terminated => Some("It will never be woken again.".into()),
    }
}
