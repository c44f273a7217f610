//! Now: what runs and what waits, on one screen, with the reason of each that waits.

use askama::Template;

use super::{Shown, page};
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{List, Names, Run, Wakeup};
use crate::visit::Visit;

/// Shown of each at most; a page that says more than this says nothing.
const SHOWN: &str = "100";

#[derive(Template)]
#[template(path = "now.html")]
struct NowPage {
    frame: Frame,
    running: Vec<Run>,
    waiting: Vec<Wakeup>,
    /// Whether there are more that wait than are shown.
    waits_more: bool,
    names: Names,
}

/// Shows what runs and what waits.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "now", "run wakeup agent").await?.titled("Now");
    let running: List<Run> = visit.calls.get(&visit.of_company(&format!("runs?status=live&limit={SHOWN}"))).await?;
    let waiting: List<Wakeup> =
        visit.calls.get(&visit.of_company(&format!("wakeups?status=pending&limit={SHOWN}"))).await?;
    let of_runs = running.items.iter().flat_map(|run| [Some(run.agent.as_str()), run.task.as_deref()]);
    let of_wakeups = waiting.items.iter().flat_map(|wakeup| [Some(wakeup.agent.as_str()), wakeup.task.as_deref()]);
    let names = Names::of(&visit.calls, &visit.company, of_runs.chain(of_wakeups).flatten().collect()).await?;
    let waits_more = waiting.next_cursor.is_some();
    page(&NowPage { frame, running: running.items, waiting: waiting.items, waits_more, names })
}
