//! Transactions of PostgreSQL that overlap in a chosen order: one is held open while another comes, as happens
//! with several connections or nodes. Whatever the order, the hot index names what may start. (SQLite has one writer.)

use std::sync::Arc;

use futures_util::future::join;
use tokio::sync::Notify;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::ops::{claim, timers, wake, wakeups};
use wakeful_store::{Operation, Refusal, Running, Tx};

use crate::wishes::batch;
use crate::world::{Engine, World, on, seconds};

/// Where an operation waits between its work and its commit.
#[derive(Debug, Clone, Default)]
struct Gate {
    reached: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    async fn wait(&self) {
        self.reached.notify_one();
        self.open.notified().await;
    }
}

/// Runs `first` up to its commit, then `second` until it ends or waits for a lock, then lets `first` commit.
async fn overlap<A>(world: &World, first: A, operation: Operation<(A, Gate), ()>, second: impl Future<Output = ()>)
where
    A: Send + Sync + 'static,
{
    let gate = Gate::default();
    let held = async { world.db.write("held", (first, gate.clone()), operation).await.unwrap() };
    let meanwhile = async {
        gate.reached.notified().await;
        let second = async {
            second.await;
            gate.open.notify_one();
        };
        join(second, open_when_someone_waits(world, &gate)).await;
    };
    tokio::time::timeout(seconds(30), join(held, meanwhile)).await.expect("both transactions end");
}

async fn open_when_someone_waits(world: &World, gate: &Gate) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    for _ in 0..40 {
        if world.number(waiting).await > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    gate.open.notify_one();
}

async fn accept_and_wait(tx: &mut Tx, wake: &wake::Wake, gate: &Gate) -> Result<(), Refusal> {
    wake::accept(tx, wake).await?;
    gate.wait().await;
    Ok(())
}

async fn check_wake_meets_release(world: &World, lane_is_known: bool) {
    let (holder, other) = (world.agent("holder").await, world.agent("other").await);
    let task = world.task("t").await;
    if lane_is_known {
        let earlier = world.wake_about(other, task).await;
        world.cancel(earlier).await.unwrap();
    }
    world.wake_about(holder, task).await;
    let run = world.claim().await.run;
    let mut wake = world.draft(other);
    wake.task = Some(task);
    let expected = wake.id;
    let release = async { drop(world.succeed(&run).await) };
    overlap(world, wake, |tx, (wake, gate)| Box::pin(accept_and_wait(tx, wake, gate)), release).await;
    world.assert_sound().await;
    assert_eq!(batch(&world.claim().await), [expected]);
}

#[test]
fn a_wake_about_a_task_is_not_lost_when_the_task_is_released_meanwhile() {
    on(Engine::Postgres, async |world| check_wake_meets_release(world, true).await);
}

#[test]
fn the_first_wake_of_a_lane_is_not_lost_when_its_task_is_released_meanwhile() {
    on(Engine::Postgres, async |world| check_wake_meets_release(world, false).await);
}

#[test]
fn a_wake_of_a_busy_agent_does_not_hide_the_wake_of_another() {
    on(Engine::Postgres, async |world| {
        let (free, busy) = (world.agent("free").await, world.agent("busy").await);
        world.wake(busy).await;
        world.claim().await;
        let task = world.task("t").await;
        let wake = world.draft(free);
        let expected = wake.id;
        let meanwhile = async {
            world.wake_about(busy, task).await;
        };
        overlap(world, wake, |tx, (wake, gate)| Box::pin(accept_and_wait(tx, wake, gate)), meanwhile).await;
        world.assert_sound().await;
        assert_eq!(batch(&world.claim().await), [expected]);
    });
}

#[test]
fn what_becomes_due_is_not_lost_when_another_wakeup_of_its_lane_is_cancelled_meanwhile() {
    on(Engine::Postgres, async |world| {
        let agent = world.agent("a").await;
        let due = world.wake_with(agent, |wake| wake.due_at = Some(world.now() + seconds(1))).await.id;
        let first = world.wake(agent).await;
        world.pass(seconds(1));
        let tick: Operation<_, ()> = |tx, (now, gate)| {
            Box::pin(async move {
                timers::tick(tx, *now).await?;
                Gate::wait(gate).await;
                Ok(())
            })
        };
        let meanwhile = async { drop(world.cancel(first).await.unwrap()) };
        overlap(world, world.now(), tick, meanwhile).await;
        world.assert_sound().await;
        assert_eq!(batch(&world.claim().await), [due]);
    });
}

#[test]
fn a_cancelled_wakeup_does_not_come_back_into_the_index_with_a_tick() {
    on(Engine::Postgres, async |world| {
        let agent = world.agent("a").await;
        let due_at = Some(world.now() + seconds(1));
        let due = world.wake_with(agent, |wake| wake.due_at = due_at).await.id;
        let first = world.wake_with(agent, |wake| wake.priority = Some(100)).await.id;
        world.pass(seconds(1));
        let cancel: Operation<_, ()> = |tx, ((now, id), gate)| {
            Box::pin(async move {
                wakeups::cancel(tx, *now, *id).await?;
                Gate::wait(gate).await;
                Ok(())
            })
        };
        let meanwhile = async {
            world.tick().await;
        };
        overlap(world, (world.now(), first), cancel, meanwhile).await;
        world.assert_sound().await;
        assert_eq!(batch(&world.claim().await), [due]);
    });
}

#[test]
fn a_release_and_a_retry_on_another_lane_of_the_task_both_count() {
    on(Engine::Postgres, async |world| {
        let (holder, other) = (world.agent("holder").await, world.agent("other").await);
        let task = world.task("t").await;
        let dead = world.wake_about(other, task).await;
        world.fail(&world.claim().await.run, "bad_config").await;
        world.wake_about(holder, task).await;
        let run = world.claim().await.run;
        let retry: Operation<_, ()> = |tx, ((now, id), gate)| {
            Box::pin(async move {
                wakeups::retry(tx, *now, *id).await?;
                Gate::wait(gate).await;
                Ok(())
            })
        };
        let meanwhile = async { drop(world.succeed(&run).await) };
        overlap(world, (world.now(), dead), retry, meanwhile).await;
        assert_eq!(world.status(dead).await, WakeupStatus::Pending);
        world.assert_sound().await;
        assert_eq!(batch(&world.claim().await), [dead]);
    });
}

fn claim_and_wait<'a>(tx: &'a mut Tx, (request, gate): &'a (claim::ClaimRequest, Gate)) -> Running<'a, ()> {
    Box::pin(async move {
        assert!(claim::claim(tx, request).await?.is_some());
        gate.wait().await;
        Ok(())
    })
}

#[test]
fn of_two_claims_of_one_task_the_later_goes_on_without_it() {
    on(Engine::Postgres, async |world| {
        let agents = [world.agent("a").await, world.agent("b").await];
        let task = world.task("t").await;
        for agent in agents {
            world.wake_about(agent, task).await;
        }
        let own = world.wake_with(agents[1], |wake| wake.priority = Some(0)).await.id;
        let second = std::cell::RefCell::new(None);
        let meanwhile = async { *second.borrow_mut() = world.try_claim().await.unwrap() };
        overlap(world, world.claim_request(), claim_and_wait, meanwhile).await;
        let second = second.into_inner().map(|claimed| batch(&claimed));
        assert!(second.is_none() || second == Some(vec![own]), "{second:?}");
        assert_eq!(world.claim_some(9).await.len(), usize::from(second.is_none()));
    });
}

#[test]
fn a_company_that_fills_up_meanwhile_does_not_end_the_search() {
    on(Engine::Postgres, async |world| {
        let (narrow, other) = (world.company("narrow", 1).await, world.company("other", 5).await);
        for name in ["a", "b"] {
            world.wake(world.agent_with(name, |agent| agent.company = narrow).await).await;
        }
        world.pass(seconds(1));
        let expected = world.wake(world.agent_with("c", |agent| agent.company = other).await).await;
        let second = std::cell::RefCell::new(None);
        let meanwhile = async { *second.borrow_mut() = world.claim_any().await };
        overlap(world, world.claim_request(), claim_and_wait, meanwhile).await;
        assert_eq!(second.into_inner().map(|claimed| batch(&claimed)), Some(vec![expected]));
    });
}
