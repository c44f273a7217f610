//! Timer wakes and the tick of the clock: what becomes due, expires, comes free, and when to look again.

use wakeful_domain::active_hours::{ActiveHours, ClockTime};
use wakeful_domain::agent::Heartbeat;
use wakeful_domain::outcome::Outcome;
use wakeful_domain::waiting::WaitingReason;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::ops::agents::{self, AgentChange};
use wakeful_store::ops::companies::{self, CompanyChange};
use wakeful_store::ops::wake::{self, Wake};

use crate::wishes::batch;
use crate::world::{World, conflict, on_both, seconds};

fn timer(world: &World, agent: wakeful_domain::id::AgentId) -> Wake {
    Wake { source: Source::Timer, ..world.draft(agent) }
}

#[test]
fn a_lane_has_one_pending_timer_that_counts_the_others() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let first = world.accept(timer(world, agent)).await.unwrap();
        for count in 2..=4 {
            let again = world.accept(timer(world, agent)).await.unwrap();
            assert_eq!((again.is_new, again.wakeup.id, again.wakeup.count), (false, first.wakeup.id, count));
        }
        let other = world.accept(Wake { task: Some(world.task("t").await), ..timer(world, agent) }).await.unwrap();
        assert!(other.is_new, "another lane has its own");
        let claimed = world.claim().await;
        assert_eq!((batch(&claimed), claimed.wakeups[0].count), (vec![first.wakeup.id], 4));
    });
}

#[test]
fn a_timer_is_satisfied_by_a_live_run_of_its_lane() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        let coalesced = world.accept(timer(world, agent)).await.unwrap().wakeup;
        assert_eq!((coalesced.status, coalesced.run), (WakeupStatus::Coalesced, Some(run.id)));
        world.fail(&run, "exit_nonzero").await;
        assert_eq!(world.status(coalesced.id).await, WakeupStatus::Coalesced, "whatever becomes of the run");
        let next = world.accept(timer(world, agent)).await.unwrap().wakeup;
        assert_eq!(next.status, WakeupStatus::Pending);
    });
}

#[test]
fn a_tick_makes_due_what_is_due_and_says_when_it_is_needed_next() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        assert_eq!(world.tick().await.next_at, None);
        let start = world.now();
        let near = world.wake_with(agent, |wake| wake.due_at = Some(start + seconds(10))).await.id;
        let far = world.wake_with(agent, |wake| wake.due_at = Some(start + seconds(20))).await.id;
        let report = world.tick().await;
        assert_eq!((report.became_due, report.next_at), (0, Some(start + seconds(10))));
        assert!(world.claim_any().await.is_none());
        world.pass(seconds(10));
        let report = world.tick().await;
        assert_eq!((report.became_due, report.next_at), (1, Some(start + seconds(20))));
        let claimed = world.claim().await;
        assert_eq!(batch(&claimed), [near]);
        world.succeed(&claimed.run).await;
        world.pass(seconds(10));
        assert_eq!(world.tick().await.next_at, None);
        assert_eq!(batch(&world.claim().await), [far]);
    });
}

#[test]
fn what_expires_expires_due_or_not_but_never_with_a_run() {
    on_both(async |world| {
        let (a, b) = (world.agent("a").await, world.agent("b").await);
        let until = Some(world.now() + seconds(10));
        let later = Some(world.now() + seconds(60));
        let claimed = world.wake_with(a, |wake| wake.expires_at = until).await.id;
        let run = world.claim().await.run;
        let waiting = world.wake_with(b, |wake| wake.expires_at = until).await.id;
        let not_due = world.wake_with(b, |wake| (wake.expires_at, wake.due_at) = (until, later)).await.id;
        assert_eq!(world.tick().await.next_at, until);
        world.pass(seconds(10));
        let report = world.tick().await;
        assert_eq!((report.expired, report.became_due, report.next_at), (2, 0, None));
        for id in [waiting, not_due] {
            let wakeup = world.wakeup(id).await;
            assert_eq!((wakeup.status, wakeup.finished_at), (WakeupStatus::Expired, until));
        }
        assert_eq!(world.status(claimed).await, WakeupStatus::Claimed);
        world.succeed(&run).await;
        assert_eq!(world.status(claimed).await, WakeupStatus::Completed);
        assert!(world.claim_any().await.is_none());
    });
}

#[test]
fn a_tick_frees_parked_agents_when_their_limit_lifts() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        let reset = world.now() + seconds(3_600);
        let limited = Outcome { retry_at: Some(reset), ..Outcome::failed("usage_limit", "limit") };
        world.finish(&run, limited).await;
        let fresh = world.wake(agent).await;
        assert!(world.claim_any().await.is_none(), "the account rests");
        assert_eq!(world.tick().await.next_at, Some(reset));
        world.set_time(reset);
        let report = world.tick().await;
        assert_eq!((report.unparked, report.next_at), (1, Some(reset + seconds(30))));
        assert_eq!(batch(&world.claim().await), [fresh]);
    });
}

#[test]
fn a_tick_takes_bounded_bites_and_asks_for_the_next_at_once() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let due_at = Some(world.now() + seconds(10));
        let wakes: Vec<_> = (0..700).map(|_| Wake { due_at, ..world.draft(agent) }).collect();
        world.db.write("many", wakes, |tx, wakes| Box::pin(wake::accept_all(tx, wakes))).await.unwrap();
        world.pass(seconds(11));
        let first = world.tick().await;
        assert_eq!((first.became_due, first.next_at), (500, due_at));
        let second = world.tick().await;
        assert_eq!((second.became_due, second.next_at), (200, None));
        assert_eq!(world.claim().await.wakeups.len(), 700);
    });
}

#[test]
fn one_row_counts_all_the_ticks_that_a_live_run_has_satisfied() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        let first = world.accept(timer(world, agent)).await.unwrap().wakeup;
        for count in 2..=50 {
            let again = world.accept(timer(world, agent)).await.unwrap();
            assert_eq!((again.is_new, again.wakeup.id, again.wakeup.count), (false, first.id, count));
        }
        world.succeed(&run).await;
        world.wake(agent).await;
        world.claim().await;
        assert!(world.accept(timer(world, agent)).await.unwrap().is_new, "the next run has its own row");
    });
}

fn at_night() -> Heartbeat {
    let clock = |text: &str| ClockTime::try_from(text.to_owned()).unwrap();
    let hours = ActiveHours { from: clock("22:00"), to: clock("23:00"), days: None };
    Heartbeat { enabled: true, active_hours: Some(hours), ..Heartbeat::default() }
}

#[test]
fn a_timer_waits_for_the_active_hours_and_nothing_else_does() {
    on_both(async |world| {
        world.set_time("2026-11-21T12:00:00Z".parse().unwrap());
        let agent = world.agent_with("a", |agent| agent.heartbeat = at_night()).await;
        let waiting = world.accept(timer(world, agent)).await.unwrap().wakeup;
        assert!(world.claim_any().await.is_none());
        assert_eq!(world.waits_for(&waiting).await, WaitingReason::QuietHours);
        let asked = world.wake(agent).await;
        let claimed = world.claim().await;
        assert_eq!(batch(&claimed), [asked], "the timer is not even taken along");
        world.succeed(&claimed.run).await;
        let opens = "2026-11-21T22:00:00Z".parse().unwrap();
        assert_eq!(world.tick().await.next_at, Some(opens));
        world.set_time(opens);
        world.tick().await;
        assert_eq!(batch(&world.claim().await), [waiting.id]);
    });
}

#[test]
fn a_timer_that_did_not_start_within_the_hours_waits_for_the_next() {
    on_both(async |world| {
        world.set_time("2026-11-21T22:30:00Z".parse().unwrap());
        let agent = world.agent_with("a", |agent| agent.heartbeat = at_night()).await;
        let waiting = world.accept(timer(world, agent)).await.unwrap().wakeup;
        world.set_time("2026-11-21T23:00:00Z".parse().unwrap());
        assert!(world.claim_any().await.is_none());
        assert_eq!(world.waits_for(&waiting).await, WaitingReason::QuietHours);
        let always =
            AgentChange { heartbeat: Some(Heartbeat { active_hours: None, ..at_night() }), ..Default::default() };
        let arguments = (world.now(), agent, always);
        let write =
            world.db.write("agent", arguments, |tx, (now, id, change)| Box::pin(agents::change(tx, *now, *id, change)));
        write.await.unwrap();
        assert_eq!(batch(&world.claim().await), [waiting.id], "other hours count at once");
    });
}

#[test]
fn a_timer_under_a_key_is_counted_once() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let keyed = |key: &str| Wake {
            idempotency_key: Some(key.into()),
            request_hash: Some("x".into()),
            ..timer(world, agent)
        };
        let first = world.accept(keyed("one")).await.unwrap().wakeup;
        for _ in 0..3 {
            assert_eq!(world.accept(keyed("two")).await.unwrap().wakeup.count, 2);
        }
        assert_eq!(world.accept(keyed("one")).await.unwrap().wakeup.id, first.id);
        assert_eq!(world.wakeup(first.id).await.count, 2);
    });
}

#[test]
fn a_timer_that_failed_is_not_tried_again_beside_a_newer_one() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.retry.delays_s = vec![]).await;
        let failed = world.accept(timer(world, agent)).await.unwrap().wakeup.id;
        world.fail(&world.claim().await.run, "exit_nonzero").await;
        world.accept(timer(world, agent)).await.unwrap();
        assert_eq!(conflict(world.retry(failed).await), "timer_pending");
    });
}

#[test]
fn another_zone_of_the_company_counts_for_the_timers_that_wait() {
    on_both(async |world| {
        world.set_time("2026-11-21T12:30:00Z".parse().unwrap());
        let agent = world.agent_with("a", |agent| agent.heartbeat = at_night()).await;
        let waiting = world.accept(timer(world, agent)).await.unwrap().wakeup;
        assert!(world.claim_any().await.is_none());
        // There it is half past ten in the evening.
        let change = CompanyChange { time_zone: Some("Pacific/Pohnpei".into()), ..CompanyChange::default() };
        let arguments = (world.now(), world.company, change);
        let write = world
            .db
            .write("company", arguments, |tx, (now, id, change)| Box::pin(companies::change(tx, *now, *id, change)));
        write.await.unwrap();
        world.set_time("2026-11-21T11:30:00Z".parse().unwrap());
        assert_eq!(batch(&world.claim().await), [waiting.id]);
    });
}

#[test]
fn a_failed_timer_is_not_brought_back_beside_another_one_of_its_lane() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let timer = async || {
            world.wake_with(agent, |wake| (wake.source, wake.max_attempts) = (Source::Timer, Some(1))).await.id
        };
        let first = timer().await;
        let run = world.claim().await.run;
        world.finish(&run, Outcome::failed("killed", "x")).await;
        assert_eq!(world.status(first).await, WakeupStatus::Failed);
        let second = timer().await;
        assert_eq!(conflict(world.retry(first).await), "timer_pending");
        let run = world.claim().await.run;
        assert_eq!(conflict(world.retry(first).await), "timer_pending", "the run may put it back");
        world.succeed(&run).await;
        assert_eq!(world.status(second).await, WakeupStatus::Completed);
        assert_eq!(world.retry(first).await.unwrap().status, WakeupStatus::Pending);
    });
}
