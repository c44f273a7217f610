//! Telling people of escalations: when one is raised, and again, one step higher each time, for as long as nobody has
//! seen it.

use serde_json::json as object;
use wakeful_domain::escalation::{Escalation, EscalationKind, REMIND_AFTER, REMINDERS_MAX, Severity};
use wakeful_domain::id::{AgentId, EscalationId, IdSource, NotificationId, RunId};
use wakeful_domain::notification::{Notice, NotificationKind};
use wakeful_domain::time::Timestamp;

use crate::ops::{escalations, notifications};
use crate::{Error, Refusal, Tx};

/// Escalations that people are reminded of in one transaction.
const BITE: i64 = 50;

/// Tells people of an escalation, `severity` being how loud. The `count`th time gives the same id however often the
/// operation is run.
pub(crate) async fn tell(
    tx: &mut Tx,
    now: Timestamp,
    about: &Escalation,
    severity: Severity,
    count: i64,
) -> Result<(), Error> {
    let seed = (about.id.uuid().as_u128() as u64).wrapping_add(count.unsigned_abs());
    let id = match count {
        0 => NotificationId::from_uuid(about.id.uuid()),
        _ => IdSource::new(seed).next(now),
    };
    let run: Option<RunId> = about.subject.parse().ok();
    let is_failing = about.kind == EscalationKind::DeliveryFailing;
    let title = match count {
        0 => about.title.clone(),
        _ => format!("still waiting for somebody: {}", about.title),
    };
    let notice = Notice {
        company: about.company,
        kind: NotificationKind::Escalation,
        level: severity.into(),
        // One that is open stands for all of its key. A channel may fail and recover all day, though.
        cause: (is_failing && count == 0).then(|| about.key.clone()),
        title,
        text: about.detail.clone(),
        metadata: object!({
            "escalation": about.id,
            "kind": about.kind,
            "severity": severity,
            "about": about.subject,
            "reminder": count,
        }),
        agent: match run {
            Some(run) => agent_of(tx, run).await?,
            None => about.subject.parse().ok(),
        },
        run,
        schedule: about.subject.parse().ok(),
    };
    // What is wrong with a channel is told through the others.
    let except = if is_failing { about.subject.parse().ok() } else { None };
    notifications::notify_except(tx, now, id, notice, except).await.map(|_| ())
}

const AGENT_OF: &str = "select agent_id from runs where id = $1";

async fn agent_of(tx: &mut Tx, run: RunId) -> Result<Option<AgentId>, Error> {
    tx.query_first(AGENT_OF, &[run.into()]).await?.map(|mut row| row.get()).transpose()
}

const DUE: &str = "
    select id, reminders
    from escalations
    where remind_at <= $1
    order by remind_at, id
    limit $2
    {skip_locked}";

const REMINDED: &str = "
    update escalations
    set severity = $2,
      reminders = $3,
      remind_at = $4
    where id = $1";

/// Reminds people of what nobody has seen for long. Tells of how much.
pub(crate) async fn remind(tx: &mut Tx, now: Timestamp) -> Result<usize, Refusal> {
    let mut due: Vec<(EscalationId, i64)> = Vec::new();
    for mut row in tx.query(DUE, &[now.into(), BITE.into()]).await? {
        due.push((row.get()?, row.get()?));
    }
    for (id, reminders) in &due {
        let escalation = escalations::get(tx, *id).await?;
        let (severity, count) = (escalation.severity.raised(), reminders + 1);
        let next = (count < REMINDERS_MAX).then(|| now + REMIND_AFTER);
        tx.execute(REMINDED, &[(*id).into(), crate::value::name(&severity), count.into(), next.into()]).await?;
        tell(tx, now, &escalation, severity, count).await?;
    }
    Ok(due.len())
}

const NEXT: &str = "select remind_at from escalations where remind_at is not null order by remind_at limit 1";

/// When people are to be reminded next.
pub(crate) async fn next_at(tx: &mut Tx) -> Result<Option<Timestamp>, Error> {
    tx.query_first(NEXT, &[]).await?.map(|mut row| row.get()).transpose()
}
