//! Work that goes on while something is broken: wakes that are sent under their keys until they are answered, and what
//! became of each of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wakeful_test_server::{Client, Server, answer, id};

use crate::logs::{Wanted, lines_problem, records};
use crate::waiting::until;

/// Between two requests of what was not answered.
const SEND_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Agents that write lines, and who wakes them.
pub struct Load {
    client: Client,
    agents: Vec<String>,
    lines: usize,
    /// The wakeup that each key was answered with.
    accepted: RefCell<BTreeMap<String, String>>,
    is_over: Cell<bool>,
    longest_unanswered: Cell<Duration>,
}

/// What came of a load.
pub struct Settled {
    pub wakes: usize,
    pub runs: usize,
    pub lines: usize,
    /// The longest that a wake was sent again and again.
    pub longest_unanswered: Duration,
}

impl Load {
    /// So many agents, whose runs write a line every so often.
    pub async fn on(client: &Client, agents: usize, lines: usize, every: Duration) -> Load {
        let script = format!(
            "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo \"$WAKEFUL_RUN line $i\"; sleep {}; done",
            every.as_secs_f64()
        );
        let mut ids = Vec::new();
        for number in 0..agents {
            ids.push(client.process_agent(&format!("writer-{number}"), &script).await);
        }
        Load {
            client: client.clone(),
            agents: ids,
            lines,
            accepted: RefCell::default(),
            is_over: Cell::new(false),
            longest_unanswered: Cell::default(),
        }
    }

    /// Wakes one agent after the other, with a pause after each, until it is over.
    pub async fn drive(&self, pause: Duration) {
        for number in 0.. {
            if self.is_over.get() {
                return;
            }
            self.wake(number).await;
            sleep(pause).await;
        }
    }

    pub fn end(&self) {
        self.is_over.set(true);
    }

    async fn wake(&self, number: usize) {
        let (key, agent) = (format!("wake-{number}"), &self.agents[number % self.agents.len()]);
        let began = Instant::now();
        loop {
            let request = self.client.request(Method::POST, &format!("/agents/{agent}/wake"));
            let request = request.timeout(Duration::from_secs(5)).header("idempotency-key", &key);
            let (status, wakeup) = answer(request.json(&json!({ "reason": key }))).await;
            self.longest_unanswered.set(self.longest_unanswered.get().max(began.elapsed()));
            match status {
                200 | 202 => {
                    self.accepted.borrow_mut().insert(key, id(&wakeup));
                    return;
                }
                0 | 503 => sleep(SEND_AGAIN_AFTER).await,
                _ => panic!("{status} {wakeup}"),
            }
        }
    }

    /// Waits until every wake has its fate: completed, once, in a run that succeeded and wrote each of its lines once.
    pub async fn settled(&self, server: &Server, within: Duration) -> Settled {
        let accepted = self.accepted.borrow().clone();
        until("the fates of all wakes", within, async || {
            let (_, stats) = server.get("/companies/default/stats").await;
            stats["wakeups"]["pending"].as_i64().unwrap_or(0) + stats["wakeups"]["claimed"].as_i64().unwrap_or(0) == 0
                && stats["wakeups"].is_object()
        })
        .await;
        let wakeups = server.all("/companies/default/wakeups").await;
        let of_load: Vec<&Value> = wakeups.iter().filter(|wakeup| wakeup["idempotency_key"].is_string()).collect();
        let found: BTreeSet<String> = of_load.iter().map(|wakeup| id(wakeup)).collect();
        assert_eq!(found, accepted.values().cloned().collect(), "each key is one wakeup, and nothing else is there");
        assert_eq!(found.len(), accepted.len());
        for wakeup in of_load {
            assert_eq!((&wakeup["status"], &wakeup["attempt"]), (&json!("completed"), &json!(1)), "{wakeup:#}");
        }
        let runs = server.all("/companies/default/runs").await;
        let runs: Vec<&Value> = runs.iter().filter(|run| run["error_code"] != "launch_interrupted").collect();
        for run in &runs {
            assert_eq!(run["status"], "succeeded", "{run:#}");
            let problem = lines_problem(&records(server, &id(run)).await, &id(run), Wanted::All(self.lines));
            assert_eq!(problem, None, "{run:#}");
        }
        Settled {
            wakes: accepted.len(),
            runs: runs.len(),
            lines: runs.len() * self.lines,
            longest_unanswered: self.longest_unanswered.get(),
        }
    }
}
