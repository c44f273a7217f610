//! Deliveries: entered in the transaction of their notification, claimed one at a time a channel, ended or tried
//! again. What becomes of them changes no run and no notification.

use std::time::Duration;

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::channel::{Channel, State};
use wakeful_domain::delivery::{
    Answer, Attempt, Delivery, DeliveryStatus, INCIDENT_ATTEMPTS, LOG_MAX, id_of, next_attempt_in, pace,
};
use wakeful_domain::escalation::{EscalationKind, Severity};
use wakeful_domain::id::{ChannelId, CompanyId, DeliveryId, EscalationId, NotificationId};
use wakeful_domain::notification::{Notification, NotificationKind};
use wakeful_domain::time::Timestamp;

use crate::ops::escalations::{self, Raise};
use crate::ops::filter::{List, Page};
use crate::ops::{channels, notifications, reminders};
use crate::value::{json, name};
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str =
    "id, company_id, channel_id, notification_id, status, attempts, log, due_at, created_at, finished_at";

/// Beyond the time limit of an attempt, before another one is made.
const LEASE_SLACK: std::time::Duration = std::time::Duration::from_secs(10);

fn read(mut row: Row) -> Result<Delivery, Error> {
    Ok(Delivery {
        id: row.get()?,
        company: row.get()?,
        channel: row.get()?,
        notification: row.get()?,
        status: row.name()?,
        attempts: row.get()?,
        log: row.json()?,
        due_at: row.get()?,
        created_at: row.get()?,
        finished_at: row.get()?,
    })
}

const INSERT: &str = "
    insert into deliveries (id, company_id, channel_id, notification_id, status, attempts, log, due_at, created_at,
      finished_at)
    values ($1, $2, $3, $4, 'pending', 0, '[]', $5, $5, null)";

/// Enters the deliveries of a notification. The channels are locked.
pub(crate) async fn enter(
    tx: &mut Tx,
    now: Timestamp,
    notification: NotificationId,
    through: &[Channel],
) -> Result<Vec<DeliveryId>, Error> {
    let mut entered = Vec::with_capacity(through.len());
    for (place, channel) in through.iter().enumerate() {
        let id = id_of(notification, place);
        let parameters = [id.into(), channel.company.into(), channel.id.into(), notification.into(), now.into()];
        tx.execute(INSERT, &parameters).await?;
        channels::refresh(tx, channel.id, channel.paced_until).await?;
        entered.push(id);
    }
    Ok(entered)
}

/// The delivery with this id.
pub async fn get(tx: &mut Tx, id: DeliveryId) -> Result<Delivery, Refusal> {
    let sql = format!("select {COLUMNS} from deliveries where id = $1");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// A page of a company's deliveries, newest first.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    status: Option<DeliveryStatus>,
    channel: Option<ChannelId>,
    acknowledged: Option<bool>,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Delivery>, Refusal> {
    let list = List::of(COLUMNS, "deliveries")
        .and("company_id = $", company)
        .and_when("acknowledged_at is not null", acknowledged == Some(true))
        .and_when("acknowledged_at is null", acknowledged == Some(false))
        .and_if("status = $", status.map(|status| name(&status)))
        .and_if("channel_id = $", channel);
    Ok(list.page(tx, cursor, limit, read, |delivery| delivery.id.to_string()).await?)
}

/// The deliveries of a notification: at most one a channel.
pub async fn of_notification(tx: &mut Tx, notification: NotificationId) -> Result<Vec<Delivery>, Refusal> {
    let sql = format!("select {COLUMNS} from deliveries where notification_id = $1 order by id");
    let rows = tx.query(&sql, &[notification.into()]).await?;
    Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
}

/// An attempt to be made now.
#[derive(Debug)]
pub struct Claimed {
    pub delivery: Delivery,
    pub channel: Channel,
    pub notification: Notification,
}

/// What a look came to.
#[derive(Debug, Default)]
pub struct Look {
    pub claimed: Vec<Claimed>,
    pub reminded: usize,
    /// When somebody has to look again; `None` if nothing waits for a time.
    pub next_at: Option<Timestamp>,
}

/// Reminds people, and claims up to `limit` attempts that are due, one a channel.
pub async fn look(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Look, Refusal> {
    let reminded = reminders::remind(tx, now).await?;
    let mut claimed = Vec::new();
    if limit > 0 {
        for channel in channels::due(tx, now, limit).await? {
            claimed.extend(claim(tx, now, channel).await?);
        }
    }
    let due = if limit > 0 { channels::next_due(tx).await? } else { None };
    let next_at = due.into_iter().chain(reminders::next_at(tx).await?).min();
    Ok(Look { claimed, reminded, next_at })
}

const LAPSE: &str = "
    update deliveries
    set status = 'pending',
      log = $2
    where id = $1";

/// Puts back an attempt of a channel whose end nobody has told in time: its node has stopped.
async fn lapse(tx: &mut Tx, now: Timestamp, channel: ChannelId) -> Result<(), Refusal> {
    let sql = format!(
        "select {COLUMNS} from deliveries where channel_id = $1 and status = 'sending' and due_at <= $2 order by id"
    );
    for row in tx.query(&sql, &[channel.into(), now.into()]).await? {
        let mut delivery = read(row)?;
        let detail = "the server stopped meanwhile: whether it arrived is not known".to_owned();
        note(&mut delivery, Attempt { at: now, ok: false, detail, duration_ms: 0 });
        tx.execute(LAPSE, &[delivery.id.into(), json(&delivery.log)]).await?;
    }
    Ok(())
}

fn note(delivery: &mut Delivery, attempt: Attempt) {
    delivery.log.push(attempt);
    delivery.log.drain(..delivery.log.len().saturating_sub(LOG_MAX));
}

const CLAIM: &str = "
    update deliveries
    set status = 'sending',
      attempts = attempts + 1,
      due_at = $2
    where id = (
      select id
      from deliveries
      where channel_id = $1
        and status = 'pending'
        and due_at <= $3
      order by due_at, id
      limit 1)
    returning id";

/// Claims the first attempt of a channel that is due.
async fn claim(tx: &mut Tx, now: Timestamp, channel: Channel) -> Result<Option<Claimed>, Refusal> {
    lapse(tx, now, channel.id).await?;
    if channel.state == State::Disabled {
        // An attempt was being made when it was disabled.
        cancel_of_channel(tx, now, channel.id).await?;
    }
    let given_up_at = now + channel.target.timeout() + LEASE_SLACK;
    let claimed = tx.query_first(CLAIM, &[channel.id.into(), given_up_at.into(), now.into()]).await?;
    let Some(mut row) = claimed else {
        channels::refresh(tx, channel.id, channel.paced_until).await?;
        return Ok(None);
    };
    let paced_until = pace(channel.paced_until, now);
    channels::set_pace(tx, channel.id, paced_until).await?;
    channels::refresh(tx, channel.id, paced_until).await?;
    let delivery = get(tx, row.get()?).await?;
    let notification = notifications::get(tx, delivery.notification).await?;
    Ok(Some(Claimed { delivery, channel, notification }))
}

const FIRST_DUE: &str = "
    select min(due_at)
    from deliveries
    where channel_id = $1
      and status = $2
      and due_at is not null";

/// When the first delivery of a channel in this status is due: the next attempt of what is pending, its pace apart; the
/// giving up of what is being sent.
pub(crate) async fn first_due(
    tx: &mut Tx,
    channel: ChannelId,
    status: DeliveryStatus,
) -> Result<Option<Timestamp>, Error> {
    tx.query_one(FIRST_DUE, &[channel.into(), name(&status)]).await?.get()
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct AttemptEnd {
    pub now: Timestamp,
    pub delivery: DeliveryId,
    /// Which attempt it was: what comes of another one changes nothing.
    pub attempt: i64,
    pub answer: Answer,
    pub duration_ms: u64,
    /// The chance that jitter makes use of.
    pub draw: f64,
    /// For what has to be told of the channel.
    pub escalation: EscalationId,
}

const END: &str = "
    update deliveries
    set status = $3,
      log = $4,
      due_at = $5,
      finished_at = $6
    where id = $1
      and attempts = $2
      and status = 'sending'";

/// Notes what an attempt came to. Tells whether it was still the present one.
pub async fn end_attempt(tx: &mut Tx, end: &AttemptEnd) -> Result<bool, Refusal> {
    let before = get(tx, end.delivery).await?;
    let is_accepted = matches!(end.answer, Answer::Accepted(_));
    if !is_accepted {
        // An escalation goes through the others.
        channels::lock_all(tx, before.company).await?;
    }
    let channel = channels::find_locked(tx, before.channel).await?;
    let mut delivery = get(tx, end.delivery).await?;
    let notification = notifications::get(tx, delivery.notification).await?;
    let is_test = notification.notice.kind == NotificationKind::Test;
    let again_in = match &end.answer {
        Answer::Deferred { retry_after, .. } if channel.is_some() && !is_test => {
            next_attempt_in(end.attempt, *retry_after, end.draw)
        }
        Answer::Accepted(_) | Answer::Deferred { .. } | Answer::Refused(_) => None,
    };
    let status = match again_in {
        Some(_) => DeliveryStatus::Pending,
        None if is_accepted => DeliveryStatus::Delivered,
        None => DeliveryStatus::Failed,
    };
    let detail = end.answer.detail().to_owned();
    note(&mut delivery, Attempt { at: end.now, ok: is_accepted, detail, duration_ms: end.duration_ms });
    let parameters = [
        end.delivery.into(),
        end.attempt.into(),
        name(&status),
        json(&delivery.log),
        again_in.map(|delay| end.now + delay).into(),
        again_in.is_none().then_some(end.now).into(),
    ];
    if tx.execute(END, &parameters).await? == 0 {
        return Ok(false);
    }
    let Some(channel) = channel else { return Ok(true) };
    channels::refresh(tx, channel.id, channel.paced_until).await?;
    if is_accepted {
        let key = channels::incident_key(channel.id);
        escalations::resolve_key(tx, end.now, channel.company, &key, "system").await?;
    } else if !is_test
        && channel.state == State::Enabled
        && (status == DeliveryStatus::Failed || end.attempt == INCIDENT_ATTEMPTS)
    {
        escalations::raise(tx, &incident(&channel, end)).await?;
    }
    Ok(true)
}

/// What a person has to know of a channel that does not deliver.
fn incident(channel: &Channel, end: &AttemptEnd) -> Raise {
    Raise {
        id: end.escalation,
        now: end.now,
        company: channel.company,
        kind: EscalationKind::DeliveryFailing,
        severity: Severity::High,
        key: channels::incident_key(channel.id),
        subject: channel.id.to_string(),
        title: format!("the channel `{}` does not deliver", channel.name),
        detail: end.answer.detail().to_owned(),
        actor: Actor::system(),
    }
}

const RELEASE: &str = "
    update deliveries
    set status = 'pending',
      attempts = attempts - 1,
      due_at = $3
    where id = $1
      and attempts = $2
      and status = 'sending'";

/// Puts an attempt back that was not made to its end, because the server stops.
pub async fn release(tx: &mut Tx, now: Timestamp, id: DeliveryId, attempt: i64) -> Result<(), Refusal> {
    let delivery = get(tx, id).await?;
    let Some(channel) = channels::find_locked(tx, delivery.channel).await? else { return Ok(()) };
    tx.execute(RELEASE, &[id.into(), attempt.into(), now.into()]).await?;
    channels::refresh(tx, channel.id, channel.paced_until).await?;
    Ok(())
}

const RETRY: &str = "
    update deliveries
    set status = 'pending',
      attempts = 0,
      due_at = $2,
      finished_at = null,
      acknowledged_at = null
    where id = $1
      and status in ('failed', 'cancelled')";

/// Tries again what was given up or cancelled.
pub async fn retry(tx: &mut Tx, now: Timestamp, id: DeliveryId) -> Result<Delivery, Refusal> {
    let delivery = get(tx, id).await?;
    let channel = channels::find_locked(tx, delivery.channel).await?;
    let channel = channels::require_enabled(channel.as_ref())?;
    if tx.execute(RETRY, &[id.into(), now.into()]).await? == 0 {
        let told = "only what has failed or was cancelled is tried again";
        let state = object!({ "status": delivery.status });
        return Err(Refusal::conflict("delivery_not_over", told, state));
    }
    channels::refresh(tx, channel.id, channel.paced_until).await?;
    get(tx, id).await
}

const ACKNOWLEDGE: &str = "
    update deliveries
    set acknowledged_at = $2
    where id = $1
      and acknowledged_at is null";

/// Notes that somebody has seen what was given up, and leaves it at that. Doing it twice changes nothing.
pub async fn acknowledge(tx: &mut Tx, now: Timestamp, id: DeliveryId) -> Result<Delivery, Refusal> {
    let delivery = get(tx, id).await?;
    if delivery.status != DeliveryStatus::Failed {
        let told = "only deliveries that have failed are acknowledged";
        return Err(Refusal::conflict("delivery_not_failed", told, object!({ "status": delivery.status })));
    }
    tx.execute(ACKNOWLEDGE, &[id.into(), now.into()]).await?;
    Ok(delivery)
}

const CANCEL_OF_CHANNEL: &str = "
    update deliveries
    set status = 'cancelled',
      due_at = null,
      finished_at = $2
    where channel_id = $1
      and status = 'pending'";

/// Cancels what waits for a channel. An attempt that is being made goes on.
pub(crate) async fn cancel_of_channel(tx: &mut Tx, now: Timestamp, channel: ChannelId) -> Result<(), Error> {
    tx.execute(CANCEL_OF_CHANNEL, &[channel.into(), now.into()]).await?;
    Ok(())
}

/// No pause of a channel is longer.
const PACED_AHEAD_MAX: Duration = Duration::from_secs(10 * 60);
/// No pause between two attempts is longer.
const DUE_AHEAD_MAX: Duration = Duration::from_secs(26 * 60 * 60);

const AHEAD: &str = "
    select id
    from channels
    where paced_until > $1
      or due_at > $2
    order by id
    {for_update}";
const DUE_NOW: &str = "
    update deliveries
    set due_at = $2
    where channel_id = $1
      and due_at > $3";

/// After the clock was set back: what was put off by a clock that was ahead is sent now.
pub(crate) async fn rewind(tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
    let mut ahead: Vec<ChannelId> = Vec::new();
    let limits = [(now + PACED_AHEAD_MAX).into(), (now + DUE_AHEAD_MAX).into()];
    for mut row in tx.query(AHEAD, &limits).await? {
        ahead.push(row.get()?);
    }
    for id in ahead {
        tx.execute(DUE_NOW, &[id.into(), now.into(), (now + DUE_AHEAD_MAX).into()]).await?;
        channels::set_pace(tx, id, now).await?;
        channels::refresh(tx, id, now).await?;
    }
    Ok(())
}
