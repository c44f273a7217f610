//! What an agent that a timer or a schedule woke has said at last: people are told, unless it has nothing to tell.

use serde_json::json as object;
use wakeful_domain::id::{IdSource, ScheduleId};
use wakeful_domain::notification::{Level, Notice, NotificationKind};
use wakeful_domain::quiet;
use wakeful_domain::run::{Run, RunStatus};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{SCHEDULE_KEY, Source};

use crate::ops::{notifications, wakeups};
use crate::{Error, Tx};

/// Tells people what a run has come to, if it was the clock that started it.
pub(crate) async fn tell(tx: &mut Tx, now: Timestamp, ids: &mut IdSource, run: &Run, agent: &str) -> Result<(), Error> {
    if run.status != RunStatus::Succeeded {
        return Ok(());
    }
    let Some(text) = quiet::to_tell(run.summary.as_deref(), run.result.as_ref()) else { return Ok(()) };
    let Some((source, context)) = wakeups::lead_cause(tx, run.id).await? else { return Ok(()) };
    let kind = match source {
        Source::Timer => NotificationKind::Heartbeat,
        Source::Schedule => NotificationKind::Schedule,
        _ => return Ok(()),
    };
    let schedule: Option<ScheduleId> =
        context.get(SCHEDULE_KEY).and_then(|id| id.as_str()).and_then(|id| id.parse().ok());
    let notice = Notice {
        company: run.company,
        kind,
        level: Level::Info,
        cause: Some(schedule.map_or_else(|| run.agent.to_string(), |id| id.to_string())),
        title: agent.to_owned(),
        text,
        metadata: run.result.clone().filter(|result| result.is_object()).unwrap_or_else(|| object!({})),
        agent: Some(run.agent),
        run: Some(run.id),
        schedule,
    };
    notifications::notify(tx, now, ids.next(now), notice).await.map(|_| ())
}
