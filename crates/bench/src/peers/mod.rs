//! Established queues beside Wakeful in one run: durable enqueues a second, and due → handler started; each once
//! while the machine is idle and once beside processes that only burn CPU, as agents do. The peers' harnesses are
//! not part of this repository: a folder of them is given. What cannot be built or run is said, never left out.

mod burners;
mod harness;
mod ours;
mod stores;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::engines::Engine;
use burners::Burners;
use harness::Workshop;
use table::{Kind, Queue};

/// Names the folder of the harnesses.
const PEERS_VARIABLE: &str = "WAKEFUL_PEERS";
/// Names the folder where they are built; xtask sets it.
const BUILD_VARIABLE: &str = "WAKEFUL_PEERS_BUILD";

/// What a queue reached, by the names that the harnesses print.
pub type Figures = BTreeMap<String, f64>;

/// The metrics that are compared; harnesses print more.
pub const METRICS: [&str; 5] = ["enq1", "enq16", "latency_p50", "latency_p95", "latency_p99"];

/// A queue that is measured beside ours.
#[derive(Debug)]
pub struct Peer {
    name: &'static str,
    /// Below the folder of the harnesses.
    folder: &'static str,
    build: &'static str,
    /// `{target}` is cargo's target folder.
    run: &'static str,
    needs: Kind,
}

const CARGO: &str = "cargo build --release";
const NPM: &str = "npm install --no-audit --no-fund";

/// The one PostgreSQL harness holds several peers; so does Node's.
const PEERS: &[Peer] = &[
    Peer {
        name: "graphile-worker",
        folder: "node",
        build: NPM,
        run: "node bench.mjs graphile-worker",
        needs: Kind::Postgres,
    },
    Peer {
        name: "graphile_worker (Rust)",
        folder: "pg",
        build: CARGO,
        run: "{target}/release/bench_pg graphile_worker",
        needs: Kind::Postgres,
    },
    Peer { name: "pg-boss", folder: "node", build: NPM, run: "node bench.mjs pg-boss", needs: Kind::Postgres },
    Peer {
        name: "apalis-postgres",
        folder: "pg",
        build: CARGO,
        run: "{target}/release/bench_pg apalis",
        needs: Kind::Postgres,
    },
    Peer {
        name: "underway",
        folder: "pg",
        build: CARGO,
        run: "{target}/release/bench_pg underway",
        needs: Kind::Postgres,
    },
    Peer {
        name: "apalis-sqlite",
        folder: "apalis_sqlite",
        build: CARGO,
        run: "{target}/release/bench_apalis_sqlite",
        needs: Kind::File,
    },
    Peer {
        name: "effectum",
        folder: "effectum",
        build: CARGO,
        run: "{target}/release/bench_effectum",
        needs: Kind::File,
    },
    Peer {
        name: "BullMQ (fsync always)",
        folder: "node",
        build: NPM,
        run: "node bench.mjs bullmq",
        needs: Kind::Redis,
    },
];

/// Measures ours and theirs, and says how they compare.
pub fn measure() -> Result<String> {
    let mut workshop = workshop()?;
    let mut queues = Vec::new();
    // Before anything is measured: a compiler beside a measure would spoil it.
    if let Some(workshop) = &mut workshop {
        PEERS.iter().for_each(|peer| workshop.build(peer));
    }
    queues.extend(ours_now("")?);
    for peer in PEERS.iter().filter(|_| workshop.is_some()) {
        let mut queue = Queue::new(peer.name.to_owned(), peer.needs, false);
        if let Some(workshop) = &workshop {
            both(&mut queue, || workshop.run(peer))?;
        }
        queues.push(queue);
    }
    if workshop.is_some() {
        // Peers take minutes, and the machine may change meanwhile: shown here, and evened out in the ratios.
        queues.extend(ours_now(", again")?);
    }
    Ok(table::text(&queues))
}

/// Ours on both engines.
fn ours_now(when: &str) -> Result<Vec<Queue>> {
    let mut queues = Vec::new();
    for (engine, kind) in [(Engine::Sqlite, Kind::File), (Engine::Postgres, Kind::Postgres)] {
        let mut queue = Queue::new(format!("Wakeful on {}{when}", engine.name()), kind, true);
        both(&mut queue, || Ok((ours::measure(engine)?, None)))?;
        queues.push(queue);
    }
    Ok(queues)
}

/// The folder where the harnesses are built, if they are there.
fn workshop() -> Result<Option<Workshop>> {
    let Some(given) = std::env::var_os(PEERS_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from) else {
        println!(
            "peers: only Wakeful is measured. The harnesses of other queues are in a folder of their own; name it with \
             `cargo xtask bench peers --peers <folder>` or {PEERS_VARIABLE} (docs/reference/benchmarks.md)"
        );
        return Ok(None);
    };
    let build = std::env::var_os(BUILD_VARIABLE).with_context(|| format!("{BUILD_VARIABLE} must name a folder"))?;
    Ok(Some(Workshop::open(given, PathBuf::from(build))?))
}

/// Measures a queue idle, then busy. What goes wrong is kept with it and stops nobody else.
fn both(queue: &mut Queue, mut measure: impl FnMut() -> Result<(Figures, Option<String>)>) -> Result<()> {
    for is_busy in [false, true] {
        let load = load_average();
        let burners = if is_busy { Some(Burners::start()?) } else { None };
        let (figures, fault) = match measure() {
            Ok(measured) => measured,
            Err(error) => (Figures::new(), Some(format!("{error:#}"))),
        };
        drop(burners);
        queue.add(is_busy, load, figures, fault);
        println!("{}", queue.told(is_busy));
    }
    Ok(())
}

/// The system's load of the last minute, where it tells.
fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
