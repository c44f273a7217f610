//! A restored store: what was live in it ends without being repeated, its numbers leave those of the life before
//! behind, and it waits to be told to go on.

use serde_json::json as object;
use wakeful_domain::id::EventId;
use wakeful_domain::run::RunStatus;
use wakeful_domain::schedule::SlotStatus;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::Refusal;
use wakeful_store::ops::events::{self, Cursor, Event};
use wakeful_store::ops::restore::{self, Fence, Life, MissedSlots, Plan, Restored};

use crate::world::{START, World, conflict, on_both, seconds};

impl World {
    async fn fence(&self) -> Restored {
        let fence = Fence { now: self.now(), id_seed: 3, taken_at: Some(START), replaced: None };
        self.db.write("fence", fence, |tx, fence| Box::pin(restore::fence(tx, fence))).await.unwrap()
    }

    async fn held(&self) -> Option<Restored> {
        self.db.read("held", (), |tx, ()| Box::pin(restore::held(tx))).await.unwrap()
    }

    async fn plan(&self) -> Plan {
        self.db.read("plan", self.now(), |tx, now| Box::pin(restore::plan(tx, *now))).await.unwrap()
    }

    async fn release(&self, slots: MissedSlots) -> Result<Restored, Refusal> {
        let arguments = (self.now(), slots);
        self.db.write("release", arguments, |tx, (now, slots)| Box::pin(restore::release(tx, *now, *slots))).await
    }

    /// The events behind a cursor, once this many wakeups were accepted there. On PostgreSQL rows show once no older
    /// transaction is open.
    async fn events_after(&self, cursor: Cursor, accepted: usize) -> Vec<Event> {
        let arguments = (self.company, cursor);
        let wait = async {
            loop {
                let read = self.db.read("events", arguments, |tx, (company, cursor)| {
                    Box::pin(events::after(tx, *company, *cursor, 200))
                });
                let found = read.await.unwrap();
                if found.iter().filter(|event| event.kind == "wakeup.accepted").count() >= accepted {
                    return found;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(seconds(20), wait).await.expect("the events come")
    }
}

#[test]
fn what_was_live_is_lost_and_only_an_explicit_retry_repeats_it() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakeup = world.wake(agent).await;
        let claimed = world.claim().await;
        let restored = world.fence().await;
        assert_eq!((restored.epoch, restored.lost_runs, restored.taken_at), (1, 1, START));
        let run = world.get_run(claimed.run.id).await;
        assert_eq!((run.status, run.error_code.as_deref()), (RunStatus::Lost, Some("restored")));
        assert_eq!(world.status(wakeup).await, WakeupStatus::Failed);
        let late = world.ending(&claimed.run, wakeful_domain::outcome::Outcome::succeeded());
        assert_eq!(conflict(world.try_finish(late).await), "fenced");
        world.pass(seconds(1_000_000));
        world.tick().await;
        assert!(world.claim_any().await.is_none());
        world.retry(wakeup).await.unwrap();
        let again = world.claim().await;
        assert!(again.run.fence > claimed.run.fence + 1_000, "{} {}", again.run.fence, claimed.run.fence);
    });
}

#[test]
fn each_restore_raises_the_epoch_and_holds_the_store_until_it_is_released_once() {
    on_both(async |world| {
        assert_eq!(world.held().await, None);
        assert_eq!(conflict(world.release(MissedSlots::CatchUp).await), "not_held");
        for epoch in 1..=3 {
            assert_eq!(world.fence().await.epoch, epoch);
            assert_eq!(world.held().await.unwrap().epoch, epoch);
            assert_eq!(world.release(MissedSlots::CatchUp).await.unwrap().released_at, Some(world.now()));
            assert_eq!(world.held().await, None);
        }
    });
}

#[test]
fn a_store_that_is_replaced_counts_too() {
    on_both(async |world| {
        let replaced = Some(Life { epoch: 7, last_event: 5 << 32 });
        let fence = Fence { now: world.now(), id_seed: 3, taken_at: Some(START), replaced };
        let restored = world.db.write("fence", fence, |tx, fence| Box::pin(restore::fence(tx, fence))).await.unwrap();
        assert_eq!(restored.epoch, 8);
        assert_eq!(world.fence().await.epoch, 9, "what is known stays known");
    });
}

#[test]
fn events_after_a_restore_have_numbers_that_no_store_gave_before() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let last: EventId = world.events_after(Cursor::default(), 1).await.last().unwrap().id;
        world.fence().await;
        world.wake(agent).await;
        let new = world.events_after(last.into(), 1).await;
        assert_eq!(new[0].kind, "store.restored", "{new:?}");
        assert!(new.iter().any(|event| event.kind == "wakeup.accepted"));
        let all = world.events_after(Cursor::default(), 2).await;
        assert!(all.len() > new.len() && all.is_sorted_by_key(|event| Cursor::from(event.id)));
    });
}

#[test]
fn a_plan_names_what_would_run_and_slots_can_be_passed_over() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let often = object!({ "every": "1m" });
        let target = object!({ "wake": { "agent": agent } });
        let schedule = world.insert_schedule(world.draft_schedule("often", often, target)).await.unwrap();
        let waits = world.wake_with(agent, |wake| wake.reason = Some("look".into())).await.id;
        world.pass(seconds(3_600));
        world.fence().await;
        let plan = world.plan().await;
        assert_eq!(
            (plan.pending_wakeups, plan.wakeups[0].id, plan.wakeups[0].reason.as_deref()),
            (1, waits, Some("look"))
        );
        assert_eq!((plan.due_schedules, plan.schedules[0].slots, plan.schedules[0].fires), (1, 60, 1));
        world.pass(seconds(30));
        world.release(MissedSlots::Skip).await.unwrap();
        assert_eq!(world.fire().await.fires, 0);
        let slots = world.slots(schedule.id).await;
        assert!(!slots.is_empty() && slots.iter().all(|slot| slot.status == SlotStatus::Missed), "{slots:?}");
        assert_eq!(world.plan().await.due_schedules, 0);
    });
}

#[test]
fn what_a_schedule_was_asking_is_not_asked_again() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let schedule = world.gated(agent, object!({ "command": ["check"] })).await;
        world.minute().await;
        assert_eq!(world.questions().await.len(), 1);
        world.fence().await;
        world.release(MissedSlots::CatchUp).await.unwrap();
        assert_eq!(world.questions().await.len(), 0);
        let slots = world.slots(schedule.id).await;
        let [slot] = &slots[..] else { panic!("{slots:?}") };
        assert_eq!((slot.status, slot.reason.as_deref()), (SlotStatus::Missed, Some("restored")));
        world.minute().await;
        assert_eq!(world.questions().await.len(), 1, "the next one is");
    });
}
