//! What the demo shows, step by step: each asks the API, checks, and says what it found.

use std::time::Duration;

use serde_json::{Value, json};

use super::server::DemoServer;
use crate::client::Client;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::{items, line, text};

/// Between two looks at something that is about to happen.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Anything the demo waits for comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines that the agent of the crash writes, one every 100 ms.
const CRASH_LINES: usize = 20;

/// What was shown and whether it was as it should be.
#[derive(Debug, Default)]
pub struct Summary {
    rows: Vec<(String, bool, String)>,
}

impl Summary {
    fn check(&mut self, what: &str, holds: bool, evidence: impl Into<String>) {
        let evidence = evidence.into();
        line(&format!("  {} {what}: {evidence}", if holds { "✓" } else { "✗" }));
        self.rows.push((what.to_owned(), holds, evidence));
    }

    /// The rows of the closing table.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let row = |(what, holds, evidence): &(String, bool, String)| {
            vec![what.clone(), if *holds { "ok" } else { "BROKEN" }.to_owned(), evidence.clone()]
        };
        self.rows.iter().map(row).collect()
    }

    /// Fails if anything was not as it should be.
    pub fn verdict(&self) -> Result<(), Failure> {
        match self.rows.iter().filter(|(_, holds, _)| !holds).count() {
            0 => Ok(()),
            count => Err(Failure::failed(format!("{count} of {} checks do not hold", self.rows.len()))),
        }
    }
}

/// All steps; gives the server back, which has been killed and started again on the way.
pub async fn all(dir: &DataDir, server: DemoServer) -> Result<(DemoServer, Summary), Failure> {
    let mut summary = Summary::default();
    let demo = Demo { client: Client::new(server.address(), &dir.admin_token()?)? };
    demo.woken(&mut summary).await?;
    demo.batched(&mut summary).await?;
    demo.followed_up(&mut summary).await?;
    demo.retried(&mut summary).await?;
    let server = demo.crashed(dir, server, &mut summary).await?;
    demo.invariants(&mut summary).await?;
    Ok((server, summary))
}

struct Demo {
    client: Client,
}

impl Demo {
    async fn agent(&self, name: &str, script: &str, more: Value) -> Result<String, Failure> {
        let mut body = json!({ "name": name, "adapter": { "type": "process", "command": script } });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let agent = self.client.post("/api/v1/companies/default/agents", &body).await?;
        Ok(text(&agent, "/id"))
    }

    async fn wake(&self, agent: &str, reason: &str) -> Result<String, Failure> {
        let wakeup = self.client.post(&format!("/api/v1/agents/{agent}/wake"), &json!({ "reason": reason })).await?;
        Ok(text(&wakeup, "/id"))
    }

    /// Asks until the answer is as wanted.
    async fn until(&self, path: &str, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Result<Value, Failure> {
        let asking = async {
            loop {
                let answer = self.client.get(path).await?;
                if is_wanted(&answer) {
                    return Ok(answer);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .map_err(|_| Failure::failed(format!("{what} did not happen within {PATIENCE:?}")))?
    }

    async fn settled(&self, wakeup: &str) -> Result<Value, Failure> {
        self.until(&format!("/api/v1/wakeups/{wakeup}"), "the end of a wakeup", |wakeup| {
            !matches!(text(wakeup, "/status").as_str(), "pending" | "claimed")
        })
        .await
    }

    async fn run(&self, id: &str) -> Result<Value, Failure> {
        self.client.get(&format!("/api/v1/runs/{id}")).await
    }

    async fn runs_of(&self, agent: &str) -> Result<Vec<Value>, Failure> {
        let runs = self.client.get(&format!("/api/v1/companies/default/runs?agent={agent}")).await?;
        Ok(items(&runs).iter().rev().cloned().collect())
    }

    async fn woken(&self, summary: &mut Summary) -> Result<(), Failure> {
        line("\n1. An agent is woken and runs");
        let script = r#"echo "$WAKEFUL_AGENT_NAME here, woken because: $WAKEFUL_REASON"; wakeful done -m "greeted""#;
        let agent = self.agent("greeter", script, json!({})).await?;
        let wakeup = self.settled(&self.wake(&agent, "you asked for a demo").await?).await?;
        let run = self.run(&text(&wakeup, "/run_id")).await?;
        let log = self.client.text(&format!("/api/v1/runs/{}/log/text?stream=stdout", text(&run, "/id"))).await?;
        line(&format!("    it wrote: {}", log.lines().next().unwrap_or_default()));
        let holds = text(&run, "/status") == "succeeded"
            && text(&run, "/summary") == "greeted"
            && log.contains("woken because: you asked for a demo");
        summary.check(
            "a wake makes one run",
            holds,
            format!("{} {}, summary \"{}\"", text(&run, "/id"), text(&run, "/status"), text(&run, "/summary")),
        );
        Ok(())
    }

    async fn batched(&self, summary: &mut Summary) -> Result<(), Failure> {
        line("\n2. Three wakes in a row become one batch");
        let agent = self.agent("collector", "cat \"$WAKEFUL_CONTEXT_FILE\" > /dev/null", json!({})).await?;
        self.client.post("/api/v1/companies/default/pause", &json!({ "reason": "the demo collects" })).await?;
        let mut wakeups = Vec::new();
        for number in 1..=3 {
            wakeups.push(self.wake(&agent, &format!("reason {number}")).await?);
        }
        let waiting = self.client.get(&format!("/api/v1/wakeups/{}", wakeups[0])).await?;
        line(&format!("    while the company is paused, the first waits: {}", text(&waiting, "/waiting/detail")));
        self.client.post("/api/v1/companies/default/resume", &json!({})).await?;
        let mut runs = Vec::new();
        for wakeup in &wakeups {
            runs.push(text(&self.settled(wakeup).await?, "/run_id"));
        }
        let run = self.run(&runs[0]).await?;
        let batch = run.get("wakeups").and_then(Value::as_array).map_or(0, Vec::len);
        let all = self.runs_of(&agent).await?.len();
        let holds = all == 1 && batch == 3 && runs.iter().all(|run| *run == runs[0]);
        summary.check("three wakes, one batch", holds, format!("{all} run with {batch} wakeups, each completed"));
        Ok(())
    }

    async fn followed_up(&self, summary: &mut Summary) -> Result<(), Failure> {
        line("\n3. Wakes that come mid-run make exactly one follow-up");
        let agent = self.agent("worker", "sleep 1; echo done", json!({})).await?;
        let first = self.wake(&agent, "the first").await?;
        self.until(&format!("/api/v1/wakeups/{first}"), "the start", |wakeup| text(wakeup, "/status") == "claimed")
            .await?;
        let second = self.wake(&agent, "came while it worked").await?;
        let third = self.wake(&agent, "came too").await?;
        let waiting = self.client.get(&format!("/api/v1/wakeups/{second}")).await?;
        line(&format!("    the second waits: {}", text(&waiting, "/waiting/detail")));
        self.settled(&first).await?;
        let (second, third) = (self.settled(&second).await?, self.settled(&third).await?);
        let runs = self.runs_of(&agent).await?;
        let holds = runs.len() == 2
            && text(&second, "/run_id") == text(&runs[1], "/id")
            && text(&third, "/run_id") == text(&second, "/run_id");
        summary.check("never swallowed, never doubled", holds, format!("{} runs; the second took both", runs.len()));
        Ok(())
    }

    async fn retried(&self, summary: &mut Summary) -> Result<(), Failure> {
        line("\n4. A failing agent is tried again");
        let script = "test -e tried && exit 0; touch tried; echo 'no luck yet' >&2; exit 3";
        let agent = self.agent("flaky", script, json!({ "retry": { "delays_s": [1], "jitter": 0 } })).await?;
        let wakeup = self.wake(&agent, "try it").await?;
        let put_back = self
            .until(&format!("/api/v1/wakeups/{wakeup}"), "the first failure", |wakeup| {
                text(wakeup, "/status") == "pending" && text(wakeup, "/attempt") == "1"
            })
            .await?;
        line(&format!(
            "    after the first attempt: {} — due {}",
            text(&put_back, "/error"),
            text(&put_back, "/due_at")
        ));
        let wakeup = self.settled(&wakeup).await?;
        let runs = self.runs_of(&agent).await?;
        let statuses: Vec<String> = runs.iter().map(|run| text(run, "/status")).collect();
        let holds = text(&wakeup, "/status") == "completed" && statuses == ["failed", "succeeded"];
        summary.check("a failure is retried", holds, format!("runs: {}", statuses.join(", ")));
        Ok(())
    }

    async fn crashed(&self, dir: &DataDir, server: DemoServer, summary: &mut Summary) -> Result<DemoServer, Failure> {
        line("\n5. The server is killed (SIGKILL) in the middle of a run, and started again");
        let script = format!("i=0; while [ $i -lt {CRASH_LINES} ]; do i=$((i+1)); echo \"line $i\"; sleep 0.1; done");
        let agent = self.agent("survivor", &script, json!({})).await?;
        let wakeup = self.wake(&agent, "survive").await?;
        let claimed = self
            .until(&format!("/api/v1/wakeups/{wakeup}"), "the start", |wakeup| text(wakeup, "/status") == "claimed")
            .await?;
        let run_id = text(&claimed, "/run_id");
        self.until(&format!("/api/v1/runs/{run_id}"), "the start of the process", |run| {
            text(run, "/status") == "running"
        })
        .await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let killed = server.kill().await?;
        line(&format!("    server process {} killed; the agent works on without it", killed.pid.unwrap_or(0)));
        tokio::time::sleep(Duration::from_millis(600)).await;
        let server = killed.start_again(dir).await?;
        line(&format!("    server started again on {}", server.address()));
        let wakeup = self.settled(&wakeup).await?;
        let run = self.run(&run_id).await?;
        let log = self.client.text(&format!("/api/v1/runs/{run_id}/log/text?stream=stdout")).await?;
        let expected: Vec<String> = (1..=CRASH_LINES).map(|number| format!("line {number}")).collect();
        let is_whole = log.lines().eq(expected.iter().map(String::as_str));
        let same = text(&wakeup, "/run_id") == run_id && self.runs_of(&agent).await?.len() == 1;
        let ended = format!("{} with exit code {}", text(&run, "/status"), text(&run, "/exit_code"));
        summary.check(
            "the run survives the crash",
            same && text(&run, "/status") == "succeeded",
            format!("the same run, {ended}"),
        );
        summary.check(
            "its log is whole",
            is_whole,
            format!("{} of {CRASH_LINES} lines, none missing, none twice", log.lines().count()),
        );
        let why = self.client.get(&format!("/api/v1/wakeups/{}/why", text(&wakeup, "/id"))).await?;
        line(&format!("    why: {}", text(&why, "/summary")));
        Ok(server)
    }

    async fn invariants(&self, summary: &mut Summary) -> Result<(), Failure> {
        line("\n6. The invariants are checked on the live store");
        let checked = self.client.get("/api/v1/invariants").await?;
        let count = checked.get("checked").and_then(Value::as_array).map_or(0, Vec::len);
        let broken = checked.get("violations").and_then(Value::as_array).map_or(usize::MAX, Vec::len);
        let stats = self.client.get("/api/v1/companies/default/stats").await?;
        let open: i64 = ["/wakeups/pending", "/wakeups/claimed"]
            .iter()
            .filter_map(|pointer| stats.pointer(pointer).and_then(Value::as_i64))
            .sum();
        let completed = text(&stats, "/wakeups/completed");
        summary.check(
            "every wakeup has one fate",
            open == 0 && broken == 0,
            format!("{completed} completed, {open} open; {count} invariants hold"),
        );
        Ok(())
    }
}
