//! Schedules on both engines: every slot has one row and fires once, whatever the overlap, the time that
//! was slept through, and several dispatchers at once.

use futures_util::future::join_all;
use serde_json::json;
use wakeful_domain::agent::Heartbeat;
use wakeful_domain::id::{AgentId, ScheduleId};
use wakeful_domain::schedule::{CatchUp, Jitter, Overlap, Schedule, SlotStatus, Standing, State, Target, Trigger};
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::Refusal;
use wakeful_store::ops::agents::AgentChange;
use wakeful_store::ops::companies::{self, CompanyChange};
use wakeful_store::ops::dispatch::dispatch;
use wakeful_store::ops::firing::{self, Fired};
use wakeful_store::ops::slots::Slot;
use wakeful_store::ops::{schedules, slots};

use crate::world::{World, on_both, seconds};

impl World {
    pub fn draft_schedule(&self, name: &str, trigger: serde_json::Value, target: serde_json::Value) -> Schedule {
        let trigger: Trigger = serde_json::from_value(trigger).unwrap();
        let target: Target = serde_json::from_value(target).unwrap();
        Schedule {
            id: self.id(),
            company: self.company,
            name: name.into(),
            trigger,
            target,
            gate: None,
            active_hours: None,
            jitter: Jitter::NONE,
            overlap: Overlap::default(),
            catch_up: CatchUp::default(),
            stale_after: None,
            starts_at: None,
            ends_at: None,
            max_fires: None,
            fires: 0,
            standing: Standing::default(),
            state: State::Active,
            next_slot_at: None,
            last_slot: None,
            created_at: self.now(),
            updated_at: self.now(),
        }
    }

    pub async fn insert_schedule(&self, schedule: Schedule) -> Result<Schedule, Refusal> {
        self.db.write("insert", schedule, |tx, schedule| Box::pin(schedules::insert(tx, schedule))).await
    }

    pub async fn get_schedule(&self, id: ScheduleId) -> Schedule {
        self.db.read("get", id, |tx, id| Box::pin(schedules::get(tx, *id))).await.unwrap()
    }

    pub async fn fire(&self) -> Fired {
        self.db.write("fire", self.now(), |tx, now| Box::pin(firing::fire_due(tx, *now))).await.unwrap()
    }

    /// The slots of a schedule, oldest first.
    pub async fn slots(&self, id: ScheduleId) -> Vec<Slot> {
        let before = Timestamp::from_millis(i64::MAX / 1_000_000);
        let page = self.db.read("slots", (id, before), |tx, (id, before)| Box::pin(slots::list(tx, *id, *before, 200)));
        page.await.unwrap().items.into_iter().rev().collect()
    }

    async fn set_heartbeat(&self, agent: AgentId, heartbeat: Heartbeat) {
        let change = AgentChange { heartbeat: Some(heartbeat), ..AgentChange::default() };
        let arguments = (self.now(), agent, change);
        let write = self.db.write("agent", arguments, |tx, (now, id, change)| {
            Box::pin(wakeful_store::ops::agents::change(tx, *now, *id, change))
        });
        write.await.unwrap();
    }

    async fn every_minute(&self, agent: AgentId, overlap: Overlap) -> Schedule {
        let target = json!({ "wake": { "agent": agent, "payload": { "n": 1 } } });
        let draft = Schedule { overlap, ..self.draft_schedule("often", json!({ "every": "1m" }), target) };
        self.insert_schedule(draft).await.unwrap()
    }
}

fn statuses(slots: &[Slot]) -> Vec<SlotStatus> {
    slots.iter().map(|slot| slot.status).collect()
}

#[test]
fn a_slot_fires_once_and_wakes_its_agent() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let schedule = world.every_minute(agent, Overlap::Coalesce).await;
        assert_eq!(schedule.next_slot_at, Some(schedule.created_at + std::time::Duration::from_secs(60)));
        assert_eq!(world.fire().await, Fired::default());
        world.pass(seconds(60));
        assert_eq!(world.fire().await.fires, 1);
        assert_eq!(world.fire().await, Fired::default(), "once");
        let slots = world.slots(schedule.id).await;
        assert_eq!((slots.len(), slots[0].status), (1, SlotStatus::Fired));
        let wakeup = world.wakeup(slots[0].wakeup.unwrap()).await;
        assert_eq!((wakeup.source.as_str(), &wakeup.payload["n"]), ("schedule", &json!(1)));
        assert_eq!(wakeup.context["schedule"], json!(schedule.id));
        let run = world.claim().await.run;
        world.succeed(&run).await;
        assert_eq!(world.status(wakeup.id).await, WakeupStatus::Completed);
        assert_eq!(world.get_schedule(schedule.id).await.fires, 1);
        world.assert_sound().await;
    });
}

#[test]
fn what_is_live_or_waits_stands_for_later_slots_as_the_policy_says() {
    on_both(async |world| {
        for (overlap, live, ended) in [
            (Overlap::Coalesce, SlotStatus::Coalesced, SlotStatus::Fired),
            (Overlap::Skip, SlotStatus::Skipped, SlotStatus::Fired),
            (Overlap::Queue, SlotStatus::Fired, SlotStatus::Fired),
            (Overlap::CancelRunning, SlotStatus::Fired, SlotStatus::Coalesced),
        ] {
            let agent = world.agent(&format!("a-{}", overlap.as_str())).await;
            let schedule = world.every_minute(agent, overlap).await;
            world.pass(seconds(60));
            world.fire().await;
            // Two more while it is live; one after it has ended.
            let run = world.claim().await.run;
            for _ in 0..2 {
                world.pass(seconds(60));
                let fired = world.fire().await;
                let stops = if overlap == Overlap::CancelRunning { fired.stops } else { Vec::new() };
                assert!(stops.iter().all(|stop| *stop == run.id));
            }
            let slots = world.slots(schedule.id).await;
            assert_eq!((slots.len(), slots[1].status), (3, live), "{overlap:?}");
            if overlap == Overlap::Coalesce {
                assert_eq!(slots[1].wakeup, slots[2].wakeup, "one row counts what a run stands for");
                assert_eq!(world.wakeup(slots[1].wakeup.unwrap()).await.count, 2);
            }
            world.succeed(&run).await;
            world.pass(seconds(60));
            world.fire().await;
            assert_eq!(world.slots(schedule.id).await[3].status, ended, "{overlap:?}");
            world
                .db
                .write("remove", (world.now(), schedule.id), |tx, (now, id)| Box::pin(schedules::remove(tx, *now, *id)))
                .await
                .unwrap();
            while let Some(claimed) = world.claim_any().await {
                world.succeed(&claimed.run).await;
            }
        }
        world.assert_sound().await;
    });
}

#[test]
fn downtime_is_caught_up_with_as_the_policy_says_and_the_ledger_has_no_hole() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for (catch_up, fires) in [(CatchUp::Skip, 0), (CatchUp::Latest, 1), (CatchUp::All, 25)] {
            let target = json!({ "wake": { "agent": agent } });
            let draft = world.draft_schedule(catch_up.as_str(), json!({ "every": "1m" }), target);
            let draft = Schedule { catch_up, overlap: Overlap::Queue, ..draft };
            let schedule = world.insert_schedule(draft).await.unwrap();
            world.pass(seconds(8 * 3_600 + 30));
            assert_eq!(world.fire().await.fires, fires, "{catch_up:?}");
            let schedule = world.get_schedule(schedule.id).await;
            let count = "select cast(sum(count) as bigint) from slots";
            assert_eq!(world.number(count).await, 480, "{catch_up:?}");
            assert!(schedule.next_slot_at.unwrap() > world.now());
            world
                .db
                .write("remove", (world.now(), schedule.id), |tx, (now, id)| Box::pin(schedules::remove(tx, *now, *id)))
                .await
                .unwrap();
        }
    });
}

#[test]
fn a_routine_makes_a_task_and_its_assignee_is_woken_once() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let task = json!({ "title": "Report of {{date}}", "assignee": agent, "labels": ["routine"] });
        let draft = world.draft_schedule("report", json!({ "every": "1h" }), json!({ "task": task }));
        let schedule = world.insert_schedule(Schedule { max_fires: Some(1), ..draft }).await.unwrap();
        world.pass(seconds(3_600));
        assert_eq!(world.fire().await.fires, 1);
        let slot = world.slots(schedule.id).await.remove(0);
        assert!(slot.task.is_some() && slot.wakeup.is_none());
        assert_eq!(world.claim().await.task.unwrap().id, slot.task.unwrap());
        let schedule = world.get_schedule(schedule.id).await;
        assert!(matches!(schedule.state, State::Disabled { .. }) && schedule.next_slot_at.is_none());
        world.pass(seconds(7_200));
        assert_eq!(world.fire().await, Fired::default());
    });
}

#[test]
fn several_dispatchers_fire_each_slot_once() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let mut ids = Vec::new();
        for number in 0..30 {
            let target = json!({ "wake": { "agent": agent } });
            let draft = world.draft_schedule(&format!("s-{number}"), json!({ "every": "1m" }), target);
            ids.push(world.insert_schedule(draft).await.unwrap().id);
        }
        world.pass(seconds(60));
        let nodes = (0..4).map(|_| async {
            let told = (world.now(), Vec::new());
            world.db.write("dispatch", told, |tx, told| Box::pin(dispatch(tx, told))).await
        });
        let fired: usize = join_all(nodes).await.into_iter().map(|dispatched| dispatched.unwrap().fired.fires).sum();
        assert_eq!(fired, 30);
        for id in ids {
            assert_eq!(statuses(&world.slots(id).await), [SlotStatus::Fired]);
        }
        assert_eq!(world.number("select count(*) from wakeups").await, 30);
        world.assert_sound().await;
    });
}

#[test]
fn a_deleted_agents_schedules_are_disabled_and_names_are_taken_once() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let schedule = world.every_minute(agent, Overlap::Coalesce).await;
        let again = world.draft_schedule("often", json!({ "every": "1m" }), json!({ "wake": { "agent": agent } }));
        let refused = world.insert_schedule(again).await.unwrap_err();
        assert!(matches!(refused, Refusal::Conflict { code: "schedule_exists", .. }), "{refused}");
        let arguments = (world.now(), agent);
        let delete = world
            .db
            .write("delete", arguments, |tx, (now, id)| Box::pin(wakeful_store::ops::agents::delete(tx, *now, *id)));
        delete.await.unwrap();
        let schedule = world.get_schedule(schedule.id).await;
        assert_eq!(schedule.state, State::Disabled { reason: "its agent was deleted".into() });
        world.pass(seconds(600));
        assert_eq!(world.fire().await, Fired::default());
    });
}

#[test]
fn a_heartbeat_ticks_passes_over_who_has_nothing_to_do_and_follows_its_policy() {
    on_both(async |world| {
        let heartbeat = Heartbeat { enabled: true, every: Some("5m".into()), ..Heartbeat::default() };
        let agent = world.agent_with("a", |agent| agent.heartbeat = heartbeat.clone()).await;
        let name = format!("heartbeat:{agent}");
        let found = async || {
            let arguments = (world.company, name.clone());
            let page = world.db.read("list", arguments, |tx, (company, name)| {
                Box::pin(schedules::list(tx, *company, Some(name.clone()), None, 10))
            });
            page.await.unwrap().items
        };
        let schedule = found().await.remove(0);
        assert!(schedule.jitter.width() <= seconds(30), "a tenth of the period at most");
        world.pass(seconds(330));
        world.fire().await;
        let slots = world.slots(schedule.id).await;
        assert_eq!((slots[0].status, slots[0].reason.as_deref()), (SlotStatus::Skipped, Some("nothing_to_do")));
        assert_eq!(world.number("select count(*) from wakeups").await, 0, "an idle fleet costs nothing");

        world.insert_task(Task { assignee: Some(agent), ..world.draft_task("t") }).await;
        while let Some(claimed) = world.claim_any().await {
            world.succeed(&claimed.run).await;
        }
        world.pass(seconds(300));
        assert_eq!(world.fire().await.fires, 1);
        // A second tick before the first has started is counted on it.
        world.pass(seconds(300));
        world.fire().await;
        let slots = world.slots(schedule.id).await;
        assert_eq!(statuses(&slots)[1..], [SlotStatus::Fired, SlotStatus::Coalesced]);
        assert_eq!((slots[1].wakeup, world.wakeup(slots[1].wakeup.unwrap()).await.count), (slots[2].wakeup, 2));

        let slower = Heartbeat { every: Some("1h".into()), ..heartbeat.clone() };
        world.set_heartbeat(agent, slower).await;
        assert_eq!(found().await[0].id, schedule.id, "it is changed, not made anew");
        let off = Heartbeat { enabled: false, ..heartbeat };
        world.set_heartbeat(agent, off).await;
        assert!(found().await.is_empty());
        world.assert_sound().await;
    });
}

#[test]
fn a_number_of_fires_counts_what_has_fired_and_not_what_was_to() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let target = json!({ "wake": { "agent": agent } });
        let draft = world.draft_schedule("twice", json!({ "every": "1m" }), target);
        let draft = Schedule { max_fires: Some(2), overlap: Overlap::Skip, ..draft };
        let schedule = world.insert_schedule(draft).await.unwrap();
        world.pass(seconds(60));
        assert_eq!(world.fire().await.fires, 1);
        let run = world.claim().await.run;
        world.pass(seconds(60));
        assert_eq!(world.fire().await.fires, 0, "skipped");
        assert_eq!(world.get_schedule(schedule.id).await.state, State::Active);
        world.succeed(&run).await;
        world.pass(seconds(60));
        assert_eq!(world.fire().await.fires, 1);
        let State::Disabled { reason } = world.get_schedule(schedule.id).await.state else {
            panic!("it has fired twice")
        };
        assert_eq!(reason, "it has had its last slot");
        world.pass(seconds(60));
        assert_eq!(world.fire().await, Fired::default());
    });
}

#[test]
fn a_company_that_moves_to_another_zone_takes_its_schedules_along() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let target = json!({ "wake": { "agent": agent } });
        let daily = world.draft_schedule("daily", json!({ "cron": "0 9 * * *" }), target);
        let schedule = world.insert_schedule(daily).await.unwrap();
        let before = schedule.next_slot_at.unwrap();
        let change = CompanyChange { time_zone: Some("Asia/Tokyo".into()), ..CompanyChange::default() };
        let arguments = (world.now(), world.company, change);
        let write = world
            .db
            .write("zone", arguments, |tx, (now, id, change)| Box::pin(companies::change(tx, *now, *id, change)));
        write.await.unwrap();
        let after = world.get_schedule(schedule.id).await.next_slot_at.unwrap();
        let hours = |from: Timestamp, to: Timestamp| (to.as_micros() - from.as_micros()) / 3_600_000_000;
        assert_eq!((hours(before, after) + 48) % 24, 15, "{before} {after}");
        world.set_time(after);
        assert_eq!(world.fire().await.fires, 1);
    });
}

#[test]
fn a_clock_that_is_set_back_neither_silences_a_schedule_nor_fires_a_slot_twice() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let schedule = world.every_minute(agent, Overlap::Queue).await;
        let rewind = async || {
            world.db.write("rewind", world.now(), |tx, now| Box::pin(schedules::rewind(tx, *now))).await.unwrap()
        };
        let start = world.now();
        for _ in 0..5 {
            world.pass(seconds(60));
            assert_eq!(world.fire().await.fires, 1);
        }
        assert_eq!(rewind().await, 0);
        // Two minutes back: three slots have fired until then, two are yet to come round again.
        world.set_time(start + seconds(190));
        assert_eq!(rewind().await, 1);
        world.pass(seconds(120));
        assert_eq!(world.fire().await.fires, 0, "they have fired");
        world.pass(seconds(60));
        assert_eq!(world.fire().await.fires, 1);
        // A year ahead for a moment, and back: it goes on at once, not in a year.
        world.pass(seconds(365 * 86_400));
        world.fire().await;
        let jumped = world.get_schedule(schedule.id).await.fires;
        assert_eq!(jumped, 7, "one catches up for the whole year");
        world.set_time(start + seconds(400));
        assert_eq!(rewind().await, 1);
        world.pass(seconds(20));
        assert_eq!(world.fire().await.fires, 1, "what was missed in the year is still to come");
        world.pass(seconds(60));
        assert_eq!(world.fire().await.fires, 1);
        assert_eq!(world.number("select count(*) from wakeups").await, 9);
        // And after a long downtime, the row for all that was missed leaves out what has its own.
        world.set_time(start + seconds(310));
        assert_eq!(rewind().await, 1);
        world.pass(seconds(30 * 3_600));
        world.fire().await;
        let many = "select count(*) from slots where count > 1";
        assert_eq!(world.number(many).await, 1);
        let covered = "select cast(sum(count) as bigint) from slots where slot_at < ";
        let until = world.now() + seconds(1);
        assert_eq!(
            world.number(&format!("{covered}{}", until.as_micros())).await,
            (until.since(start).as_secs() / 60).cast_signed()
        );
    });
}

#[test]
fn a_schedule_that_cannot_be_read_is_disabled_and_holds_up_no_other() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let good = world.every_minute(agent, Overlap::Queue).await;
        let bad = world.draft_schedule("bad", json!({ "every": "1m" }), json!({ "wake": { "agent": agent } }));
        let bad = world.insert_schedule(bad).await.unwrap();
        let spoil = "update schedules set trigger_json = '{\"cron\":\"61 * * * *\"}' where name = 'bad'";
        world.sql(spoil).await.unwrap();
        world.pass(seconds(60));
        assert_eq!(world.fire().await.fires, 1);
        assert_eq!(statuses(&world.slots(good.id).await), [SlotStatus::Fired]);
        let told = format!("select count(*) from schedules where id = '{}' and state = 'disabled'", bad.id);
        assert_eq!(world.number(&told).await, 1);
        assert_eq!(world.fire().await, Fired::default());
    });
}
