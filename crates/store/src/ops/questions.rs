//! Slots whose gate or action has to be asked: a program or a service, which a transaction cannot
//! wait for. The slot's row says that it is being asked; whoever claims it asks, and the answer
//! settles the row. After a crash it is asked again, so what is asked may be asked twice, and what
//! follows from it happens once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::id::{CompanyId, ScheduleId};
use wakeful_domain::notification::{Level, Notice};
use wakeful_domain::schedule::question::{TIMEOUT_MAX, question};
use wakeful_domain::schedule::{
    ActionAnswer, ActionKind, GateAnswer, GateFailure, Schedule, SkippedReason, SlotStatus, Target, Whom,
};
use wakeful_domain::time::Timestamp;

use crate::ops::fires::{self, FromGate, Moment};
use crate::ops::firing::{Fired, account};
use crate::ops::schedules::{self, zone_of};
use crate::ops::slots::{self, Fate};
use crate::ops::{actions, companies, ready};
use crate::{Error, Refusal, Tx};

/// Of one company at once, so that slow ones hold up nobody else's.
const OF_COMPANY_MAX: i64 = 4;
/// Beyond its time-out, whoever asks has so long before somebody else asks.
const ASKING_MARGIN: Duration = Duration::from_secs(10);

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Gate,
    Action,
}

/// What is to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub schedule: ScheduleId,
    pub slot: Timestamp,
    /// The fence: an answer that comes after it is not taken.
    pub until: Timestamp,
    pub part: Part,
    /// `None` if nobody is to be asked any more, since the gate has been taken away.
    pub whom: Option<Whom>,
    pub timeout: Duration,
    /// The JSON that is given.
    pub body: Json,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answered {
    pub schedule: ScheduleId,
    pub slot: Timestamp,
    pub until: Timestamp,
    pub part: Part,
    /// What was written, or why there is no answer.
    pub answer: Result<Vec<u8>, String>,
    pub took: Duration,
}

/// Whether something has to be asked before a slot of this schedule is settled.
pub(crate) fn asks(schedule: &Schedule) -> bool {
    schedule.gate.is_some() || external(schedule).is_some()
}

fn external(schedule: &Schedule) -> Option<wakeful_domain::schedule::External> {
    match &schedule.target {
        Target::Action(action) => match action.kind() {
            Ok(ActionKind::External(external)) => Some(external),
            Ok(_) | Err(_) => None,
        },
        Target::Wake(_) | Target::Task(_) => None,
    }
}

const IS_ASKED: &str = "
    select 1
    from slots
    where schedule_id = $1
      and status = 'asked'
    limit 1";

/// A slot comes whose gate or action has to be asked. While an earlier one is being asked, that one stands for it;
/// but each of those that are caught up with is asked, one after another.
pub(crate) async fn ask(tx: &mut Tx, moment: &Moment<'_>, is_late: bool) -> Result<Fate, Error> {
    let is_asked = tx.query_first(IS_ASKED, &[moment.schedule.id.into()]).await?.is_some();
    Ok(match is_asked && !is_late {
        true => Fate::without(SlotStatus::Coalesced, "being_asked"),
        false => Fate::asked(moment.at.max(moment.now), None),
    })
}

/// What may be asked: of each schedule the oldest slot, of each company a few at once.
const OPEN: &str = "
    select schedule_id, slot_at, asked_until
    from slots
    where status = 'asked'
      and not exists (
        select 1
        from slots as earlier
        where earlier.schedule_id = slots.schedule_id
          and earlier.status = 'asked'
          and earlier.slot_at < slots.slot_at)
      and (
        select count(*)
        from slots as others
        join schedules as theirs on theirs.id = others.schedule_id
        join schedules as own on own.id = slots.schedule_id
        where others.status = 'asked'
          and others.reason = 'asking'
          and others.asked_until > $1
          and theirs.company_id = own.company_id) < $2
    order by asked_until, schedule_id
    limit $3";

async fn open(
    tx: &mut Tx,
    sql: &str,
    now: Timestamp,
    most: i64,
) -> Result<Vec<(ScheduleId, Timestamp, Timestamp)>, Error> {
    let parameters = [now.into(), OF_COMPANY_MAX.into(), most.into()];
    let mut found = Vec::new();
    for mut row in tx.query(sql, &parameters).await? {
        found.push((row.get()?, row.get()?, row.get()?));
    }
    Ok(found)
}

/// When the next question may be asked, or asked again. The end of one that is being asked may bring it nearer.
pub async fn next_at(tx: &mut Tx, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    Ok(open(tx, OPEN, now, 1).await?.first().map(|(_, _, at)| *at))
}

const CLAIM: &str = "
    update slots
    set asked_until = $3,
      reason = 'asking'
    where schedule_id = $1
      and slot_at = $2";

const ASKING: &str = "
    select count(*)
    from slots
    join schedules on schedules.id = slots.schedule_id
    where slots.status = 'asked'
      and slots.reason = 'asking'
      and slots.asked_until > $2
      and schedules.company_id = $1";

const ANSWER: &str = "
    select answer
    from slots
    where schedule_id = $1
      and slot_at = $2";

/// Takes up to `most` questions, of each schedule the oldest, for as long as each may take.
pub async fn claim(tx: &mut Tx, now: Timestamp, most: i64) -> Result<Vec<Question>, Refusal> {
    let mut questions: Vec<Question> = Vec::new();
    let mut of_company: BTreeMap<CompanyId, i64> = BTreeMap::new();
    for (id, slot, at) in open(tx, &format!("{OPEN}\n    {{skip_locked}}"), now, most).await? {
        if at > now {
            break;
        }
        let schedule = match schedules::get(tx, id).await {
            Ok(schedule) => schedule,
            Err(Refusal::Store(error @ Error::Column { .. })) => {
                let told = schedules::disable_unreadable(tx, now, id, &error).await?;
                slots::settle(tx, now, id, slot, &Fate::without(SlotStatus::Failed, told)).await?;
                continue;
            }
            Err(refusal) => return Err(refusal),
        };
        let taken = match of_company.entry(schedule.company) {
            Entry::Occupied(counted) => counted.into_mut(),
            Entry::Vacant(unknown) => {
                let asking = tx.query_one(ASKING, &[schedule.company.into(), now.into()]).await?.get()?;
                unknown.insert(asking)
            }
        };
        if *taken >= OF_COMPANY_MAX {
            continue;
        }
        *taken += 1;
        let before: Option<Json> = tx.query_one(ANSWER, &[id.into(), slot.into()]).await?.json_option()?;
        let asked = of(tx, &schedule, slot, before.as_ref()).await?;
        let (part, whom, timeout, body) = match asked {
            Some((part, whom, timeout, body)) => (part, Some(whom), timeout, body),
            None => (Part::Gate, None, Duration::ZERO, Json::Null),
        };
        let until = now + timeout + ASKING_MARGIN;
        tx.execute(CLAIM, &[id.into(), slot.into(), until.into()]).await?;
        questions.push(Question { schedule: id, slot, until, part, whom, timeout, body });
    }
    Ok(questions)
}

const ASK_SOONER: &str = "
    update slots
    set asked_until = $1
    where status = 'asked'
      and asked_until > $2";

/// After the clock was set back: what is left alone until a time that is too far off is asked again.
pub(crate) async fn ask_sooner(tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
    tx.execute(ASK_SOONER, &[now.into(), (now + TIMEOUT_MAX + ASKING_MARGIN).into()]).await?;
    Ok(())
}

type Asked = (Part, Whom, Duration, Json);

async fn of(
    tx: &mut Tx,
    schedule: &Schedule,
    slot: Timestamp,
    before: Option<&Json>,
) -> Result<Option<Asked>, Refusal> {
    let (gate_state, action_state) = schedules::states(tx, schedule.id).await?;
    let from_gate = before.and_then(|answer| answer.get("gate"));
    if let Some(gate) = schedule.gate.as_ref().filter(|_| from_gate.is_none()) {
        let Ok(whom) = gate.whom() else { return Ok(None) };
        let target = Map::from_iter([("target".into(), object!(schedule.target))]);
        let body = question(schedule, slot, &gate_state.unwrap_or_default(), target);
        return Ok(Some((Part::Gate, whom, gate.timeout(), body)));
    }
    let Some(external) = external(schedule) else { return Ok(None) };
    let Target::Action(action) = &schedule.target else { return Ok(None) };
    let mut more = Map::from_iter([("action".into(), object!(action.name))]);
    more.extend(action.agent.map(|agent| ("agent".into(), object!(agent))));
    more.extend(external.config.map(|config| ("config".into(), config)));
    more.extend(from_gate.map(|gate| ("gate".into(), gate.clone())));
    let body = question(schedule, slot, &action_state.unwrap_or_default(), more);
    Ok(Some((Part::Action, external.whom, external.timeout, body)))
}

const HELD: &str = "
    select count, answer
    from slots
    where schedule_id = $1
      and slot_at = $2
      and status = 'asked'
      and asked_until = $3
    {for_update}";

/// Settles a slot by its answer. One that somebody else asks by now, or whose schedule is gone, changes nothing.
pub async fn answer(tx: &mut Tx, now: Timestamp, answered: &Answered) -> Result<Fired, Refusal> {
    let mut fired = Fired::default();
    let schedule = match schedules::get(tx, answered.schedule).await {
        Ok(schedule) => schedule,
        Err(Refusal::NotFound { .. }) => return Ok(fired),
        Err(refusal) => return Err(refusal),
    };
    ready::lock(tx, Vec::new(), schedule.target.agent().into_iter().collect()).await?;
    let mut schedule = schedules::get_locked(tx, schedule.id).await?;
    let held = [schedule.id.into(), answered.slot.into(), answered.until.into()];
    let Some(mut row) = tx.query_first(HELD, &held).await? else { return Ok(fired) };
    let count: i64 = row.get()?;
    let before: Option<Json> = row.json_option()?;
    let zone = zone_of(&companies::get(tx, schedule.company).await?);
    let moment = Moment { now, schedule: &schedule, zone: &zone, slot: answered.slot, at: now };
    let fate = match answered.part {
        _ if schedule.has_fired_enough() => Fate::without(SlotStatus::Skipped, SkippedReason::NotActive.as_str()),
        Part::Gate => of_gate(tx, &moment, answered, &mut fired).await?,
        Part::Action => of_action(tx, &moment, answered, before).await?,
    };
    slots::settle(tx, now, schedule.id, answered.slot, &fate).await?;
    let counted = (answered.slot, u64::try_from(count).unwrap_or(1));
    account(tx, now, &mut schedule, counted, &fate, &mut fired).await?;
    schedules::fired(tx, &mut schedule, &zone).await?;
    Ok(fired)
}

fn ms_of(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

async fn of_gate(tx: &mut Tx, moment: &Moment<'_>, answered: &Answered, fired: &mut Fired) -> Result<Fate, Refusal> {
    let schedule = moment.schedule;
    if let Some(fate) = fires::passed_over(tx, moment).await? {
        return Ok(fate);
    }
    // What stands for it by now cannot hear what the gate says: the gate keeps nothing, and says it again.
    let is_heard = !fires::stands(tx, moment).await?;
    let Some(gate) = &schedule.gate else {
        return match external(schedule) {
            Some(_) => Ok(Fate::asked(moment.now, None)),
            None => fires::act(tx, moment, FromGate::default(), fired).await,
        };
    };
    let read = answered.answer.clone().and_then(|answer| GateAnswer::read(&answer).map_err(|error| error.to_string()));
    let (said, answer) = match read {
        Ok(said) => {
            if let Some(state) = said.state.as_ref().filter(|_| is_heard || !said.wake) {
                schedules::keep_gate_state(tx, schedule.id, state).await?;
            }
            let mut told = object!(said);
            told["took_ms"] = object!(ms_of(answered.took));
            (Some(said), object!({ "gate": told }))
        }
        Err(error) => (None, object!({ "gate": { "error": error, "took_ms": ms_of(answered.took) } })),
    };
    let closed = match &said {
        Some(said) => (!said.wake).then_some(SkippedReason::Gate),
        None => (gate.on_failure == GateFailure::FailClosed).then_some(SkippedReason::GateFailed),
    };
    if let Some(reason) = closed {
        return Ok(Fate { answer: Some(answer), ..Fate::without(SlotStatus::Skipped, reason.as_str()) });
    }
    if external(schedule).is_some() {
        return Ok(Fate::asked(moment.now, Some(answer)));
    }
    let said = said.unwrap_or_default();
    let told = FromGate { message: said.message, payload: said.payload.unwrap_or_default() };
    let fate = fires::act(tx, moment, told, fired).await?;
    Ok(Fate { answer: Some(joined(answer, fate.answer.clone())), ..fate })
}

async fn of_action(
    tx: &mut Tx,
    moment: &Moment<'_>,
    answered: &Answered,
    before: Option<Json>,
) -> Result<Fate, Refusal> {
    let schedule = moment.schedule;
    let read =
        answered.answer.clone().and_then(|answer| ActionAnswer::read(&answer).map_err(|error| error.to_string()));
    let took_ms = ms_of(answered.took);
    let (fate, mut told) = match read {
        Ok(said) => {
            if let Some(state) = &said.state {
                schedules::keep_action_state(tx, schedule.id, state).await?;
            }
            let told = actions::tell(tx, moment, notice(schedule, &said), said.notify).await?;
            (Fate::of(SlotStatus::Fired), told)
        }
        Err(error) => {
            let told = object!({ "error": error });
            (Fate::without(SlotStatus::Failed, format!("its action failed: {error}")), told)
        }
    };
    told["took_ms"] = object!(took_ms);
    let answer = joined(before.unwrap_or_else(|| object!({})), Some(object!({ "action": told })));
    Ok(Fate { answer: Some(answer), ..fate })
}

/// What an action of the company's own wants people to know. The same text is told once a day.
fn notice(schedule: &Schedule, said: &ActionAnswer) -> Notice {
    let metadata = said.metadata.clone().map_or_else(|| object!({}), Json::Object);
    let text = said.message.clone().unwrap_or_default();
    Notice { cause: Some(schedule.id.to_string()), ..actions::notice(schedule, Level::Info, text, metadata) }
}

/// Two objects in one.
fn joined(one: Json, other: Option<Json>) -> Json {
    match (one, other) {
        (Json::Object(mut one), Some(Json::Object(other))) => {
            one.extend(other);
            Json::Object(one)
        }
        (one, _) => one,
    }
}
