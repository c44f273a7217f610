//! Webhooks as rows: made, read, listed, changed, removed. What is done with what was told is [`crate::ops::receipts`].

use serde_json::{Map, json as object};
use wakeful_domain::id::{CompanyId, WebhookId};
use wakeful_domain::subscription::{EventName, Source};
use wakeful_domain::time::Timestamp;
use wakeful_domain::webhook::{PER_COMPANY_MAX, Webhook};

use crate::ops::filter::{List, Page};
use crate::ops::secrets::Sealed;
use crate::ops::subscriptions::deliver::{Happening, Seen, concerned, tell_one};
use crate::ops::subscriptions::topics::hold;
use crate::value::{name, task_key};
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str = "id, company_id, name, scheme, agent_id, task_id, received, refused, last_received_at, \
    last_refused_at, old_until, created_at, updated_at";

fn read(mut row: Row) -> Result<Webhook, Error> {
    Ok(Webhook {
        id: row.get()?,
        company: row.get()?,
        name: row.get()?,
        scheme: row.name()?,
        agent: row.get()?,
        task: row.task()?,
        received: row.get()?,
        refused: row.get()?,
        last_received_at: row.get()?,
        last_refused_at: row.get()?,
        old_until: row.get()?,
        created_at: row.get()?,
        updated_at: row.get()?,
    })
}

/// The webhook with this id, if there is one.
pub async fn find(tx: &mut Tx, id: WebhookId) -> Result<Option<Webhook>, Error> {
    let sql = format!("select {COLUMNS} from webhooks where id = $1");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// The webhook with this id.
pub async fn get(tx: &mut Tx, id: WebhookId) -> Result<Webhook, Refusal> {
    find(tx, id).await?.ok_or_else(|| Refusal::not_found(id))
}

/// A page of a company's webhooks, newest first; of one name if it is given.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    name: Option<String>,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Webhook>, Refusal> {
    let list = List::of(COLUMNS, "webhooks").and("company_id = $", company).and_if("name = $", name);
    Ok(list.page(tx, cursor, limit, read, |webhook| webhook.id.to_string()).await?)
}

const INSERT: &str = "
    insert into webhooks (id, company_id, name, scheme, sealed, key_id, agent_id, task_id, received, refused, paced_until,
      created_at, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9, $9, $9)";
const COUNT: &str = "select count(*) from webhooks where company_id = $1";

/// Makes a webhook. A name that another one of the company has is a conflict.
pub async fn insert(tx: &mut Tx, webhook: &Webhook, secret: &Sealed) -> Result<Webhook, Refusal> {
    check(tx, webhook).await?;
    let count: i64 = tx.query_one(COUNT, &[webhook.company.into()]).await?.get()?;
    if count >= PER_COMPANY_MAX {
        let told = format!("the company has {PER_COMPANY_MAX} webhooks, which is the most: remove some first");
        return Err(Refusal::conflict("too_many_webhooks", told, object!({ "max": PER_COMPANY_MAX })));
    }
    let parameters = [
        webhook.id.into(),
        webhook.company.into(),
        (&webhook.name).into(),
        name(&webhook.scheme),
        (&secret.text).into(),
        (&secret.key_id).into(),
        webhook.agent.into(),
        task_key(webhook.task),
        webhook.created_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    get(tx, webhook.id).await
}

const OF_NAME: &str = "select id from webhooks where company_id = $1 and name = $2";
const AGENT: &str = "select 1 from agents where id = $1 and company_id = $2 and state <> 'terminated'";
const TASK: &str = "select 1 from tasks where id = $1 and company_id = $2";

/// The name is free, and whom it wakes is there, in its own company.
async fn check(tx: &mut Tx, webhook: &Webhook) -> Result<(), Refusal> {
    let found = tx.query_first(OF_NAME, &[webhook.company.into(), (&webhook.name).into()]).await?;
    let other = found.map(|mut row| row.get::<WebhookId>()).transpose()?;
    if let Some(other) = other.filter(|other| *other != webhook.id) {
        let told = format!("there is a webhook `{}` already: choose another name", webhook.name);
        return Err(Refusal::conflict("webhook_exists", told, object!({ "webhook": other })));
    }
    if let Some(agent) = webhook.agent
        && tx.query_first(AGENT, &[agent.into(), webhook.company.into()]).await?.is_none()
    {
        return Err(Refusal::invalid("target.agent", format!("there is no active agent `{agent}` in this company")));
    }
    if let Some(task) = webhook.task
        && tx.query_first(TASK, &[task.into(), webhook.company.into()]).await?.is_none()
    {
        return Err(Refusal::invalid("target.task", format!("there is no task `{task}` in this company")));
    }
    Ok(())
}

const CHANGE: &str = "
    update webhooks
    set name = $2,
      agent_id = $3,
      task_id = $4,
      updated_at = $5
    where id = $1";

/// Changes the name of a webhook and whom it wakes.
pub async fn change(tx: &mut Tx, now: Timestamp, webhook: &Webhook) -> Result<Webhook, Refusal> {
    get(tx, webhook.id).await?;
    check(tx, webhook).await?;
    let parameters =
        [webhook.id.into(), (&webhook.name).into(), webhook.agent.into(), task_key(webhook.task), now.into()];
    tx.execute(CHANGE, &parameters).await?;
    get(tx, webhook.id).await
}

/// The secrets of a webhook: the one that holds, and the one before while it works.
#[derive(Debug, Clone)]
pub struct Secrets {
    pub webhook: Webhook,
    pub sealed: Vec<Sealed>,
}

const SECRETS: &str = "
    select sealed, key_id, old_sealed, old_key_id, old_until
    from webhooks
    where id = $1";

/// A webhook with the secrets that work now, if there is one.
pub async fn secrets(tx: &mut Tx, now: Timestamp, id: WebhookId) -> Result<Option<Secrets>, Refusal> {
    let Some(webhook) = find(tx, id).await? else { return Ok(None) };
    let mut row = tx.query_one(SECRETS, &[id.into()]).await?;
    let mut sealed = vec![Sealed { text: row.get()?, key_id: row.get()? }];
    let (old, old_key): (Option<String>, Option<String>) = (row.get()?, row.get()?);
    let until: Option<Timestamp> = row.get()?;
    if until.is_some_and(|until| until > now) {
        sealed.extend(old.zip(old_key).map(|(text, key_id)| Sealed { text, key_id }));
    }
    Ok(Some(Secrets { webhook, sealed }))
}

/// A webhook with the secret that holds.
pub async fn get_with_secret(tx: &mut Tx, id: WebhookId) -> Result<(Webhook, Sealed), Refusal> {
    let webhook = get(tx, id).await?;
    let mut row = tx.query_one(SECRETS, &[id.into()]).await?;
    Ok((webhook, Sealed { text: row.get()?, key_id: row.get()? }))
}

const ROTATE: &str = "
    update webhooks
    set old_sealed = sealed,
      old_key_id = key_id,
      old_until = $2,
      sealed = $3,
      key_id = $4,
      updated_at = $5
    where id = $1";

/// Gives a webhook a new secret. The one before works until then; one before that no more.
pub async fn rotate(
    tx: &mut Tx,
    now: Timestamp,
    id: WebhookId,
    old_until: Timestamp,
    secret: &Sealed,
) -> Result<Webhook, Refusal> {
    let parameters = [id.into(), old_until.into(), (&secret.text).into(), (&secret.key_id).into(), now.into()];
    match tx.execute(ROTATE, &parameters).await? {
        0 => Err(Refusal::not_found(id)),
        _ => get(tx, id).await,
    }
}

const REFUSED: &str = "
    update webhooks
    set refused = refused + 1,
      last_refused_at = $2
    where id = $1
      and (last_refused_at is null or last_refused_at <= $3)";

/// Counts a caller that did not know the secret: at most ten a second, so that it costs no more.
pub async fn note_refused(tx: &mut Tx, now: Timestamp, id: WebhookId) -> Result<(), Refusal> {
    let since = now - std::time::Duration::from_millis(100);
    tx.execute(REFUSED, &[id.into(), now.into(), since.into()]).await?;
    Ok(())
}

const LOCK: &str = "select id from webhooks where id = $1 {for_update}";
const REMOVE_RECEIPTS: &str = "delete from webhook_receipts where webhook_id = $1";
const REMOVE: &str = "delete from webhooks where id = $1";

/// Removes a webhook and what was told through it. Whoever waits for it is told.
pub async fn remove(tx: &mut Tx, now: Timestamp, id: WebhookId) -> Result<(), Refusal> {
    let webhook = get(tx, id).await?;
    let happening = Happening {
        now,
        at: now,
        company: webhook.company,
        key: Some(format!("removal of {id}")),
        cause: None,
        what: format!("the webhook `{}` was removed", webhook.name),
        data: Map::new(),
        detail: Map::new(),
    };
    let names: Vec<EventName> = Vec::new();
    let seen = Seen { source: Source::Webhook(id), names, is_last: true };
    let waiting = hold(tx, &happening, &seen).await?;
    tx.lock(LOCK, &[id.into()]).await?;
    // Whoever subscribes locks the webhook too: from here on nobody joins.
    if concerned(tx, &happening, &seen).await?.iter().any(|one| waiting.iter().all(|held| held.id != one.id)) {
        return Err(Error::changed_meanwhile("the subscriptions to a webhook").into());
    }
    for mut subscription in waiting {
        tell_one(tx, &mut subscription, &happening, &seen, false).await?;
    }
    tx.execute(REMOVE_RECEIPTS, &[id.into()]).await?;
    tx.execute(REMOVE, &[id.into()]).await?;
    Ok(())
}
