//! Durable accepts a second: over HTTP, in bulk, and through the store alone, against raw SQLite.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{Agent, AgentState, Heartbeat, Limits};
use wakeful_domain::company::{Company, CompanyState};
use wakeful_domain::id::IdSource;
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::wakeup::Source;
use wakeful_engine::clock;
use wakeful_store::Db;
use wakeful_store::ops::wake::{Maker, Wake, accept};
use wakeful_store::ops::{agents, companies};

use crate::ceilings::{self, WINDOW};
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
    let store = through_store(dir.path())?;
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

fn through_store(dir: &Path) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let db = Db::open_file(&dir.join("store.db")).await?;
        let mut ids = IdSource::new(1);
        let now = clock::now();
        let company = Company {
            id: ids.next(now),
            slug: "bench".into(),
            name: "Bench".into(),
            time_zone: "UTC".into(),
            max_concurrent_runs: 5,
            max_runs_per_root_hour: 100,
            state: CompanyState::Active,
            state_reason: None,
            live_runs: 0,
            created_at: now,
            updated_at: now,
        };
        let agent = Agent {
            id: ids.next(now),
            company: company.id,
            name: "sleeper".into(),
            title: None,
            adapter: json!({ "type": "process", "command": ["/bin/true"] }),
            capabilities: vec![],
            heartbeat: Heartbeat::default(),
            max_concurrent_runs: 1,
            retry: RetryPolicy::default(),
            limits: Limits::default(),
            state: AgentState::Active,
            state_reason: None,
            quota_until: None,
            live_runs: 0,
            created_at: now,
            updated_at: now,
        };
        let id = agent.id;
        db.write("set up", (company, agent), |tx, (company, agent)| {
            Box::pin(async move {
                companies::insert(tx, company).await?;
                agents::insert(tx, agent).await
            })
        })
        .await?;
        let accepted = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            let (db, accepted) = (db.clone(), Arc::clone(&accepted));
            callers.spawn(async move {
                let mut ids = IdSource::new(caller as u64 + 2);
                while start.elapsed() < WINDOW {
                    let now = clock::now();
                    let wake = Wake {
                        id: ids.next(now),
                        company: None,
                        agent: id,
                        task: None,
                        source: Source::Manual,
                        trigger_detail: None,
                        reason: Some("a wake of the benchmark".into()),
                        priority: None,
                        payload: serde_json::Map::from_iter([("text".to_owned(), json!("x".repeat(100)))]),
                        context: serde_json::Map::new(),
                        actor: Actor::user("bench"),
                        idempotency_key: None,
                        request_hash: None,
                        now,
                        due_at: None,
                        expires_at: None,
                        max_attempts: None,
                        by_run: None,
                        maker: Maker::Request,
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
