//! Many at once: claimers, wakes, ends and ticks of several nodes meet, and nothing is lost, doubled or left behind.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join, join_all};
use wakeful_domain::id::{AgentId, TaskId};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::wakeup::WakeupStatus;

use crate::world::{World, on_both, seconds};

#[test]
fn of_many_claimers_exactly_one_wins_each_lane() {
    on_both(async |world| {
        let mut expected = HashSet::new();
        let company = world.company("wide", 100).await;
        for n in 0..20 {
            let agent = world.agent_with(&format!("a{n}"), |agent| agent.company = company).await;
            world.wake(agent).await;
            expected.insert(agent);
        }
        // Whoever finds an agent locked by another claimer goes on without it, and comes again.
        let claimers = (0..16).map(async |_| {
            let mut won = Vec::new();
            while world.get_company(company).await.live_runs < 20 {
                won.extend(world.claim_any().await);
            }
            won
        });
        let won: Vec<_> = join_all(claimers).await.into_iter().flatten().collect();
        let agents: HashSet<_> = won.iter().map(|claimed| claimed.agent.id).collect();
        assert_eq!((won.len(), agents), (20, expected));
        assert!(won.iter().all(|claimed| claimed.run.fence == 1 && claimed.wakeups.len() == 1));
    });
}

#[test]
fn of_many_claimers_of_one_task_exactly_one_wins_and_none_sees_an_error() {
    on_both(async |world| {
        for round in 0..10 {
            let task = world.task("t").await;
            let company = world.company(&format!("c{round}"), 100).await;
            let mut shared = world.draft_task("shared");
            shared.company = company;
            let shared = world.insert_task(shared).await;
            for n in 0..6 {
                let agent = world.agent_with(&format!("a{n}"), |agent| agent.company = company).await;
                world.wake_about(agent, shared).await;
            }
            let answers = join_all((0..6).map(|_| world.try_claim())).await;
            let won = answers.into_iter().filter_map(Result::unwrap).count();
            assert!(won <= 1, "round {round}: {won} runs for {task}");
            let total = won + usize::from(won == 0 && world.claim_any().await.is_some());
            assert_eq!(total, 1);
        }
    });
}

#[test]
fn of_two_ends_of_a_run_exactly_one_is_applied() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for round in 1..=10 {
            world.wake(agent).await;
            let run = world.claim().await.run;
            // Not a failure: five of them in a row would open the lane's circuit.
            let other = Outcome { summary: Some("the other end".into()), ..Outcome::succeeded() };
            let ends = [Outcome::succeeded(), other];
            let answers = join_all(ends.map(|outcome| world.try_finish(world.ending(&run, outcome)))).await;
            assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
            let runs_total = "select runs_total from agents";
            assert_eq!((world.number(runs_total).await, world.get_agent(agent).await.live_runs), (round, 0));
        }
    });
}

#[test]
fn a_wake_that_meets_the_end_of_the_run_is_in_the_follow_up() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        for _ in 0..20 {
            let run = world.claim().await.run;
            let (_, wakeup) = join(world.succeed(&run), world.wake(agent)).await;
            world.assert_sound().await;
            assert_eq!(world.status(wakeup).await, WakeupStatus::Pending);
        }
    });
}

/// Some agents that share some tasks, in two companies with caps.
struct Town {
    agents: Vec<(AgentId, Vec<TaskId>)>,
}

async fn town(world: &World) -> Town {
    let mut agents = Vec::new();
    for (slug, cap) in [("north", 3), ("south", 2)] {
        let company = world.company(slug, cap).await;
        let mut tasks = Vec::new();
        for n in 0..3 {
            let mut task = world.draft_task(&n.to_string());
            task.company = company;
            tasks.push(world.insert_task(task).await);
        }
        for n in 0..4 {
            let draft = |agent: &mut wakeful_domain::agent::Agent| {
                agent.company = company;
                agent.max_concurrent_runs = 1 + n % 2;
                agent.retry.delays_s = vec![0];
            };
            agents.push((world.agent_with(&format!("{slug}{n}"), draft).await, tasks.clone()));
        }
    }
    Town { agents }
}

const WAKES_EACH: usize = 12;
const WAKERS: usize = 8;

/// Wakes agents on their tasks and now and then cancels what it asked for, in an order of its own.
async fn wake_much(world: &World, town: &Town, seed: usize) {
    for n in 0..WAKES_EACH {
        let (agent, tasks) = &town.agents[(seed * 7 + n * 3) % town.agents.len()];
        let task = (n % 4 != 0).then(|| tasks[(seed + n) % tasks.len()]);
        let due_at = (n % 5 == 0).then(|| world.now() + seconds(5));
        let expires_at = (n % 6 == 1).then(|| world.now() + seconds(2));
        let wakeup = world
            .wake_with(*agent, |wake| (wake.task, wake.due_at, wake.expires_at) = (task, due_at, expires_at))
            .await;
        if n % 3 == 2 {
            world.cancel(wakeup.id).await.ok();
        }
    }
}

/// Claims and ends runs, well or not, until nothing more is to be expected.
async fn work(world: &World, wakers: &AtomicUsize, node: usize) {
    let mut turn = node;
    loop {
        let are_awake = wakers.load(Ordering::SeqCst) > 0;
        world.pass(seconds(1));
        world.tick().await;
        let claimed = world.claim_some(2).await;
        if claimed.is_empty() && !are_awake {
            return;
        }
        for claimed in claimed {
            turn += 1;
            match turn % 5 {
                0 => world.fail(&claimed.run, "killed").await,
                1 => world.fail(&claimed.run, "drained").await,
                _ => world.succeed(&claimed.run).await,
            };
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn wakes_claims_ends_and_ticks_of_several_nodes_leave_a_true_index() {
    on_both(async |world| {
        for _ in 0..4 {
            let town = town_of_this_round(world).await;
            let awake = AtomicUsize::new(WAKERS);
            let wakers = join_all((0..WAKERS).map(async |seed| {
                wake_much(world, &town, seed).await;
                awake.fetch_sub(1, Ordering::SeqCst);
            }));
            join(wakers, join_all((0..4).map(|node| work(world, &awake, node)))).await;
            world.assert_sound().await;
            drain(world).await;
        }
    });
}

/// The first round makes the town, the others go on in it.
async fn town_of_this_round(world: &World) -> Town {
    let known = world.number("select count(*) from companies").await;
    if known > 1 {
        world.sql("update companies set slug = id").await.unwrap();
    }
    town(world).await
}

/// All that still waits is taken up by someone: nothing is forgotten.
async fn drain(world: &World) {
    let mut runs: HashMap<AgentId, usize> = HashMap::new();
    while world.number("select count(*) from wakeups where status = 'pending'").await > 0 {
        world.pass(seconds(10));
        world.tick().await;
        let claimed = world.claim_some(20).await;
        let waits = world.number("select count(*) from wakeups where status = 'pending'").await;
        assert!(!claimed.is_empty() || waits == 0, "{waits} wakeups wait and nothing may start");
        for claimed in claimed {
            *runs.entry(claimed.agent.id).or_default() += 1;
            world.succeed(&claimed.run).await;
        }
    }
    assert_eq!(world.number("select count(*) from wakeups where finished_at is null").await, 0);
}
