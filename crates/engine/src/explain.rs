//! `why`: one sentence, the chain of causes, what it waits for and what happens next. Reads the
//! rows and events there are; nothing is kept for it.

use serde::Serialize;
use serde_json::Value as Json;
use wakeful_domain::agent::{Agent, AgentState};
use wakeful_domain::failure::remedy_for;
use wakeful_domain::id::{AgentId, RunId, TaskId, WakeupId};
use wakeful_domain::run::{Run, RunStatus};
use wakeful_domain::time::{Timestamp, say_duration};
use wakeful_domain::waiting::{Waiting, why_waiting};
use wakeful_domain::wakeup::{Wakeup, WakeupStatus};
use wakeful_store::ops::events::Event;
use wakeful_store::ops::run_events::RunEvent;
use wakeful_store::ops::{agents, events, run_events, runs, standing, tasks, wakeups};
use wakeful_store::{Refusal, Tx};

use crate::clock;
use crate::engine::Engine;

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// One sentence.
    pub summary: String,
    /// What led here, oldest first.
    pub chain: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// What happens next, where something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One step of the chain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Link {
    pub at: Timestamp,
    pub kind: String,
    pub id: String,
    pub text: String,
}

/// Links shown at most; the newest are kept.
const CHAIN_MAX: usize = 200;

impl Engine {
    /// Why a wakeup waits, or what became of it.
    pub async fn why_wakeup(&self, id: WakeupId) -> Result<Explanation, Refusal> {
        let facts = self.db().read("why.wakeup", id, |tx, id| Box::pin(wakeup_facts(tx, *id))).await?;
        let host = self.host();
        let now = clock::now();
        let waiting = (facts.wakeup.status == WakeupStatus::Pending).then(|| why_waiting(&facts.standing, host, now));
        Ok(Explanation {
            summary: say_wakeup(&facts.wakeup, &facts.standing.agent.name, &facts.runs, waiting.as_ref(), now),
            next: next_of_wakeup(&facts.wakeup, waiting.as_ref()),
            chain: chain_of_wakeup(&facts.wakeup, &facts.standing.agent.name, &facts.runs, &facts.events),
            waiting,
        })
    }

    /// Why a run started and how it stands or ended.
    pub async fn why_run(&self, id: RunId) -> Result<Explanation, Refusal> {
        self.db()
            .read("why.run", id, |tx, id| {
                Box::pin(async move {
                    let run = runs::get(tx, *id).await?;
                    let agent = agents::get(tx, run.agent).await?;
                    let batch = wakeups::of_run(tx, run.id).await?;
                    let told = run_events::after(tx, run.id, 0, CHAIN_MAX as i64).await?;
                    Ok(explain_run(&run, &agent, &batch, &told))
                })
            })
            .await
    }

    /// How an agent stands and what it did last.
    pub async fn why_agent(&self, id: AgentId) -> Result<Explanation, Refusal> {
        let (agent, pending, last, told) = self
            .db()
            .read("why.agent", id, |tx, id| {
                Box::pin(async move {
                    let agent = agents::get(tx, *id).await?;
                    let filter = |status| wakeups::WakeupFilter {
                        agent: Some(agent.id),
                        status: Some(status),
                        ..wakeups::WakeupFilter::default()
                    };
                    let pending = wakeups::list(tx, &filter(WakeupStatus::Pending), None, 1).await?.items;
                    let pending = match pending.into_iter().next() {
                        Some(wakeup) => Some(standing::of(tx, &wakeup).await?),
                        None => None,
                    };
                    let of_agent = runs::RunFilter { agent: Some(agent.id), ..runs::RunFilter::default() };
                    let last = runs::list(tx, &of_agent, None, 10).await?.items;
                    let told = events::about(tx, &agent.id.to_string()).await?;
                    Ok((agent, pending, last, told))
                })
            })
            .await?;
        let waiting = pending.map(|standing| why_waiting(&standing, self.host(), clock::now()));
        Ok(explain_agent(&agent, waiting, &last, &told))
    }

    /// How a task stands and who worked on it.
    pub async fn why_task(&self, id: TaskId) -> Result<Explanation, Refusal> {
        self.db()
            .read("why.task", id, |tx, id| {
                Box::pin(async move {
                    let task = tasks::get(tx, *id).await?;
                    let filter = runs::RunFilter { task: Some(task.id.to_string()), ..runs::RunFilter::default() };
                    let worked = runs::list(tx, &filter, None, 50).await?.items;
                    let mut chain: Vec<Link> = worked.iter().rev().map(link_of_run).collect();
                    for event in events::about(tx, &task.id.to_string()).await? {
                        chain.push(Link { at: event.at, text: say_event(&event), kind: event.kind, id: event.subject });
                    }
                    chain.sort_by_key(|link| link.at);
                    let held = match task.held_by {
                        Some(run) => format!("it is held by {run}"),
                        None => "no run works on it".into(),
                    };
                    let summary = format!("{} \"{}\" is {}; {held}.", task.key, task.title, task.status.in_words());
                    Ok(Explanation { summary, chain, waiting: None, next: None })
                })
            })
            .await
    }
}

struct WakeupFacts {
    wakeup: Wakeup,
    standing: wakeful_domain::waiting::Standing,
    runs: Vec<Run>,
    events: Vec<Event>,
}

async fn wakeup_facts(tx: &mut Tx, id: WakeupId) -> Result<WakeupFacts, Refusal> {
    let wakeup = wakeups::get(tx, id).await?;
    let mut had_by = Vec::new();
    for run in wakeups::runs_of(tx, id).await? {
        had_by.push(runs::get(tx, run).await?);
    }
    let told = events::about(tx, &id.to_string()).await?;
    Ok(WakeupFacts { standing: standing::of(tx, &wakeup).await?, wakeup, runs: had_by, events: told })
}

fn say_wakeup(wakeup: &Wakeup, name: &str, runs: &[Run], waiting: Option<&Waiting>, now: Timestamp) -> String {
    let last = runs.last();
    let run_id = last.map(|run| run.id.to_string()).unwrap_or_default();
    let error = wakeup.error.as_deref().unwrap_or("no reason was given");
    match wakeup.status {
        WakeupStatus::Pending => match waiting {
            Some(waiting) => match waiting.until {
                Some(until) => {
                    format!(
                        "{name} has not started on it yet: {}, until {until} (in {}).",
                        waiting.detail,
                        say_duration(until.since(now))
                    )
                }
                None => format!("{name} has not started on it yet: {}.", waiting.detail),
            },
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
        WakeupStatus::Cancelled => {
            format!("Cancelled: {}.", why_cancelled(wakeup.status_reason.as_deref().unwrap_or_default()))
        }
        WakeupStatus::Skipped => {
            format!("Not acted on: {}.", wakeup.status_reason.as_deref().unwrap_or("by policy").replace('_', " "))
        }
        WakeupStatus::Coalesced => {
            format!(
                "{name} was at work already, which satisfies a timer; {} holds it.",
                wakeup.run.map(|run| run.to_string()).unwrap_or_default()
            )
        }
        WakeupStatus::Expired => "It expired before it could start.".into(),
    }
}

fn next_of_wakeup(wakeup: &Wakeup, waiting: Option<&Waiting>) -> Option<String> {
    match wakeup.status {
        WakeupStatus::Pending => Some(match waiting.and_then(|waiting| waiting.until) {
            Some(until) => format!("It becomes ready at {until} and starts then, as soon as there is room."),
            None => "It starts as soon as that no longer holds.".into(),
        }),
        WakeupStatus::Claimed => Some("Its fate is decided when the run ends.".into()),
        WakeupStatus::Failed => {
            let remedy = wakeup
                .error_code
                .as_deref()
                .and_then(remedy_for)
                .map(|remedy| format!("First {remedy}. "))
                .unwrap_or_default();
            Some(format!(
                "{remedy}Nothing more happens by itself; `wakeful wakeup retry {}` tries it again.",
                wakeup.id
            ))
        }
        WakeupStatus::Completed
        | WakeupStatus::Cancelled
        | WakeupStatus::Skipped
        | WakeupStatus::Coalesced
        | WakeupStatus::Expired => None,
    }
}

fn chain_of_wakeup(wakeup: &Wakeup, agent: &str, runs: &[Run], told: &[Event]) -> Vec<Link> {
    let mut chain = Vec::new();
    if let Some(cause) = &wakeup.cause_id {
        let text = format!("caused by {cause}");
        chain.push(Link { at: wakeup.requested_at, kind: "cause".into(), id: cause.clone(), text });
    }
    let reason = wakeup.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    chain.push(Link {
        at: wakeup.requested_at,
        kind: "requested".into(),
        id: wakeup.id.to_string(),
        text: format!("{} asked {} to wake ({}{reason})", wakeup.actor.id, agent, wakeup.source.as_str()),
    });
    for event in told.iter().filter(|event| event.kind != "wakeup.accepted") {
        chain.push(Link { at: event.at, kind: event.kind.clone(), id: event.subject.clone(), text: say_event(event) });
    }
    chain.extend(runs.iter().filter(|run| run.finished_at.is_some()).map(link_of_run));
    chain.sort_by_key(|link| link.at);
    keep_newest(chain)
}

fn keep_newest(mut chain: Vec<Link>) -> Vec<Link> {
    let surplus = chain.len().saturating_sub(CHAIN_MAX);
    chain.drain(..surplus);
    chain
}

fn say_event(event: &Event) -> String {
    let text = |key: &str| event.data.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let words = |key: &str| text(key).replace('_', " ");
    match event.kind.as_str() {
        "wakeup.claimed" => format!("taken by {}", text("run")),
        "wakeup.completed" => format!("completed by {}", text("run")),
        "wakeup.retry_scheduled" => match text("error_code").as_str() {
            "" => format!("put back, due {}", text("due_at")),
            code => format!("{} ended with {code}; tried again at {}", text("run"), text("due_at")),
        },
        "wakeup.failed" => format!("given up after {} ended with {}", text("run"), text("error_code")),
        "wakeup.cancelled" => format!("cancelled: {}", why_cancelled(&text("reason"))),
        "wakeup.skipped" => format!("skipped: {}", words("reason")),
        "wakeup.coalesced" => "satisfied by the live run".into(),
        "wakeup.expired" => "expired".into(),
        "agent.status" | "company.status" => match text("reason").as_str() {
            "" => format!("became {}", words("state")),
            reason => format!("became {} ({reason})", words("state")),
        },
        "task.created" => format!("created as {}", words("status")),
        "task.updated" => format!("now {}", words("status")),
        kind => kind.to_owned(),
    }
}

/// A bare `cancelled` says no more than the status.
fn why_cancelled(reason: &str) -> String {
    match reason {
        "" | "cancelled" => "on request".into(),
        reason => reason.replace('_', " "),
    }
}

fn link_of_run(run: &Run) -> Link {
    Link {
        at: run.finished_at.or(run.started_at).unwrap_or(run.created_at),
        kind: "run".into(),
        id: run.id.to_string(),
        text: say_run(run),
    }
}

fn say_run(run: &Run) -> String {
    let took = match (run.started_at, run.finished_at) {
        (Some(started), Some(finished)) => format!(" after {}", say_duration(finished.since(started))),
        (Some(_) | None, Some(_) | None) => String::new(),
    };
    let detail =
        run.error.as_ref().or(run.summary.as_ref()).map(|text| format!(": {}", first_line(text))).unwrap_or_default();
    match run.status {
        RunStatus::Starting => format!("{} is being started", run.id),
        RunStatus::Running => format!("{} is running", run.id),
        RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled | RunStatus::TimedOut | RunStatus::Lost => {
            format!("{} {}{took}{detail}", run.id, run.status.as_str().replace('_', " "))
        }
    }
}

fn first_line(text: &str) -> &str {
    const CHARS_MAX: usize = 300;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => &line[..end],
        None => line,
    }
}

fn explain_run(run: &Run, agent: &Agent, batch: &[Wakeup], told: &[RunEvent]) -> Explanation {
    let mut chain: Vec<Link> = batch
        .iter()
        .map(|wakeup| Link {
            at: wakeup.requested_at,
            kind: "wakeup".into(),
            id: wakeup.id.to_string(),
            text: format!(
                "{} asked {} to wake ({}{})",
                wakeup.actor.id,
                agent.name,
                wakeup.source.as_str(),
                wakeup.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default()
            ),
        })
        .collect();
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
        .map(|wakeup| format!("{} is tried again at {}", wakeup.id, wakeup.due_at))
        .collect();
    let next = match (remedy, tried_again.is_empty()) {
        (Some(remedy), true) => Some(remedy),
        (remedy, false) => {
            Some(format!("{}{}.", remedy.map(|text| format!("{text} ")).unwrap_or_default(), tried_again.join("; ")))
        }
        (None, true) => run.status.is_live().then(|| "It goes on until the agent ends, or is stopped.".into()),
    };
    let summary = format!("{} was started for {causes}; {}.", agent.name, say_run(run).trim_end_matches('.'));
    Explanation { summary, chain: keep_newest(chain), waiting: None, next }
}

fn explain_agent(agent: &Agent, waiting: Option<Waiting>, last: &[Run], told: &[Event]) -> Explanation {
    let mut chain: Vec<Link> = told
        .iter()
        .map(|event| Link { at: event.at, kind: event.kind.clone(), id: event.subject.clone(), text: say_event(event) })
        .chain(last.iter().map(link_of_run))
        .collect();
    chain.sort_by_key(|link| link.at);
    let reason = agent.state_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let doing = match (agent.live_runs, &waiting) {
        (0, None) => "nothing is waiting for it".to_owned(),
        (0, Some(waiting)) => format!("its newest wakeup waits: {}", waiting.detail),
        (1, _) => "one run is live".to_owned(),
        (count, _) => format!("{count} runs are live"),
    };
    let next = match agent.state {
        AgentState::Active => None,
        AgentState::Paused => Some(format!("`wakeful agent resume {}` lets it start again.", agent.name)),
        AgentState::PendingApproval => Some("It may be woken once it is approved.".into()),
        AgentState::Terminated => Some("It will never be woken again.".into()),
    };
    let summary = format!("{} is {}{reason}; {doing}.", agent.name, agent.state.as_str().replace('_', " "));
    Explanation { summary, chain: keep_newest(chain), waiting, next }
}
