//! The ledger of schedules: what became of each slot. A slot can have one row only.

use std::time::Duration;

use serde_json::Value as Json;
use wakeful_domain::id::{CompanyId, RunId, ScheduleId, TaskId, WakeupId};
use wakeful_domain::run::RunStatus;
use wakeful_domain::schedule::{Schedule, SlotDecision, SlotStatus, Zone, trigger};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::WakeupStatus;

use crate::ops::filter::Page;
use crate::value::{json_option, name};
use crate::{Error, Refusal, Row, Tx, Value};

/// Times are kept to the microsecond.
const TICK: Duration = Duration::from_micros(1);

/// What became of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub schedule: ScheduleId,
    pub slot_at: Timestamp,
    pub last_at: Timestamp,
    pub count: i64,
    pub status: SlotStatus,
    pub reason: Option<String>,
    pub wakeup: Option<WakeupId>,
    pub task: Option<TaskId>,
    /// When it was decided.
    pub at: Timestamp,
    /// What its gate or its action has said.
    pub answer: Option<Json>,
}

/// What a decision about a slot has come to.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    pub status: SlotStatus,
    pub reason: Option<String>,
    pub wakeup: Option<WakeupId>,
    pub task: Option<TaskId>,
    /// What its gate or its action has said.
    pub answer: Option<Json>,
    /// Of a slot that is being asked: from when on.
    pub ask_from: Option<Timestamp>,
}

impl Fate {
    /// Nothing but a status.
    pub fn of(status: SlotStatus) -> Fate {
        Fate { status, reason: None, wakeup: None, task: None, answer: None, ask_from: None }
    }

    /// Nothing came of it.
    pub fn without(status: SlotStatus, reason: impl Into<String>) -> Fate {
        Fate { reason: Some(reason.into()), ..Fate::of(status) }
    }

    /// A wakeup came of it, or counts it.
    pub fn of_wakeup(status: SlotStatus, wakeup: WakeupId) -> Fate {
        Fate { wakeup: Some(wakeup), ..Fate::of(status) }
    }

    /// What failed, if anything did: the slot itself, or a gate that counted as a yes or a no all the same.
    pub fn error(&self) -> Option<String> {
        let of_gate = self.answer.as_ref().and_then(|answer| answer.pointer("/gate/error")).and_then(Json::as_str);
        match self.status {
            SlotStatus::Failed => Some(self.reason.clone().unwrap_or_default()),
            _ => of_gate.map(|error| format!("its gate failed: {error}")),
        }
    }

    /// Its gate or its action is asked first.
    pub fn asked(from: Timestamp, answer: Option<Json>) -> Fate {
        Fate { answer, ask_from: Some(from), ..Fate::of(SlotStatus::Asked) }
    }
}

const INSERT: &str = "
    insert into slots (schedule_id, slot_at, last_at, count, status, reason, wakeup_id, task_id, at, answer, asked_until)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// Enters a slot. One that is there already is an error of the store: nothing of the transaction then stands.
pub(crate) async fn insert(
    tx: &mut Tx,
    now: Timestamp,
    schedule: ScheduleId,
    decision: &SlotDecision,
    fate: &Fate,
) -> Result<(), Error> {
    let mut parameters: Vec<Value<'_>> = vec![
        schedule.into(),
        decision.slot.into(),
        decision.last.into(),
        i64::try_from(decision.count).unwrap_or(i64::MAX).into(),
    ];
    parameters.extend(became(now, fate));
    tx.execute(INSERT, &parameters).await?;
    Ok(())
}

/// The columns from `status` on.
fn became(now: Timestamp, fate: &Fate) -> [Value<'_>; 7] {
    [
        name(&fate.status),
        (&fate.reason).into(),
        fate.wakeup.into(),
        fate.task.into(),
        now.into(),
        json_option(fate.answer.as_ref()),
        fate.ask_from.into(),
    ]
}

const SETTLE: &str = "
    update slots
    set status = $3,
      reason = $4,
      wakeup_id = $5,
      task_id = $6,
      at = $7,
      answer = $8,
      asked_until = $9
    where schedule_id = $1
      and slot_at = $2
      and status = 'asked'";

/// Enters what a slot that was asked has become.
pub(crate) async fn settle(
    tx: &mut Tx,
    now: Timestamp,
    schedule: ScheduleId,
    slot: Timestamp,
    fate: &Fate,
) -> Result<(), Error> {
    let mut parameters: Vec<Value<'_>> = vec![schedule.into(), slot.into()];
    parameters.extend(became(now, fate));
    tx.execute(SETTLE, &parameters).await?;
    Ok(())
}

fn read(mut row: Row) -> Result<Slot, Error> {
    Ok(Slot {
        schedule: row.get()?,
        slot_at: row.get()?,
        last_at: row.get()?,
        count: row.get()?,
        status: row.name()?,
        reason: row.get()?,
        wakeup: row.get()?,
        task: row.get()?,
        at: row.get()?,
        answer: row.json_option()?,
    })
}

const GET: &str = "
    select schedule_id, slot_at, last_at, count, status, reason, wakeup_id, task_id, at, answer
    from slots
    where schedule_id = $1
      and slot_at = $2";

/// One slot, if it has its row.
pub(crate) async fn find(tx: &mut Tx, schedule: ScheduleId, slot: Timestamp) -> Result<Option<Slot>, Error> {
    tx.query_first(GET, &[schedule.into(), slot.into()]).await?.map(read).transpose()
}

const WITH_ROW: &str = "
    select slot_at, last_at
    from slots
    where schedule_id = $1
      and slot_at >= $2
      and slot_at <= $3
    order by slot_at";

/// What of a decision is about slots that have no row yet.
pub(crate) async fn without_row(
    tx: &mut Tx,
    schedule: &Schedule,
    zone: &Zone,
    decision: SlotDecision,
) -> Result<Vec<SlotDecision>, Error> {
    let within = [schedule.id.into(), decision.slot.into(), decision.last.into()];
    let found = tx.query(WITH_ROW, &within).await?;
    if found.is_empty() {
        return Ok(vec![decision]);
    }
    let mut pieces = Vec::new();
    let mut from = decision.slot;
    for mut row in found {
        let (slot, last): (Timestamp, Timestamp) = (row.get()?, row.get()?);
        pieces.extend(piece(schedule, zone, &decision, (from, slot - TICK)));
        from = last + TICK;
    }
    pieces.extend(piece(schedule, zone, &decision, (from, decision.last)));
    Ok(pieces)
}

/// The same decision about the slots from `from` to `to`, if there are any.
fn piece(
    schedule: &Schedule,
    zone: &Zone,
    decision: &SlotDecision,
    (from, to): (Timestamp, Timestamp),
) -> Option<SlotDecision> {
    let (anchor, after) = (schedule.anchor(), from - TICK);
    let (newest, count) = trigger::last(&schedule.trigger, zone, anchor, (after, to), 1);
    let slot = trigger::next(&schedule.trigger, zone, anchor, after)?;
    newest.first().map(|last| SlotDecision { slot, last: *last, count, ..*decision })
}

const FORGET_MISSED: &str = "delete from slots where schedule_id = $1 and slot_at > $2 and status = 'missed'";
const MISSED_BEYOND: &str = "
    select slot_at
    from slots
    where schedule_id = $1
      and slot_at <= $2
      and last_at > $2";
const SHORTEN: &str = "update slots set last_at = $3, count = $4 where schedule_id = $1 and slot_at = $2";

/// Takes back what was said to be missed after `now`: the clock was ahead.
pub(crate) async fn forget_missed_after(
    tx: &mut Tx,
    schedule: &Schedule,
    zone: &Zone,
    now: Timestamp,
) -> Result<(), Error> {
    tx.execute(FORGET_MISSED, &[schedule.id.into(), now.into()]).await?;
    for mut row in tx.query(MISSED_BEYOND, &[schedule.id.into(), now.into()]).await? {
        let slot: Timestamp = row.get()?;
        let range = (slot - TICK, now);
        let (newest, count) = trigger::last(&schedule.trigger, zone, schedule.anchor(), range, 1);
        let last = newest.first().copied().unwrap_or(slot);
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        tx.execute(SHORTEN, &[schedule.id.into(), slot.into(), last.into(), count.into()]).await?;
    }
    Ok(())
}

const LIST: &str = "
    select schedule_id, slot_at, last_at, count, status, reason, wakeup_id, task_id, at, answer
    from slots
    where schedule_id = $1
      and slot_at < $2
    order by slot_at desc
    limit $3";

/// A page of a schedule's slots, newest first; the cursor is a time.
pub async fn list(tx: &mut Tx, schedule: ScheduleId, before: Timestamp, limit: i64) -> Result<Page<Slot>, Refusal> {
    let rows = tx.query(LIST, &[schedule.into(), before.into(), (limit + 1).into()]).await?;
    let mut items = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let has_more = items.len() as i64 > limit;
    items.truncate(usize::try_from(limit).unwrap_or(0));
    let next_cursor = items.last().filter(|_| has_more).map(|slot| slot.slot_at.to_string());
    Ok(Page { items, next_cursor })
}

const PASSED: &str = "
    select slots.schedule_id, slots.slot_at, slots.last_at, slots.count, slots.status, slots.reason, slots.wakeup_id,
      slots.task_id, slots.at, slots.answer
    from slots
    join schedules on schedules.id = slots.schedule_id
    where schedules.company_id = $1
      and slots.slot_at >= $2
      and slots.slot_at <= $3
    order by slots.slot_at, slots.schedule_id
    limit $4";
const PASSED_OF: &str = "
    select schedule_id, slot_at, last_at, count, status, reason, wakeup_id, task_id, at, answer
    from slots
    where schedule_id = $1
      and slot_at >= $2
      and slot_at <= $3
    order by slot_at
    limit $4";

/// What became of the slots of all schedules of a company from one time to another, or of one schedule of it, oldest
/// first; at most `most`.
pub async fn passed(
    tx: &mut Tx,
    company: CompanyId,
    only: Option<ScheduleId>,
    (from, to): (Timestamp, Timestamp),
    most: i64,
) -> Result<Vec<Slot>, Refusal> {
    let rows = match only {
        Some(schedule) => tx.query(PASSED_OF, &[schedule.into(), from.into(), to.into(), most.into()]).await?,
        None => tx.query(PASSED, &[company.into(), from.into(), to.into(), most.into()]).await?,
    };
    Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
}

/// What an earlier fire of a schedule has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// Nothing that still goes on.
    Over,
    /// Its wakeup waits.
    Waiting(WakeupId),
    /// It is in the batch of a live run.
    Live(RunId),
}

const LATEST: &str = "
    select wakeups.id, wakeups.status, runs.id, runs.status
    from slots
    join wakeups on wakeups.id = slots.wakeup_id
    left join runs on runs.id = wakeups.run_id
    where slots.schedule_id = $1
      and slots.wakeup_id is not null
      and slots.status = 'fired'
    order by slots.slot_at desc
    limit 1";

/// What the latest fire of a schedule has come to.
pub(crate) async fn earlier(tx: &mut Tx, schedule: ScheduleId) -> Result<Earlier, Error> {
    let Some(mut row) = tx.query_first(LATEST, &[schedule.into()]).await? else { return Ok(Earlier::Over) };
    let wakeup: WakeupId = row.get()?;
    let status: WakeupStatus = row.name()?;
    let run: Option<RunId> = row.get()?;
    let run_status: Option<String> = row.get()?;
    let is_live = run_status
        .as_deref()
        .is_some_and(|status| RunStatus::ALL.iter().any(|(name, known)| *name == status && known.is_live()));
    Ok(match (status, run) {
        (WakeupStatus::Claimed, Some(run)) if is_live => Earlier::Live(run),
        (WakeupStatus::Pending, _) => Earlier::Waiting(wakeup),
        _ => Earlier::Over,
    })
}

const COALESCED: &str = "
    select wakeups.id
    from wakeups
    where wakeups.run_id = $2
      and wakeups.status = 'coalesced'
      and exists (
        select 1
        from slots
        where slots.wakeup_id = wakeups.id
          and slots.status = 'coalesced'
          and slots.schedule_id = $1)
    order by wakeups.id desc
    limit 1";

/// The row that counts what a live run has stood for.
pub(crate) async fn coalesced_into(tx: &mut Tx, schedule: ScheduleId, run: RunId) -> Result<Option<WakeupId>, Error> {
    match tx.query_first(COALESCED, &[schedule.into(), run.into()]).await? {
        Some(mut row) => Ok(Some(row.get()?)),
        None => Ok(None),
    }
}
