//! What people are told. It is entered in the transaction of what it tells, so that it is neither lost nor told twice.

use serde_json::json as object;
use wakeful_domain::delivery::Delivery;
use wakeful_domain::id::{ChannelId, CompanyId, NotificationId};
use wakeful_domain::notification::{Notice, Notification, SAME_TEXT_QUIET};
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::ops::{channels, deliveries, events};
use crate::value::{json, name};
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str =
    "id, company_id, at, kind, level, cause, title, text, metadata, agent_id, run_id, schedule_id, repeats, read_at";

fn read(mut row: Row) -> Result<Notification, Error> {
    let id = row.get()?;
    let company = row.get()?;
    Ok(Notification {
        id,
        at: row.get()?,
        notice: Notice {
            company,
            kind: row.name()?,
            level: row.name()?,
            cause: row.get()?,
            title: row.get()?,
            text: row.get()?,
            metadata: row.json()?,
            agent: row.get()?,
            run: row.get()?,
            schedule: row.get()?,
        },
        repeats: row.get()?,
        read_at: row.get()?,
    })
}

const INSERT: &str = "
    insert into notifications (id, company_id, at, kind, level, cause, title, text, metadata, agent_id, run_id,
      schedule_id, repeats, read_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, null)";

const COUNT_SAME: &str = "
    update notifications
    set repeats = repeats + 1
    where id = (
      select id
      from notifications
      where company_id = $1
        and cause = $2
        and text = $3
        and at > $4
      order by id desc
      limit 1)";

/// Tells people, in the inbox and through the channels that let it through. Gives nothing if the same was told a
/// short time ago: it is then counted there.
pub(crate) async fn notify(
    tx: &mut Tx,
    now: Timestamp,
    id: NotificationId,
    notice: Notice,
) -> Result<Option<NotificationId>, Error> {
    notify_except(tx, now, id, notice, None).await
}

/// The same, but not through one channel.
pub(crate) async fn notify_except(
    tx: &mut Tx,
    now: Timestamp,
    id: NotificationId,
    notice: Notice,
    except: Option<ChannelId>,
) -> Result<Option<NotificationId>, Error> {
    let notice = notice.within_limits();
    if let Some(cause) = &notice.cause {
        let since = now - SAME_TEXT_QUIET;
        let parameters = [notice.company.into(), cause.into(), (&notice.text).into(), since.into()];
        if tx.execute(COUNT_SAME, &parameters).await? > 0 {
            return Ok(None);
        }
    }
    insert(tx, now, id, &notice).await?;
    let through = channels::for_notice(tx, &notice, except).await?;
    deliveries::enter(tx, now, id, &through).await?;
    Ok(Some(id))
}

/// Tries out a channel: a notification that goes through this one alone, once, whatever its filter says.
pub async fn test(
    tx: &mut Tx,
    now: Timestamp,
    id: NotificationId,
    notice: &Notice,
    channel: ChannelId,
) -> Result<Delivery, Refusal> {
    let channel = channels::find_locked(tx, channel).await?.ok_or_else(|| Refusal::not_found(channel))?;
    channels::require_enabled(Some(&channel))?;
    insert(tx, now, id, notice).await?;
    let entered = deliveries::enter(tx, now, id, &[channel]).await?;
    let entered = entered.first().ok_or_else(|| Refusal::not_found(id))?;
    deliveries::get(tx, *entered).await
}

async fn insert(tx: &mut Tx, now: Timestamp, id: NotificationId, notice: &Notice) -> Result<(), Error> {
    let parameters = [
        id.into(),
        notice.company.into(),
        now.into(),
        name(&notice.kind),
        name(&notice.level),
        (&notice.cause).into(),
        (&notice.title).into(),
        (&notice.text).into(),
        json(&notice.metadata),
        notice.agent.into(),
        notice.run.into(),
        notice.schedule.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    let data = object!({
        "kind": notice.kind,
        "level": notice.level,
        "title": notice.title,
        "agent": notice.agent,
        "run": notice.run,
        "schedule": notice.schedule,
    });
    events::append(tx, notice.company, now, "notification.sent", &id.to_string(), &data).await?;
    Ok(())
}

/// The notification with this id.
pub async fn get(tx: &mut Tx, id: NotificationId) -> Result<Notification, Refusal> {
    let sql = format!("select {COLUMNS} from notifications where id = $1");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

const MARK_READ: &str = "update notifications set read_at = $2 where id = $1 and read_at is null";

/// Notes that somebody saw it. Doing it twice changes nothing.
pub async fn mark_read(tx: &mut Tx, now: Timestamp, id: NotificationId) -> Result<Notification, Refusal> {
    tx.execute(MARK_READ, &[id.into(), now.into()]).await?;
    get(tx, id).await
}

/// A page of what a company was told; only what nobody has seen, if asked for.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    only_unread: bool,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Notification>, Refusal> {
    let list =
        List::of(COLUMNS, "notifications").and("company_id = $", company).and_when("read_at is null", only_unread);
    Ok(list.page(tx, cursor, limit, read, |notification| notification.id.to_string()).await?)
}
