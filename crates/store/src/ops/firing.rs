//! Schedules whose time has come: every slot gets its row, and what is to fire fires, in one
//! transaction. So a crash before its commit has fired nothing, and one after it cannot fire again.
//!
//! Where a gate or an action of the company's own has to be asked, the row says so, and `questions` goes on from it.

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::escalation::{EscalationKind, Severity};
use wakeful_domain::id::{AgentId, RunId, ScheduleId};
use wakeful_domain::schedule::{
    CatchUp, FAILURES_TOLD, Schedule, SkippedReason, SlotDecision, SlotStatus, Verdict, Zone, due,
};
use wakeful_domain::time::Timestamp;

use crate::ops::escalations::{self, Raise};
use crate::ops::fires::{self, FromGate, Moment};
use crate::ops::schedules::{self, zone_of};
use crate::ops::slots::{self, Fate, Slot};
use crate::ops::{companies, events, questions, ready};
use crate::{Error, Refusal, Tx};

/// Schedules in one transaction; the rest follow in the next.
const BITE: i64 = 100;

/// What was fired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fired {
    /// Schedules whose slots were decided.
    pub schedules: usize,
    /// Slots that fired.
    pub fires: usize,
    /// Slots that came while nobody was there, and are not caught up with.
    pub missed: u64,
    /// Slots whose gate or action is to be asked now.
    pub asked: usize,
    /// Runs that are to stop for a new fire.
    pub stops: Vec<RunId>,
}

/// When the next schedule is due.
pub(crate) const NEXT_DUE: &str = "
    select due_at
    from schedules
    where due_at is not null
    order by due_at
    limit 1";

const DUE: &str = "
    select id, agent_id
    from schedules
    where due_at is not null
      and due_at <= $1
    order by due_at, id
    limit $2";

/// Decides about every slot that has come, of up to a bite of schedules.
pub async fn fire_due(tx: &mut Tx, now: Timestamp) -> Result<Fired, Refusal> {
    fire_due_by(tx, now, None).await
}

/// The same, with this policy in the place of each schedule's own.
pub(crate) async fn fire_due_by(tx: &mut Tx, now: Timestamp, catch_up: Option<CatchUp>) -> Result<Fired, Refusal> {
    let mut due: Vec<(ScheduleId, Option<AgentId>)> = Vec::new();
    for mut row in tx.query(DUE, &[now.into(), BITE.into()]).await? {
        due.push((row.get()?, row.get()?));
    }
    // All agents at once and in their order, before their schedules, as everywhere.
    ready::lock(tx, Vec::new(), due.iter().filter_map(|(_, agent)| *agent).collect()).await?;
    let mut fired = Fired::default();
    for (id, agent) in due {
        match schedules::get_if_free(tx, id).await {
            // One that has been given to another agent meanwhile is due again at the next look.
            Ok(Some(schedule)) if schedule.target.agent() == agent => {
                let catch_up = catch_up.unwrap_or(schedule.catch_up);
                fire(tx, now, Schedule { catch_up, ..schedule }, &mut fired).await?;
            }
            // Somebody else fires or changes it.
            Ok(_) => {}
            Err(Refusal::Store(error @ Error::Column { .. })) => {
                schedules::disable_unreadable(tx, now, id, &error).await?;
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(fired)
}

/// Fires a schedule now, whatever its slots say: the slot is this moment.
pub async fn fire_now(tx: &mut Tx, now: Timestamp, id: ScheduleId) -> Result<(Slot, Fired), Refusal> {
    let agent = schedules::get(tx, id).await?.target.agent();
    ready::lock(tx, Vec::new(), agent.into_iter().collect()).await?;
    let mut schedule = schedules::get_locked(tx, id).await?;
    let zone = zone_of(&companies::get(tx, schedule.company).await?);
    let verdict = Verdict::Fire { at: now, is_late: false };
    let decision = SlotDecision { slot: now, last: now, count: 1, verdict };
    let mut fired = Fired::default();
    decide(tx, now, &mut schedule, &zone, decision, &mut fired).await?;
    schedules::fired(tx, &mut schedule, &zone).await?;
    let slot = slots::find(tx, id, now).await?.ok_or_else(|| Refusal::not_found(id))?;
    Ok((slot, fired))
}

async fn fire(tx: &mut Tx, now: Timestamp, mut schedule: Schedule, fired: &mut Fired) -> Result<(), Refusal> {
    let zone = zone_of(&companies::get(tx, schedule.company).await?);
    let due = due(&schedule, &zone, schedule.settled_until(), now);
    schedule.last_slot = due.last_slot().or(schedule.last_slot);
    for decision in due.slots {
        decide(tx, now, &mut schedule, &zone, decision, fired).await?;
    }
    fired.schedules += 1;
    Ok(schedules::fired(tx, &mut schedule, &zone).await?)
}

/// Does what a decision asks for, and enters the slot. After a clock was set back, slots come round again that have
/// their row.
async fn decide(
    tx: &mut Tx,
    now: Timestamp,
    schedule: &mut Schedule,
    zone: &Zone,
    decision: SlotDecision,
    fired: &mut Fired,
) -> Result<(), Refusal> {
    for decision in slots::without_row(tx, schedule, zone, decision).await? {
        enter(tx, now, schedule, zone, &decision, fired).await?;
    }
    Ok(())
}

async fn enter(
    tx: &mut Tx,
    now: Timestamp,
    schedule: &mut Schedule,
    zone: &Zone,
    decision: &SlotDecision,
    fired: &mut Fired,
) -> Result<(), Refusal> {
    let fate = match decision.verdict {
        Verdict::Missed(reason) => Fate::without(SlotStatus::Missed, reason.as_str()),
        Verdict::Skipped(reason) => Fate::without(SlotStatus::Skipped, reason.as_str()),
        Verdict::Fire { at, is_late } => {
            let moment = Moment { now, schedule, zone, slot: decision.slot, at };
            match fires::passed_over(tx, &moment).await? {
                Some(fate) => fate,
                // What is live or waits stands for it, whatever its gate has to say: that is asked when it can be heard.
                None if questions::asks(schedule) && !fires::stands(tx, &moment).await? => {
                    questions::ask(tx, &moment, is_late).await?
                }
                None => fires::act(tx, &moment, FromGate::default(), fired).await?,
            }
        }
    };
    slots::insert(tx, now, schedule.id, decision, &fate).await?;
    account(tx, now, schedule, (decision.slot, decision.count), &fate, fired).await
}

/// Counts what has become of a slot, and tells of it.
pub(crate) async fn account(
    tx: &mut Tx,
    now: Timestamp,
    schedule: &mut Schedule,
    (slot, count): (Timestamp, u64),
    fate: &Fate,
    fired: &mut Fired,
) -> Result<(), Refusal> {
    let event = match fate.status {
        SlotStatus::Asked => {
            fired.asked += 1;
            return Ok(());
        }
        SlotStatus::Missed => {
            fired.missed += count;
            "schedule.missed"
        }
        SlotStatus::Fired | SlotStatus::Coalesced | SlotStatus::Skipped | SlotStatus::Failed => "schedule.fired",
    };
    if fate.status == SlotStatus::Fired {
        fired.fires += 1;
        schedule.fires += 1;
    }
    let avoiding = [SkippedReason::NothingToDo, SkippedReason::Gate].map(SkippedReason::as_str);
    if fate.status == SlotStatus::Skipped && fate.reason.as_deref().is_some_and(|reason| avoiding.contains(&reason)) {
        schedule.standing.wakes_avoided += 1;
    }
    count_failures(tx, now, schedule, slot, fate).await?;
    // That nothing was to be done is no news; the slot tells it.
    if fate.reason.as_deref() == Some(SkippedReason::NothingToDo.as_str()) {
        return Ok(());
    }
    let data = object!({
        "name": schedule.name,
        "slot_at": slot,
        "count": count,
        "status": fate.status,
        "reason": fate.reason,
        "wakeup": fate.wakeup,
        "task": fate.task,
        "answer": fate.answer,
    });
    events::append(tx, schedule.company, now, event, &schedule.id.to_string(), &data).await?;
    Ok(())
}

/// People are told once of a schedule that fails again and again; the first success takes it back.
async fn count_failures(
    tx: &mut Tx,
    now: Timestamp,
    schedule: &mut Schedule,
    slot: Timestamp,
    fate: &Fate,
) -> Result<(), Refusal> {
    let key = schedules::failing_key(schedule.id);
    if let Some(error) = fate.error() {
        schedule.standing.failures_in_row += 1;
        schedule.standing.last_error = Some(error.clone());
        if schedule.standing.failures_in_row == FAILURES_TOLD {
            let raise = Raise {
                id: fires::ids_of(schedule.id, slot, "escalation").next(now),
                now,
                company: schedule.company,
                kind: EscalationKind::ScheduleFailing,
                severity: Severity::Medium,
                key,
                subject: schedule.id.to_string(),
                title: format!("the schedule `{}` fails again and again", schedule.name),
                detail: error,
                actor: Actor::system(),
            };
            escalations::raise(tx, &raise).await?;
        }
        return Ok(());
    }
    match fate.status {
        SlotStatus::Fired | SlotStatus::Skipped => {}
        SlotStatus::Asked | SlotStatus::Coalesced | SlotStatus::Missed | SlotStatus::Failed => return Ok(()),
    }
    if schedule.standing.failures_in_row >= FAILURES_TOLD {
        escalations::resolve_key(tx, now, schedule.company, &key, "wakeful").await?;
    }
    schedule.standing.failures_in_row = 0;
    Ok(())
}
