//! Why a run started, and how it stands or ended.

use wakeful_domain::agent::Agent;
use wakeful_domain::failure::remedy_for;
use wakeful_domain::id::{RunId, WakeupId};
use wakeful_domain::run::Run;
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::{Standing, Waiting, WaitingReason, why_waiting};
use wakeful_domain::wakeup::{Wakeup, WakeupStatus};
use wakeful_store::ops::run_events::RunEvent;
use wakeful_store::ops::{agents, run_events, runs, standing, wakeups};
use wakeful_store::{Refusal, Tx};

use super::words::{asker, requested, say_run, what_ends};
use super::{CHAIN_MAX, Explanation, Link, in_order};
use crate::clock;
use crate::engine::Engine;

/// Requests of a batch that are shown, oldest first; the others are counted.
const REQUESTS_MAX: usize = 50;
/// Wakeups that wait again and are told of.
const PUT_BACK_MAX: usize = 5;

impl Engine {
    /// Why a run started and how it stands or ended.
    pub async fn why_run(&self, id: RunId) -> Result<Explanation, Refusal> {
        let facts = self.db().read("why.run", id, |tx, id| Box::pin(facts(tx, *id))).await?;
        let now = clock::now();
        let next = next(&facts, |standing| why_waiting(standing, self.host(), now), now);
        Ok(explain(facts, next))
    }
}

struct Facts {
    run: Run,
    agent: Agent,
    batch: Vec<Wakeup>,
    /// Those of the batch that wait again, and how they stand.
    put_back: Vec<(WakeupId, Standing)>,
    requests: Vec<Link>,
    told: Vec<RunEvent>,
}

async fn facts(tx: &mut Tx, id: RunId) -> Result<Facts, Refusal> {
    let run = runs::get(tx, id).await?;
    let agent = agents::get(tx, run.agent).await?;
    let batch = wakeups::of_run(tx, run.id).await?;
    let mut put_back = Vec::new();
    for wakeup in batch.iter().filter(|wakeup| wakeup.status == WakeupStatus::Pending).take(PUT_BACK_MAX) {
        put_back.push((wakeup.id, standing::of(tx, wakeup).await?));
    }
    Ok(Facts {
        told: run_events::course(tx, run.id, CHAIN_MAX as i64).await?,
        requests: requests(tx, &agent, &batch).await?,
        put_back,
        batch,
        agent,
        run,
    })
}

async fn requests(tx: &mut Tx, agent: &Agent, batch: &[Wakeup]) -> Result<Vec<Link>, Refusal> {
    let mut links = Vec::new();
    for wakeup in batch.iter().take(REQUESTS_MAX) {
        let asker = asker(tx, &wakeup.actor).await?;
        links.push(requested(wakeup, &asker, &agent.name));
    }
    Ok(links)
}

fn explain(facts: Facts, next: Option<String>) -> Explanation {
    let Facts { run, agent, batch, requests, told, .. } = facts;
    let mut chain = requests;
    chain.extend(told.iter().map(|event| Link {
        at: event.at,
        kind: event.kind.clone(),
        id: run.id.to_string(),
        text: event.message.clone(),
        status: (event.kind == "finished").then_some(run.status),
    }));
    let causes = match batch.len() {
        0 => "no wakeup is left of its batch".to_owned(),
        1 => format!("one wakeup ({})", batch[0].source.as_str()),
        count => format!("{count} wakeups"),
    };
    let summary = format!("{} was started for {causes}; {}.", agent.name, say_run(&run).trim_end_matches('.'));
    Explanation { summary, chain: in_order(chain), waiting: None, next }
}

/// What mends it, and what its wakeups wait for by now, if they wait again.
fn next(facts: &Facts, waits_for: impl Fn(&Standing) -> Waiting, now: Timestamp) -> Option<String> {
    let Facts { run, agent, put_back, .. } = facts;
    let remedy = run.error_code.as_deref().and_then(remedy_for).map(|remedy| format!("To mend it, {remedy}."));
    let waits = put_back.iter().map(|(id, standing)| {
        let waiting = waits_for(standing);
        match (waiting.reason, waiting.until) {
            (WaitingReason::NotDue, Some(until)) => format!("{id} is tried again at {until}."),
            _ => {
                let ends = what_ends(&waiting, &agent.name, &standing.company.slug, now);
                format!("{id} waits: {}. {ends}", waiting.detail)
            }
        }
    });
    let said: Vec<String> = remedy.into_iter().chain(waits).collect();
    if !said.is_empty() {
        return Some(said.join(" "));
    }
    run.status.is_live().then(|| match run.stop {
        Some(_) => "It ends when every process of it is gone.".into(),
        None => "It goes on until the agent ends, or is stopped.".into(),
    })
}
