//! The kinds of rows that go by their age, and what keeps an old one of each.

use std::collections::BTreeMap;

use wakeful_domain::id::{Id, Kind as IdKind, kind};
use wakeful_domain::time::Timestamp;

use super::PAGE;
use crate::{Error, Refusal, Row, Tx, Value};

/// A kind of rows that go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// With their events.
    Runs,
    Wakeups,
    Slots,
    /// With their deliveries.
    Notifications,
    Receipts,
    Mail,
    Subscriptions,
    Keys,
}

impl Kind {
    /// In the order in which they go: what refers to others before them.
    pub const ALL: &'static [Kind] = &[
        Kind::Keys,
        Kind::Mail,
        Kind::Runs,
        Kind::Wakeups,
        Kind::Slots,
        Kind::Notifications,
        Kind::Receipts,
        Kind::Subscriptions,
    ];

    /// As it is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Runs => "runs",
            Kind::Wakeups => "wakeups",
            Kind::Slots => "slots",
            Kind::Notifications => "notifications",
            Kind::Receipts => "receipts",
            Kind::Mail => "mail",
            Kind::Subscriptions => "subscriptions",
            Kind::Keys => "keys",
        }
    }

    fn rules(self) -> Rules {
        match self {
            Kind::Runs => RUNS,
            Kind::Wakeups => WAKEUPS,
            Kind::Slots => SLOTS,
            Kind::Notifications => NOTIFICATIONS,
            Kind::Receipts => RECEIPTS,
            Kind::Mail => MAIL,
            Kind::Subscriptions => SUBSCRIPTIONS,
            Kind::Keys => KEYS,
        }
    }

    /// Before the key of every row of this kind that was made at `cut` or later.
    fn cut_key(self, cut: Timestamp) -> Value<'static> {
        fn of<K: IdKind>(cut: Timestamp) -> Value<'static> {
            Id::<K>::first_of(cut).into()
        }
        match self {
            Kind::Runs => of::<kind::Run>(cut),
            Kind::Wakeups => of::<kind::Wakeup>(cut),
            Kind::Notifications => of::<kind::Notification>(cut),
            Kind::Receipts => of::<kind::Receipt>(cut),
            Kind::Mail => of::<kind::Message>(cut),
            Kind::Subscriptions => of::<kind::Subscription>(cut),
            Kind::Slots | Kind::Keys => cut.into(),
        }
    }
}

/// How a kind is looked through. `CUT` stands for the time before which it goes.
struct Rules {
    table: &'static str,
    /// Two columns that name a row, in the order in which rows are looked at.
    key: (&'static str, &'static str),
    /// What an old row has below the cut.
    old: &'static str,
    /// When it was made.
    made: &'static str,
    /// What keeps it, or null.
    kept: &'static str,
    /// What goes with it.
    with_it: &'static [&'static str],
}

const ID: (&str, &str) = ("id", "''");

const RUNS: Rules = Rules {
    table: "runs",
    key: ID,
    old: "id",
    made: "created_at",
    kept: "case
        when status in ('starting', 'running') then 'live'
        when pinned_at is not null then 'pinned'
        when finished_at is null or finished_at >= CUT then 'young'
        when exists (select 1 from sessions where sessions.agent_id = runs.agent_id and sessions.adapter = runs.adapter
          and sessions.task_id = runs.task_id and sessions.last_run_id = runs.id) then 'session'
        when exists (select 1 from checkpoints where checkpoints.run_id = runs.id) then 'checkpoint'
        when exists (select 1 from batches join wakeups on wakeups.id = batches.wakeup_id
          where batches.run_id = runs.id and wakeups.status in ('pending', 'claimed')) then 'wakeup'
        when exists (select 1 from wakeups where wakeups.cause_id = runs.id
          and wakeups.status in ('pending', 'claimed')) then 'cause'
        when exists (select 1 from subscriptions where subscriptions.by_run = runs.id
          and subscriptions.ended_at is null) then 'subscription'
        when exists (select 1 from escalations where escalations.subject = runs.id
          and escalations.status <> 'resolved') then 'escalation'
      end",
    with_it: &[
        "delete from run_events where run_id = $1",
        "delete from batches where run_id = $1",
        "delete from root_runs where run_id = $1",
        "delete from late_ends where run_id = $1",
        "insert into removed_runs (run_id) values ($1) on conflict do nothing",
    ],
};

const WAKEUPS: Rules = Rules {
    table: "wakeups",
    key: ID,
    old: "id",
    made: "requested_at",
    kept: "case
        when status in ('pending', 'claimed') then 'live'
        when finished_at is null or finished_at >= CUT then 'young'
        when exists (select 1 from batches where batches.wakeup_id = wakeups.id) then 'run'
        when exists (select 1 from wakeups as later where later.cause_id = wakeups.id
          and later.status in ('pending', 'claimed')) then 'cause'
        when exists (select 1 from messages where messages.wakeup_id = wakeups.id) then 'mail'
      end",
    with_it: &[],
};

const SLOTS: Rules = Rules {
    table: "slots",
    key: ("schedule_id", "slot_at"),
    old: "at",
    made: "at",
    kept: "case
        when status = 'asked' then 'live'
        when exists (select 1 from wakeups where wakeups.id = slots.wakeup_id) then 'wakeup'
        when exists (select 1 from tasks where tasks.id = slots.task_id and tasks.closed_at is null) then 'task'
        when not exists (select 1 from slots as later where later.schedule_id = slots.schedule_id
          and later.slot_at > slots.slot_at) then 'newest'
      end",
    with_it: &[],
};

const NOTIFICATIONS: Rules = Rules {
    table: "notifications",
    key: ID,
    old: "id",
    made: "at",
    kept: "case
        when at >= CUT then 'young'
        when exists (select 1 from deliveries where deliveries.notification_id = notifications.id
          and deliveries.finished_at is null) then 'delivery'
      end",
    with_it: &["delete from deliveries where notification_id = $1"],
};

const RECEIPTS: Rules = Rules {
    table: "webhook_receipts",
    key: ID,
    old: "id",
    made: "at",
    kept: "case when at >= CUT then 'young' end",
    with_it: &[],
};

const MAIL: Rules = Rules {
    table: "messages",
    key: ID,
    old: "id",
    made: "created_at",
    kept: "case
        when acked_at is null and lapsed_at is null then 'unread'
        when coalesce(acked_at, lapsed_at) >= CUT then 'young'
        when exists (select 1 from messages as other where other.thread_id = messages.thread_id
          and ((other.acked_at is null and other.lapsed_at is null)
            or coalesce(other.acked_at, other.lapsed_at) >= CUT)) then 'thread'
      end",
    with_it: &[],
};

const SUBSCRIPTIONS: Rules = Rules {
    table: "subscriptions",
    key: ID,
    old: "id",
    made: "created_at",
    kept: "case when ended_at is null then 'live' when ended_at >= CUT then 'young' end",
    with_it: &[],
};

const KEYS: Rules = Rules {
    table: "request_keys",
    key: ("company_id", "key"),
    old: "created_at",
    made: "created_at",
    kept: "case when created_at >= CUT then 'young' end",
    with_it: &[],
};

/// A row of some kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String, Part);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Number(i64),
}

impl Key {
    fn read(row: &mut Row, kind: Kind) -> Result<Key, Error> {
        let first = row.get()?;
        Ok(Key(first, if kind == Kind::Slots { Part::Number(row.get()?) } else { Part::Text(row.get()?) }))
    }

    fn values(&self) -> [Value<'_>; 2] {
        let second = match &self.1 {
            Part::Text(text) => text.into(),
            Part::Number(number) => (*number).into(),
        };
        [(&self.0).into(), second]
    }

    fn before_all(kind: Kind) -> Key {
        Key(String::new(), if kind == Kind::Slots { Part::Number(i64::MIN) } else { Part::Text(String::new()) })
    }
}

/// A look at old rows of one kind.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Those that nothing keeps.
    pub free: Vec<Key>,
    /// How many are kept, by what keeps them.
    pub kept: BTreeMap<String, u64>,
    /// When the oldest of those was made.
    pub oldest_kept: Option<Timestamp>,
    /// Where to go on; `None` at the end.
    pub next: Option<Key>,
}

/// Looks at a page of the rows that were made before `cut`, behind `after`.
pub async fn look(tx: &mut Tx, kind: Kind, cut: Timestamp, after: Option<&Key>) -> Result<Look, Refusal> {
    let Rules { table, key: (first, second), old, made, kept, .. } = kind.rules();
    let kept = kept.replace("CUT", "$4");
    // Where the second column is none, the first is unique.
    let behind = match second {
        "''" => format!("{first} > $1 and $2 = ''"),
        second => format!("({first}, {second}) > ($1, $2)"),
    };
    let order = if second == "''" { first.to_owned() } else { format!("{first}, {second}") };
    let sql = format!(
        "select {first}, {second}, {made}, {kept} from {table} where {behind} and {old} < $3 and cast($4 as bigint) > 0 order by {order} limit $5"
    );
    let begin = Key::before_all(kind);
    let [first, second] = after.unwrap_or(&begin).values();
    let rows = tx.query(&sql, &[first, second, kind.cut_key(cut), cut.into(), PAGE.into()]).await?;
    let is_full = rows.len() as i64 == PAGE;
    let mut look = Look::default();
    for mut row in rows {
        let key = Key::read(&mut row, kind)?;
        let made: Timestamp = row.get()?;
        look.next = is_full.then(|| key.clone());
        match row.get::<Option<String>>()? {
            None => look.free.push(key),
            Some(reason) => {
                *look.kept.entry(reason).or_default() += 1;
                look.oldest_kept = Some(look.oldest_kept.map_or(made, |oldest| oldest.min(made)));
            }
        }
    }
    Ok(look)
}

/// Events of a run that go in one transaction.
const RUN_EVENTS_BITE: i64 = 500;
const EVENT_SEQ: &str = "select event_seq from runs where id = $1 {for_update}";
const LOCK_BATCH: &str = "
    select wakeups.id
    from wakeups
    where wakeups.id in (select wakeup_id from batches where run_id = $1)
    order by wakeups.id
    for update";
const CUT_EVENTS: &str = "delete from run_events where run_id = $1 and seq > $2";
const CUT_SEQ: &str = "update runs set event_seq = $2 where id = $1";

/// What came of removing some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub rows: u64,
    /// A row went in part: the rest goes with the next bite.
    pub is_partial: bool,
}

/// Removes those of these rows that nothing keeps.
pub async fn remove(tx: &mut Tx, kind: Kind, cut: Timestamp, keys: &[Key]) -> Result<Removed, Refusal> {
    let Rules { table, key: (first, second), kept, with_it, .. } = kind.rules();
    let kept = kept.replace("CUT", "$3");
    let second = if second == "''" { "$2 = ''".to_owned() } else { format!("{second} = $2") };
    let is_free = format!(
        "select 1 from {table} where {first} = $1 and {second} and cast($3 as bigint) > 0 and ({kept}) is null"
    );
    let sql =
        format!("delete from {table} where {first} = $1 and {second} and cast($3 as bigint) > 0 and ({kept}) is null");
    let mut removed = Removed::default();
    for key in keys {
        if kind == Kind::Runs {
            // A dead letter of it may be brought back at this very moment.
            tx.lock(LOCK_BATCH, &[(&key.0).into()]).await?;
            let seq: Option<i64> = match tx.query_first(EVENT_SEQ, &[(&key.0).into()]).await? {
                Some(mut row) => row.get()?,
                None => None,
            };
            let [first, second] = key.values();
            if tx.query_first(&is_free, &[first, second, cut.into()]).await?.is_none() {
                continue;
            }
            if let Some(left) = seq.map(|seq| seq - RUN_EVENTS_BITE).filter(|left| *left > 0) {
                // From the end, so that the run's events have no gap in between.
                tx.execute(CUT_EVENTS, &[(&key.0).into(), left.into()]).await?;
                tx.execute(CUT_SEQ, &[(&key.0).into(), left.into()]).await?;
                removed.is_partial = true;
                return Ok(removed);
            }
        }
        let [first, second] = key.values();
        if tx.execute(&sql, &[first, second, cut.into()]).await? == 0 {
            continue;
        }
        for sql in with_it {
            tx.execute(sql, &[(&key.0).into()]).await?;
        }
        removed.rows += 1;
    }
    Ok(removed)
}

const OLDEST_RUN: &str = "select created_at from runs order by id desc limit 1 offset $1";
const OLDEST_WAKEUP: &str = "select requested_at from wakeups order by id desc limit 1 offset $1";

/// When the newest row was made that is beyond this number; rows of kinds without such a limit go by age alone.
pub async fn beyond(tx: &mut Tx, kind: Kind, number: u64) -> Result<Option<Timestamp>, Refusal> {
    let sql = match kind {
        Kind::Runs => OLDEST_RUN,
        Kind::Wakeups => OLDEST_WAKEUP,
        Kind::Slots | Kind::Notifications | Kind::Receipts | Kind::Mail | Kind::Subscriptions | Kind::Keys => {
            return Ok(None);
        }
    };
    let found = tx.query_first(sql, &[i64::try_from(number).unwrap_or(i64::MAX).into()]).await?;
    Ok(found.map(|mut row| row.get()).transpose()?)
}
