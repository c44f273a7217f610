//! What comes while a run is live: it stays pending, can be acknowledged, and otherwise makes one follow-up run.

use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::ops::messages::{self, ReadRequest};
use wakeful_store::ops::runs::{self, Silence};

use crate::wishes::batch;
use crate::world::{conflict, on_both, seconds};

#[test]
fn all_that_comes_during_a_run_makes_one_follow_up() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.max_concurrent_runs = 5).await;
        let first = world.wake(agent).await;
        let run = world.claim().await.run;
        let mut late = Vec::new();
        for priority in [10, 90, 50] {
            late.push(world.wake_with(agent, |wake| wake.priority = Some(priority)).await.id);
        }
        assert!(world.claim_any().await.is_none(), "the lane is busy");
        assert_eq!(world.inbox(&run).await, late);
        world.succeed(&run).await;
        assert_eq!(world.status(first).await, WakeupStatus::Completed);
        for id in &late {
            assert_eq!(world.status(*id).await, WakeupStatus::Pending, "it has not been read by the run");
        }
        let follow_up = world.claim().await;
        assert_eq!((batch(&follow_up), follow_up.run.fence), (late, 2));
        assert!(world.claim_any().await.is_none());
    });
}

#[test]
fn what_is_acknowledged_shares_the_end_of_the_run() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        let (taken, left) = (world.wake(agent).await, world.wake(agent).await);
        for _ in 0..2 {
            let answer = world.acknowledge(&run, &[taken]).await;
            assert_eq!((answer.acknowledged, answer.refused), (vec![taken], vec![]), "twice is once");
        }
        let wakeup = world.wakeup(taken).await;
        assert_eq!((wakeup.status, wakeup.run, wakeup.attempt), (WakeupStatus::Claimed, Some(run.id), 1));
        assert_eq!(world.inbox(&run).await, [left]);
        world.succeed(&run).await;
        assert_eq!(world.status(taken).await, WakeupStatus::Completed);
        assert_eq!(batch(&world.claim().await), [left]);
    });
}

#[test]
fn what_is_acknowledged_shares_the_retry_too() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let first = world.wake(agent).await;
        let run = world.claim().await.run;
        let taken = world.wake(agent).await;
        world.acknowledge(&run, &[taken]).await;
        world.fail(&run, "exit_nonzero").await;
        for id in [first, taken] {
            let wakeup = world.wakeup(id).await;
            assert_eq!((wakeup.status, wakeup.attempt), (WakeupStatus::Pending, 1));
            assert_eq!((wakeup.run, wakeup.due_at), (None, world.now() + seconds(120)));
        }
        world.pass(seconds(120));
        world.tick().await;
        let again = world.claim().await;
        assert_eq!(batch(&again), [first, taken]);
        assert!(again.wakeups.iter().all(|wakeup| wakeup.attempt == 2));
    });
}

#[test]
fn only_due_wakeups_of_the_lane_can_be_acknowledged() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let done = world.wake(agent).await;
        world.succeed(&world.claim().await.run).await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        let later = world.wake_with(agent, |wake| wake.due_at = Some(world.now() + seconds(9))).await.id;
        let elsewhere = world.wake_about(agent, world.task("t").await).await;
        let other = world.company("other", 5).await;
        let foreign = world.wake(world.agent_with("b", |agent| agent.company = other).await).await;
        let cancelled = world.wake(agent).await;
        world.cancel(cancelled).await.unwrap();
        let expired = world.wake_with(agent, |wake| wake.expires_at = Some(world.now() + seconds(1))).await.id;
        let unknown = world.id();
        let good = world.wake(agent).await;
        world.pass(seconds(1));
        let answer =
            world.acknowledge(&run, &[done, later, elsewhere, foreign, cancelled, expired, unknown, good]).await;
        assert_eq!(answer.acknowledged, [good]);
        let expected = [
            (done, "not_pending"),
            (later, "not_due"),
            (elsewhere, "other_lane"),
            (foreign, "not_found"),
            (cancelled, "not_pending"),
            (expired, "not_due"),
            (unknown, "not_found"),
        ];
        assert_eq!(answer.refused, expected);
    });
}

#[test]
fn a_run_that_is_over_acknowledges_nothing() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        let late = world.wake(agent).await;
        world.succeed(&run).await;
        assert_eq!(conflict(world.try_acknowledge(&run, &[late]).await), "fenced");
        let next = world.claim().await.run;
        assert_eq!(conflict(world.try_acknowledge(&run, &[late]).await), "fenced");
        let mut old_fence = next.clone();
        old_fence.fence -= 1;
        assert_eq!(conflict(world.try_acknowledge(&old_fence, &[late]).await), "fenced");
        assert_eq!(world.wakeup(late).await.run, Some(next.id));
    });
}

#[test]
fn a_nudge_waits_until_it_is_read_and_ends_with_the_run() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        let unread = async || -> Vec<String> {
            let found = world.db.read("unread", run.id, |tx, run| Box::pin(messages::unread(tx, *run))).await.unwrap();
            assert!(found.iter().all(|message| message.kind == "nudge" && message.text == "go on"));
            found.into_iter().map(|message| message.id).collect()
        };
        let nudge = async |id: &str| {
            let event = messages::nudge(id, "go on", "it is nudged".into(), 60);
            let silence = Silence { now: world.now(), run: run.id, fence: run.fence, tier: 1, event };
            world.db.write("nudge", silence, |tx, silence| Box::pin(runs::note_silence(tx, silence))).await.unwrap()
        };
        let mark_read = async |ids: &[&str]| {
            let ids = ids.iter().map(|id| (*id).to_owned()).collect();
            let request = ReadRequest { now: world.now(), run: run.id, fence: run.fence, messages: ids };
            world.db.write("read", request, |tx, request| Box::pin(messages::mark_read(tx, request))).await
        };
        assert!(unread().await.is_empty() && nudge("nudge-1").await);
        assert!(!nudge("nudge-2").await, "once per silence");
        assert_eq!(unread().await, ["nudge-1"]);
        for _ in 0..2 {
            assert_eq!(mark_read(&["nudge-1", "nudge-7"]).await.unwrap(), ["nudge-7"], "twice is once");
        }
        assert!(unread().await.is_empty());
        // To read is to be heard: the next silence is a new one.
        assert!(nudge("nudge-3").await);
        assert_eq!(unread().await, ["nudge-3"]);
        world.succeed(&run).await;
        assert!(unread().await.is_empty() && world.claim_any().await.is_none(), "it makes no follow-up");
        assert_eq!(conflict(mark_read(&["nudge-3"]).await), "fenced");
    });
}
