//! Health: how the server stands, what its last start found, and whether what it keeps is sound.

use askama::Template;
use serde::Deserialize;

use super::{Shown, page};
use crate::frame::Frame;
use crate::pieces;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "health.html")]
struct HealthPage {
    frame: Frame,
    /// What only the administrator of the server may know.
    server: Option<Server>,
    /// What a restored store would do, while it waits to be told to go on.
    restore: Option<Restore>,
    /// The check of the store, if it was asked for.
    check: Option<Check>,
}

/// How the process stands.
#[derive(Debug, Deserialize)]
struct Server {
    store: String,
    started_at: String,
    uptime_s: i64,
    recovery: Recovery,
    configuration: Option<Configuration>,
}

/// What the start has found and made good.
#[derive(Debug, Deserialize)]
struct Recovery {
    live_runs: u64,
    attached: u64,
    ended_meanwhile: u64,
    died: u64,
    never_started: u64,
    services: u64,
    slots_fired: u64,
    slots_missed: u64,
    violations: Option<u64>,
    took_ms: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    path: String,
    read_at: String,
    error: Option<String>,
    needs_restart: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Restore {
    lost_runs: i64,
    pending_wakeups: i64,
    due_schedules: i64,
    deliveries: i64,
}

/// Every invariant that was checked, and those that do not hold.
#[derive(Debug, Deserialize)]
struct Check {
    checked: Vec<String>,
    violations: Vec<Violation>,
}

#[derive(Debug, Deserialize)]
struct Violation {
    name: String,
    statement: String,
    subject: String,
}

impl Recovery {
    /// The counts that are shown, each with what it counts.
    fn counts(&self) -> [(&'static str, u64); 8] {
        [
            ("live when it stopped", self.live_runs),
            ("found again", self.attached),
            ("ended meanwhile", self.ended_meanwhile),
            ("died meanwhile", self.died),
            ("never started", self.never_started),
            ("at services", self.services),
            ("slots fired late", self.slots_fired),
            ("slots missed", self.slots_missed),
        ]
    }
}

impl Server {
    fn uptime(&self) -> String {
        pieces::duration(self.uptime_s.saturating_mul(1_000))
    }
}

/// Shows how the server stands.
pub async fn show(visit: Visit) -> Shown {
    let is_checked = visit.asked("check") == "1";
    // A check reads the whole store: it is made once, when it is asked for, and not with each thing that happens.
    let frame = Frame::around(&visit, "health", if is_checked { "" } else { "run" }).await?.titled("Health");
    let server: Option<Server> = visit.calls.find("/server").await?;
    let restore = match frame.standing.restored_from {
        Some(_) => visit.calls.find("/restore").await?,
        None => None,
    };
    let check = if is_checked { visit.calls.find("/invariants").await? } else { None };
    page(&HealthPage { frame, server, restore, check })
}
