//! One wakeup: where it came from, what it waits for or what became of it, and what can be done about it.

use askama::Template;
use serde_json::Value;

use super::{Shown, page};
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{Names, Wakeup, Why, page_of};
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "wakeup.html")]
struct WakeupPage {
    frame: Frame,
    wakeup: Wakeup,
    why: Why,
    names: Names,
}

impl WakeupPage {
    /// The command that explains the same.
    fn command(&self) -> String {
        format!("wakeful why {}", self.wakeup.id)
    }

    /// The attempt that is under way or was the last; of what waits the one to come.
    fn attempt(&self) -> i64 {
        let to_come = i64::from(self.wakeup.status == "pending");
        (self.wakeup.attempt + to_come).min(self.wakeup.max_attempts)
    }

    /// The page of what caused it, and how that is called.
    fn cause(&self) -> Option<(String, String)> {
        let id = self.wakeup.cause_id.as_deref()?;
        let kind = if id.starts_with("run_") { "run" } else { "wakeup" };
        Some((page_of(id)?, format!("{kind} {}", pieces::short(id))))
    }

    /// Who asked: `agent` and its name, or `user` and the name of a token.
    fn actor(&self) -> (&str, &str) {
        let (kind, id) = actor_of(&self.wakeup);
        (kind, if kind == "agent" { self.names.name(id) } else { id })
    }

    fn pretty(&self, value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap_or_default()
    }

    /// Whether an object has anything to show.
    fn is_said(&self, value: &Value) -> bool {
        !value.is_null() && value.as_object().is_none_or(|object| !object.is_empty())
    }
}

fn actor_of(wakeup: &Wakeup) -> (&str, &str) {
    let word = |key: &str| wakeup.actor[key].as_str().unwrap_or_default();
    (word("type"), word("id"))
}

/// Shows a wakeup.
pub async fn show(visit: Visit) -> Shown {
    let wakeup: Wakeup = visit.calls.get(&format!("/wakeups/{}", visit.id)).await?;
    let why: Why = visit.calls.get(&format!("/wakeups/{}/why", visit.id)).await?;
    let asker = match actor_of(&wakeup) {
        ("agent", id) => Some(id),
        _ => None,
    };
    let ids = [Some(wakeup.agent.as_str()), wakeup.task.as_deref(), asker].into_iter().flatten().collect();
    let names = Names::of(&visit.calls, &visit.company, ids).await?;
    let title = format!("Wake of {} · {}", names.name(&wakeup.agent), wakeup.status);
    let frame = Frame::around(&visit, "wakes", "wakeup run agent").await?.titled(title);
    page(&WakeupPage { frame, wakeup, why, names })
}
