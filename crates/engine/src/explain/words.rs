//! How events, runs and reasons read to a person.

use serde_json::Value as Json;
use wakeful_domain::actor::{Actor, ActorType};
use wakeful_domain::run::{Run, RunStatus};
use wakeful_domain::time::{Timestamp, say_duration};
use wakeful_domain::waiting::{Waiting, WaitingReason};
use wakeful_domain::wakeup::{Source, Wakeup};
use wakeful_store::ops::agents;
use wakeful_store::ops::events::Event;
use wakeful_store::{Refusal, Tx};

use super::Link;

/// Who asked: a person by the name of the token, an agent by its own.
pub(super) async fn asker(tx: &mut Tx, actor: &Actor) -> Result<String, Refusal> {
    match (actor.kind, actor.id.parse()) {
        (ActorType::System, _) => Ok("Wakeful".into()),
        (ActorType::Agent, Ok(id)) => Ok(agents::get(tx, id).await?.name),
        (ActorType::User | ActorType::Agent, _) => Ok(actor.id.clone()),
    }
}

/// The request for a wakeup, as a step of a chain.
pub(super) fn requested(wakeup: &Wakeup, asker: &str, agent: &str) -> Link {
    let reason = wakeup.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let within = match wakeup.cause_id.as_deref() {
        Some(run) if run.starts_with("run_") => format!(" (in {run})"),
        Some(earlier) => format!(" (in the stead of {earlier})"),
        None => String::new(),
    };
    let link = |text: String| Link {
        at: wakeup.requested_at,
        kind: "requested".into(),
        id: wakeup.id.to_string(),
        text,
        status: None,
    };
    if let (Source::Subscription, Some(asked_at)) = (wakeup.source, wakeup.payload.pointer("/subscription/asked_at")) {
        let what = wakeup.reason.as_deref().unwrap_or("what was waited for happened");
        let asked_at = asked_at.as_str().unwrap_or_default();
        return link(format!("{agent} was woken because {what}, which {asker} asked for at {asked_at}"));
    }
    if let Some(news) = wakeup.reason.as_deref().filter(|_| is_news(wakeup)) {
        return link(format!("{agent} was woken because {news} ({})", wakeup.source.as_str()));
    }
    let whom = if asker == agent { "itself".to_owned() } else { agent.to_owned() };
    link(format!("{asker}{within} asked {whom} to wake ({}{reason})", wakeup.source.as_str()))
}

/// Whether a wakeup tells what happened, in a sentence of its own; nobody has asked for it.
fn is_news(wakeup: &Wakeup) -> bool {
    let is_told = matches!(wakeup.source, Source::Child | Source::Dependency | Source::Comment | Source::Message);
    // Those by request say what whoever asked has to say.
    let is_ours =
        ["finished_child", "blocker", "comment", "message"].iter().any(|key| wakeup.payload.get(key).is_some());
    is_told && is_ours
}

/// What was told about something, as steps of its chain.
pub(super) fn links_of(events: &[Event]) -> impl Iterator<Item = Link> {
    events.iter().map(|event| Link {
        at: event.at,
        kind: event.kind.clone(),
        id: event.subject.clone(),
        text: say_event(event),
        status: None,
    })
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
        "wakeup.skipped" => format!("skipped: {}", why_skipped(&text("reason"))),
        "wakeup.coalesced" => "satisfied by the live run".into(),
        "wakeup.expired" => "expired".into(),
        "agent.status" if event.data.get("circuit").is_some() => "the circuit of a lane was closed".into(),
        "agent.status" | "company.status" => match text("reason").as_str() {
            "" => format!("became {}", words("state")),
            reason => format!("became {} ({reason})", words("state")),
        },
        "task.created" => format!("created as {}", words("status")),
        "task.updated" => format!("now {}", words("status")),
        "task.commented" => format!("{} commented", text("by")),
        kind => kind.to_owned(),
    }
}

/// Why a wakeup was cancelled. A bare `cancelled` says no more than the status.
pub(super) fn why_cancelled(reason: &str) -> String {
    match reason {
        "" | "cancelled" => "on request".into(),
        "reassigned" => "the task was given to another agent".into(),
        "task_closed" => "the task was closed".into(),
        "run_cancelled" => "the run that had it was cancelled".into(),
        "agent_terminated" => "the agent was terminated".into(),
        "acknowledged" => "what it brings was read already".into(),
        reason => reason.replace('_', " "),
    }
}

/// Why a wakeup was not acted on.
pub(super) fn why_skipped(reason: &str) -> String {
    match reason {
        "heartbeat_disabled" => "the agent's heartbeat is off, so timers do not wake it".into(),
        "wake_on_demand_disabled" => "the agent is woken by timers only (heartbeat.wake_on_demand is off)".into(),
        "task_not_found" => "its task does not exist".into(),
        "task_closed" => "its task is closed".into(),
        "self_caused" => "the agent's own run asked for it, on the lane it was working on".into(),
        "loop_limit" => "agents wake each other without end, so the chain was cut; see `wakeful escalation ls`".into(),
        "nothing_to_do" => "there was nothing to do".into(),
        "agent_terminated" => "the agent is terminated".into(),
        reason => reason.replace('_', " "),
    }
}

/// What ends the wait, and who can end it sooner.
pub(super) fn what_ends(waiting: &Waiting, agent: &str, company: &str, now: Timestamp) -> String {
    let at = waiting.until.map(|until| format!("{until} (in {})", say_duration(until.since(now))));
    match waiting.reason {
        WaitingReason::NotDue | WaitingReason::QuietHours | WaitingReason::QuotaUntil => match at {
            Some(at) => format!("It becomes ready at {at} and starts then, as soon as there is room."),
            None => "It starts as soon as that no longer holds.".into(),
        },
        WaitingReason::LaneBusy => {
            "When that run ends, all that waits on this lane starts together in one follow-up run; \
             the agent can take it over sooner with `wakeful inbox`."
                .into()
        }
        WaitingReason::TaskHeld => match at {
            Some(at) => format!("It starts when that run ends, at {at} at the latest."),
            None => "It starts when that run ends.".into(),
        },
        WaitingReason::CompanyPaused => format!("It starts once company {company} is resumed."),
        WaitingReason::AgentPaused => format!("`wakeful agent resume {agent}` lets it start."),
        WaitingReason::AgentPendingApproval => "It starts once the agent is approved.".into(),
        WaitingReason::CircuitOpen => {
            format!("Look at the last runs first; `wakeful agent resume {agent}` lets it start again.")
        }
        WaitingReason::Draining => "It starts after `wakeful drain --off`, or with the next server.".into(),
        WaitingReason::SafeMode => "It starts once the server is started without --safe-mode.".into(),
        WaitingReason::Restored => {
            "It starts after `wakeful restore --go-on`; `wakeful restore --plan` lists what would.".into()
        }
        WaitingReason::AgentAtCapacity | WaitingReason::CompanyAtCapacity | WaitingReason::HostAtCapacity => {
            "It starts as soon as one of those runs ends and nothing more urgent waits.".into()
        }
        WaitingReason::BudgetExhausted => match at {
            Some(at) => format!("Its window ends at {at}; `wakeful budget set ID --limit N` lets it start sooner."),
            None => "`wakeful budget set ID --limit N` lets it start.".into(),
        },
        WaitingReason::HostPressure => {
            "It starts once the host has room again; Wakeful looks every few seconds.".into()
        }
        WaitingReason::Dispatching => "It starts now.".into(),
    }
}

/// A run, as a step of a chain.
pub(super) fn link_of_run(run: &Run) -> Link {
    Link {
        at: run.finished_at.or(run.started_at).unwrap_or(run.created_at),
        kind: "run".into(),
        id: run.id.to_string(),
        text: say_run(run),
        status: Some(run.status),
    }
}

/// How a run stands or ended.
pub(super) fn say_run(run: &Run) -> String {
    let took = match (run.started_at, run.finished_at) {
        (Some(started), Some(finished)) => format!(" after {}", say_duration(finished.since(started))),
        (Some(_) | None, Some(_) | None) => String::new(),
    };
    let detail =
        run.error.as_ref().or(run.summary.as_ref()).map(|text| format!(": {}", first_line(text))).unwrap_or_default();
    match (run.status, &run.stop) {
        (RunStatus::Starting | RunStatus::Running, Some(stop)) => {
            format!("{} is being stopped ({})", run.id, first_line(&stop.reason))
        }
        (RunStatus::Starting, None) => format!("{} is being started", run.id),
        (RunStatus::Running, None) => format!("{} is running", run.id),
        (
            RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled | RunStatus::TimedOut | RunStatus::Lost,
            _,
        ) => format!("{} {}{took}{detail}", run.id, run.status.as_str().replace('_', " ")),
    }
}

/// The first line of a text, if need be cut.
pub(super) fn first_line(text: &str) -> &str {
    const CHARS_MAX: usize = 300;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => &line[..end],
        None => line,
    }
}
