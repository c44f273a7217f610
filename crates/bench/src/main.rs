//! `cargo xtask bench`: durable accepts, wake to process, runs, footprint. Every figure stands
//! beside a ceiling measured in the same run, because the machine's own speed changes by the hour.
//! `peers` measures established queues in the same run. Environment: `WAKEFUL_BIN` names the binary to measure;
//! `WAKEFUL_PEERS` the peers' harnesses, `WAKEFUL_PEERS_BUILD` where to build them.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and the environment")]

mod accepts;
mod ceilings;
mod children;
mod console;
mod engines;
mod fleet;
mod footprint;
mod http;
mod logs;
mod metrics;
mod peers;
mod picking;
mod report;
mod runs;
mod schedules;
mod server;
mod subscriptions;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::report::Report;

fn main() -> Result<()> {
    if let Some(address) = std::env::args().nth(2).filter(|_| std::env::args().nth(1).as_deref() == Some("stamp")) {
        return runs::stamp(&address);
    }
    let binary = PathBuf::from(std::env::var("WAKEFUL_BIN").context("WAKEFUL_BIN must name the wakeful binary")?);
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let mut report = Report::default();
    if is_wanted("accepts") {
        accepts::measure(&binary, &mut report)?;
    }
    if is_wanted("lanes") {
        accepts::on_lanes(&mut report)?;
    }
    if is_wanted("picking") {
        picking::measure(&mut report)?;
    }
    if is_wanted("latency") {
        runs::latency(&binary, &mut report)?;
    }
    if is_wanted("runs") {
        runs::throughput(&binary, &mut report)?;
    }
    if is_wanted("logs") {
        logs::measure(&binary, &mut report)?;
    }
    if is_wanted("schedules") {
        schedules::measure(&binary, &mut report)?;
    }
    if is_wanted("subscriptions") {
        subscriptions::measure(&mut report)?;
    }
    if is_wanted("children") {
        children::measure(&binary, &mut report)?;
    }
    if is_wanted("metrics") {
        metrics::measure(&binary, &mut report)?;
    }
    if is_wanted("console") {
        console::measure(&binary, &mut report)?;
    }
    if is_wanted("footprint") {
        footprint::measure(&binary, &mut report)?;
    }
    let compared = if is_wanted("peers") { peers::measure()? } else { String::new() };
    report.print();
    print!("{compared}");
    Ok(())
}
