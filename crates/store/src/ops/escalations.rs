//! Escalations: what a person has to know or decide. Raising one that is open already counts it and tells nobody again.

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::escalation::{Escalation, EscalationKind, EscalationStatus, REMIND_AFTER, Severity};
use wakeful_domain::id::{CompanyId, EscalationId, RunId};
use wakeful_domain::run::RunFence;
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::ops::{events, reminders, runs};
use crate::value::name;
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str = "id, company_id, kind, severity, key, subject, title, detail, actor_type, actor_id, count, status, \
    raised_at, last_at, acked_at, acked_by, resolved_at, resolved_by";

fn read(mut row: Row) -> Result<Escalation, Error> {
    Ok(Escalation {
        id: row.get()?,
        company: row.get()?,
        kind: row.name()?,
        severity: row.name()?,
        key: row.get()?,
        subject: row.get()?,
        title: row.get()?,
        detail: row.get()?,
        actor: Actor { kind: row.name()?, id: row.get()? },
        count: row.get()?,
        status: row.name()?,
        raised_at: row.get()?,
        last_at: row.get()?,
        acked_at: row.get()?,
        acked_by: row.get()?,
        resolved_at: row.get()?,
        resolved_by: row.get()?,
    })
}

/// What is to be raised.
#[derive(Debug, Clone)]
pub struct Raise {
    pub id: EscalationId,
    pub now: Timestamp,
    pub company: CompanyId,
    pub kind: EscalationKind,
    pub severity: Severity,
    pub key: String,
    pub subject: String,
    pub title: String,
    pub detail: String,
    pub actor: Actor,
}

const RAISE: &str = "
    insert into escalations (id, company_id, kind, severity, key, subject, title, detail, actor_type, actor_id, count,
      status, raised_at, last_at, remind_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, 'open', $11, $11, $12)
    on conflict (company_id, key) where status <> 'resolved' do update
    set count = escalations.count + 1,
      last_at = excluded.last_at
    returning id";

/// Raises an escalation, or counts it on the one that is open under the same key.
pub async fn raise(tx: &mut Tx, raise: &Raise) -> Result<Escalation, Refusal> {
    let parameters = [
        raise.id.into(),
        raise.company.into(),
        name(&raise.kind),
        name(&raise.severity),
        (&raise.key).into(),
        (&raise.subject).into(),
        (&raise.title).into(),
        (&raise.detail).into(),
        name(&raise.actor.kind),
        (&raise.actor.id).into(),
        raise.now.into(),
        (raise.now + REMIND_AFTER).into(),
    ];
    let id: EscalationId = tx.query_one(RAISE, &parameters).await?.get()?;
    if id == raise.id {
        let data = object!({
            "kind": raise.kind,
            "severity": raise.severity,
            "about": raise.subject,
            "title": raise.title,
            "detail": raise.detail,
        });
        events::append(tx, raise.company, raise.now, "escalation.raised", &id.to_string(), &data).await?;
    }
    let raised = get(tx, id).await?;
    if id == raise.id {
        reminders::tell(tx, raise.now, &raised, raised.severity, 0).await?;
    }
    Ok(raised)
}

/// The escalation with this id.
pub async fn get(tx: &mut Tx, id: EscalationId) -> Result<Escalation, Refusal> {
    let sql = format!("select {COLUMNS} from escalations where id = $1");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// A page of a company's escalations.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    status: Option<EscalationStatus>,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Escalation>, Refusal> {
    let list = List::of(COLUMNS, "escalations")
        .and("company_id = $", company)
        .and_if("status = $", status.map(|status| name(&status)));
    Ok(list.page(tx, cursor, limit, read, |escalation| escalation.id.to_string()).await?)
}

const ACKNOWLEDGE: &str = "
    update escalations
    set status = 'acknowledged',
      acked_at = $2,
      acked_by = $3,
      remind_at = null
    where id = $1
      and status = 'open'";

/// Notes that somebody has seen it. Doing it twice changes nothing.
pub async fn acknowledge(tx: &mut Tx, now: Timestamp, id: EscalationId, by: &str) -> Result<Escalation, Refusal> {
    let found = get(tx, id).await?;
    if found.status == EscalationStatus::Resolved {
        return Err(Refusal::conflict(
            "escalation_resolved",
            "the escalation is resolved already",
            object!({ "status": found.status }),
        ));
    }
    if tx.execute(ACKNOWLEDGE, &[id.into(), now.into(), by.into()]).await? == 1 {
        tell(tx, now, &found, "escalation.acknowledged", by).await?;
    }
    get(tx, id).await
}

const RESOLVE: &str = "
    update escalations
    set status = 'resolved',
      resolved_at = $2,
      resolved_by = $3,
      remind_at = null
    where id = $1
      and status <> 'resolved'";

/// Closes it. Doing it twice changes nothing.
pub async fn resolve(tx: &mut Tx, now: Timestamp, id: EscalationId, by: &str) -> Result<Escalation, Refusal> {
    let found = get(tx, id).await?;
    if tx.execute(RESOLVE, &[id.into(), now.into(), by.into()]).await? == 1 {
        tell(tx, now, &found, "escalation.resolved", by).await?;
    }
    get(tx, id).await
}

const OPEN_UNDER: &str = "
    select id
    from escalations
    where company_id = $1
      and key = $2
      and status <> 'resolved'";

/// Closes what is open under this key, because its cause is gone.
pub(crate) async fn resolve_key(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    key: &str,
    by: &str,
) -> Result<(), Refusal> {
    if let Some(mut row) = tx.query_first(OPEN_UNDER, &[company.into(), key.into()]).await? {
        resolve(tx, now, row.get()?, by).await?;
    }
    Ok(())
}

/// Raises one about a live run, which its end resolves; of a run that has ended nobody needs to hear it.
pub async fn raise_of_run(tx: &mut Tx, run: RunFence, raise: &Raise) -> Result<(), Refusal> {
    runs::get_live(tx, run.run, run.fence).await?;
    self::raise(tx, raise).await.map(|_| ())
}

/// The key of a run from which nothing is heard.
pub fn silent_key(run: RunId) -> String {
    format!("silent:{run}")
}

/// The key of a run whose processes outlive KILL.
pub fn stuck_key(run: RunId) -> String {
    format!("stuck:{run}")
}

const OPEN_BETWEEN: &str = "
    select id
    from escalations
    where company_id = $1
      and key >= $2
      and key < $3
      and status <> 'resolved'
    order by id";

/// Closes all that is open under keys that begin like this.
pub(crate) async fn resolve_all_under(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    start: &str,
    by: &str,
) -> Result<(), Refusal> {
    // No character of a key comes behind this one.
    let end = format!("{start}~");
    for mut row in tx.query(OPEN_BETWEEN, &[company.into(), start.into(), end.into()]).await? {
        resolve(tx, now, row.get()?, by).await?;
    }
    Ok(())
}

async fn tell(tx: &mut Tx, now: Timestamp, about: &Escalation, event: &str, by: &str) -> Result<(), Error> {
    let data = object!({ "kind": about.kind, "by": by });
    events::append(tx, about.company, now, event, &about.id.to_string(), &data).await?;
    Ok(())
}
