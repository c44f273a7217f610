//! The actions that are built in, and what agents say that the clock has woken, on both engines: people are told
//! what is new, once.

use serde_json::{Value, json};
use wakeful_domain::agent::Heartbeat;
use wakeful_domain::id::{AgentId, TaskId};
use wakeful_domain::notification::{Notification, NotificationKind};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::schedule::{Schedule, SlotStatus};
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_domain::usage::Usage;
use wakeful_store::ops::notifications;
use wakeful_store::ops::rejections::{self, Rejection};
use wakeful_store::ops::tasks::TaskChange;

use crate::world::{World, conflict, on_both, seconds};

const HOUR: u64 = 3_600;

impl World {
    async fn every_hour(&self, action: Value) -> Schedule {
        let name = format!("{} {}", action["name"].as_str().unwrap(), action["agent"].as_str().unwrap_or_default());
        let draft = self.draft_schedule(&name, json!({ "every": "1h" }), json!({ "action": action }));
        self.insert_schedule(draft).await.unwrap()
    }

    async fn notifications(&self) -> Vec<Notification> {
        let read = self
            .db
            .read("told", self.company, |tx, company| Box::pin(notifications::list(tx, *company, false, None, 100)));
        read.await.unwrap().items.into_iter().rev().collect()
    }

    pub async fn texts(&self) -> Vec<String> {
        self.notifications().await.into_iter().map(|told| told.notice.text).collect()
    }

    async fn hour(&self) {
        self.pass(seconds(HOUR));
        self.fire().await;
    }

    async fn free_task(&self, title: &str, labels: &[&str], reward: Option<i64>) -> TaskId {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.insert_task(Task { labels, reward, ..self.draft_task(title) }).await
    }

    async fn assigned(&self, title: &str, agent: AgentId, change: impl FnOnce(&mut Task)) -> TaskId {
        let mut task = Task { assignee: Some(agent), ..self.draft_task(title) };
        change(&mut task);
        let id = self.insert_task(task).await;
        // The assignment has woken it, and it has looked.
        while let Some(claimed) = self.claim_any().await {
            self.succeed(&claimed.run).await;
        }
        id
    }
}

#[test]
fn a_task_scan_tells_of_each_task_once_and_wakes_the_agent_for_it() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.capabilities = vec!["rust".into(), "sql".into()]).await;
        let config = json!({ "min_reward": 100 });
        let scan = world.every_hour(json!({ "name": "task-scan", "agent": agent, "config": config })).await;
        world.hour().await;
        assert!(world.texts().await.is_empty(), "quiet");
        let slot = world.slots(scan.id).await.remove(0);
        assert_eq!((slot.status, slot.answer), (SlotStatus::Fired, Some(json!({ "action": { "notify": false } }))));

        world.free_task("fits", &["rust"], Some(100)).await;
        world.free_task("fits, too", &["rust", "sql"], Some(500)).await;
        world.free_task("asks for more", &["rust", "go"], Some(500)).await;
        world.free_task("pays too little", &["rust"], Some(99)).await;
        world.free_task("pays nothing", &[], None).await;
        let backlog = Task { reward: Some(500), status: TaskStatus::Backlog, ..world.draft_task("not yet") };
        world.insert_task(backlog).await;
        world.hour().await;
        let told = world.texts().await;
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("Found 2 new tasks matching your capabilities\n"), "{told:?}");
        assert!(told[0].contains("fits, too") && !told[0].contains("asks for more"), "{told:?}");
        let claimed = world.claim().await;
        assert_eq!(claimed.wakeups[0].payload["count"], json!(2));
        world.succeed(&claimed.run).await;

        world.hour().await;
        assert_eq!((world.texts().await.len(), world.claim_any().await.is_none()), (1, true), "each once");
        // One that is found while the agent is at work is told to it afterwards.
        world.free_task("meanwhile", &[], Some(100)).await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.hour().await;
        world.succeed(&run).await;
        let claimed = world.claim().await;
        assert_eq!(claimed.wakeups[0].payload["tasks"][0]["title"], "meanwhile");
        world.succeed(&claimed.run).await;
        let late = world.free_task("one more", &["sql"], Some(100)).await;
        world.hour().await;
        assert!(world.texts().await[2].starts_with("Found 1 new tasks matching your capabilities\n"));
        world.set_status(late, TaskStatus::Done).await;
        world.hour().await;
        let left = format!("select count(*) from reported where schedule_id = '{}'", scan.id);
        assert_eq!(world.number(&left).await, 3, "what is closed need not be remembered");
        world.assert_sound().await;
    });
}

#[test]
fn a_daily_summary_always_speaks_and_counts_nothing_twice() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let ben = world.agent("ben").await;
        world.every_hour(json!({ "name": "daily-summary" })).await;
        let task = world.assigned("t", ann, |task| task.reward = Some(2_500_000)).await;
        world.set_status(task, TaskStatus::Done).await;
        world.wake(ben).await;
        let usage = Usage { input_tokens: 1_000, output_tokens: 20, ..Usage::default() };
        let outcome = Outcome { usage: Some(usage), cost_micros: Some(1_230_000), ..Outcome::failed("x", "bad") };
        let run = world.claim().await.run;
        world.finish(&run, outcome).await;
        world.hour().await;
        let told = world.notifications().await.remove(0);
        let lines: Vec<&str> = told.notice.text.lines().collect();
        let all = "tasks completed 1, runs 2, failures 1, tokens 1020, spent $1.23, earned $2.50";
        assert!(lines[0].ends_with(all), "{lines:?}");
        assert_eq!(lines[1], "- ann: tasks completed 1, runs 1, failures 0, tokens 0, spent $0.00, earned $2.50");
        assert_eq!(lines[2], "- ben: tasks completed 0, runs 1, failures 1, tokens 1020, spent $1.23, earned $0.00");
        assert_eq!(told.notice.metadata["total"]["cost_micros"], 1_230_000);
        world.hour().await;
        let told = world.texts().await;
        assert!(told[1].ends_with("tasks completed 0, runs 0, failures 0, tokens 0, spent $0.00, earned $0.00"));
        world.assert_sound().await;
    });
}

#[test]
fn a_portfolio_monitor_tells_of_what_is_new_and_of_what_stays_once_a_day() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.every_hour(json!({ "name": "portfolio-monitor" })).await;
        let due = world.now() + seconds(4 * HOUR);
        let task = world.assigned("ship", agent, |task| task.due_at = Some(due)).await;
        world.hour().await;
        assert!(world.texts().await.is_empty(), "three hours are enough");
        world.hour().await;
        let told = world.texts().await;
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("1 new alerts\n") && told[0].contains("ship: due in 2 h"), "{told:?}");
        world.hour().await;
        assert_eq!(world.texts().await.len(), 1, "it is known");
        world.hour().await;
        assert!(world.texts().await[1].contains("was due at"), "overdue is another alert");

        // It goes away, and when it comes back it is new.
        let change = TaskChange { due_at: Some(Some(world.now() + seconds(24 * HOUR))), ..TaskChange::default() };
        world.change_task(task, change).await.unwrap();
        world.hour().await;
        let change = TaskChange { due_at: Some(Some(world.now())), ..TaskChange::default() };
        world.change_task(task, change).await.unwrap();
        world.hour().await;
        let told = world.texts().await;
        assert_eq!(told.len(), 3);
        assert!(told[2].starts_with("1 new alerts\n"), "{told:?}");

        // Nothing happens for a day: one more alert, and the one that stands is told again.
        for _ in 0..25 {
            world.hour().await;
        }
        let told = world.texts().await;
        assert_eq!(told.len(), 5, "{told:?}");
        let later = told[3..].join("\n");
        assert!(later.contains("nothing has happened since") && later.contains("that still stand"), "{later}");
        world.set_status(task, TaskStatus::Done).await;
        world.hour().await;
        assert_eq!(world.number("select count(*) from reported").await, 0);
        world.assert_sound().await;
    });
}

#[test]
fn a_task_that_waits_for_a_failed_one_is_an_alert() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.retry.delays_s = vec![]).await;
        let blocker = world.insert_task(Task { assignee: Some(agent), ..world.draft_task("first") }).await;
        let waiting = Task { assignee: Some(agent), ..world.draft_task("second") };
        world.make_task(waiting, &[blocker]).await.unwrap();
        world.every_hour(json!({ "name": "portfolio-monitor", "agent": agent })).await;
        let run = world.claim().await.run;
        world.hour().await;
        assert!(world.texts().await.is_empty(), "it is at work");
        world.fail(&run, "bad_config").await;
        world.hour().await;
        let told = world.texts().await;
        let own = told.iter().filter(|text| text.contains("second: waits for a task whose last run failed")).count();
        assert_eq!(own, 1, "{told:?}");
    });
}

#[test]
fn a_rejected_result_wakes_its_assignee_with_the_reason_and_is_an_alert_until_it_is_handed_in_again() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.every_hour(json!({ "name": "portfolio-monitor" })).await;
        let task = world.assigned("ship", agent, |_| {}).await;
        let reject = async || {
            let rejection = Rejection { task, comment: world.id(), reason: "the tests fail".into() };
            let arguments = (world.origin(), rejection);
            world
                .db
                .write("reject", arguments, |tx, (origin, rejection)| {
                    Box::pin(rejections::reject(tx, origin, rejection))
                })
                .await
        };
        assert_eq!(conflict(reject().await), "nothing_handed_in");
        world.set_status(task, TaskStatus::InReview).await;
        assert_eq!(reject().await.unwrap().status, TaskStatus::Todo);
        let claimed = world.claim().await;
        assert_eq!(claimed.comments[0].body, "Rejected: the tests fail");
        world.succeed(&claimed.run).await;
        world.hour().await;
        assert!(world.texts().await[0].contains("ship: its result was rejected"));
        world.set_status(task, TaskStatus::InReview).await;
        world.hour().await;
        assert_eq!(world.number("select count(*) from reported").await, 0);
        world.assert_sound().await;
    });
}

#[test]
fn an_agent_that_the_clock_has_woken_is_quiet_unless_it_has_something_to_tell() {
    on_both(async |world| {
        let heartbeat =
            Heartbeat { enabled: true, every: Some("1h".into()), only_when_work: false, ..Heartbeat::default() };
        let agent = world.agent_with("ann", |agent| agent.heartbeat = heartbeat).await;
        let says = async |text: &str, result: Option<Value>| {
            while world.fire().await.fires == 0 {
                world.pass(seconds(5));
            }
            let run = world.claim().await.run;
            let outcome = Outcome { summary: Some(text.into()), result, ..Outcome::succeeded() };
            world.finish(&run, outcome).await;
            world.notifications().await
        };
        assert!(says("HEARTBEAT_OK", None).await.is_empty());
        assert!(says("All is well. HEARTBEAT_OK", None).await.is_empty());
        assert!(says("I looked at it.", Some(json!({ "notify": false }))).await.is_empty());
        let told = says("The build is red.", None).await;
        let notice = &told[0].notice;
        assert_eq!((notice.kind, notice.title.as_str()), (NotificationKind::Heartbeat, "ann"));
        assert_eq!((notice.text.as_str(), notice.agent), ("The build is red.", Some(agent)));
        let told = says("The build is red.", None).await;
        assert_eq!((told.len(), told[0].repeats), (1, 1), "the same is counted");

        // What a person asked for is no notification.
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.finish(&run, Outcome { summary: Some("Here you are.".into()), ..Outcome::succeeded() }).await;
        assert_eq!(world.notifications().await.len(), 1);
        world.assert_sound().await;
    });
}
