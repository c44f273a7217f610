//! Durable accepts a second: over HTTP, in bulk, and through the store alone, against raw SQLite.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;
use wakeful_domain::id::IdSource;
use wakeful_store::ops::wake::accept;

use crate::ceilings::{self, WINDOW};
use crate::engines::{Engine, Store};
use crate::fleet::{self, Fleet};
use crate::report::Report;
use crate::server::Server;

/// Callers at once.
const CALLERS: usize = 64;
/// Connections and wakes in a request of the bulk route.
const BULK: (usize, usize) = (4, 500);

pub fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let group = ceilings::sqlite_group(dir.path(), CALLERS)?;
    let single = ceilings::sqlite_single(dir.path())?;
    let store = through_store(&Engine::Sqlite.place()?, 1)?;
    let http = over_http(binary, CALLERS, 1)?;
    let bulk = over_http(binary, BULK.0, BULK.1)?;
    let ceiling = ("raw group commit of one row", group);
    report.at_least("accepts through the store, 64 callers", store, "/s", ceiling, 0.5);
    report.at_least("accepts over HTTP, 64 connections", http, "/s", ceiling, 0.15);
    report.at_least(
        "accepts over HTTP against one commit per row",
        http,
        "/s",
        ("raw SQLite, one commit a row", single),
        3.0,
    );
    report.at_least("accepts over the bulk route, 4 × 500", bulk, "/s", ceiling, 0.4);
    Ok(())
}

/// Nothing may start, so that accepting alone is measured.
fn over_http(binary: &Path, connections: usize, wakes: usize) -> Result<f64> {
    let server = Server::start(binary, 0)?;
    let agent = server.agent("sleeper", &json!(["/bin/true"]), &json!({}))?;
    let wake =
        json!({ "reason": "a wake of the benchmark", "payload": { "number": 1_234_567_890, "text": "x".repeat(100) } });
    let (path, body) = match wakes {
        1 => (format!("/api/v1/agents/{agent}/wake"), wake.to_string()),
        count => {
            let mut one = wake;
            one["agent"] = json!(agent);
            ("/api/v1/companies/default/wakes".to_owned(), json!({ "wakes": vec![one; count] }).to_string())
        }
    };
    let accepted = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let (path, body, accepted) = (path.clone(), body.clone(), Arc::clone(&accepted));
            let connection = server.connect();
            std::thread::spawn(move || -> Result<()> {
                let mut connection = connection?;
                while start.elapsed() < WINDOW {
                    let (status, answer) = connection.request("POST", &path, &body)?;
                    anyhow::ensure!(status == 202, "{status}: {}", String::from_utf8_lossy(&answer));
                    accepted.fetch_add(wakes as u64, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    for client in clients {
        client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    Ok(accepted.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}

/// Lanes over which wakes are spread, beside one that gets them all.
const LANES: i64 = 10_000;

/// Accepts through the store alone, onto one hot lane and spread over many, on both engines.
pub fn on_lanes(report: &mut Report) -> Result<()> {
    for engine in Engine::ALL {
        let mut onto = Vec::new();
        for lanes in [1, LANES] {
            let store = engine.place()?;
            onto.push(through_store(&store, lanes)?);
        }
        let name = engine.name();
        report.note(&format!("{name}: accepts onto one lane, 64 callers"), format!("{:.0} /s", onto[0]));
        let against = ("onto one lane", onto[0]);
        report.at_least(&format!("{name}: accepts spread over {LANES} lanes, 64 callers"), onto[1], "/s", against, 0.5);
    }
    Ok(())
}

fn through_store(store: &Store, lanes: i64) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let fleet = Fleet::make(store.db().await?).await?;
        fleet.add_lanes(lanes).await?;
        let accepted = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            let (db, accepted) = (fleet.db.clone(), Arc::clone(&accepted));
            callers.spawn(async move {
                let mut ids = IdSource::new(caller as u64 + 2);
                while start.elapsed() < WINDOW {
                    let wake = match lanes {
                        1 => fleet::wake(&mut ids, fleet::agent(0)?, None),
                        lanes => {
                            let lane = ids.rng().i64(..).rem_euclid(lanes);
                            fleet::wake(&mut ids, fleet::agent(lane)?, Some(fleet::task(lane)?))
                        }
                    };
                    db.write("wake.accept", wake, |tx, wake| Box::pin(accept(tx, wake))).await?;
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller.context("a caller panicked")??;
        }
        Ok(accepted.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
    })
}
