//! Why a run started, and how it stands or ended.

use wakeful_domain::agent::Agent;
use wakeful_domain::failure::remedy_for;
use wakeful_domain::id::RunId;
use wakeful_domain::run::Run;
use wakeful_domain::wakeup::{Wakeup, WakeupStatus};
use wakeful_store::ops::run_events::RunEvent;
use wakeful_store::ops::{agents, run_events, runs, wakeups};
use wakeful_store::{Refusal, Tx};

use super::words::{asker, requested, say_run};
use super::{CHAIN_MAX, Explanation, Link, in_order};
use crate::engine::Engine;

/// Requests of a batch that are shown, oldest first; the others are counted.
const REQUESTS_MAX: usize = 50;

impl Engine {
    /// Why a run started and how it stands or ended.
    pub async fn why_run(&self, id: RunId) -> Result<Explanation, Refusal> {
        self.db()
            .read("why.run", id, |tx, id| {
                Box::pin(async move {
                    let run = runs::get(tx, *id).await?;
                    let agent = agents::get(tx, run.agent).await?;
                    let batch = wakeups::of_run(tx, run.id).await?;
                    let told = run_events::course(tx, run.id, CHAIN_MAX as i64).await?;
                    let requests = requests(tx, &agent, &batch).await?;
                    Ok(explain(&run, &agent, &batch, requests, &told))
                })
            })
            .await
    }
}

async fn requests(tx: &mut Tx, agent: &Agent, batch: &[Wakeup]) -> Result<Vec<Link>, Refusal> {
    let mut links = Vec::new();
    for wakeup in batch.iter().take(REQUESTS_MAX) {
        let asker = asker(tx, &wakeup.actor).await?;
        links.push(requested(wakeup, &asker, &agent.name));
    }
    Ok(links)
}

fn explain(run: &Run, agent: &Agent, batch: &[Wakeup], requests: Vec<Link>, told: &[RunEvent]) -> Explanation {
    let mut chain = requests;
    chain.extend(told.iter().map(|event| Link {
        at: event.at,
        kind: event.kind.clone(),
        id: run.id.to_string(),
        text: event.message.clone(),
    }));
    let causes = match batch.len() {
        0 => "no wakeup is left of its batch".to_owned(),
        1 => format!("one wakeup ({})", batch[0].source.as_str()),
        count => format!("{count} wakeups"),
    };
    let remedy = run.error_code.as_deref().and_then(remedy_for).map(|remedy| format!("To mend it, {remedy}."));
    let tried_again: Vec<String> = batch
        .iter()
        .filter(|wakeup| wakeup.status == WakeupStatus::Pending)
        .take(REQUESTS_MAX)
        .map(|wakeup| format!("{} is tried again at {}", wakeup.id, wakeup.due_at))
        .collect();
    let next = match (remedy, tried_again.is_empty()) {
        (Some(remedy), true) => Some(remedy),
        (remedy, false) => {
            Some(format!("{}{}.", remedy.map(|text| format!("{text} ")).unwrap_or_default(), tried_again.join("; ")))
        }
        (None, true) => run.status.is_live().then(|| match run.stop {
            Some(_) => "It ends when every process of it is gone.".into(),
            None => "It goes on until the agent ends, or is stopped.".into(),
        }),
    };
    let summary = format!("{} was started for {causes}; {}.", agent.name, say_run(run).trim_end_matches('.'));
    Explanation { summary, chain: in_order(chain), waiting: None, next }
}
