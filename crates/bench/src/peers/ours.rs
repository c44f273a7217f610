//! Wakeful at the work that the peers' harnesses do: a payload of about 200 bytes, 3 s of accepts from one and from
//! sixteen producers, then a hundred wakes one after another. Through the store in this process, because the peers
//! are measured through their client libraries too; what HTTP and starting a process cost is measured elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, json};
use tokio::sync::{Notify, mpsc};
use wakeful_domain::id::IdSource;
use wakeful_domain::outcome::Outcome;
use wakeful_engine::{TokenKind, clock, hash_of, mint};
use wakeful_store::Db;
use wakeful_store::ops::claim::{ClaimRequest, Claimed};
use wakeful_store::ops::dispatch;
use wakeful_store::ops::finish::{FinishRequest, finish};
use wakeful_store::ops::wake::{Wake, accept};

use super::Figures;
use crate::engines::Engine;
use crate::fleet::{self, AGENTS, Fleet};

/// How long each number of producers is let loose, as in the harnesses.
const WINDOW: Duration = Duration::from_secs(3);
/// Wakes whose latency is measured, as in the harnesses.
const WAKES: u64 = 100;
/// Runs claimed in one transaction, as the dispatcher does once there is more than one.
const CLAIMS_MAX: usize = 16;
/// A wake that has not been claimed by then is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

pub fn measure(engine: Engine) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut figures = Figures::new();
    let store = engine.place()?;
    runtime.block_on(async {
        let fleet = Fleet::make(store.db().await?).await?;
        for producers in [1, 16] {
            figures.insert(format!("enq{producers}"), accepts(&fleet, producers).await?);
        }
        anyhow::Ok(())
    })?;
    // The harnesses empty their tables here.
    let store = engine.place()?;
    let mut took = runtime.block_on(async { latency(Fleet::make(store.db().await?).await?).await })?;
    took.sort_by(f64::total_cmp);
    for p in [50, 95, 99] {
        figures.insert(format!("latency_p{p}"), nearest_rank(&took, p));
    }
    Ok(figures)
}

/// Durable accepts a second from producers that await each answer; spread over all agents.
async fn accepts(fleet: &Fleet, producers: u64) -> Result<f64> {
    let number = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..producers {
        let (db, number) = (fleet.db.clone(), Arc::clone(&number));
        tasks.spawn(async move {
            let mut ids = IdSource::new(producer + 2);
            while start.elapsed() < WINDOW {
                let wake = wake(&mut ids, number.fetch_add(1, Ordering::Relaxed))?;
                db.write("wake.accept", wake, |tx, wake| Box::pin(accept(tx, wake))).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.context("a producer panicked")??;
    }
    Ok(number.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}

/// Milliseconds from the begin of each accept to the moment the dispatcher has the claimed run in hand.
async fn latency(fleet: Fleet) -> Result<Vec<f64>> {
    let nudge = Arc::new(Notify::new());
    let (hand, mut claimed) = mpsc::unbounded_channel();
    let mut dispatcher = tokio::task::JoinSet::new();
    dispatcher.spawn(dispatch(fleet.db.clone(), Arc::clone(&nudge), hand));
    let mut ids = IdSource::new(2);
    let mut took = Vec::new();
    for number in 0..WAKES {
        tokio::time::sleep(gap(number)).await;
        let start = Instant::now();
        let wake = wake(&mut ids, number)?;
        fleet.db.write("wake.accept", wake, |tx, wake| Box::pin(accept(tx, wake))).await?;
        nudge.notify_one();
        let next = tokio::time::timeout(LOST_AFTER, claimed.recv()).await.context("a wake was not claimed")?;
        let Some((at, runs)): Option<(Instant, Vec<Claimed>)> = next else { break };
        took.push(at.duration_since(start).as_secs_f64() * 1_000.0);
        end(&fleet.db, runs, ids.rng().u64(..)).await?;
    }
    if took.len() < usize::try_from(WAKES)? {
        // It has closed its end of the channel, so it has ended, and says why.
        while let Some(ended) = dispatcher.join_next().await {
            ended.context("the dispatcher panicked")??;
        }
    }
    ensure!(took.len() == usize::try_from(WAKES)?, "only {} of {WAKES} wakes were claimed", took.len());
    Ok(took)
}

/// What the engine's beat does, without what it starts: look until there is nothing, then wait for a nudge.
async fn dispatch(db: Db, nudge: Arc<Notify>, hand: mpsc::UnboundedSender<(Instant, Vec<Claimed>)>) -> Result<()> {
    let mut ids = IdSource::new(1_000);
    loop {
        nudge.notified().await;
        // One at first: most nudges are about a single wake.
        let mut wanted = 1;
        loop {
            let now = clock::now();
            let mut requests = Vec::new();
            for _ in 0..wanted {
                let token_hash = hash_of(&mint(TokenKind::Run)?);
                requests.push(ClaimRequest { now, run: ids.next(now), token_hash });
            }
            let dispatched =
                db.write("dispatch", (now, requests), |tx, told| Box::pin(dispatch::dispatch(tx, told))).await?;
            let claimed = dispatched.claimed;
            let at = Instant::now();
            let is_all = claimed.len() < wanted;
            if !claimed.is_empty() && hand.send((at, claimed)).is_err() {
                return Ok(());
            }
            if is_all {
                break;
            }
            wanted = CLAIMS_MAX;
        }
    }
}

/// The runs succeed, so that their lanes are free again; the peers complete their jobs in the same place.
async fn end(db: &Db, runs: Vec<Claimed>, id_seed: u64) -> Result<()> {
    let requests: Vec<FinishRequest> = runs
        .into_iter()
        .zip(id_seed..)
        .map(|(claimed, id_seed)| FinishRequest {
            now: clock::now(),
            draw: 0.5,
            id_seed,
            run: claimed.run.id,
            fence: claimed.run.fence,
            outcome: Outcome::succeeded(),
            exit_code: Some(0),
            signal: None,
            log: None,
        })
        .collect();
    db.write("finish", requests, |tx, requests| {
        Box::pin(async move {
            for request in requests {
                finish(tx, request).await?;
            }
            Ok(())
        })
    })
    .await?;
    Ok(())
}

/// The harnesses' payload.
fn wake(ids: &mut IdSource, number: u64) -> Result<Wake> {
    let payload = json!({
        "seq": number,
        "t": 0,
        "agent": format!("agent-{:04}", number % 1_000),
        "company": "c-000001",
        "reason": "issue_assigned",
        "source": "automation",
        "trigger": "system",
        "issue": format!("ISSUE-{:06}", number % 1_000_000),
        "pad": "x".repeat(40),
    });
    let payload: Map<_, _> = payload.as_object().cloned().unwrap_or_default();
    let agent = fleet::agent(i64::try_from(number % AGENTS.unsigned_abs())?)?;
    Ok(Wake { payload, ..fleet::wake(ids, agent, None) })
}

/// The harnesses' gap between two wakes: 10 to 30 ms, spread so that nobody who polls is in phase.
fn gap(number: u64) -> Duration {
    Duration::from_micros(10_000 + number.wrapping_mul(7_919) % 20_000)
}

/// The harnesses' percentile, of sorted figures.
fn nearest_rank(figures: &[f64], p: usize) -> f64 {
    let rank = (figures.len() * p).div_ceil(100).max(1);
    figures.get(rank - 1).copied().unwrap_or(f64::NAN)
}
