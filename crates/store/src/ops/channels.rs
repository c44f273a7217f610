//! Channels as rows: made, read, listed, changed, removed. When somebody has to look at the deliveries of one stands on
//! its own row, so that looking costs what is due, not what is there.

use serde_json::json as object;
use wakeful_domain::channel::{Channel, State};
use wakeful_domain::delivery::{DeliveryStatus, may_attempt_at};
use wakeful_domain::id::{ChannelId, CompanyId};
use wakeful_domain::notification::Notice;
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::ops::{deliveries, escalations};
use crate::value::{json, name};
use crate::{Error, Refusal, Row, Tx, Value};

const COLUMNS: &str = "id, company_id, name, target, filter, state, state_reason, paced_until, created_at, updated_at";

fn read(mut row: Row) -> Result<Channel, Error> {
    Ok(Channel {
        id: row.get()?,
        company: row.get()?,
        name: row.get()?,
        target: row.json()?,
        filter: row.json()?,
        state: row.name()?,
        state_reason: row.get()?,
        paced_until: row.get()?,
        created_at: row.get()?,
        updated_at: row.get()?,
    })
}

const INSERT: &str = "
    insert into channels (id, company_id, name, target, filter, state, state_reason, paced_until, due_at, created_at,
      updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, null, $9, $9)";

/// Makes a channel. A name that another one of the company has is a conflict.
pub async fn insert(tx: &mut Tx, channel: &Channel) -> Result<Channel, Refusal> {
    check_name(tx, channel).await?;
    let mut parameters: Vec<Value<'_>> = vec![channel.id.into(), channel.company.into()];
    parameters.extend(settings(channel));
    parameters.extend([channel.paced_until.into(), channel.created_at.into()]);
    tx.execute(INSERT, &parameters).await?;
    get(tx, channel.id).await
}

/// What a person can set.
fn settings(channel: &Channel) -> [Value<'_>; 5] {
    [
        (&channel.name).into(),
        json(&channel.target),
        json(&channel.filter),
        name(&channel.state),
        (&channel.state_reason).into(),
    ]
}

const OF_NAME: &str = "select id from channels where company_id = $1 and name = $2";

async fn check_name(tx: &mut Tx, channel: &Channel) -> Result<(), Refusal> {
    let found = tx.query_first(OF_NAME, &[channel.company.into(), (&channel.name).into()]).await?;
    match found.map(|mut row| row.get::<ChannelId>()).transpose()? {
        Some(other) if other != channel.id => {
            let told = format!("there is a channel `{}` already: choose another name", channel.name);
            Err(Refusal::conflict("channel_exists", told, object!({ "channel": other })))
        }
        _ => Ok(()),
    }
}

/// The channel with this id.
pub async fn get(tx: &mut Tx, id: ChannelId) -> Result<Channel, Refusal> {
    let sql = format!("select {COLUMNS} from channels where id = $1");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// The same, if it is there; its row is locked until the transaction ends.
pub(crate) async fn find_locked(tx: &mut Tx, id: ChannelId) -> Result<Option<Channel>, Error> {
    let sql = format!("select {COLUMNS} from channels where id = $1 {{for_update}}");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// Refuses to send anything through a channel that is off.
pub(crate) fn require_enabled(channel: Option<&Channel>) -> Result<&Channel, Refusal> {
    channel.filter(|channel| channel.state == State::Enabled).ok_or_else(|| {
        let told = "the channel is disabled or removed: enable it first";
        Refusal::conflict("channel_off", told, object!({ "channel": channel.map(|channel| channel.id) }))
    })
}

/// A page of a company's channels, newest first; of one name if it is given.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    name: Option<String>,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Channel>, Refusal> {
    let list = List::of(COLUMNS, "channels").and("company_id = $", company).and_if("name = $", name);
    Ok(list.page(tx, cursor, limit, read, |channel| channel.id.to_string()).await?)
}

/// The channels that a notification goes through, locked, in the order of their ids.
pub(crate) async fn for_notice(tx: &mut Tx, notice: &Notice, except: Option<ChannelId>) -> Result<Vec<Channel>, Error> {
    let sql = format!(
        "select {COLUMNS} from channels where company_id = $1 and state = 'enabled' order by id {{for_update}}"
    );
    let channels = tx.query(&sql, &[notice.company.into()]).await?.into_iter().map(read);
    let mut channels = channels.collect::<Result<Vec<_>, _>>()?;
    channels.retain(|channel| Some(channel.id) != except && channel.filter.lets_through(notice));
    Ok(channels)
}

const LOCK_ALL: &str = "select id from channels where company_id = $1 order by id {for_update}";

/// Locks every channel of a company, in the order in which notifications do.
pub(crate) async fn lock_all(tx: &mut Tx, company: CompanyId) -> Result<(), Error> {
    tx.lock(LOCK_ALL, &[company.into()]).await
}

const CHANGE: &str = "
    update channels
    set name = $2,
      target = $3,
      filter = $4,
      state = $5,
      state_reason = $6,
      updated_at = $7
    where id = $1";

/// Changes a channel. What waits for one that is disabled is cancelled: the inbox has it.
pub async fn change(tx: &mut Tx, now: Timestamp, changed: &Channel) -> Result<Channel, Refusal> {
    find_locked(tx, changed.id).await?.ok_or_else(|| Refusal::not_found(changed.id))?;
    check_name(tx, changed).await?;
    let mut parameters: Vec<Value<'_>> = vec![changed.id.into()];
    parameters.extend(settings(changed));
    parameters.push(now.into());
    tx.execute(CHANGE, &parameters).await?;
    if changed.state == State::Disabled {
        call_off(tx, now, changed).await?;
        refresh(tx, changed.id, changed.paced_until).await?;
    }
    get(tx, changed.id).await
}

const REMOVE: &str = "delete from channels where id = $1";

/// Removes a channel. What waits for it is cancelled; what was delivered stays on record.
pub async fn remove(tx: &mut Tx, now: Timestamp, id: ChannelId) -> Result<(), Refusal> {
    let channel = find_locked(tx, id).await?.ok_or_else(|| Refusal::not_found(id))?;
    call_off(tx, now, &channel).await?;
    tx.execute(REMOVE, &[id.into()]).await?;
    Ok(())
}

/// Nothing is sent through it any more, so nothing is the matter with it either.
async fn call_off(tx: &mut Tx, now: Timestamp, channel: &Channel) -> Result<(), Refusal> {
    deliveries::cancel_of_channel(tx, now, channel.id).await?;
    escalations::resolve_key(tx, now, channel.company, &incident_key(channel.id), "system").await
}

/// The key of the escalation that says that a channel does not deliver.
pub(crate) fn incident_key(channel: ChannelId) -> String {
    format!("channel:{channel}")
}

const PACED: &str = "update channels set paced_until = $2 where id = $1";

/// Notes how far the pace of a channel is used up.
pub(crate) async fn set_pace(tx: &mut Tx, id: ChannelId, paced_until: Timestamp) -> Result<(), Error> {
    tx.execute(PACED, &[id.into(), paced_until.into()]).await?;
    Ok(())
}

const SET_DUE: &str = "update channels set due_at = $2 where id = $1";

/// Works out anew when somebody has to look at a channel. Whoever changes its deliveries calls this in the same
/// transaction, with the channel locked.
pub(crate) async fn refresh(tx: &mut Tx, id: ChannelId, paced_until: Timestamp) -> Result<(), Error> {
    let due_at = match deliveries::first_due(tx, id, DeliveryStatus::Sending).await? {
        // One at a time, so that they come in their order and one that hangs holds up no other channel.
        Some(at) => Some(at),
        None => {
            let pending = deliveries::first_due(tx, id, DeliveryStatus::Pending).await?;
            pending.map(|at| at.max(may_attempt_at(paced_until)))
        }
    };
    tx.execute(SET_DUE, &[id.into(), due_at.into()]).await?;
    Ok(())
}

const NEXT_DUE: &str = "select due_at from channels where due_at is not null order by due_at limit 1";

/// When somebody has to look at a channel next.
pub(crate) async fn next_due(tx: &mut Tx) -> Result<Option<Timestamp>, Error> {
    tx.query_first(NEXT_DUE, &[]).await?.map(|mut row| row.get()).transpose()
}

/// The channels that somebody has to look at now, the longest waiting first, locked.
pub(crate) async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Channel>, Error> {
    let sql = format!("select {COLUMNS} from channels where due_at <= $1 order by due_at, id limit $2 {{skip_locked}}");
    let rows = tx.query(&sql, &[now.into(), limit.into()]).await?;
    rows.into_iter().map(read).collect()
}
