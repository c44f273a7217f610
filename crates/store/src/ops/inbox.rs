//! What comes while a run is live: pending wakeups of its lane. The agent sees them and may
//! acknowledge them; then they share the run's end. The rest makes exactly one follow-up.

use serde_json::json as object;
use wakeful_domain::id::{MessageId, RunId, WakeupId};
use wakeful_domain::run::Run;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Wakeup, WakeupStatus};

use crate::ops::run_events::NewRunEvent;
use crate::ops::{agents, events, mail, run_events, runs, wakeups};
use crate::value::task_key;
use crate::{Refusal, Tx};

/// At most this many are shown at once: the size of a batch.
const SHOWN_MAX: i64 = wakeful_domain::lane::BATCH_WAKEUPS_MAX;

/// The eligible pending wakeups of a run's lane, oldest request first.
pub async fn of_run(tx: &mut Tx, run: RunId) -> Result<Vec<Wakeup>, Refusal> {
    let run = runs::get(tx, run).await?;
    let sql = format!(
        "select {} from wakeups where agent_id = $1 and task_id = $2 and status = 'pending' and eligible = 1 \
         order by requested_at, id limit $3",
        wakeups::COLUMNS
    );
    let rows = tx.query(&sql, &[run.agent.into(), task_key(run.task), SHOWN_MAX.into()]).await?;
    Ok(rows.into_iter().map(wakeups::read).collect::<Result<_, _>>()?)
}

const COUNT: &str = "
    select count(*)
    from wakeups
    join runs on runs.agent_id = wakeups.agent_id and runs.task_id = wakeups.task_id
    where runs.id = $1
      and wakeups.status = 'pending'
      and wakeups.eligible = 1";

/// How many wakeups wait on a run's lane.
pub async fn count(tx: &mut Tx, run: RunId) -> Result<i64, Refusal> {
    Ok(tx.query_one(COUNT, &[run.into()]).await?.get()?)
}

/// What became of an acknowledgement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    pub acknowledged: Vec<WakeupId>,
    pub refused: Vec<(WakeupId, &'static str)>,
    /// Mail that was read.
    pub read: Vec<MessageId>,
    pub unread: Vec<(MessageId, &'static str)>,
}

/// A run that takes over wakeups which came while it was live.
#[derive(Debug, Clone)]
pub struct AcknowledgeRequest {
    pub now: Timestamp,
    pub run: RunId,
    pub fence: i64,
    pub wakeups: Vec<WakeupId>,
    /// Mail that its agent has read; what would wake it with that is taken over too.
    pub messages: Vec<MessageId>,
}

const TAKE: &str = "
    update wakeups
    set status = 'claimed',
      run_id = $2,
      attempt = attempt + 1
    where id = $1
      and status = 'pending'
      and eligible = 1
      and (expires_at is null or expires_at > $3)";

const JOIN_BATCH: &str = "
    insert into batches (run_id, wakeup_id, lead)
    values ($1, $2, 0)";

/// Gives eligible wakeups of the lane to its live run. Doing it twice changes nothing.
pub async fn acknowledge(tx: &mut Tx, request: &AcknowledgeRequest) -> Result<Acknowledgement, Refusal> {
    let agent = runs::get(tx, request.run).await?.agent;
    agents::get_locked(tx, agent).await?;
    let run = runs::get_live(tx, request.run, request.fence).await?;
    runs::heard(tx, request.now, run.id, run.fence).await?;
    let mut answer = Acknowledgement::default();
    for id in &request.wakeups {
        match take(tx, request.now, &run, *id).await? {
            Ok(()) => answer.acknowledged.push(*id),
            Err(reason) => answer.refused.push((*id, reason)),
        }
        if let Some(message) = mail::of_wakeup(tx, *id).await?.filter(|_| answer.acknowledged.last() == Some(id)) {
            mail::mark_read_by(tx, request.now, &message, &run).await?;
        }
    }
    for id in &request.messages {
        match read_mail(tx, request.now, &run, *id).await? {
            Ok(()) => answer.read.push(*id),
            Err(reason) => answer.unread.push((*id, reason)),
        }
    }
    Ok(answer)
}

/// Gives one wakeup to the run, or says why not.
async fn take(tx: &mut Tx, now: Timestamp, run: &Run, id: WakeupId) -> Result<Result<(), &'static str>, Refusal> {
    let wakeup = match wakeups::get(tx, id).await {
        Ok(wakeup) if wakeup.company == run.company => wakeup,
        Ok(_) | Err(Refusal::NotFound { .. }) => return Ok(Err("not_found")),
        Err(refusal) => return Err(refusal),
    };
    if (wakeup.agent, wakeup.task) != (run.agent, run.task) {
        return Ok(Err("other_lane"));
    }
    if wakeup.status == WakeupStatus::Claimed && wakeup.run == Some(run.id) {
        return Ok(Ok(()));
    }
    if wakeup.status != WakeupStatus::Pending {
        return Ok(Err("not_pending"));
    }
    if tx.execute(TAKE, &[id.into(), run.id.into(), now.into()]).await? == 0 {
        return Ok(Err("not_due"));
    }
    tx.execute(JOIN_BATCH, &[run.id.into(), id.into()]).await?;
    let data = object!({ "run": run.id, "agent": run.agent, "acknowledged": true });
    events::append(tx, run.company, now, "wakeup.claimed", &id.to_string(), &data).await?;
    let told = NewRunEvent::plain("acknowledged", format!("took over {id} while running"), data);
    run_events::append(tx, run.id, now, &told).await?;
    Ok(Ok(()))
}

/// Notes that the run has read a message of its agent, and takes over what would wake it with that.
async fn read_mail(tx: &mut Tx, now: Timestamp, run: &Run, id: MessageId) -> Result<Result<(), &'static str>, Refusal> {
    let Some(message) = mail::find(tx, id).await?.filter(|message| message.to == Some(run.agent)) else {
        return Ok(Err("not_found"));
    };
    if message.lapsed_at.is_some() {
        return Ok(Err("lapsed"));
    }
    if let Some(wakeup) = message.wakeup
        && !wakeups::get(tx, wakeup).await?.status.is_terminal()
        && let Err(reason) = take(tx, now, run, wakeup).await?
    {
        return Ok(Err(reason));
    }
    mail::mark_read_by(tx, now, &message, run).await?;
    Ok(Ok(()))
}
