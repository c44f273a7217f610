//! Whoever subscribes to what is over already does not wait for ever: it is told at once.

use serde_json::json;
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::run::RunFence;
use wakeful_domain::subscription::{EndReason, EventName, Source};
use wakeful_domain::task::TaskStatus;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::ops::subscriptions::declare::{Declaration, declare};

use crate::world::on_both;

#[test]
fn a_run_that_has_ended_is_told_at_once() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let run = world.run_of(bob, None).await;
        world.succeed(&run).await;
        let waits = world.subscribe_with(ann, Source::Run(run.id), |wanted| wanted.once = true).await;
        assert_eq!(waits.end_reason, Some(EndReason::Fired));
        assert_eq!(world.woken(ann).await[0].payload["finished_child"]["run"], json!(run.id));
        // What was asked for has not come and cannot come: that is told, too.
        let waits =
            world.subscribe_with(ann, Source::Run(run.id), |wanted| wanted.on = vec![EventName::RunFailed]).await;
        assert_eq!(waits.end_reason, Some(EndReason::SourceOver));
        assert_eq!(world.woken(ann).await.len(), 2);
        assert!(world.woken(ann).await.iter().any(|one| one.payload["event"] == "source.over"));
    });
}

#[test]
fn a_task_that_is_closed_is_told_at_once_and_once_for_a_key() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task("t").await;
        world.set_status(task, TaskStatus::Done).await;
        for _ in 0..3 {
            world.subscribe_with(ann, Source::Task(task), |wanted| wanted.key = Some("k".into())).await;
        }
        assert_eq!(world.woken(ann).await.len(), 1);
        world.subscribe_with(ann, Source::Task(task), |wanted| wanted.on = vec![EventName::TaskCommented]).await;
        assert_eq!(world.woken(ann).await.len(), 1, "comments may still come");
    });
}

#[test]
fn children_that_are_all_closed_are_told_at_once_and_none_are_waited_for() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let top = world.task("top").await;
        world.subscribe_with(ann, Source::Children(top), |wanted| wanted.key = Some("none yet".into())).await;
        assert!(world.woken(ann).await.is_empty(), "children may come");
        let (one, two) = (world.child_task(top, "one").await, world.child_task(top, "two").await);
        world.set_status(one, TaskStatus::Done).await;
        world.subscribe_with(ann, Source::Children(top), |wanted| wanted.on = vec![EventName::AnyClosed]).await;
        assert!(world.woken(ann).await.is_empty(), "another is open, which will be closed");
        world.set_status(two, TaskStatus::Done).await;
        assert_eq!(world.woken(ann).await.len(), 2);
        for on in [EventName::AnyClosed, EventName::AllClosed] {
            world.subscribe_with(ann, Source::Children(top), |wanted| wanted.on = vec![on]).await;
        }
        assert_eq!(world.woken(ann).await.len(), 4);
    });
}

#[test]
fn an_agent_that_is_terminated_is_told_at_once() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        world.agent_event(bob, AgentEvent::Terminate).await.unwrap();
        let waits = world.subscribe(ann, Source::Agent(bob)).await;
        assert_eq!(waits.end_reason, Some(EndReason::SourceOver));
        assert_eq!(world.woken(ann).await[0].payload["event"], "source.over");
    });
}

#[test]
fn a_run_may_subscribe_its_own_lane_to_what_is_over_and_goes_on_in_its_chain() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let child = world.run_of(bob, None).await;
        world.succeed(&child).await;
        let run = world.run_of(ann, None).await;
        let mut subscription = world.draft_subscription(ann, Source::Run(child.id));
        subscription.by_run = Some(run.id);
        let by_run = Some(RunFence { run: run.id, fence: run.fence });
        let declaration = Declaration { subscription, by_run, request_key: None };
        world.db.write("subscribe", declaration.clone(), |tx, wanted| Box::pin(declare(tx, wanted))).await.unwrap();
        let [told] = &world.woken(ann).await[..] else { panic!("one wakeup") };
        assert_eq!(told.status, WakeupStatus::Pending, "it asked for it by name");
        world.succeed(&run).await;
        assert_eq!(world.claim().await.wakeups[0].id, told.id);
        let late = world.db.write("subscribe", declaration, |tx, wanted| Box::pin(declare(tx, wanted))).await;
        assert_eq!(crate::world::conflict(late), "fenced", "a run that has ended subscribes nobody");
    });
}
