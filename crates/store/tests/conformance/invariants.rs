//! The checks themselves: on a sound store they find nothing, and each finds the row that someone broke by hand.

use serde_json::json;
use wakeful_domain::subscription::Source;

use crate::world::{World, on_both, seconds};

/// A live run on a task, two finished runs on another lane, a wakeup that waits and one that is not due; a schedule.
async fn busy_store(world: &World) {
    let (a, b, c) = (world.agent("a").await, world.agent("b").await, world.agent("c").await);
    for _ in 0..2 {
        world.wake(b).await;
        world.succeed(&world.claim().await.run).await;
    }
    world.wake_about(a, world.task("t").await).await;
    world.claim().await;
    world.wake(c).await;
    world.wake_with(c, |wake| wake.due_at = Some(world.now() + seconds(60))).await;
    let target = json!({ "wake": { "agent": c } });
    world.insert_schedule(world.draft_schedule("s", json!({ "every": "1m" }), target)).await.unwrap();
    let topic = Source::Topic("t".into());
    world.subscribe_with(c, topic, |wanted| wanted.debounce = Some(seconds(60))).await;
    world.publish("t", serde_json::Map::new()).await;
}

/// Which invariant a change breaks, and how it is undone.
const BREAKS: &[(&str, &str, &str)] = &[
    (
        "one_fate",
        "update wakeups set finished_at = 1 where status = 'pending'",
        "update wakeups set finished_at = null where status = 'pending'",
    ),
    (
        "one_fate",
        "update wakeups set run_id = 'run' where status = 'pending'",
        "update wakeups set run_id = null where status = 'pending'",
    ),
    (
        "one_fate",
        "update wakeups set finished_at = null where status = 'completed'",
        "update wakeups set finished_at = 1 where status = 'completed'",
    ),
    (
        "one_fate",
        "update wakeups set run_id = (select min(id) from runs) where status = 'claimed'",
        "update wakeups set run_id = (select max(id) from runs) where status = 'claimed'",
    ),
    (
        "one_live_run_per_lane",
        "update lanes set live_run_id = null where task_id <> ''",
        "update lanes set live_run_id = (select max(id) from runs) where task_id <> ''",
    ),
    (
        "one_live_run_per_lane",
        "update lanes set live_run_id = (select min(id) from runs) where fence = 2",
        "update lanes set live_run_id = null where fence = 2",
    ),
    (
        "one_live_run_per_lane",
        "update runs set status = 'running' where fence = 2",
        "update runs set status = 'succeeded' where fence = 2",
    ),
    (
        "one_live_run_per_task",
        "update tasks set held_by_run = null",
        "update tasks set held_by_run = (select max(id) from runs)",
    ),
    (
        "one_live_run_per_task",
        "update tasks set held_by_run = (select min(id) from runs)",
        "update tasks set held_by_run = (select max(id) from runs)",
    ),
    (
        "caps_hold",
        "update agents set live_runs = 7 where name = 'a'",
        "update agents set live_runs = 1 where name = 'a'",
    ),
    (
        "caps_hold",
        "update agents set live_runs = 0 where name = 'a'",
        "update agents set live_runs = 1 where name = 'a'",
    ),
    ("caps_hold", "update companies set live_runs = 2", "update companies set live_runs = 1"),
    (
        "fences_rise",
        "update runs set fence = 1 where fence = 2",
        "update runs set fence = 2 where id = (select min(id) from runs where status = 'succeeded' and id > (select min(id) from runs))",
    ),
    (
        "fences_rise",
        "update lanes set fence = 1 where fence = 2",
        "update lanes set fence = 2 where task_id = '' and fence = 1",
    ),
    ("events_gapless", "update runs set event_seq = event_seq + 1", "update runs set event_seq = event_seq - 1"),
    ("events_gapless", "update run_events set seq = 9 where seq = 2", "update run_events set seq = 2 where seq = 9"),
    (
        "ready_index_true",
        "update lanes set ready_rank = ready_rank + 1",
        "update lanes set ready_rank = ready_rank - 1",
    ),
    (
        "ready_index_true",
        "update agents set ready_rank = ready_rank + 1",
        "update agents set ready_rank = ready_rank - 1",
    ),
    (
        "ready_index_true",
        "update companies set ready_rank = ready_rank + 1",
        "update companies set ready_rank = ready_rank - 1",
    ),
    (
        "ready_index_true",
        "update wakeups set eligible = 1 - eligible where status = 'pending'",
        "update wakeups set eligible = 1 - eligible where status = 'pending'",
    ),
    (
        "ready_index_true",
        "update lanes set ready_rank = 1 where task_id <> ''",
        "update lanes set ready_rank = null where task_id <> ''",
    ),
    (
        "fired_once",
        "insert into slots (schedule_id, slot_at, last_at, count, status, wakeup_id, at) \
         values ('gone', 1, 1, 1, 'fired', 'w', 1), ('gone', 2, 2, 1, 'fired', 'w', 2)",
        "delete from slots",
    ),
    (
        "fired_once",
        "insert into slots (schedule_id, slot_at, last_at, count, status, wakeup_id, task_id, at) \
         values ('gone', 1, 1, 1, 'fired', 'w', 't', 1)",
        "delete from slots",
    ),
    (
        "fires_counted",
        "insert into slots (schedule_id, slot_at, last_at, count, status, at) \
         select id, 1, 1, 1, 'fired', 1 from schedules",
        "delete from slots",
    ),
    ("due_is_active", "update schedules set state = 'paused'", "update schedules set state = 'active'"),
    ("due_is_active", "update schedules set next_slot_at = null", "update schedules set next_slot_at = due_at"),
    ("waits_are_timed", "update subscriptions set due_at = null", "update subscriptions set due_at = window_at"),
    ("waits_are_timed", "update subscriptions set due_at = due_at + 1", "update subscriptions set due_at = window_at"),
    ("waits_are_timed", "update subscriptions set ended_at = 1", "update subscriptions set ended_at = null"),
    (
        "waits_are_timed",
        "update subscription_matches set subscription_id = 'gone'",
        "update subscription_matches set subscription_id = (select id from subscriptions)",
    ),
    (
        "subscriptions_counted",
        "update companies set open_subscriptions = open_subscriptions + 1",
        "update companies set open_subscriptions = open_subscriptions - 1",
    ),
];

#[test]
fn every_invariant_finds_what_breaks_it() {
    on_both(async |world| {
        busy_store(world).await;
        world.assert_sound().await;
        for (name, harm, mend) in BREAKS {
            assert!(world.sql(harm).await.unwrap() > 0, "nothing changed by: {harm}");
            let found = world.violations().await;
            assert!(found.iter().any(|violation| violation.starts_with(name)), "{harm}: {found:?}");
            world.sql(mend).await.unwrap();
            assert_eq!(world.violations().await, Vec::<String>::new(), "after: {mend}");
        }
    });
}

#[test]
fn every_named_invariant_is_broken_by_some_change_here() {
    for named in wakeful_domain::invariant::ALL {
        assert!(BREAKS.iter().any(|(name, ..)| *name == named.name), "{}", named.name);
    }
}
