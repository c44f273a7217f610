//! After a restore: what was live in the backup ends, nothing of the life before can change anything, and nothing goes
//! on before somebody says so. Here are the rows; the files are the command's, the processes the engine's.
//!
//! Invariant: no write of a run of an earlier epoch is taken. Its run is not in the store, or it has ended here.

use serde::{Deserialize, Serialize};
use serde_json::json as object;
use wakeful_domain::id::{CompanyId, IdSource, ScheduleId, WakeupId};
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::schedule::{CatchUp, due};
use wakeful_domain::time::Timestamp;

use crate::ops::finish::{FinishRequest, finish};
use crate::ops::schedules::zone_of;
use crate::ops::{companies, events, firing, meta, retention, runs, schedules};
use crate::{Error, Refusal, Tx};

/// The number of restores that led to this store.
const EPOCH: &str = "epoch";
/// The last of them.
const RESTORED: &str = "restored";
/// Wakeups and schedules that a plan names; of the others it tells how many there are.
const PLANNED_MAX: i64 = 100;
/// Further than any lane gets between a backup and the restore of it: fences that others have seen stay behind.
const FENCES_AHEAD: i64 = 1 << 20;

/// A restore, as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub epoch: i64,
    /// When the backup was taken.
    pub taken_at: Timestamp,
    pub restored_at: Timestamp,
    /// Runs that were live in the backup.
    pub lost_runs: i64,
    /// Since when the server goes on; `None` while it waits to be told.
    pub released_at: Option<Timestamp>,
}

/// What a restore brings.
#[derive(Debug, Clone)]
pub struct Fence {
    pub now: Timestamp,
    pub id_seed: u64,
    /// When the backup was taken; unknown if the database was restored with its own tools.
    pub taken_at: Option<Timestamp>,
    /// The life of the store that is replaced, where it can be read: two restores of one backup are two epochs.
    pub replaced: Option<Life>,
}

/// How far a store has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    pub epoch: i64,
    /// The highest number that an event has had.
    pub last_event: i64,
}

/// How many restores led to this store.
pub async fn epoch(tx: &mut Tx) -> Result<i64, Refusal> {
    Ok(meta::get(tx, EPOCH).await?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// The restore that nobody has said yes to so far.
pub async fn held(tx: &mut Tx) -> Result<Option<Restored>, Refusal> {
    Ok(last(tx).await?.filter(|restored| restored.released_at.is_none()))
}

async fn last(tx: &mut Tx) -> Result<Option<Restored>, Refusal> {
    let Some(text) = meta::get(tx, RESTORED).await? else { return Ok(None) };
    let read = serde_json::from_str(&text);
    Ok(Some(read.map_err(|error| Error::Column { place: 0, what: format!("meta `{RESTORED}`: {error}") })?))
}

async fn keep(tx: &mut Tx, restored: &Restored) -> Result<(), Refusal> {
    meta::put(tx, RESTORED, &object!(restored).to_string()).await
}

const LAST_EVENT: &str = "select max(at) from events";
const COMPANIES: &str = "select id from companies order by id";
const RAISE_FENCES: &str = "update lanes set fence = fence + $1";
// The numbers of another cluster's transactions mean nothing here.
const FORGET_TRANSACTIONS: &str = "update events set txid = 0 where txid <> 0";

// The gate or the action may have been carried out since.
const MISS_ASKED: &str = "
    update slots
    set status = 'missed',
      reason = 'restored',
      asked_until = null
    where status = 'asked'";

/// Makes this store the one that counts: raises its epoch, ends what was live in it, and holds it.
pub async fn fence(tx: &mut Tx, fence: &Fence) -> Result<Restored, Refusal> {
    let now = fence.now;
    let last_event: Option<Timestamp> = tx.query_one(LAST_EVENT, &[]).await?.get()?;
    let taken_at = fence.taken_at.or(last_event).unwrap_or(now);
    let replaced = fence.replaced.unwrap_or_default();
    let epoch = epoch(tx).await?.max(replaced.epoch) + 1;
    tx.execute(FORGET_TRANSACTIONS, &[]).await?;
    retention::events::forget_transactions(tx).await?;
    tx.execute(MISS_ASKED, &[]).await?;
    // Readers whose cursor comes from the life before go on with what happens from here.
    tx.execute("{count_events}", &[]).await?;
    tx.execute("{leave_room_for_events}", &[replaced.last_event.into()]).await?;
    let live = runs::live(tx).await?;
    let restored = Restored { epoch, taken_at, restored_at: now, lost_runs: live.len() as i64, released_at: None };
    let mut companies: Vec<CompanyId> = Vec::new();
    for mut row in tx.query(COMPANIES, &[]).await? {
        companies.push(row.get()?);
    }
    for company in companies {
        events::append(tx, company, now, "store.restored", &company.to_string(), &object!(restored)).await?;
    }
    let mut ids = IdSource::new(fence.id_seed);
    for run in live {
        let told = format!(
            "the run was live when the backup of {taken_at} was taken, from which the store was restored; what came of it is not known"
        );
        let request = FinishRequest {
            now,
            draw: ids.rng().f64(),
            id_seed: ids.rng().u64(..),
            run: run.id,
            fence: run.fence,
            outcome: Outcome::ended(End::Lost, "restored", told),
            exit_code: None,
            signal: None,
            log: None,
        };
        finish(tx, &request).await?;
    }
    tx.execute(RAISE_FENCES, &[FENCES_AHEAD.into()]).await?;
    meta::put(tx, EPOCH, &epoch.to_string()).await?;
    keep(tx, &restored).await?;
    Ok(restored)
}

/// What becomes of the slots that have come since the backup was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissedSlots {
    /// They are caught up with as each schedule says.
    CatchUp,
    /// They are entered as missed.
    Skip,
}

/// Lets the store go on.
pub async fn release(tx: &mut Tx, now: Timestamp, slots: MissedSlots) -> Result<Restored, Refusal> {
    let Some(held) = held(tx).await? else {
        let told = "the store is not held: nothing waits to be told to go on";
        return Err(Refusal::conflict("not_held", told, object!({ "held": false })));
    };
    if slots == MissedSlots::Skip {
        while firing::fire_due_by(tx, now, Some(CatchUp::Skip)).await?.schedules > 0 {}
    }
    let restored = Restored { released_at: Some(now), ..held };
    keep(tx, &restored).await?;
    for mut row in tx.query(COMPANIES, &[]).await? {
        let company: CompanyId = row.get()?;
        events::append(tx, company, now, "store.released", &company.to_string(), &object!(restored)).await?;
    }
    Ok(restored)
}

/// A wakeup that would run.
#[derive(Debug, Clone)]
pub struct PlannedWakeup {
    pub id: WakeupId,
    pub company: String,
    pub agent: String,
    pub source: String,
    pub reason: Option<String>,
    pub requested_at: Timestamp,
    pub due_at: Timestamp,
}

/// A schedule whose slots have come since the backup was taken.
#[derive(Debug, Clone)]
pub struct PlannedSchedule {
    pub id: ScheduleId,
    pub company: String,
    pub name: String,
    /// The first slot that has no row.
    pub since: Timestamp,
    /// How many have come, and how many of them would fire by its catch-up policy.
    pub slots: u64,
    pub fires: u64,
}

/// What would happen if the store went on.
#[derive(Debug, Clone)]
pub struct Plan {
    pub restored: Option<Restored>,
    pub pending_wakeups: i64,
    /// The oldest of them.
    pub wakeups: Vec<PlannedWakeup>,
    pub due_schedules: i64,
    pub schedules: Vec<PlannedSchedule>,
    /// Notifications on their way: those that went out after the backup go out again.
    pub deliveries: i64,
}

const PENDING: &str = "select count(*) from wakeups where status = 'pending'";
const PENDING_OLDEST: &str = "
    select wakeups.id, companies.slug, agents.name, wakeups.source, wakeups.reason, wakeups.requested_at, wakeups.due_at
    from wakeups
    join companies on companies.id = wakeups.company_id
    join agents on agents.id = wakeups.agent_id
    where wakeups.status = 'pending'
    order by wakeups.requested_at, wakeups.id
    limit $1";
const DUE: &str = "
    select id
    from schedules
    where due_at is not null
      and due_at <= $1
    order by due_at, id";
const UNDELIVERED: &str = "select count(*) from deliveries where due_at is not null";

/// Says what would happen if the store went on at `now`.
pub async fn plan(tx: &mut Tx, now: Timestamp) -> Result<Plan, Refusal> {
    let mut wakeups = Vec::new();
    for mut row in tx.query(PENDING_OLDEST, &[PLANNED_MAX.into()]).await? {
        wakeups.push(PlannedWakeup {
            id: row.get()?,
            company: row.get()?,
            agent: row.get()?,
            source: row.get()?,
            reason: row.get()?,
            requested_at: row.get()?,
            due_at: row.get()?,
        });
    }
    let mut found: Vec<ScheduleId> = Vec::new();
    for mut row in tx.query(DUE, &[now.into()]).await? {
        found.push(row.get()?);
    }
    let mut planned = Vec::new();
    for id in found.iter().take(PLANNED_MAX as usize) {
        let schedule = schedules::get(tx, *id).await?;
        let company = companies::get(tx, schedule.company).await?;
        let due = due(&schedule, &zone_of(&company), schedule.settled_until(), now);
        let (Some(first), fires) = (due.slots.first(), due.fires()) else { continue };
        planned.push(PlannedSchedule {
            id: *id,
            company: company.slug,
            since: first.slot,
            slots: due.slots.iter().map(|decision| decision.count).sum(),
            fires,
            name: schedule.name,
        });
    }
    Ok(Plan {
        restored: last(tx).await?,
        pending_wakeups: tx.query_one(PENDING, &[]).await?.get()?,
        wakeups,
        due_schedules: found.len() as i64,
        schedules: planned,
        deliveries: tx.query_one(UNDELIVERED, &[]).await?.get()?,
    })
}
