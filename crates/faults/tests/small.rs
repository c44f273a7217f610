//! Every case at small scale, with the seed of the table.

#![expect(clippy::print_stdout, reason = "what was measured is shown with the test")]

use wakeful_faults::{End, Scale, case};

async fn held(name: &str) {
    let case = case(name).unwrap_or_else(|| panic!("there is no case `{name}`"));
    match case.held(Scale::Small, 1).await.end {
        End::Held(measured) => println!("{measured}"),
        End::Broken(found) => panic!("{}: {found}", case.must_hold),
        End::Skipped(reason) => println!("skipped: {reason}"),
    }
}

#[tokio::test]
async fn server_killed() {
    held("server_killed").await;
}

#[tokio::test]
async fn agent_killed() {
    held("agent_killed").await;
}

#[tokio::test]
async fn fake_agents() {
    held("fake_agents").await;
}

#[tokio::test]
async fn stopped_agent() {
    held("stopped_agent").await;
}

#[tokio::test]
async fn hard_to_kill() {
    held("hard_to_kill").await;
}

#[tokio::test]
async fn pid_reuse() {
    held("pid_reuse").await;
}

#[tokio::test]
async fn fork_bomb() {
    held("fork_bomb").await;
}

#[tokio::test]
async fn two_servers() {
    held("two_servers").await;
}

#[tokio::test]
async fn disk_full() {
    held("disk_full").await;
}

#[tokio::test]
async fn end_on_full_disk() {
    held("end_on_full_disk").await;
}

#[tokio::test]
async fn slow_disk() {
    held("slow_disk").await;
}

#[tokio::test]
async fn flood() {
    held("flood").await;
}

#[tokio::test]
async fn strange_bytes() {
    held("strange_bytes").await;
}

#[tokio::test]
async fn broken_streams() {
    held("broken_streams").await;
}

#[tokio::test]
async fn poison() {
    held("poison").await;
}

#[tokio::test]
async fn stop_and_upgrade() {
    held("stop_and_upgrade").await;
}

#[tokio::test]
async fn canary() {
    held("canary").await;
}

#[tokio::test]
async fn usage_limit() {
    held("usage_limit").await;
}

#[tokio::test]
async fn storm() {
    held("storm").await;
}

#[tokio::test]
async fn shim_storm() {
    held("shim_storm").await;
}

#[tokio::test]
async fn surroundings() {
    held("surroundings").await;
}

#[tokio::test]
async fn idle() {
    held("idle").await;
}

#[tokio::test]
async fn database_away() {
    held("database_away").await;
}

#[tokio::test]
async fn database_full() {
    held("database_full").await;
}

#[tokio::test]
async fn restarts() {
    held("restarts").await;
}

#[tokio::test]
async fn power_loss() {
    held("power_loss").await;
}

#[tokio::test]
async fn store_file() {
    held("store_file").await;
}

#[tokio::test]
async fn restored() {
    held("restored").await;
}

#[tokio::test]
async fn store_disk() {
    held("store_disk").await;
}

#[tokio::test]
async fn soak() {
    held("soak").await;
}

#[tokio::test]
async fn store_full() {
    held("store_full").await;
}

#[tokio::test]
async fn clock() {
    held("clock").await;
}
