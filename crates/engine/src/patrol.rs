//! Watches one live run for silence: sleeps until the next step is due, looks at the run's row, and
//! nudges the agent, tells a person, or stops the run. It asks no model and polls nothing.

use std::time::{Duration, Instant};

use wakeful_domain::actor::Actor;
use wakeful_domain::agent::Limits;
use wakeful_domain::escalation::{EscalationKind, Severity};
use wakeful_domain::id::RunId;
use wakeful_domain::run::{Run, StopRequest};
use wakeful_domain::silence::{STALE_AFTER_DEFAULT, Step, due, next_in};
use wakeful_domain::time::Timestamp;
use wakeful_store::Refusal;
use wakeful_store::ops::escalations::{self, Raise};
use wakeful_store::ops::run_events::NewRunEvent;
use wakeful_store::ops::{agents, messages, runs};

use crate::clock;
use crate::engine::Engine;
use crate::live::Input;

/// Between two looks at least, and between two tries to reach the store.
const PAUSE: Duration = Duration::from_secs(1);
/// While silence means nothing its end is looked for this often: nobody tells.
const EXCUSED_LOOK_EVERY: Duration = Duration::from_secs(60);

struct Look {
    run: Run,
    tier: i64,
    limits: Limits,
}

/// When a run was heard last, on the clock that stands still while the machine sleeps.
struct Heard {
    at: Timestamp,
    since: Instant,
}

/// Watches a run until it is over; the caller drops this then.
pub(crate) async fn watch(engine: &Engine, id: RunId) {
    let mut heard: Option<Heard> = None;
    loop {
        let look = match look(engine, id).await {
            Ok(look) => look,
            Err(refusal) => {
                tracing::warn!(run.id = %id, "run {id} could not be looked at: {refusal}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let stale_after = stale_after(&look);
        if stale_after.is_zero() || !look.run.status.is_live() {
            return std::future::pending().await;
        }
        let is_excused = engine.live().get(&id).is_some_and(|live| live.may_be_silent);
        let last = listen(heard.take(), &look.run, is_excused);
        let silent_for = clock::monotonic().saturating_duration_since(last.since);
        heard = Some(last);
        if let Some(step) = due(silent_for, stale_after, look.tier) {
            act(engine, &look.run, step, silent_for).await;
        }
        match next_in(silent_for, stale_after, look.tier) {
            Some(next) if is_excused => tokio::time::sleep(next.clamp(PAUSE, EXCUSED_LOOK_EVERY)).await,
            Some(next) => tokio::time::sleep(next.max(PAUSE)).await,
            // It is being stopped, unless an earlier server came no further than to note it.
            None if look.run.stop.is_none() => {
                act(engine, &look.run, Step::Stop, silent_for).await;
                tokio::time::sleep(PAUSE).await;
            }
            None => return std::future::pending().await,
        }
    }
}

/// Zero for never. A service is heard only if it chooses to report, so it must be asked to.
fn stale_after(look: &Look) -> Duration {
    let default = if look.run.adapter == "http" { Duration::ZERO } else { STALE_AFTER_DEFAULT };
    look.limits.stale_after_s.map_or(default, |s| Duration::from_secs(u64::from(s)))
}

async fn look(engine: &Engine, id: RunId) -> Result<Look, Refusal> {
    engine
        .db()
        .read("run.watched", id, |tx, id| {
            Box::pin(async move {
                let run = runs::get(tx, *id).await?;
                let tier = runs::silence_tier(tx, *id).await?;
                let limits = agents::get(tx, run.agent).await?.limits;
                Ok(Look { run, tier, limits })
            })
        })
        .await
}

/// When the run was heard last, given when it was thought to have been.
fn listen(before: Option<Heard>, run: &Run, is_excused: bool) -> Heard {
    let now = clock::monotonic();
    let at =
        [run.last_output_at, run.last_event_at, run.started_at].into_iter().flatten().max().unwrap_or(run.created_at);
    if is_excused {
        return Heard { at, since: now };
    }
    match before {
        Some(before) if before.at == at => before,
        Some(before) => {
            // It was heard between the last look and now, whatever the wall clock did meanwhile.
            let ago = clock::now().since(at).min(now.saturating_duration_since(before.since));
            Heard { at, since: now.checked_sub(ago).unwrap_or(now) }
        }
        // Nobody listened before: what it wrote meanwhile is still to be read.
        None => Heard { at, since: now },
    }
}

async fn act(engine: &Engine, run: &Run, step: Step, silent_for: Duration) {
    let minutes = silent_for.as_secs_f64() / 60.0;
    let (kind, told) = match step {
        Step::Nudge => {
            (messages::NUDGED, format!("nothing was heard from the agent for {minutes:.1} min; it is nudged"))
        }
        Step::Escalate => {
            ("silent", format!("nothing was heard from the agent for {minutes:.1} min; a person is told"))
        }
        Step::Stop => ("stalled", format!("nothing was heard from the agent for {minutes:.1} min; the run is stopped")),
    };
    let data = serde_json::json!({ "silent_s": silent_for.as_secs(), "tier": step.tier() });
    let nudge = nudge(minutes);
    let event = match step {
        Step::Nudge => messages::nudge(&nudge.id, &nudge.text, told.clone(), silent_for.as_secs()),
        Step::Escalate | Step::Stop => NewRunEvent::warn(kind, told.clone(), data),
    };
    let silence = runs::Silence { now: clock::now(), run: run.id, fence: run.fence, tier: step.tier(), event };
    // What is done is done before it is noted, so that it is done again rather than never.
    match step {
        Step::Nudge => {}
        Step::Escalate => escalate(engine, run, told).await,
        Step::Stop => {
            if let Err(refusal) = engine.request_stop(run.id, StopRequest::stall(told, clock::now())).await {
                tracing::error!(run.id = %run.id, "the silent run {} could not be stopped: {refusal}", run.id);
            }
        }
    }
    let noted =
        engine.write("run.note_silence", silence, |tx, silence| Box::pin(runs::note_silence(tx, silence))).await;
    match noted {
        // It waits in the inbox; who takes messages while it works gets it at once.
        Ok(true) if step == Step::Nudge => {
            engine.say(run.id, nudge);
        }
        Ok(_) | Err(Refusal::Conflict { .. }) => {}
        Err(refusal) => {
            tracing::error!(run.id = %run.id, "the silence of run {} could not be noted: {refusal}", run.id);
        }
    }
}

/// What a silent agent is told.
fn nudge(minutes: f64) -> Input {
    let text = format!(
        "Nothing was heard from you for {minutes:.0} minutes. Go on, or finish with what you have; if you wait for \
         something, say what with `wakeful escalate`. A run that stays silent is stopped."
    );
    Input { id: format!("nudge-{}", clock::now().as_millis()), text }
}

async fn escalate(engine: &Engine, run: &Run, detail: String) {
    let raise = Raise {
        id: engine.new_id(),
        now: clock::now(),
        company: run.company,
        kind: EscalationKind::Silent,
        severity: Severity::High,
        key: escalations::silent_key(run.id),
        subject: run.id.to_string(),
        title: "a live run is silent".into(),
        detail,
        actor: Actor::system(),
    };
    if let Err(refusal) = engine
        .write("run.escalate_silent", (run.proof(), raise), |tx, (run, raise)| {
            Box::pin(escalations::raise_of_run(tx, *run, raise))
        })
        .await
    {
        tracing::error!(run.id = %run.id, "nobody could be told of the silent run {}: {refusal}", run.id);
    }
}
