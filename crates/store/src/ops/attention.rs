//! What needs a person, counted: what a console shows beside its inbox on every page. Each count ends at a bound, so that
//! it costs the same however much there is.

use wakeful_domain::id::{CompanyId, ScheduleId};
use wakeful_domain::time::Timestamp;

use crate::{Refusal, Tx, Value};

/// Nobody tells a hundred from more.
pub const COUNTED_MAX: i64 = 100;

/// What needs a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    pub escalations: i64,
    pub dead_letters: i64,
    /// Mail to people that nobody has read.
    pub mail: i64,
    /// Notifications that a channel did not take.
    pub deliveries: i64,
    /// Schedules with slots that were missed, the one that missed one last first.
    pub missed: Vec<MissedSlots>,
}

/// Slots of a schedule that came while nothing could fire them.
#[derive(Debug, Clone, PartialEq)]
pub struct MissedSlots {
    pub schedule: ScheduleId,
    pub name: String,
    pub count: i64,
    pub last_at: Timestamp,
}

const ESCALATIONS: &str = "
    select count(*)
    from (
      select 1
      from escalations
      where company_id = $1
        and status = 'open'
      limit $2) as counted";
/// Of the newest: ids are in the order of time.
const DEAD_LETTERS: &str = "
    select count(*)
    from (
      select requested_at
      from wakeups
      where company_id = $1
        and status = 'failed'
        and acknowledged_at is null
      order by id desc
      limit $2) as newest
    where requested_at >= $3";
const MAIL: &str = "
    select count(*)
    from (
      select 1
      from messages
      where company_id = $1
        and to_agent is null
        and acked_at is null
        and lapsed_at is null
      limit $2) as counted";
const DELIVERIES: &str = "
    select count(*)
    from (
      select 1
      from deliveries
      where company_id = $1
        and status = 'failed'
        and acknowledged_at is null
      limit $2) as counted";
const MISSED: &str = "
    select schedules.id, schedules.name, cast(sum(slots.count) as bigint), max(slots.slot_at)
    from schedules
    join slots on slots.schedule_id = schedules.id
    where schedules.company_id = $1
      and slots.status = 'missed'
      and slots.slot_at >= $3
    group by schedules.id, schedules.name
    order by max(slots.slot_at) desc, schedules.id
    limit $2";

/// What of a company needs a person; of dead letters and slots only those since a time.
pub async fn of(tx: &mut Tx, company: CompanyId, since: Timestamp) -> Result<Attention, Refusal> {
    let bounded: [Value<'_>; 2] = [company.into(), COUNTED_MAX.into()];
    let escalations = tx.query_one(ESCALATIONS, &bounded).await?.get()?;
    let mail = tx.query_one(MAIL, &bounded).await?.get()?;
    let deliveries = tx.query_one(DELIVERIES, &bounded).await?.get()?;
    let recent = [company.into(), COUNTED_MAX.into(), since.into()];
    let dead_letters = tx.query_one(DEAD_LETTERS, &recent).await?.get()?;
    let mut missed = Vec::new();
    for mut row in tx.query(MISSED, &recent).await? {
        missed.push(MissedSlots { schedule: row.get()?, name: row.get()?, count: row.get()?, last_at: row.get()? });
    }
    Ok(Attention { escalations, dead_letters, mail, deliveries, missed })
}
