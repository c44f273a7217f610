//! Agents that set each other going: what does not end by itself is cut, and a person is told.

use wakeful_domain::escalation::EscalationKind;
use wakeful_domain::id::AgentId;
use wakeful_domain::task::Task;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::ops::claim::Claimed;
use wakeful_store::ops::comments::{self, NewComment};
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::tasks;

use crate::world::{World, on_both, seconds};

/// More than any chain may have.
const ROUNDS_MAX: usize = 60;

impl World {
    /// How many runs there were until nothing more starts; each does something before it succeeds.
    async fn play(&self, mut act: impl AsyncFnMut(&Claimed)) -> usize {
        for round in 0..ROUNDS_MAX {
            let Some(claimed) = self.claim_any().await else { return round };
            act(&claimed).await;
            self.succeed(&claimed.run).await;
            self.pass(seconds(1));
        }
        ROUNDS_MAX
    }

    async fn assert_cut(&self) {
        let told = self.escalations().await;
        assert!(told.iter().any(|told| told.kind == EscalationKind::LoopLimit), "{told:?}");
    }

    async fn skipped(&self, agents: &[AgentId]) -> usize {
        let mut count = 0;
        for agent in agents {
            let all = self.wakeups_of(*agent).await;
            count += all
                .iter()
                .filter(|wakeup| wakeup.status == WakeupStatus::Skipped)
                .filter(|wakeup| wakeup.status_reason.as_deref() == Some("loop_limit"))
                .count();
        }
        count
    }
}

#[test]
fn two_agents_that_answer_each_other_by_mail_without_end_are_cut() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        world.send(world.origin(), world.letter(ann)).await.unwrap();
        let runs = world
            .play(async |claimed| {
                let to = if claimed.run.agent == ann { bob } else { ann };
                let origin = world.as_agent(claimed.run.agent, Some(&claimed.run));
                world.send(origin, world.letter(to)).await.unwrap();
            })
            .await;
        assert_eq!((runs, world.skipped(&[ann, bob]).await), (33, 1));
        world.assert_cut().await;
    });
}

#[test]
fn two_agents_that_mention_each_other_without_end_are_cut() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task("Talk").await;
        world.wake_about(ann, task).await;
        let runs = world
            .play(async |claimed| {
                let body = if claimed.run.agent == ann { "@bob?" } else { "@ann!" }.to_owned();
                let origin = world.as_agent(claimed.run.agent, Some(&claimed.run));
                let new = NewComment { id: world.id(), task, body, reopen: false };
                let write = world
                    .db
                    .write("comment", (origin, new), |tx, (origin, new)| Box::pin(comments::insert(tx, origin, new)));
                write.await.unwrap();
            })
            .await;
        assert_eq!((runs, world.skipped(&[ann, bob]).await), (33, 1));
        world.assert_cut().await;
    });
}

#[test]
fn a_fan_out_of_agents_ends_or_is_cut_and_every_end_is_accounted_for() {
    on_both(async |world| {
        let lead = world.agent("lead").await;
        let worker = world.agent_with("worker", |agent| agent.max_concurrent_runs = 50).await;
        world.sql("update companies set max_concurrent_runs = 100").await.unwrap();
        let root = world.make_task(Task { assignee: Some(lead), ..world.draft_task("Root") }, &[]).await.unwrap();
        let mut made = 0;
        let mut started = 0;
        loop {
            let claimed = world.claim_some(50).await;
            if claimed.is_empty() {
                break;
            }
            for one in claimed {
                started += 1;
                let task = one.task.clone().unwrap();
                // Only what is new is broken down: 1, 10, 100, 1,000.
                let is_new = one.wakeups.iter().any(|wakeup| wakeup.source.as_str() == "assignment");
                let below = if task.id == root.id { 10 } else { 10 * u64::from(task.title.len() < 3) };
                for _ in 0..if is_new { below } else { 0 } {
                    let title = if task.id == root.id { "x".to_owned() } else { format!("{}x", task.title) };
                    let draft = Task { parent: Some(task.id), assignee: Some(worker), ..world.draft_task(&title) };
                    let origin = Origin { by_run: Some(one.run.proof()), ..world.origin() };
                    let write = world.db.write("task", (origin, draft), |tx, (origin, draft)| {
                        Box::pin(tasks::insert(tx, origin, draft, &[]))
                    });
                    write.await.unwrap();
                    made += 1;
                }
                world.succeed(&one.run).await;
            }
            world.pass(seconds(1));
        }
        // What was accepted before the limit was reached still runs; nothing is accepted behind it.
        assert!(made == 1_110 && started < made, "{started} runs, {made} tasks");
        world.assert_cut().await;
        let cut = world.number("select count(*) from wakeups where status_reason = 'loop_limit'").await;
        let waiting = world.number("select count(*) from wakeups where status in ('pending', 'claimed')").await;
        assert!(cut > 0 && waiting == 0, "{cut} cut, {waiting} wait");
    });
}
