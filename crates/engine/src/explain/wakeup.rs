//! Why a wakeup waits, or what became of it, with the whole chain of what caused it.

use wakeful_domain::failure::remedy_for;
use wakeful_domain::id::{RunId, WakeupId};
use wakeful_domain::run::Run;
use wakeful_domain::time::{Timestamp, say_duration};
use wakeful_domain::waiting::{Standing, Waiting, why_waiting};
use wakeful_domain::wakeup::{Wakeup, WakeupStatus};
use wakeful_store::ops::events::Event;
use wakeful_store::ops::{agents, events, runs, standing, wakeups};
use wakeful_store::{Refusal, Tx};

use super::words::{asker, first_line, link_of_run, links_of, requested, what_ends, why_cancelled, why_skipped};
use super::{Explanation, Link, in_order};
use crate::clock;
use crate::engine::Engine;

impl Engine {
    /// Why a wakeup waits, or what became of it.
    pub async fn why_wakeup(&self, id: WakeupId) -> Result<Explanation, Refusal> {
        let facts = self.db().read("why.wakeup", id, |tx, id| Box::pin(facts(tx, *id))).await?;
        let now = clock::now();
        let is_pending = facts.wakeup.status == WakeupStatus::Pending;
        let waiting = is_pending.then(|| why_waiting(&facts.standing, self.host(), now));
        let mut chain = facts.causes;
        chain.extend(links_of(&facts.events).filter(|link| link.kind != "wakeup.accepted"));
        chain.extend(facts.runs.iter().filter(|run| run.finished_at.is_some()).map(link_of_run));
        let Standing { agent, company, .. } = &facts.standing;
        Ok(Explanation {
            summary: say(&facts.wakeup, &agent.name, &facts.runs, waiting.as_ref(), now),
            next: next(&facts.wakeup, waiting.as_ref(), &agent.name, &company.slug, now),
            chain: in_order(chain),
            waiting,
        })
    }
}

struct Facts {
    wakeup: Wakeup,
    standing: Standing,
    /// The requests that led here, this wakeup's own included.
    causes: Vec<Link>,
    runs: Vec<Run>,
    events: Vec<Event>,
}

async fn facts(tx: &mut Tx, id: WakeupId) -> Result<Facts, Refusal> {
    let wakeup = wakeups::get(tx, id).await?;
    let mut had_by = Vec::new();
    for run in wakeups::runs_of(tx, id).await? {
        had_by.push(runs::get(tx, run).await?);
    }
    Ok(Facts {
        standing: standing::of(tx, &wakeup).await?,
        causes: causes(tx, &wakeup).await?,
        events: events::about(tx, &id.to_string()).await?,
        runs: had_by,
        wakeup,
    })
}

/// Chains are cut at 32 causes; this is a little more.
const CAUSES_MAX: usize = 40;

/// The request for this wakeup and those that caused it, up to the root.
async fn causes(tx: &mut Tx, wakeup: &Wakeup) -> Result<Vec<Link>, Refusal> {
    let mut links = Vec::new();
    let mut at = Some(wakeup.clone());
    while let Some(wakeup) = at.take().filter(|_| links.len() < CAUSES_MAX) {
        let asker = asker(tx, &wakeup.actor).await?;
        let agent = agents::get(tx, wakeup.agent).await?;
        links.push(requested(&wakeup, &asker, &agent.name));
        at = match wakeup.cause_id.as_deref() {
            None => None,
            Some(cause) => match (cause.parse::<RunId>(), cause.parse::<WakeupId>()) {
                (Ok(run), _) => wakeups::of_run(tx, run).await?.into_iter().find(|wakeup| wakeup.lead),
                (_, Ok(earlier)) => match wakeups::get(tx, earlier).await {
                    // It was old, and is gone: the chain begins after it.
                    Err(Refusal::NotFound { .. }) => None,
                    found => Some(found?),
                },
                (Err(_), Err(_)) => None,
            },
        };
    }
    Ok(links)
}

fn say(wakeup: &Wakeup, name: &str, runs: &[Run], waiting: Option<&Waiting>, now: Timestamp) -> String {
    let last = runs.last();
    let run_id = last.map(|run| run.id.to_string()).unwrap_or_default();
    let error = wakeup.error.as_deref().unwrap_or("no reason was given");
    let reason = wakeup.status_reason.as_deref().unwrap_or_default();
    match wakeup.status {
        WakeupStatus::Pending => match waiting {
            Some(Waiting { detail, until: Some(until), .. }) => {
                format!(
                    "{name} has not started on it yet: {detail}, until {until} (in {}).",
                    say_duration(until.since(now))
                )
            }
            Some(Waiting { detail, until: None, .. }) => format!("{name} has not started on it yet: {detail}."),
            None => format!("{name} has not started on it yet."),
        },
        WakeupStatus::Claimed => format!("{name} is working on it in {run_id}."),
        WakeupStatus::Completed => match last.and_then(|run| run.summary.as_ref()) {
            Some(summary) => format!("{name} completed it in {run_id}: {}", first_line(summary)),
            None => format!("{name} completed it in {run_id}."),
        },
        WakeupStatus::Failed => {
            format!("Given up after {} of {} attempts by {name}: {error}.", wakeup.attempt, wakeup.max_attempts)
        }
        WakeupStatus::Cancelled => format!("Cancelled: {}.", why_cancelled(reason)),
        WakeupStatus::Skipped => format!("Not acted on: {}.", why_skipped(reason)),
        WakeupStatus::Coalesced => {
            let run = wakeup.run.map(|run| run.to_string()).unwrap_or_default();
            match wakeup.count {
                1 => format!("{name} was at work already in {run}, which satisfies a timer."),
                count => format!("{name} was at work already in {run}, which satisfied {count} timers."),
            }
        }
        WakeupStatus::Expired => "It expired before it could start.".into(),
    }
}

fn next(wakeup: &Wakeup, waiting: Option<&Waiting>, agent: &str, company: &str, now: Timestamp) -> Option<String> {
    match wakeup.status {
        WakeupStatus::Pending => waiting.map(|waiting| what_ends(waiting, agent, company, now)),
        WakeupStatus::Claimed => Some("Its fate is decided when the run ends.".into()),
        WakeupStatus::Failed => {
            let remedy = wakeup.error_code.as_deref().and_then(remedy_for);
            let remedy = remedy.map(|remedy| format!("First {remedy}. ")).unwrap_or_default();
            let retry = format!("`wakeful wakeup retry {}` tries it again.", wakeup.id);
            Some(format!("{remedy}Nothing more happens by itself; {retry}"))
        }
        WakeupStatus::Completed
        | WakeupStatus::Cancelled
        | WakeupStatus::Skipped
        | WakeupStatus::Coalesced
        | WakeupStatus::Expired => None,
    }
}
