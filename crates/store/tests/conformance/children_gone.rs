//! What a parent waits for and will not come: a child's run that was to be tried again and then is not, and an open
//! child that is moved elsewhere. It is told, once.

use serde_json::json as object;
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::{AgentId, TaskId, WakeupId};
use wakeful_domain::run::Run;
use wakeful_domain::subscription::{EventName, Source};
use wakeful_domain::task::{TaskStatus, WakeParent};
use wakeful_store::ops::tasks::TaskChange;

use crate::wishes::batch;
use crate::world::{World, on_both, seconds};

/// A child whose run has failed, and what of it waits for the next try.
struct Failed {
    parent_agent: AgentId,
    agent: AgentId,
    child: TaskId,
    run: Run,
    waiting: WakeupId,
}

impl World {
    /// With `others` further wakes of the same run.
    async fn failed_child(&self, others: usize) -> Failed {
        let parent_agent = self.agent("ann").await;
        let agent = self.agent_with("bob", |agent| agent.retry.delays_s = vec![60]).await;
        let parent = self.parent_of(Some(parent_agent)).await;
        let child = self.child_of(parent, agent, WakeParent::Each).await.id;
        for _ in 0..others {
            self.wake_about(agent, child).await;
        }
        let claimed = self.claim().await;
        let (waiting, run) = (batch(&claimed)[0], claimed.run);
        self.fail(&run, "network").await;
        self.dispatch_at_rest().await;
        assert_eq!(self.heard(parent_agent).await.len(), 0, "it is tried again");
        Failed { parent_agent, agent, child, run, waiting }
    }

    async fn ends_told(&self, failed: &Failed) -> Vec<serde_json::Value> {
        self.dispatch_at_rest().await;
        self.dispatch_at_rest().await;
        let told = self.heard(failed.parent_agent).await;
        told.into_iter().map(|wakeup| wakeup.payload["finished_child"]["run"].clone()).collect()
    }
}

#[test]
fn a_retry_that_is_called_off_by_hand_is_told_as_the_end_that_it_is() {
    on_both(async |world| {
        let failed = world.failed_child(0).await;
        world.cancel(failed.waiting).await.unwrap();
        assert_eq!(world.ends_told(&failed).await, [object!(failed.run.id)]);
        let told = &world.heard(failed.parent_agent).await[0];
        assert_eq!(told.cause_id, Some(failed.run.id.to_string()), "it goes on in the run's chain");
        let reason = format!("{} of T-2 (child of T-1) finished: failed, and is not tried again", failed.run.id);
        assert_eq!(told.reason, Some(reason));
        assert_eq!(told.payload["finished_child"]["error_code"], "network");
    });
}

#[test]
fn only_the_last_of_what_a_run_had_ends_it() {
    on_both(async |world| {
        let failed = world.failed_child(2).await;
        let all = world.wakeups_of(failed.agent).await;
        let all: Vec<WakeupId> = all.iter().filter(|wakeup| wakeup.task == Some(failed.child)).map(|w| w.id).collect();
        assert_eq!(all.len(), 3);
        for id in &all[..2] {
            world.cancel(*id).await.unwrap();
            assert!(world.ends_told(&failed).await.is_empty());
        }
        world.cancel(all[2]).await.unwrap();
        assert_eq!(world.ends_told(&failed).await, [object!(failed.run.id)]);
    });
}

#[test]
fn a_retry_that_expires_while_its_agent_is_paused_is_told() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let parent = world.parent_of(Some(ann)).await;
        let child = world.child_of(parent, bob, WakeParent::Each).await.id;
        world.succeed(&world.claim_of(bob).await).await;
        let until = Some(world.now() + seconds(600));
        world.wake_with(bob, |wake| (wake.task, wake.expires_at) = (Some(child), until)).await;
        let run = world.claim_of(bob).await;
        world.stop(&run, true).await.unwrap();
        world.agent_event(bob, AgentEvent::Pause).await.unwrap();
        world.succeed(&run).await;
        let before = world.heard(ann).await.len();
        world.pass(seconds(601));
        world.dispatch_at_rest().await;
        let told = world.heard(ann).await;
        assert_eq!(told.len(), before + 1);
        assert_eq!(told[before].payload["finished_child"]["run"], object!(run.id));
    });
}

#[test]
fn a_later_run_speaks_for_the_earlier_ones() {
    on_both(async |world| {
        let failed = world.failed_child(0).await;
        world.pass(seconds(100));
        world.tick().await;
        let second = world.claim_of(failed.agent).await;
        world.fail(&second, "network").await;
        assert_eq!(world.ends_told(&failed).await, [object!(second.id)], "two attempts, and it is a dead letter");
        world.retry(failed.waiting).await.unwrap();
        world.cancel(failed.waiting).await.unwrap();
        assert_eq!(world.ends_told(&failed).await.len(), 1, "that end was told");
    });
}

#[test]
fn what_goes_on_elsewhere_or_is_told_otherwise_is_not_told_again() {
    on_both(async |world| {
        let failed = world.failed_child(0).await;
        let carl = world.agent("carl").await;
        world.assign(failed.child, Some(carl)).await;
        assert!(world.ends_told(&failed).await.is_empty(), "another agent goes on with it");
        world.set_status(failed.child, TaskStatus::Cancelled).await;
        assert_eq!(world.ends_told(&failed).await, [object!(null)], "the close, once");
    });
    on_both(async |world| {
        let failed = world.failed_child(0).await;
        world.set_status(failed.child, TaskStatus::Cancelled).await;
        assert_eq!(world.ends_told(&failed).await, [object!(null)], "the close, once");
    });
    on_both(async |world| {
        let failed = world.failed_child(0).await;
        world.agent_event(failed.agent, AgentEvent::Terminate).await.unwrap();
        assert_eq!(world.ends_told(&failed).await, [object!(null)], "the termination, once");
    });
}

#[test]
fn a_child_taken_from_its_agent_and_given_to_nobody_is_told() {
    on_both(async |world| {
        let failed = world.failed_child(0).await;
        world.assign(failed.child, None).await;
        assert_eq!(world.ends_told(&failed).await, [object!(failed.run.id)]);
    });
}

#[test]
fn when_the_last_open_child_is_moved_away_all_that_are_left_are_closed() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let top = world.task("top").await;
        let parent = world.parent_of(Some(ann)).await;
        world.move_below(parent, Some(top)).await;
        let closed = world.child_of(parent, bob, WakeParent::All).await.id;
        let moved = world.child_of(parent, bob, WakeParent::All).await.id;
        let other = world.child_of(parent, bob, WakeParent::Never).await.id;
        for source in [Source::Children(parent), Source::Children(top)] {
            world.subscribe_with(ann, source, |wanted| wanted.on = vec![EventName::AllClosed]).await;
        }
        world.set_status(closed, TaskStatus::Done).await;
        world.move_below(other, None).await;
        assert!(world.heard(ann).await.is_empty(), "one is open");
        world.move_below(moved, Some(top)).await;
        let [told] = &world.heard(ann).await[..] else { panic!("one wakeup") };
        assert_eq!(told.reason.as_deref(), Some("all children of T-2 are closed; T-4 was moved away"));
        assert_eq!(told.payload["finished_child"]["status"], "moved_away");
        assert_eq!(told.payload["children"], object!({ "total": 1, "open": 0, "by_status": { "done": 1 } }));
        let woken = world.woken(ann).await;
        assert_eq!(woken.len(), 1, "it lies below the top as before, and is open");
        assert_eq!(woken[0].payload["event"], "children.all_closed");
        assert_eq!(
            woken[0].reason.as_deref(),
            Some("T-4 \"Paint the door\" was moved away, and what is left is closed")
        );
        // Closed ones change nothing.
        world.move_below(closed, None).await;
        assert_eq!((world.heard(ann).await.len(), world.woken(ann).await.len()), (1, 1));
    });
}

impl World {
    async fn move_below(&self, task: TaskId, parent: Option<TaskId>) {
        let change = TaskChange { parent: Some(parent), ..TaskChange::default() };
        self.change_task(task, change).await.unwrap();
    }
}
