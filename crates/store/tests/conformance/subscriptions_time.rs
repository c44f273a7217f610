//! What time does to subscriptions: windows and waits, which are rows like all else.

use std::time::Duration;

use serde_json::{Map, json};
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::subscription::{EndReason, EventName, Source, Subscription};
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::Db;
use wakeful_store::ops::dispatch::dispatch;
use wakeful_store::ops::subscriptions;

use crate::world::{World, on_both, seconds};

fn topic() -> Source {
    Source::Topic("t".into())
}

fn debounced(wanted: &mut Subscription) {
    wanted.debounce = Some(seconds(10));
}

async fn publish(world: &World, n: i64) -> i64 {
    world.publish("t", Map::from_iter([("n".into(), json!(n))])).await.matched
}

/// When the dispatcher looks again.
async fn next_look(world: &World) -> Option<Duration> {
    let looked = world.db.write("dispatch", (world.now(), Vec::new()), |tx, told| Box::pin(dispatch(tx, told))).await;
    looked.unwrap().timers.next_at.map(|at| at.since(world.now()))
}

#[test]
fn a_burst_is_one_wakeup_with_all_of_it_and_a_second_burst_a_second() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        world.subscribe_with(ann, topic(), debounced).await;
        for burst in 0..2 {
            for n in 0..5 {
                assert_eq!(publish(world, burst * 10 + n).await, 1);
                world.pass(seconds(2));
            }
            assert_eq!(next_look(world).await, Some(seconds(8)), "ten seconds after the last one");
            assert_eq!(world.woken(ann).await.len(), usize::try_from(burst).unwrap());
            world.pass(seconds(8));
            assert_eq!(world.dispatch_at_rest().await, 1);
            let told = world.woken(ann).await.pop().unwrap();
            assert_eq!(told.payload["count"], 5);
            let numbers: Vec<i64> =
                (0..5).map(|at| told.payload["matches"][at]["data"]["n"].as_i64().unwrap()).collect();
            assert_eq!(numbers, (0..5).map(|n| burst * 10 + n).collect::<Vec<_>>());
            assert_eq!(world.dispatch_at_rest().await, 0, "it is told once");
        }
    });
}

#[test]
fn a_window_that_is_kept_open_closes_all_the_same() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        world.subscribe_with(ann, topic(), debounced).await;
        for n in 0..30 {
            publish(world, n).await;
            world.pass(seconds(5));
            world.dispatch_at_rest().await;
        }
        let told = world.woken(ann).await;
        assert_eq!(told[0].payload["count"], 20, "at the latest after ten times its width");
    });
}

#[test]
fn a_window_survives_the_server() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        world.subscribe_with(ann, topic(), debounced).await;
        publish(world, 1).await;
        publish(world, 2).await;
        let again = Db::open(&world.location).await.unwrap();
        world.pass(seconds(60));
        let looked = again.write("dispatch", (world.now(), Vec::new()), |tx, told| Box::pin(dispatch(tx, told))).await;
        assert_eq!(looked.unwrap().woken, 1);
        assert_eq!(world.woken(ann).await[0].payload["count"], 2);
    });
}

#[test]
fn a_full_window_closes_at_once_and_nothing_is_dropped() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        world.subscribe_with(ann, topic(), debounced).await;
        let large = Map::from_iter([("text".into(), json!("x".repeat(240 * 1024)))]);
        for _ in 0..6 {
            world.publish("t", large.clone()).await;
        }
        assert_eq!(world.woken(ann).await[0].payload["count"], 5);
        world.pass(seconds(10));
        world.dispatch_at_rest().await;
        assert_eq!(world.woken(ann).await[1].payload["count"], 1);
    });
}

#[test]
fn a_window_for_once_ends_with_it() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let waits = world
            .subscribe_with(ann, topic(), |wanted| (wanted.debounce, wanted.once) = (Some(seconds(10)), true))
            .await;
        publish(world, 1).await;
        publish(world, 2).await;
        world.pass(seconds(10));
        world.dispatch_at_rest().await;
        assert_eq!(publish(world, 3).await, 0);
        assert_eq!(world.woken(ann).await[0].payload["count"], 2);
        assert_eq!(world.subscription(waits.id).await.end_reason, Some(EndReason::Fired));
    });
}

#[test]
fn a_wait_that_is_over_is_told_once_and_a_match_cancels_it() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let once = |wanted: &mut Subscription| (wanted.once, wanted.timeout) = (true, Some(seconds(30)));
        let waits = world.subscribe_with(ann, topic(), once).await;
        assert_eq!(next_look(world).await, Some(seconds(30)));
        world.pass(seconds(29));
        assert_eq!(world.dispatch_at_rest().await, 0);
        world.pass(seconds(1));
        let again = Db::open(&world.location).await.unwrap();
        let looked = again.write("dispatch", (world.now(), Vec::new()), |tx, told| Box::pin(dispatch(tx, told))).await;
        assert_eq!((looked.unwrap().woken, world.dispatch_at_rest().await), (1, 0), "once, whoever looks");
        let [told] = &world.woken(ann).await[..] else { panic!("one wakeup") };
        assert_eq!((&told.payload["timeout"], &told.payload["event"]), (&json!(true), &json!(null)));
        assert_eq!(told.reason.as_deref(), Some("nothing came of the topic `t` within 30 s"));
        assert_eq!(world.subscription(waits.id).await.end_reason, Some(EndReason::TimedOut));
        // One that goes on is told that nothing came in time, and what comes later.
        world.subscribe_with(bob, topic(), |wanted| wanted.timeout = Some(seconds(30))).await;
        world.pass(seconds(30));
        world.dispatch_at_rest().await;
        world.pass(seconds(1));
        publish(world, 1).await;
        world.pass(seconds(3_600));
        world.dispatch_at_rest().await;
        let told = world.woken(bob).await;
        assert_eq!(
            (told.len(), &told[0].payload["timeout"], &told[1].payload["timeout"]),
            (2, &json!(true), &json!(false))
        );
        // A match in time cancels it for good.
        let cid = world.agent("cid").await;
        world.subscribe_with(cid, topic(), |wanted| wanted.timeout = Some(seconds(30))).await;
        publish(world, 2).await;
        assert_eq!(next_look(world).await, None);
        world.pass(seconds(3_600));
        assert_eq!((world.dispatch_at_rest().await, world.woken(cid).await.len()), (0, 1));
    });
}

#[test]
fn the_end_of_a_source_does_not_wait_for_a_window() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let run = world.run_of(bob, None).await;
        world.subscribe_with(ann, Source::Run(run.id), debounced).await;
        let of_agent = world.subscribe_with(ann, Source::Agent(bob), debounced).await;
        world.succeed(&run).await;
        assert_eq!(world.woken(ann).await.len(), 1, "a run ends once");
        world.agent_event(bob, wakeful_domain::agent::AgentEvent::Terminate).await.unwrap();
        let told = world.woken(ann).await;
        assert_eq!(told[1].payload["count"], 2, "the end of its run, and its own");
        assert_eq!(world.subscription(of_agent.id).await.end_reason, Some(EndReason::SourceOver));
    });
}

#[test]
fn a_subscription_that_is_removed_takes_its_window_along() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let waits = world.subscribe_with(ann, topic(), debounced).await;
        publish(world, 1).await;
        world.db.write("rm", waits.id, |tx, id| Box::pin(subscriptions::remove(tx, *id))).await.unwrap();
        world.pass(seconds(60));
        assert_eq!((world.dispatch_at_rest().await, world.woken(ann).await.len()), (0, 0));
    });
}

/// Found by the simulator: the last match decided for all of them.
#[test]
fn what_a_run_does_on_its_own_lane_keeps_nothing_else_in_the_window_from_it() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task("t").await;
        world.subscribe_with(ann, Source::Agent(ann), debounced).await;
        for lane in [Some(task), None] {
            let run = world.run_of(ann, lane).await;
            world.succeed(&run).await;
        }
        world.pass(seconds(10));
        assert_eq!(world.dispatch_at_rest().await, 1);
        let told = world.woken(ann).await.pop().unwrap();
        assert_eq!((told.status, &told.payload["count"]), (WakeupStatus::Pending, &json!(1)));
        // All of it its own doing is nothing to be woken for.
        let run = world.run_of(ann, None).await;
        world.succeed(&run).await;
        world.pass(seconds(10));
        assert_eq!(world.dispatch_at_rest().await, 0);
    });
}

/// Found by the simulator: the time alone does not tell one from the other.
#[test]
fn what_happens_twice_at_one_moment_is_told_twice() {
    on_both(async |world| {
        let (ann, bob, cid) = (world.agent("ann").await, world.agent("bob").await, world.agent("cid").await);
        let state = |wanted: &mut Subscription| wanted.on = vec![EventName::AgentStateChanged];
        world.subscribe_with(ann, Source::Agent(cid), state).await;
        world
            .subscribe_with(bob, Source::Agent(cid), |wanted| {
                state(wanted);
                debounced(wanted);
            })
            .await;
        for event in [AgentEvent::Pause, AgentEvent::Resume, AgentEvent::Pause] {
            world.agent_event(cid, event).await.unwrap();
        }
        assert_eq!(world.woken(ann).await.len(), 3);
        world.pass(seconds(10));
        assert_eq!(world.dispatch_at_rest().await, 1);
        assert_eq!(world.woken(bob).await[0].payload["count"], 3);
    });
}
