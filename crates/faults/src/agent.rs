//! `wakeful-faults agent …`: agents that a shell would be too slow for.
#![expect(clippy::print_stdout, reason = "what an agent prints is what it is for")]

use std::sync::mpsc;
use std::time::Duration;

/// Writes the time in nanoseconds, so many times, at this pace.
pub fn tick(every: Duration, count: u32) {
    let (_sender, nobody) = mpsc::channel::<()>();
    for _ in 0..count {
        println!("{}", crate::machine::now_ns());
        // Nobody ever sends: it is a pause.
        nobody.recv_timeout(every).ok();
    }
}

/// The command line of an agent that ticks: this program, which lies beside the one under test.
pub fn ticker(every: Duration, count: u32) -> Vec<String> {
    let program = format!("{}-faults", wakeful_test_server::program());
    let words = [&program, "agent", "tick", &every.as_millis().to_string(), &count.to_string()];
    words.iter().map(|word| (*word).to_owned()).collect()
}
