//! Subscriptions while others write: nothing is told twice, nothing is lost, and nobody waits in a circle.

use futures_util::future::{join, join_all};
use serde_json::{Map, json};
use wakeful_domain::subscription::Source;
use wakeful_domain::task::TaskStatus;

use crate::world::{on_both, seconds};

#[test]
fn two_registrations_of_one_key_at_once_are_one_row_and_no_error() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        for round in 0..10 {
            let register = async || {
                let mut wanted = world.draft_subscription(ann, Source::Agent(bob));
                wanted.key = Some(format!("k{round}"));
                world.try_subscribe(wanted).await.unwrap().is_new
            };
            let answers = join_all((0..6).map(|_| register())).await;
            assert_eq!(answers.iter().filter(|is_new| **is_new).count(), 1, "{answers:?}");
            assert_eq!(world.number("select count(*) from subscriptions").await, round + 1);
        }
    });
}

#[test]
fn whoever_registers_while_the_run_ends_is_woken() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        for round in 1..=20 {
            let run = world.run_of(bob, None).await;
            let register = world.subscribe_with(ann, Source::Run(run.id), |wanted| wanted.once = true);
            join(register, world.succeed(&run)).await;
            assert_eq!(world.woken(ann).await.len(), round, "neither lost nor told twice");
        }
    });
}

#[test]
fn whoever_registers_while_the_last_child_is_closed_is_woken() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        for round in 1..=20 {
            let top = world.task("top").await;
            let deep = world.child_task(world.child_task(top, "one").await, "deep").await;
            let one = world.get_task(deep).await.parent.unwrap();
            world.set_status(one, TaskStatus::Done).await;
            let register = world.subscribe_with(ann, Source::Children(top), |wanted| wanted.once = true);
            join(register, world.set_status(deep, TaskStatus::Done)).await;
            assert_eq!(world.woken(ann).await.len(), round);
        }
    });
}

#[test]
fn children_that_are_closed_at_once_are_all_closed_once() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        for round in 1..=10 {
            let top = world.task("top").await;
            let mut children = Vec::new();
            for n in 0..5 {
                children.push(world.child_task(top, &format!("c{n}")).await);
            }
            world.subscribe(ann, Source::Children(top)).await;
            join_all(children.iter().map(|child| world.set_status(*child, TaskStatus::Done))).await;
            assert_eq!(world.woken(ann).await.len(), round);
        }
    });
}

#[test]
fn runs_that_end_at_once_wake_everybody_who_waits_for_everybody() {
    on_both(async |world| {
        let mut agents = Vec::new();
        for n in 0..4 {
            agents.push(world.agent(&format!("a{n}")).await);
        }
        for of in &agents {
            for whom in agents.iter().filter(|whom| *whom != of) {
                world.subscribe(*whom, Source::Agent(*of)).await;
            }
        }
        for agent in &agents {
            world.wake(*agent).await;
        }
        let runs = world.claim_some(4).await;
        assert_eq!(runs.len(), 4);
        join_all(runs.iter().map(|claimed| world.succeed(&claimed.run))).await;
        for agent in &agents {
            assert_eq!(world.woken(*agent).await.len(), 3);
        }
        world.pass(seconds(1));
        assert_eq!(world.claim_some(4).await.len(), 4, "the index knows them all");
    });
}

#[test]
fn what_is_for_once_fires_once_however_many_publish() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        for round in 1..=10 {
            world.subscribe_with(ann, Source::Topic("t".into()), |wanted| wanted.once = true).await;
            let data = Map::from_iter([("n".into(), json!(round))]);
            let published = join_all((0..6).map(|_| world.publish("t", data.clone()))).await;
            assert_eq!(published.iter().map(|one| one.matched).sum::<i64>(), 1);
            assert_eq!(world.woken(ann).await.len(), round);
        }
    });
}
