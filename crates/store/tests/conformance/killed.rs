//! A process that is killed in the middle of its work has lost nothing that it said was accepted.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use futures_util::future::join_all;
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, IdSource, WakeupId};
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::ops::wake::{self, Maker, Wake};
use wakeful_store::{Db, Location};

use crate::world::{Engine, START, on};

/// Acknowledged wakes after which the child is killed, round by round.
const ROUNDS: &[usize] = &[1, 100, 1_000];
const CALLERS: usize = 32;

#[test]
fn a_killed_process_loses_no_acknowledged_wake() {
    on(Engine::Sqlite, async |world| {
        let agent = world.agent("a").await;
        let Location::File(path) = &world.location else { unreachable!("SQLite lives in a file") };
        for (round, count) in ROUNDS.iter().enumerate() {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "killed::accepts_wakes_until_it_is_killed", "--ignored", "--nocapture"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            // Our end stays open: that the parent has gone is how the child would learn to stop.
            let mut order = child.stdin.take().unwrap();
            writeln!(order, "{} {agent} {round}", path.display()).unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut ids = lines.map_while(Result::ok).filter_map(|line| line.parse::<WakeupId>().ok());
            let mut acknowledged: Vec<_> = ids.by_ref().take(*count).collect();
            child.kill().unwrap();
            acknowledged.extend(ids);
            child.wait().unwrap();
            assert!(acknowledged.len() >= *count);
            for id in acknowledged {
                assert_eq!(world.status(id).await, WakeupStatus::Pending);
            }
            world.assert_sound().await;
            Db::open(&world.location).await.unwrap();
        }
    });
}

/// The child: takes its orders from its input; without any (in a run of all ignored tests) it does nothing.
#[test]
#[ignore = "the test above starts it in a process of its own, to kill it"]
fn accepts_wakes_until_it_is_killed() {
    let mut order = String::new();
    std::io::stdin().read_line(&mut order).unwrap();
    let [path, agent, round] = order.split_whitespace().collect::<Vec<_>>()[..] else { return };
    let agent: AgentId = agent.parse().unwrap();
    let ids = Mutex::new(IdSource::new(1_000 + round.parse::<u64>().unwrap()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let db = Db::open_file(path.as_ref()).await.unwrap();
        join_all((0..CALLERS).map(async |_| {
            // More than any round waits for: a child that nobody kills ends.
            for _ in 0..1_000 {
                let id = ids.lock().unwrap().next(START);
                let accept = db.write("wake", draft(agent, id), |tx, wake| Box::pin(wake::accept(tx, wake)));
                println!("{}", accept.await.unwrap().wakeup.id);
            }
        }))
        .await;
    });
}

fn draft(agent: AgentId, id: WakeupId) -> Wake {
    Wake {
        id,
        company: None,
        agent,
        task: None,
        source: Source::Manual,
        trigger_detail: None,
        reason: None,
        priority: None,
        payload: serde_json::Map::new(),
        context: serde_json::Map::new(),
        actor: Actor::user("tester"),
        idempotency_key: None,
        request_hash: None,
        now: START,
        due_at: None,
        expires_at: None,
        max_attempts: None,
        by_run: None,
        maker: Maker::Request,
    }
}
