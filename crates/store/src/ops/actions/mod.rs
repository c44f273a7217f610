//! Actions that are built in. Each looks at the store, and tells people only if there is something to say;
//! all in the transaction of the slot, so that nothing is told twice and nothing is forgotten.

mod daily_summary;
mod portfolio_monitor;
mod reported;
mod task_scan;

use serde_json::{Value as Json, json as object};
use wakeful_domain::notification::{Level, Notice, NotificationKind};
use wakeful_domain::schedule::{Action, ActionKind, Schedule, SlotStatus};

use crate::ops::fires::{self, Moment};
use crate::ops::notifications;
use crate::ops::slots::Fate;
use crate::{Error, Refusal, Tx};

/// Carries out an action.
pub(crate) async fn carry_out(tx: &mut Tx, moment: &Moment<'_>, action: &Action) -> Result<Fate, Refusal> {
    match action.kind() {
        Ok(ActionKind::TaskScan(scan)) => task_scan::carry_out(tx, moment, action, &scan).await,
        Ok(ActionKind::DailySummary) => daily_summary::carry_out(tx, moment, action).await,
        Ok(ActionKind::PortfolioMonitor) => portfolio_monitor::carry_out(tx, moment, action).await,
        // It is asked, not carried out here.
        Ok(ActionKind::External(_)) => Ok(Fate::without(SlotStatus::Failed, "nobody was asked")),
        Err((field, message)) => Ok(Fate::without(SlotStatus::Failed, format!("`{field}` {message}"))),
    }
}

/// What an action has to say; whoever speaks has made sure that it is new.
pub(crate) fn notice(schedule: &Schedule, level: Level, text: String, metadata: Json) -> Notice {
    Notice {
        company: schedule.company,
        kind: NotificationKind::Action,
        level,
        cause: None,
        title: schedule.name.clone(),
        text,
        metadata,
        agent: schedule.target.agent(),
        run: None,
        schedule: Some(schedule.id),
    }
}

/// What stands on a slot whose action has nothing to say.
fn silence() -> Json {
    object!({ "notify": false })
}

/// The fate of a slot whose action has nothing to say.
fn quiet() -> Fate {
    Fate { answer: Some(object!({ "action": silence() })), ..Fate::of(SlotStatus::Fired) }
}

/// Tells people, if they are to be told; gives what stands on the slot.
pub(crate) async fn tell(tx: &mut Tx, moment: &Moment<'_>, notice: Notice, notify: bool) -> Result<Json, Error> {
    if !notify {
        return Ok(silence());
    }
    let message = notice.text.clone();
    let id = fires::ids_of(moment.schedule.id, moment.slot, "notification").next(moment.now);
    let told = notifications::notify(tx, moment.now, id, notice).await?;
    Ok(object!({ "notify": true, "message": message, "notification": told }))
}
