//! The rows of schedules that a step has touched, told by temporary triggers.

use wakeful_domain::id::{ScheduleId, TaskId, WakeupId};
use wakeful_domain::schedule::SlotStatus;
use wakeful_domain::time::Timestamp;
use wakeful_store::{Refusal, Tx};

/// A slot as it stands in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub last: Timestamp,
    pub count: i64,
    pub status: SlotStatus,
    pub reason: Option<String>,
    pub wakeup: Option<WakeupId>,
    pub task: Option<TaskId>,
    pub asked_until: Option<Timestamp>,
}

/// How far a schedule has come, as it stands in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub state: String,
    pub fires: i64,
    pub last_slot: Option<Timestamp>,
    pub next_slot_at: Option<Timestamp>,
}

/// What a step touched; `None` is gone.
#[derive(Debug, Default)]
pub struct Touched {
    pub slots: Vec<(ScheduleId, Timestamp, Option<Row>)>,
    pub schedules: Vec<(ScheduleId, Option<Standing>)>,
}

impl Touched {
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.schedules.is_empty()
    }
}

const MAKE_LOG: &str = "create temp table touched (id text, slot bigint, unique (id, slot))";

/// Begins to watch the store.
pub async fn watch(tx: &mut Tx) -> Result<(), Refusal> {
    tx.execute(MAKE_LOG, &[]).await?;
    for (table, key) in [("slots", "schedule_id"), ("schedules", "id")] {
        for (event, row) in [("insert", "new"), ("update", "new"), ("delete", "old")] {
            let slot = if table == "slots" { format!("{row}.slot_at") } else { "-1".into() };
            let sql = format!(
                "create temp trigger touched_{table}_{event} after {event} on main.{table} begin \
                 insert or ignore into touched values ({row}.{key}, {slot}); end"
            );
            tx.execute(&sql, &[]).await?;
        }
    }
    Ok(())
}

const TOUCHED: &str = "select id, slot from temp.touched order by id, slot";
const FORGET: &str = "delete from temp.touched";
const SLOT: &str = "
    select last_at, count, status, reason, wakeup_id, task_id, asked_until
    from slots
    where schedule_id = $1
      and slot_at = $2";
const SCHEDULE: &str = "select state, fires, last_slot, next_slot_at from schedules where id = $1";

/// What was touched since the last look.
pub async fn look(tx: &mut Tx) -> Result<Touched, Refusal> {
    let mut touched = Touched::default();
    for mut row in tx.query(TOUCHED, &[]).await? {
        let (id, slot): (ScheduleId, i64) = (row.get()?, row.get()?);
        if slot == -1 {
            let standing = match tx.query_first(SCHEDULE, &[id.into()]).await? {
                None => None,
                Some(mut row) => Some(Standing {
                    state: row.get()?,
                    fires: row.get()?,
                    last_slot: row.get()?,
                    next_slot_at: row.get()?,
                }),
            };
            touched.schedules.push((id, standing));
            continue;
        }
        let found = match tx.query_first(SLOT, &[id.into(), slot.into()]).await? {
            None => None,
            Some(mut row) => Some(Row {
                last: row.get()?,
                count: row.get()?,
                status: row.name()?,
                reason: row.get()?,
                wakeup: row.get()?,
                task: row.get()?,
                asked_until: row.get()?,
            }),
        };
        touched.slots.push((id, Timestamp::from_micros(slot), found));
    }
    if !touched.is_empty() {
        tx.execute(FORGET, &[]).await?;
    }
    Ok(touched)
}

const MADE: &str = "
    select 'wakeup', id
    from wakeups
    where source in ('schedule', 'timer')
    union all
    select 'task', id
    from tasks
    union all
    select 'assigned', min(id)
    from wakeups
    where source = 'assignment'
    group by task_id
    having count(*) > 1";

/// What schedules have made: wakeups, tasks, and the tasks that woke their assignee more than once.
pub async fn made(tx: &mut Tx) -> Result<Vec<(String, String)>, Refusal> {
    let mut made = Vec::new();
    for mut row in tx.query(MADE, &[]).await? {
        made.push((row.get()?, row.get()?));
    }
    Ok(made)
}
