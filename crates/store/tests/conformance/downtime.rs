//! Schedules after eight hours in which nobody was there: each policy, spread out, and what was missed can be seen.
//! And several dispatchers, each with connections of its own, some of which lose what they did: every slot once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use wakeful_domain::agent::Heartbeat;
use wakeful_domain::id::{AgentId, IdSource};
use wakeful_domain::schedule::{CatchUp, Overlap, Schedule, SlotStatus};
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::dispatch::dispatch;
use wakeful_store::ops::questions::{self, Answered};
use wakeful_store::ops::slots;
use wakeful_store::{Db, Refusal};

use crate::world::{World, on_both, seconds};

const EIGHT_HOURS: Duration = Duration::from_secs(8 * 3_600);

/// Looks until nothing is due any more.
async fn catch_up(world: &World) -> usize {
    let mut fires = 0;
    loop {
        let fired = world.fire().await;
        if fired.schedules == 0 {
            return fires;
        }
        fires += fired.fires;
    }
}

#[test]
fn a_thousand_schedules_come_back_after_eight_hours_without_a_stampede() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for (catch_up_with, each, within) in [(CatchUp::All, 25, 125), (CatchUp::Latest, 1, 25)] {
            let name = catch_up_with.as_str();
            for number in 0..if catch_up_with == CatchUp::All { 40 } else { 1_000 } {
                let target = json!({ "wake": { "agent": agent } });
                let draft = world.draft_schedule(&format!("{name}-{number}"), json!({ "every": "5m" }), target);
                let draft = Schedule { catch_up: catch_up_with, overlap: Overlap::Queue, ..draft };
                world.insert_schedule(draft).await.unwrap();
            }
            // Later by more than a slot may be late, so that none of them is on time.
            world.pass(EIGHT_HOURS + seconds(60));
            catch_up(world).await;
            let of_all = format!("from slots join schedules on id = schedule_id where name like '{name}-%'");
            let schedules = world.number(&format!("select count(*) from schedules where name like '{name}-%'")).await;
            let fired = world.number(&format!("select count(*) {of_all} and slots.status = 'fired'")).await;
            assert_eq!(fired, schedules * each, "{name}");
            let rows = world.number(&format!("select cast(sum(slots.count) as bigint) {of_all}")).await;
            assert_eq!(rows, schedules * 96, "every slot of the eight hours has its row");
            // What fired is due over the time that catching up takes, and no second has more than its share.
            let due = format!(
                "select due_at / 1000000 as second, count(*) as count from wakeups where id in \
                 (select wakeup_id {of_all} and slots.status = 'fired') group by 1"
            );
            let most = world.number(&format!("select max(count) from ({due}) as seconds")).await;
            let seconds_used = world.number(&format!("select count(*) from ({due}) as seconds")).await;
            assert!(seconds_used >= within && most <= fired / 8, "{name}: {most} of {fired} at once, {seconds_used} s");
        }
    });
}

#[test]
fn what_was_missed_in_a_downtime_is_listed_with_its_reason() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for (policy, stale_after, reason, missed) in [
            (CatchUp::Skip, None, "downtime", 96),
            (CatchUp::Latest, None, "superseded", 95),
            (CatchUp::All, None, "over_cap", 71),
            (CatchUp::All, Some(seconds(3_600)), "stale", 84),
        ] {
            let target = json!({ "wake": { "agent": agent } });
            let draft = world.draft_schedule("s", json!({ "every": "5m" }), target);
            let draft = Schedule { catch_up: policy, stale_after, overlap: Overlap::Queue, ..draft };
            let schedule = world.insert_schedule(draft).await.unwrap();
            world.pass(EIGHT_HOURS + seconds(60));
            world.fire().await;
            let slots = world.slots(schedule.id).await;
            assert_eq!(slots.len(), 96);
            let with_reason = |slot: &&_| {
                let slot: &wakeful_store::ops::slots::Slot = slot;
                slot.status == SlotStatus::Missed && slot.reason.as_deref() == Some(reason)
            };
            assert_eq!(slots.iter().filter(with_reason).count(), missed, "{policy:?}");
            assert!(slots.windows(2).all(|pair| pair[1].slot_at == pair[0].slot_at + seconds(300)), "no hole");
            let since = (world.company, world.now() - EIGHT_HOURS, world.now());
            let passed = world.db.read("passed", since, |tx, (company, from, to)| {
                Box::pin(slots::passed(tx, *company, None, (*from, *to), 1_000))
            });
            assert_eq!(passed.await.unwrap().iter().filter(with_reason).count(), missed, "the plan lists them");
            world
                .db
                .write("remove", (world.now(), schedule.id), |tx, (now, id)| {
                    Box::pin(wakeful_store::ops::schedules::remove(tx, *now, *id))
                })
                .await
                .unwrap();
        }
    });
}

/// What ends a transaction before its commit.
fn crash() -> Refusal {
    Refusal::conflict("crashed", "on purpose", json!({}))
}

/// A dispatcher with a store of its own connections. Half of what it does is lost before its commit.
struct Dispatcher {
    db: Db,
    chance: IdSource,
}

impl Dispatcher {
    fn loses(&mut self) -> bool {
        self.chance.rng().bool()
    }

    async fn look(&mut self, now: Timestamp) -> usize {
        let arguments = (now, self.loses());
        let looked = self.db.write("look", arguments, |tx, (now, loses)| {
            Box::pin(async move {
                let looked = dispatch(tx, &(*now, Vec::new())).await?;
                if *loses { Err(crash()) } else { Ok(looked.fired.schedules) }
            })
        });
        looked.await.unwrap_or_default()
    }

    /// Asks, answers twice what it does not forget, and tells how many slots it has settled.
    async fn answer(&mut self, now: Timestamp) -> usize {
        let asked =
            self.db.write("ask", now, |tx, now| Box::pin(questions::claim(tx, *now, 5))).await.unwrap_or_default();
        let mut settled = 0;
        for question in asked {
            if self.loses() {
                continue;
            }
            let answered = Answered {
                schedule: question.schedule,
                slot: question.slot,
                until: question.until,
                part: question.part,
                answer: Ok(b"{\"wake\":true}".to_vec()),
                took: Duration::ZERO,
            };
            for _ in 0..2 {
                let arguments = (now, answered.clone(), self.loses());
                let told = self.db.write("answer", arguments, |tx, (now, answered, loses)| {
                    Box::pin(async move {
                        let fired = questions::answer(tx, *now, answered).await?;
                        if *loses { Err(crash()) } else { Ok(fired.fires) }
                    })
                });
                settled += told.await.unwrap_or_default();
            }
        }
        settled
    }
}

#[test]
fn dispatchers_that_race_and_crash_fire_and_ask_about_each_slot_once() {
    on_both(async |world| {
        let agents: Vec<AgentId> = join_all((0..5).map(async |n| world.agent(&format!("a{n}")).await)).await;
        for number in 0..60 {
            let target = json!({ "wake": { "agent": agents[number % 5] } });
            let draft = world.draft_schedule(&format!("s-{number}"), json!({ "every": "1m" }), target);
            let gate = (number % 2 == 0).then(|| serde_json::from_value(json!({ "command": ["gate"] })).unwrap());
            world.insert_schedule(Schedule { gate, overlap: Overlap::Queue, ..draft }).await.unwrap();
        }
        let mut dispatchers = Vec::new();
        for seed in 0..4 {
            // SQLite has one writer in one process.
            let db = match &world.location {
                wakeful_store::Location::File(_) => world.db.clone(),
                wakeful_store::Location::Postgres(_) => Db::open(&world.location).await.unwrap(),
            };
            dispatchers.push(Dispatcher { db, chance: IdSource::new(seed) });
        }
        let mut settled = 0;
        for round in 1..=5 {
            // Later than whoever forgot a question of the last round may take.
            world.pass(seconds(60));
            let due = format!("select count(*) from schedules where due_at <= {}", world.now().as_micros());
            while world.number(&due).await > 0 {
                let now = world.now();
                join_all(dispatchers.iter_mut().map(|dispatcher| dispatcher.look(now))).await;
            }
            assert_eq!(world.number("select cast(sum(count) as bigint) from slots").await, round * 60);
            let now = world.now();
            let answered = join_all(dispatchers.iter_mut().map(|dispatcher| dispatcher.answer(now))).await;
            settled += answered.into_iter().sum::<usize>();
        }
        while world.number("select count(*) from slots where status = 'asked'").await > 0 {
            world.pass(seconds(41));
            let now = world.now();
            let answered = join_all(dispatchers.iter_mut().map(|dispatcher| dispatcher.answer(now))).await;
            settled += answered.into_iter().sum::<usize>();
        }
        let fired = world.number("select count(*) from slots where status = 'fired'").await;
        assert!(fired >= 150 + 30, "all that had no gate: {fired}");
        assert_eq!(world.number("select cast(sum(fires) as bigint) from schedules").await, fired);
        assert_eq!(world.number("select count(*) from wakeups").await, fired);
        assert_eq!(settled as i64 + 150, fired, "each answer that was taken fired once");
        world.assert_sound().await;
    });
}

#[test]
fn a_timer_is_armed_while_its_run_lives_long_and_after_it_was_lost() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let target = json!({ "wake": { "agent": agent } });
        let draft = world.draft_schedule("s", json!({ "every": "1m" }), target);
        let schedule = world.insert_schedule(draft).await.unwrap().id;
        world.pass(seconds(60));
        assert_eq!(world.fire().await.fires, 1);
        let run = world.claim().await.run;
        for _ in 0..90 {
            world.pass(seconds(60));
            world.fire().await;
            let next = world.get_schedule(schedule).await.next_slot_at.unwrap();
            assert_eq!(next, world.now() + seconds(60), "a run that lives does not stop its clock");
        }
        world.succeed(&run).await;
        // Another node, which knows nothing of what was before.
        let other = Db::open(&world.location).await.unwrap();
        world.pass(seconds(60));
        let looked = other.write("look", (world.now(), Vec::new()), |tx, told| Box::pin(dispatch(tx, told))).await;
        assert_eq!(looked.unwrap().fired.fires, 1);
    });
}

#[test]
fn a_heartbeat_that_is_off_stays_off() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.insert_task(Task { assignee: Some(agent), ..world.draft_task("t") }).await;
        let assigned = world.claim().await;
        world.succeed(&assigned.run).await;
        assert_eq!(world.number("select count(*) from schedules").await, 0, "off unless it is asked for");
        let before = world.number("select count(*) from wakeups").await;
        let again = Db::open(&world.location).await.unwrap();
        for _ in 0..10 {
            world.pass(EIGHT_HOURS);
            again.write("look", (world.now(), Vec::new()), |tx, told| Box::pin(dispatch(tx, told))).await.unwrap();
        }
        assert_eq!(world.number("select count(*) from wakeups").await, before);
    });
}

#[test]
fn what_is_said_comes_through_while_the_heartbeat_has_nothing_to_do() {
    on_both(async |world| {
        let heartbeat = Heartbeat { enabled: true, every: Some("5m".into()), ..Heartbeat::default() };
        let agent = world.agent_with("a", |agent| agent.heartbeat = heartbeat.clone()).await;
        for _ in 0..3 {
            world.pass(seconds(330));
            assert_eq!(world.fire().await.fires, 0, "nothing to do");
        }
        let said = world.wake(agent).await;
        let claimed = world.claim().await;
        assert!(claimed.wakeups.iter().any(|wakeup| wakeup.id == said), "what was said is in the run");
        world.succeed(&claimed.run).await;
        world.insert_task(Task { assignee: Some(agent), ..world.draft_task("t") }).await;
        assert!(world.claim().await.task.is_some(), "so is an assignment");
    });
}
