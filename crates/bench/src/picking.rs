//! What it costs to pick the next lane and claim it, with few and with very many rows beside it.
//! Sixteen claims go into one transaction, as the dispatcher does, so that the sync does not drown the cost.

use std::time::Instant;

use anyhow::{Result, ensure};
use wakeful_domain::id::IdSource;
use wakeful_domain::outcome::{End, Outcome};
use wakeful_engine::clock;
use wakeful_store::ops::claim::{ClaimRequest, Claimed, claim_some};
use wakeful_store::ops::finish::{FinishRequest, finish};

use crate::engines::Engine;
use crate::fleet::Fleet;
use crate::report::{Report, percentile};

/// Claims in one transaction.
const CLAIMS: usize = 16;
/// Transactions that are measured; their median counts.
const ROUNDS: usize = 60;
/// Waiting lanes and finished wakeups.
const SIZES: &[(i64, i64)] = &[(100, 0), (10_000, 0), (1_000_000, 0), (100, 1_000_000), (1_000_000, 1_000_000)];
/// The dearest may cost this many times what the cheapest of the first does.
const WITHIN: f64 = 2.0;

pub fn measure(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for engine in Engine::ALL {
        let mut smallest = None;
        for (waiting, finished) in SIZES {
            let store = engine.place()?;
            let micros = runtime.block_on(async {
                let fleet = Fleet::make(store.db().await?).await?;
                if *finished > 0 {
                    fleet.add_finished(*finished).await?;
                }
                fleet.add_waiting(*waiting).await?;
                claims(&fleet).await
            })?;
            let base = *smallest.get_or_insert(micros);
            let what = format!("{}: a claim with {waiting} waiting lanes, {finished} finished wakeups", engine.name());
            let against = format!("{:.2} × the first of these", micros / base);
            report.at_most(&what, micros / 1_000.0, "ms", against, WITHIN * base / 1_000.0);
        }
    }
    Ok(())
}

/// Microseconds that one claim takes, by the median.
async fn claims(fleet: &Fleet) -> Result<f64> {
    let mut ids = IdSource::new(9);
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let now = clock::now();
        let requests: Vec<ClaimRequest> = (0..CLAIMS)
            .map(|_| {
                let run = ids.next(now);
                ClaimRequest { now, run, token_hash: format!("{run}") }
            })
            .collect();
        let start = Instant::now();
        let claimed = fleet.db.write("claim", requests, |tx, requests| Box::pin(claim_some(tx, requests))).await?;
        took.push(start.elapsed().as_secs_f64() * 1_000_000.0 / CLAIMS as f64);
        ensure!(claimed.len() == CLAIMS, "only {} of {CLAIMS} lanes could be claimed", claimed.len());
        put_back(fleet, claimed, ids.rng().u64(..)).await?;
    }
    Ok(percentile(&mut took, 50.0))
}

/// Ends the runs as if they had never been started, so that the next round finds as many lanes.
async fn put_back(fleet: &Fleet, claimed: Vec<Claimed>, seed: u64) -> Result<()> {
    let requests: Vec<FinishRequest> = claimed
        .iter()
        .zip(seed..)
        .map(|(claimed, id_seed)| FinishRequest {
            now: clock::now(),
            draw: 0.5,
            id_seed,
            run: claimed.run.id,
            fence: claimed.run.fence,
            outcome: Outcome::ended(End::Lost, "launch_interrupted", "put back by the benchmark"),
            exit_code: None,
            signal: None,
            log: None,
        })
        .collect();
    fleet
        .db
        .write("finish", requests, |tx, requests| {
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
