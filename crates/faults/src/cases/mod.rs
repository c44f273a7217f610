//! The cases, in the order of the table, and the servers that they start.

mod canary;
mod clock;
mod database;
mod database_full;
mod fakes;
mod idle;
mod kills;
mod limits;
mod output;
mod power;
mod quota;
mod restarts;
mod restores;
mod slow_disk;
mod soak;
mod store_disk;
mod store_file;
mod store_full;
mod storms;
mod strangers;
mod streams;
mod surroundings;
mod upgrade;

use serde_json::json;
use wakeful_test_server::Server;

use crate::Case;

pub use upgrade::OTHER_BUILD;

/// All cases.
pub const ALL: &[Case] = &[
    kills::SERVER_KILLED,
    power::POWER_LOSS,
    kills::AGENT_KILLED,
    fakes::FAKE_AGENTS,
    fakes::STOPPED_AGENT,
    fakes::HARD_TO_KILL,
    strangers::PID_REUSE,
    limits::FORK_BOMB,
    strangers::TWO_SERVERS,
    limits::DISK_FULL,
    limits::END_ON_FULL_DISK,
    store_full::STORE_FULL,
    slow_disk::SLOW_DISK,
    store_disk::STORE_DISK,
    output::FLOOD,
    streams::STRANGE_BYTES,
    streams::BROKEN_STREAMS,
    streams::POISON,
    database::DATABASE_AWAY,
    database_full::DATABASE_FULL,
    store_file::STORE_FILE,
    upgrade::STOP_AND_UPGRADE,
    restarts::RESTARTS,
    canary::CANARY,
    clock::CLOCK,
    quota::USAGE_LIMIT,
    storms::STORM,
    storms::SHIM_STORM,
    restores::RESTORED,
    surroundings::SURROUNDINGS,
    idle::IDLE,
    soak::SOAK,
];

/// A server on which so many runs may be live.
async fn server(runs: usize, options: &[&str]) -> Server {
    let live = runs.to_string();
    let options: Vec<&str> = ["--max-live-runs", &live].into_iter().chain(options.iter().copied()).collect();
    let server = Server::start_with(&options, &[]).await;
    let (status, company) = server.patch("/companies/default", &json!({ "max_concurrent_runs": runs })).await;
    assert_eq!(status, 200, "{company}");
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_a_test() {
        let tests = include_str!("../../tests/small.rs");
        for case in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == case.name).count(), 1, "{} twice", case.name);
            assert!(tests.contains(&format!("held(\"{}\")", case.name)), "{} has no test", case.name);
        }
    }
}
