//! What was told through a webhook: entered once, wakes whom it is for and whoever waits for it, in one transaction.
//! Who was told to have sent it has been proved before.

use std::time::Duration;

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{IdSource, ReceiptId, WakeupId, WebhookId};
use wakeful_domain::subscription::{EventName, Source, Subscription};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source as WakeSource, WakeupStatus};
use wakeful_domain::webhook::{BODIES_MAX, RECEIPTS_MAX, Receipt, ReceiptStatus, Webhook};

use crate::ops::filter::{List, Page};
use crate::ops::subscriptions::deliver::{Happening, Seen, concerned, tell_one};
use crate::ops::subscriptions::topics::hold;
use crate::ops::wake::{Maker, Wake, accept_held};
use crate::ops::{events, ready, webhooks};
use crate::value::{json, name};
use crate::{Error, Refusal, Row, Tx};

/// Ten a second, a hundred at once.
const PACE: Duration = Duration::from_millis(100);
const PACE_AHEAD: Duration = Duration::from_secs(10);

const COLUMNS: &str = "id, company_id, webhook_id, status, event, matched, wakeup_id, repeats, bytes, case when data is null then 0 else 1 end, at";

fn read(mut row: Row) -> Result<Receipt, Error> {
    Ok(Receipt {
        id: row.get()?,
        company: row.get()?,
        webhook: row.get()?,
        status: row.name()?,
        event: row.get()?,
        matched: row.get()?,
        wakeup: row.get()?,
        repeats: row.get()?,
        bytes: row.get()?,
        has_data: row.get()?,
        at: row.get()?,
    })
}

/// The receipt with this id.
pub async fn get(tx: &mut Tx, id: ReceiptId) -> Result<Receipt, Refusal> {
    let sql = format!("select {COLUMNS} from webhook_receipts where id = $1");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// A page of what was told through a webhook, newest first.
pub async fn list(tx: &mut Tx, id: WebhookId, cursor: Option<String>, limit: i64) -> Result<Page<Receipt>, Refusal> {
    let list = List::of(COLUMNS, "webhook_receipts").and("webhook_id = $", id);
    Ok(list.page(tx, cursor, limit, read, |receipt| receipt.id.to_string()).await?)
}

/// Something that was told.
#[derive(Debug, Clone)]
pub struct Told {
    pub now: Timestamp,
    pub id: ReceiptId,
    pub id_seed: u64,
    pub webhook: WebhookId,
    /// What the caller calls it: the same again is told once.
    pub delivery_key: Option<String>,
    pub event: Option<String>,
    /// What filters are about.
    pub data: Map<String, Json>,
    pub bytes: i64,
    /// The one that is told once more.
    pub replay_of: Option<ReceiptId>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    Kept(Receipt),
    /// Too many come: to be told again after this.
    TooMany(Duration),
}

const OF_KEY: &str = "select id from webhook_receipts where webhook_id = $1 and delivery_key = $2";

/// Enters what was told, and wakes for it.
pub async fn receive(tx: &mut Tx, told: &Told) -> Result<Received, Refusal> {
    let webhook = webhooks::get(tx, told.webhook).await?;
    let what = match &told.event {
        Some(event) => format!("the webhook `{}` was told `{event}`", webhook.name),
        None => format!("the webhook `{}` was told something", webhook.name),
    };
    let happening = Happening {
        now: told.now,
        at: told.now,
        company: webhook.company,
        key: Some(told.id.to_string()),
        cause: None,
        what,
        data: told.data.clone(),
        detail: Map::from_iter([("receipt".into(), object!(told.id))]),
    };
    let seen = Seen { source: Source::Webhook(webhook.id), names: vec![EventName::WebhookReceived], is_last: false };
    // Whom it wakes by itself is locked with those who wait: tasks before agents, agents in their order.
    let subscribers = hold_with(tx, &happening, &seen, &webhook).await?;
    if let Some(wait) = too_many(tx, told).await? {
        return Ok(Received::TooMany(wait));
    }
    let earlier: Option<ReceiptId> = match &told.delivery_key {
        Some(key) => {
            let found = tx.query_first(OF_KEY, &[webhook.id.into(), key.into()]).await?;
            found.map(|mut row| row.get()).transpose()?
        }
        None => None,
    };
    let mut receipt = Receipt {
        id: told.id,
        company: webhook.company,
        webhook: webhook.id,
        status: ReceiptStatus::Duplicate,
        event: told.event.clone(),
        matched: 0,
        wakeup: None,
        repeats: earlier.or(told.replay_of),
        bytes: told.bytes,
        has_data: earlier.is_none(),
        at: told.now,
    };
    if earlier.is_none() {
        let mut is_skipped = false;
        for mut subscription in subscribers {
            receipt.matched += i64::from(tell_one(tx, &mut subscription, &happening, &seen, false).await?);
        }
        if webhook.agent.is_some() {
            let (wakeup, status) = wake_target(tx, told, &webhook, &happening).await?;
            receipt.wakeup = Some(wakeup);
            is_skipped = status == WakeupStatus::Skipped;
        }
        receipt.status = match (receipt.matched > 0, receipt.wakeup.is_some(), is_skipped) {
            (true, _, _) | (false, true, false) => ReceiptStatus::Accepted,
            (false, true, true) => ReceiptStatus::Skipped,
            (false, false, _) => ReceiptStatus::Ignored,
        };
    }
    keep(tx, told, &receipt).await?;
    let data = object!({ "receipt": receipt.id, "status": receipt.status, "event": receipt.event, "matched": receipt.matched });
    events::append(tx, webhook.company, told.now, "webhook.received", &webhook.id.to_string(), &data).await?;
    get(tx, receipt.id).await.map(Received::Kept)
}

async fn hold_with(
    tx: &mut Tx,
    happening: &Happening,
    seen: &Seen,
    webhook: &Webhook,
) -> Result<Vec<Subscription>, Error> {
    let found = concerned(tx, happening, seen).await?;
    let tasks = found.iter().filter_map(|one| one.task).chain(webhook.task).collect();
    let agents = found.iter().map(|one| one.agent).chain(webhook.agent).collect();
    ready::lock(tx, tasks, agents).await?;
    hold(tx, happening, seen).await
}

const PACED: &str = "select paced_until from webhooks where id = $1 {for_update}";
const USE_PACE: &str = "
    update webhooks
    set paced_until = $2,
      received = received + 1,
      last_received_at = $3
    where id = $1";

/// How long to wait if more come than the pace allows; else one of it is used up.
async fn too_many(tx: &mut Tx, told: &Told) -> Result<Option<Duration>, Refusal> {
    let Some(mut row) = tx.query_first(PACED, &[told.webhook.into()]).await? else {
        return Err(Refusal::not_found(told.webhook));
    };
    let paced_until: Timestamp = row.get::<Timestamp>()?.max(told.now);
    if paced_until > told.now + PACE_AHEAD {
        return Ok(Some(paced_until.since(told.now + PACE_AHEAD)));
    }
    tx.execute(USE_PACE, &[told.webhook.into(), (paced_until + PACE).into(), told.now.into()]).await?;
    Ok(None)
}

async fn wake_target(
    tx: &mut Tx,
    told: &Told,
    webhook: &Webhook,
    happening: &Happening,
) -> Result<(WakeupId, WakeupStatus), Refusal> {
    let Some(agent) = webhook.agent else { return Err(Refusal::not_found(webhook.id)) };
    let payload = Map::from_iter([
        ("webhook".into(), object!({ "id": webhook.id, "name": webhook.name })),
        ("receipt".into(), object!(told.id)),
        ("event".into(), object!(told.event)),
        ("data".into(), Json::Object(told.data.clone())),
    ]);
    let wake = Wake {
        id: IdSource::new(told.id_seed).next(told.now),
        company: Some(webhook.company),
        agent,
        task: webhook.task,
        source: WakeSource::Webhook,
        trigger_detail: Some(webhook.name.clone()),
        reason: Some(happening.what.clone()),
        priority: None,
        payload,
        context: Map::new(),
        actor: Actor::system(),
        idempotency_key: None,
        request_hash: None,
        now: told.now,
        due_at: None,
        expires_at: None,
        max_attempts: None,
        by_run: None,
        maker: Maker::Wakeful,
    };
    let accepted = accept_held(tx, &wake).await?;
    Ok((accepted.wakeup.id, accepted.wakeup.status))
}

const KEEP: &str = "
    insert into webhook_receipts (id, company_id, webhook_id, delivery_key, status, event, matched, wakeup_id, repeats,
      bytes, data, at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const FORGET: &str = "
    delete from webhook_receipts
    where webhook_id = $1
      and id <= (select id from webhook_receipts where webhook_id = $1 order by id desc limit 1 offset $2)";
const FORGET_DATA: &str = "
    update webhook_receipts
    set data = null
    where id = (select id from webhook_receipts where webhook_id = $1 order by id desc limit 1 offset $2)";

async fn keep(tx: &mut Tx, told: &Told, receipt: &Receipt) -> Result<(), Error> {
    let parameters = [
        receipt.id.into(),
        receipt.company.into(),
        receipt.webhook.into(),
        told.delivery_key.as_deref().filter(|_| receipt.has_data).into(),
        name(&receipt.status),
        (&receipt.event).into(),
        receipt.matched.into(),
        receipt.wakeup.into(),
        receipt.repeats.into(),
        receipt.bytes.into(),
        if receipt.has_data { json(&told.data) } else { crate::Value::Null },
        receipt.at.into(),
    ];
    tx.execute(KEEP, &parameters).await?;
    tx.execute(FORGET, &[receipt.webhook.into(), RECEIPTS_MAX.into()]).await?;
    tx.execute(FORGET_DATA, &[receipt.webhook.into(), BODIES_MAX.into()]).await?;
    Ok(())
}

const CONTENTS: &str = "select data from webhook_receipts where id = $1";

/// What was told, to be told once more.
pub async fn contents(tx: &mut Tx, id: ReceiptId) -> Result<Map<String, Json>, Refusal> {
    let Some(mut row) = tx.query_first(CONTENTS, &[id.into()]).await? else { return Err(Refusal::not_found(id)) };
    row.json_option()?.ok_or_else(|| {
        let told = format!("what was told is kept of the newest {BODIES_MAX} only: have it sent again");
        Refusal::conflict("body_gone", told, object!({ "receipt": id }))
    })
}
