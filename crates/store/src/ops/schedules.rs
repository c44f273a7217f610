//! Schedules as rows: made, read, listed, changed, paused, removed. How they fire is `firing`.

use std::time::Duration;

use serde_json::{Value as Json, json as object};
use wakeful_domain::active_hours::ActiveHours;
use wakeful_domain::company::Company;
use wakeful_domain::id::{AgentId, CompanyId, ScheduleId};
use wakeful_domain::schedule::{Jitter, Next, Schedule, SkippedReason, Standing, State, Zone, next_slot};
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::ops::{budgets_due, companies, deliveries, escalations, questions, slots};
use crate::value::{json, json_option, name};
use crate::{Error, Refusal, Row, Tx, Value};

pub(crate) const COLUMNS: &str = "id, company_id, name, trigger_json, target, active_hours, jitter_ms, overlap, catch_up, \
    stale_after_ms, starts_at, ends_at, max_fires, fires, state, state_note, last_slot, next_slot_at, created_at, updated_at, \
    gate, wakes_avoided, failures_in_row, last_error";

pub(crate) fn read(mut row: Row) -> Result<Schedule, Error> {
    let ms = |value: i64| Duration::from_millis(u64::try_from(value).unwrap_or(0));
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(Schedule {
        id: row.get()?,
        company: row.get()?,
        name: row.get()?,
        trigger: row.json()?,
        target: row.json()?,
        active_hours: row.json_option::<ActiveHours>()?,
        jitter: Jitter::up_to(ms(row.get()?)),
        overlap: row.name()?,
        catch_up: row.name()?,
        stale_after: row.get::<Option<i64>>()?.map(ms),
        starts_at: row.get()?,
        ends_at: row.get()?,
        max_fires: row.get::<Option<i64>>()?.map(count),
        fires: count(row.get()?),
        state: {
            let state: String = row.get()?;
            let note: Option<String> = row.get()?;
            // A state of a later build does not fire here.
            State::from_parts(&state, note).unwrap_or(State::Disabled { reason: format!("unknown state `{state}`") })
        },
        last_slot: row.get()?,
        next_slot_at: row.get()?,
        created_at: row.get()?,
        updated_at: row.get()?,
        gate: row.json_option()?,
        standing: Standing {
            wakes_avoided: count(row.get()?),
            failures_in_row: count(row.get()?),
            last_error: row.get()?,
        },
    })
}

/// Why a schedule is disabled that has had its last slot.
const HAS_ENDED: &str = "it has had its last slot";

/// Clocks of several nodes may differ so much without one having been set.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// The zone that a company's schedules go by. One that is not known is universal time, as everywhere.
pub fn zone_of(company: &Company) -> Zone {
    company.time_zone.parse().unwrap_or_else(|_| Zone::utc())
}

const INSERT: &str = "
    insert into schedules (id, company_id, name, trigger_json, target, agent_id, active_hours, jitter_ms, overlap,
      catch_up, stale_after_ms, starts_at, ends_at, max_fires, fires, state, state_note, gate, last_slot,
      next_slot_at, due_at, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15, $16, $17, $18, $19, $20, $21, $21)";

/// Makes a schedule. A name that another one of the company has is a conflict.
pub async fn insert(tx: &mut Tx, schedule: &Schedule) -> Result<Schedule, Refusal> {
    check_name(tx, schedule).await?;
    let next = coming(tx, schedule).await?;
    let mut parameters: Vec<Value<'_>> = vec![schedule.id.into(), schedule.company.into()];
    parameters.extend(settings(schedule));
    parameters.extend([
        schedule.last_slot.into(),
        next.map(|next| next.slot).into(),
        next.map(|next| next.fires_at).into(),
        schedule.created_at.into(),
    ]);
    tx.execute(INSERT, &parameters).await?;
    get(tx, schedule.id).await
}

/// What a person can set: the columns from `name` to `gate`, `fires` left out.
fn settings(schedule: &Schedule) -> [Value<'_>; 15] {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    [
        (&schedule.name).into(),
        json(&schedule.trigger),
        json(&schedule.target),
        schedule.target.agent().into(),
        json_option(schedule.active_hours.as_ref()),
        ms(schedule.jitter.width()).into(),
        name(&schedule.overlap),
        name(&schedule.catch_up),
        schedule.stale_after.map(ms).into(),
        schedule.starts_at.into(),
        schedule.ends_at.into(),
        schedule.max_fires.map(|count| i64::try_from(count).unwrap_or(i64::MAX)).into(),
        schedule.state.as_str().into(),
        schedule.state.note().into(),
        json_option(schedule.gate.as_ref()),
    ]
}

/// The slot to come after all that have their row.
async fn coming(tx: &mut Tx, schedule: &Schedule) -> Result<Option<Next>, Refusal> {
    let zone = zone_of(&companies::get(tx, schedule.company).await?);
    Ok(next_slot(schedule, &zone, schedule.settled_until()))
}

const OF_NAME: &str = "select id from schedules where company_id = $1 and name = $2";

/// The schedule of this name, if the company has one.
pub(crate) async fn of_name(tx: &mut Tx, company: CompanyId, name: &str) -> Result<Option<ScheduleId>, Error> {
    tx.query_first(OF_NAME, &[company.into(), name.into()]).await?.map(|mut row| row.get()).transpose()
}

async fn check_name(tx: &mut Tx, schedule: &Schedule) -> Result<(), Refusal> {
    match of_name(tx, schedule.company, &schedule.name).await? {
        Some(other) if other != schedule.id => {
            let told = format!("there is a schedule `{}` already: choose another name", schedule.name);
            Err(Refusal::conflict("schedule_exists", told, object!({ "schedule": other })))
        }
        _ => Ok(()),
    }
}

/// The schedule with this id.
pub async fn get(tx: &mut Tx, id: ScheduleId) -> Result<Schedule, Refusal> {
    let sql = format!("select {COLUMNS} from schedules where id = $1");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// The same; its row is locked until the transaction ends.
pub(crate) async fn get_locked(tx: &mut Tx, id: ScheduleId) -> Result<Schedule, Refusal> {
    let sql = format!("select {COLUMNS} from schedules where id = $1 {{for_update}}");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// The same; nothing if somebody else has locked it, or it is gone.
pub(crate) async fn get_if_free(tx: &mut Tx, id: ScheduleId) -> Result<Option<Schedule>, Refusal> {
    let sql = format!("select {COLUMNS} from schedules where id = $1 {{skip_locked}}");
    Ok(tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?)
}

/// A page of a company's schedules, newest first; of one name if it is given.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    name: Option<String>,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Schedule>, Refusal> {
    let list = List::of(COLUMNS, "schedules").and("company_id = $", company).and_if("name = $", name);
    Ok(list.page(tx, cursor, limit, read, |schedule| schedule.id.to_string()).await?)
}

/// Every schedule of a company that fires, for the plan; at most `limit`.
pub async fn active(tx: &mut Tx, company: CompanyId, limit: i64) -> Result<Vec<Schedule>, Refusal> {
    let sql = format!(
        "select {COLUMNS} from schedules where company_id = $1 and state = 'active' order by due_at, id limit $2"
    );
    Ok(tx.query(&sql, &[company.into(), limit.into()]).await?.into_iter().map(read).collect::<Result<_, _>>()?)
}

const CHANGE: &str = "
    update schedules
    set name = $2,
      trigger_json = $3,
      target = $4,
      agent_id = $5,
      active_hours = $6,
      jitter_ms = $7,
      overlap = $8,
      catch_up = $9,
      stale_after_ms = $10,
      starts_at = $11,
      ends_at = $12,
      max_fires = $13,
      state = $14,
      state_note = $15,
      gate = $16,
      last_slot = $17,
      next_slot_at = $18,
      due_at = $19,
      updated_at = $20
    where id = $1";

/// Changes a schedule, given what becomes of it. Slots that passed under the old settings and have no row yet are
/// not made up: what is changed begins now.
pub async fn change<T: Send + Sync>(
    tx: &mut Tx,
    now: Timestamp,
    id: ScheduleId,
    argument: &T,
    apply: fn(&T, &mut Schedule) -> Result<(), Refusal>,
) -> Result<Schedule, Refusal> {
    let mut schedule = get_locked(tx, id).await?;
    apply(argument, &mut schedule)?;
    check_name(tx, &schedule).await?;
    schedule.last_slot = Some(schedule.settled_until().max(now));
    let next = coming(tx, &schedule).await?;
    let mut parameters: Vec<Value<'_>> = vec![id.into()];
    parameters.extend(settings(&schedule));
    parameters.extend([
        schedule.last_slot.into(),
        next.map(|next| next.slot).into(),
        next.map(|next| next.fires_at).into(),
        now.into(),
    ]);
    tx.execute(CHANGE, &parameters).await?;
    if schedule.state != State::Active {
        tx.execute(CALL_OFF, &[id.into(), SkippedReason::NotActive.as_str().into(), now.into()]).await?;
    }
    get(tx, id).await
}

/// What is being asked about when a schedule is paused wakes nobody; what is fired by hand afterwards does.
const CALL_OFF: &str = "
    update slots
    set status = 'skipped',
      reason = $2,
      at = $3,
      asked_until = null
    where schedule_id = $1
      and status = 'asked'";

const OF_COMPANY: &str = "
    select id
    from schedules
    where company_id = $1
      and state = 'active'
    order by id
    {for_update}";

/// Schedules of a company whose zone is about to change: their rows are locked.
pub(crate) async fn lock_of_company(tx: &mut Tx, company: CompanyId) -> Result<Vec<ScheduleId>, Error> {
    let mut found = Vec::new();
    for mut row in tx.query(OF_COMPANY, &[company.into()]).await? {
        found.push(row.get()?);
    }
    Ok(found)
}

/// Brings what comes next in line with the zone of the company; slots of the old zone that passed without a row are
/// not made up.
pub(crate) async fn look_again(tx: &mut Tx, now: Timestamp, ids: &[ScheduleId]) -> Result<(), Refusal> {
    for id in ids {
        let mut schedule = get(tx, *id).await?;
        let zone = zone_of(&companies::get(tx, schedule.company).await?);
        schedule.last_slot = Some(schedule.settled_until().max(now));
        fired(tx, &mut schedule, &zone).await?;
    }
    Ok(())
}

const FIRED: &str = "
    update schedules
    set fires = $2,
      last_slot = $3,
      next_slot_at = $4,
      due_at = $5,
      state = $6,
      state_note = $7,
      wakes_avoided = $8,
      failures_in_row = $9,
      last_error = $10
    where id = $1";

/// Notes how far a schedule has come. One that has no slot before it is disabled.
pub(crate) async fn fired(tx: &mut Tx, schedule: &mut Schedule, zone: &Zone) -> Result<(), Error> {
    let next = next_slot(schedule, zone, schedule.settled_until());
    if next.is_none() && schedule.state == State::Active {
        schedule.state = State::Disabled { reason: HAS_ENDED.into() };
    }
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).into();
    let parameters = [
        schedule.id.into(),
        count(schedule.fires),
        schedule.last_slot.into(),
        next.map(|next| next.slot).into(),
        next.map(|next| next.fires_at).into(),
        schedule.state.as_str().into(),
        schedule.state.note().into(),
        count(schedule.standing.wakes_avoided),
        count(schedule.standing.failures_in_row),
        (&schedule.standing.last_error).into(),
    ];
    tx.execute(FIRED, &parameters).await?;
    Ok(())
}

const REMOVE_SLOTS: &str = "delete from slots where schedule_id = $1";
const REMOVE_REPORTED: &str = "delete from reported where schedule_id = $1";
const REMOVE: &str = "delete from schedules where id = $1";
const COMPANY_OF: &str = "select company_id from schedules where id = $1 {for_update}";

/// The key of the escalation about a schedule that fails again and again.
pub(crate) fn failing_key(id: ScheduleId) -> String {
    format!("schedule:{id}")
}

/// Removes a schedule and its ledger. What it has woken goes on.
pub async fn remove(tx: &mut Tx, now: Timestamp, id: ScheduleId) -> Result<(), Refusal> {
    // Also one that cannot be read any more.
    let Some(mut row) = tx.query_first(COMPANY_OF, &[id.into()]).await? else { return Err(Refusal::not_found(id)) };
    escalations::resolve_key(tx, now, row.get()?, &failing_key(id), "wakeful").await?;
    tx.execute(REMOVE_SLOTS, &[id.into()]).await?;
    tx.execute(REMOVE_REPORTED, &[id.into()]).await?;
    tx.execute(REMOVE, &[id.into()]).await?;
    Ok(())
}

const AHEAD: &str = "
    select id
    from schedules
    where last_slot > $1
    order by id
    {for_update}";

/// After the clock was set back: schedules that have come further than now go on from now, also those that are paused
/// or have ended meanwhile. What has fired already has its row, and does not fire again; what was missed in a time that
/// has not come is forgotten.
pub async fn rewind(tx: &mut Tx, now: Timestamp) -> Result<usize, Refusal> {
    let mut ahead: Vec<ScheduleId> = Vec::new();
    for mut row in tx.query(AHEAD, &[(now + CLOCK_SLACK).into()]).await? {
        ahead.push(row.get()?);
    }
    deliveries::rewind(tx, now).await?;
    for id in &ahead {
        let mut schedule = get(tx, *id).await?;
        let zone = zone_of(&companies::get(tx, schedule.company).await?);
        slots::forget_missed_after(tx, &schedule, &zone, now).await?;
        schedule.last_slot = Some(now);
        if schedule.state.note() == Some(HAS_ENDED) {
            schedule.state = State::Active;
        }
        fired(tx, &mut schedule, &zone).await?;
    }
    questions::ask_sooner(tx, now).await?;
    budgets_due::rewind(tx, now).await?;
    Ok(ahead.len())
}

const STATES: &str = "select gate_state, action_state from schedules where id = $1";

/// What a schedule's gate and its action gave to be given to them again.
pub(crate) async fn states(tx: &mut Tx, id: ScheduleId) -> Result<(Option<Json>, Option<Json>), Error> {
    let mut row = tx.query_one(STATES, &[id.into()]).await?;
    Ok((row.json_option()?, row.json_option()?))
}

const KEEP_GATE_STATE: &str = "update schedules set gate_state = $2 where id = $1";
const KEEP_ACTION_STATE: &str = "update schedules set action_state = $2 where id = $1";

/// Keeps what a gate gave.
pub(crate) async fn keep_gate_state(tx: &mut Tx, id: ScheduleId, state: &Json) -> Result<(), Error> {
    tx.execute(KEEP_GATE_STATE, &[id.into(), json(state)]).await.map(|_| ())
}

/// Keeps what an action gave.
pub(crate) async fn keep_action_state(tx: &mut Tx, id: ScheduleId, state: &Json) -> Result<(), Error> {
    tx.execute(KEEP_ACTION_STATE, &[id.into(), json(state)]).await.map(|_| ())
}

const DISABLE: &str = "
    update schedules
    set state = 'disabled',
      state_note = $2,
      next_slot_at = null,
      due_at = null,
      updated_at = $3
    where id = $1";

/// Disables a schedule that cannot fire.
pub(crate) async fn disable(tx: &mut Tx, now: Timestamp, id: ScheduleId, reason: &str) -> Result<(), Error> {
    tx.execute(DISABLE, &[id.into(), reason.into(), now.into()]).await?;
    Ok(())
}

/// Disables one that cannot be read, as after a change of zones, so that it does not hold up all the others; gives what
/// is told of it.
pub(crate) async fn disable_unreadable(
    tx: &mut Tx,
    now: Timestamp,
    id: ScheduleId,
    error: &Error,
) -> Result<String, Error> {
    let told = format!("it cannot be read any more: {error}");
    disable(tx, now, id, &told).await?;
    Ok(told)
}

const DISABLE_OF_AGENT: &str = "
    update schedules
    set state = 'disabled',
      state_note = 'its agent was deleted',
      next_slot_at = null,
      due_at = null,
      updated_at = $2
    where agent_id = $1
      and state <> 'disabled'";

/// Disables every schedule of an agent that is gone.
pub(crate) async fn disable_of_agent(tx: &mut Tx, now: Timestamp, agent: AgentId) -> Result<(), Error> {
    tx.execute(DISABLE_OF_AGENT, &[agent.into(), now.into()]).await?;
    Ok(())
}
