//! The claim: which lane goes first, what is in its batch, and what keeps a lane from starting.

use std::collections::HashSet;

use wakeful_domain::agent::AgentEvent;
use wakeful_domain::company::CompanyState;
use wakeful_domain::lane::{BATCH_BYTES_MAX, BATCH_WAKEUPS_MAX};
use wakeful_domain::task::TaskStatus;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::ops::{agents, companies, wake};

use crate::wishes::{batch, lead};
use crate::world::{World, on_both, seconds};

#[test]
fn a_batch_is_all_that_is_due_in_the_order_of_requests_led_by_the_best() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let mut accepted = Vec::new();
        for priority in [10, 90, 50] {
            accepted.push(world.wake_with(agent, |wake| wake.priority = Some(priority)).await.id);
            world.pass(seconds(1));
        }
        let later = world.wake_with(agent, |wake| wake.due_at = Some(world.now() + seconds(60))).await.id;
        let claimed = world.claim().await;
        assert_eq!((batch(&claimed), lead(&claimed)), (accepted.clone(), accepted[1]));
        for wakeup in &claimed.wakeups {
            assert_eq!((wakeup.status, wakeup.attempt), (WakeupStatus::Claimed, 1));
            assert_eq!(wakeup.run, Some(claimed.run.id));
        }
        assert_eq!(world.status(later).await, WakeupStatus::Pending);
        assert_eq!((claimed.agent.id, claimed.company.id, claimed.task), (agent, world.company, None));
    });
}

#[test]
fn the_fence_of_a_lane_rises_by_one_with_each_claim() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for fence in 1..=4 {
            world.wake(agent).await;
            let run = world.claim().await.run;
            assert_eq!(run.fence, fence);
            world.succeed(&run).await;
        }
        world.wake_about(agent, world.task("t").await).await;
        assert_eq!(world.claim().await.run.fence, 1, "each lane counts for itself");
    });
}

#[test]
fn an_expired_wakeup_is_never_claimed_and_does_not_keep_others_from_it() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let neighbour = world.agent("b").await;
        let short = Some(world.now() + seconds(10));
        let expired = world.wake_with(agent, |wake| wake.expires_at = short).await.id;
        let expired_alone =
            world.wake_with(neighbour, |wake| (wake.expires_at, wake.priority) = (short, Some(100))).await;
        world.pass(seconds(10));
        let lasting = world.wake(agent).await;
        // Before any tick: the clock may be late.
        assert_eq!(batch(&world.claim().await), [lasting]);
        assert!(world.claim_any().await.is_none());
        world.tick().await;
        for id in [expired, expired_alone.id] {
            assert_eq!(world.status(id).await, WakeupStatus::Expired);
        }
    });
}

#[test]
fn many_lanes_of_expired_wakeups_do_not_hold_up_a_good_one() {
    on_both(async |world| {
        let short = Some(world.now() + seconds(10));
        for n in 0..12 {
            world.wake_with(world.agent(&format!("a{n}")).await, |wake| wake.expires_at = short).await;
        }
        world.pass(seconds(10));
        let good = world.wake(world.agent("good").await).await;
        let mut found = None;
        for _ in 0..3 {
            found = found.or(world.claim_any().await);
        }
        assert_eq!(found.map(|claimed| batch(&claimed)), Some(vec![good]));
    });
}

#[test]
fn a_wakeup_in_back_off_neither_joins_nor_delays_a_run() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let failed = world.wake_with(agent, |wake| wake.priority = Some(100)).await.id;
        world.fail(&world.claim().await.run, "exit_nonzero").await;
        assert!(world.claim_any().await.is_none());
        let fresh = world.wake_with(agent, |wake| wake.priority = Some(0)).await.id;
        let claimed = world.claim().await;
        assert_eq!(batch(&claimed), [fresh]);
        world.pass(seconds(120));
        assert_eq!(world.tick().await.became_due, 1);
        assert!(world.claim_any().await.is_none(), "its lane is busy");
        world.succeed(&claimed.run).await;
        assert_eq!(batch(&world.claim().await), [failed]);
    });
}

#[test]
fn an_agent_has_no_more_live_runs_than_its_cap() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.max_concurrent_runs = 2).await;
        for n in 0..3 {
            world.wake_about(agent, world.task(&n.to_string()).await).await;
        }
        let claimed = world.claim_some(5).await;
        assert_eq!((claimed.len(), world.get_agent(agent).await.live_runs), (2, 2));
        world.succeed(&claimed[0].run).await;
        assert_eq!(world.claim_some(5).await.len(), 1);
    });
}

#[test]
fn a_company_has_no_more_live_runs_than_its_cap() {
    on_both(async |world| {
        for n in 0..7 {
            world.wake(world.agent(&n.to_string()).await).await;
        }
        let claimed = world.claim_some(10).await;
        assert_eq!((claimed.len(), world.get_company(world.company).await.live_runs), (5, 5));
        world.succeed(&claimed[0].run).await;
        assert_eq!(world.claim_some(10).await.len(), 1);
    });
}

#[test]
fn caps_that_change_hold_from_then_on() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for n in 0..4 {
            world.wake_about(agent, world.task(&n.to_string()).await).await;
        }
        assert_eq!(world.claim_some(9).await.len(), 1);
        let set = async |agent_cap: i64, company_cap: i64| {
            let arguments = (world.now(), agent, agent_cap, world.company, company_cap);
            let change = world.db.write("caps", arguments, |tx, (now, agent, agent_cap, company, company_cap)| {
                Box::pin(async move {
                    let agent_change =
                        agents::AgentChange { max_concurrent_runs: Some(*agent_cap), ..Default::default() };
                    agents::change(tx, *now, *agent, &agent_change).await?;
                    let company_change =
                        companies::CompanyChange { max_concurrent_runs: Some(*company_cap), ..Default::default() };
                    companies::change(tx, *now, *company, &company_change).await.map(|_| ())
                })
            });
            change.await.unwrap();
        };
        set(9, 2).await;
        assert_eq!(world.claim_some(9).await.len(), 1);
        set(1, 9).await;
        assert_eq!(world.claim_some(9).await.len(), 0);
        set(3, 9).await;
        assert_eq!(world.claim_some(9).await.len(), 1);
    });
}

#[test]
fn a_task_is_held_by_one_run_whichever_agent_it_is_of() {
    on_both(async |world| {
        let (a, b) = (world.agent("a").await, world.agent("b").await);
        let task = world.task("t").await;
        world.wake_about(a, task).await;
        let waiting = world.wake_about(b, task).await;
        let first = world.claim().await;
        assert_eq!(world.get_task(task).await.held_by, Some(first.run.id));
        assert!(world.claim_any().await.is_none());
        let late = world.wake_about(b, task).await;
        assert!(world.claim_any().await.is_none());
        let own = world.wake(b).await;
        let beside = world.claim().await;
        assert_eq!(batch(&beside), [own], "the agent is free for other work");
        world.succeed(&beside.run).await;
        world.succeed(&first.run).await;
        assert_eq!(world.get_task(task).await.held_by, None);
        assert_eq!(batch(&world.claim().await), [waiting, late]);
    });
}

#[test]
fn the_company_with_the_least_live_runs_goes_first() {
    on_both(async |world| {
        let other = world.company("other", 5).await;
        for n in 0..3 {
            world.wake(world.agent(&format!("a{n}")).await).await;
        }
        world.pass(seconds(3_600));
        let late = world.agent_with("late", |agent| agent.company = other).await;
        let later = world.agent_with("later", |agent| agent.company = other).await;
        world.wake_with(late, |wake| wake.priority = Some(0)).await;
        world.wake_with(later, |wake| wake.priority = Some(0)).await;
        let turns: Vec<_> = world.claim_some(9).await.into_iter().map(|claimed| claimed.company.id).collect();
        assert_eq!(turns, [world.company, other, world.company, other, world.company]);
    });
}

#[test]
fn equal_due_times_go_by_priority_and_an_hour_beats_any() {
    on_both(async |world| {
        let old = world.agent("old").await;
        world.wake_with(old, |wake| wake.priority = Some(0)).await;
        world.pass(seconds(3_601));
        let (low, high, mail) = (world.agent("low").await, world.agent("high").await, world.agent("mail").await);
        world.wake_with(low, |wake| wake.source = Source::Schedule).await;
        world.wake(high).await;
        world.wake_with(mail, |wake| wake.source = Source::Message).await;
        world.wake_with(world.agent("top").await, |wake| wake.priority = Some(100)).await;
        let order: Vec<_> = world.claim_some(9).await.into_iter().map(|claimed| claimed.agent.name).collect();
        assert_eq!(order, ["old", "top", "high", "mail", "low"]);
    });
}

#[test]
fn a_lane_goes_by_its_best_wakeup() {
    on_both(async |world| {
        let (a, b) = (world.agent("a").await, world.agent("b").await);
        world.wake_with(a, |wake| wake.priority = Some(50)).await;
        world.wake_with(b, |wake| wake.priority = Some(40)).await;
        let best = world.wake_with(b, |wake| wake.priority = Some(60)).await.id;
        assert_eq!(world.get_agent(a).await.live_runs, 0);
        world.cancel(best).await.unwrap();
        assert_eq!(world.claim().await.agent.id, a, "what is cancelled no longer counts");
        let best = world.wake_with(b, |wake| wake.priority = Some(60)).await.id;
        assert_eq!(lead(&world.claim().await), best);
    });
}

#[test]
fn what_is_paused_starts_nothing_and_resumes_at_once() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakeup = world.wake(agent).await;
        world.agent_event(agent, AgentEvent::Pause).await.unwrap();
        assert!(world.claim_any().await.is_none());
        world.agent_event(agent, AgentEvent::Resume).await.unwrap();
        world.company_state(world.company, CompanyState::Paused).await;
        assert!(world.claim_any().await.is_none());
        world.company_state(world.company, CompanyState::Active).await;
        assert_eq!(batch(&world.claim().await), [wakeup]);
    });
}

#[test]
fn a_claim_moves_its_assignees_task_to_in_progress_and_no_others() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.max_concurrent_runs = 9).await;
        for (status, assignee, after) in [
            (TaskStatus::Todo, Some(agent), TaskStatus::InProgress),
            (TaskStatus::Todo, None, TaskStatus::Todo),
            (TaskStatus::InReview, Some(agent), TaskStatus::InReview),
        ] {
            let mut task = world.draft_task("t");
            (task.status, task.assignee) = (status, assignee);
            let task = world.insert_task(task).await;
            world.wake_about(agent, task).await;
            assert_eq!(world.claim().await.task.unwrap().status, after);
        }
    });
}

#[test]
fn a_thousand_wakeups_make_a_batch_and_the_rest_the_next_run() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakes: Vec<_> = (0..BATCH_WAKEUPS_MAX + 3)
            .map(|n| wake::Wake { priority: Some(if n < 3 { 0 } else { 50 }), ..world.draft(agent) })
            .collect();
        let all: Vec<_> = wakes.iter().map(|wake| wake.id).collect();
        world.db.write("many", wakes, |tx, wakes| Box::pin(wake::accept_all(tx, wakes))).await.unwrap();
        let first = world.claim().await;
        assert_eq!(batch(&first), all[3..], "the best go first");
        assert_eq!(world.inbox(&first.run).await, all[..3]);
        world.succeed(&first.run).await;
        assert_eq!(batch(&world.claim().await), all[..3]);
    });
}

/// How many wakeups with such a text of `bytes` bytes each go into a batch.
async fn fitting(world: &World, name: &str, letter: char, bytes: usize) -> usize {
    let agent = world.agent(name).await;
    let text: String = std::iter::repeat_n(letter, bytes / letter.len_utf8()).collect();
    for _ in 0..4 {
        world.wake_with(agent, |wake| drop(wake.payload.insert("text".into(), text.clone().into()))).await;
    }
    let claimed = world.claim().await;
    let bytes: usize = claimed.wakeups.iter().map(|w| w.payload.to_string().len() + w.context.to_string().len()).sum();
    assert!(claimed.wakeups.len() == 1 || bytes <= BATCH_BYTES_MAX as usize, "{bytes} bytes");
    let ids: HashSet<_> = batch(&claimed).into_iter().collect();
    let rest = world.inbox(&claimed.run).await;
    assert!(rest.len() + ids.len() == 4 && rest.iter().all(|id| !ids.contains(id)));
    ids.len()
}

#[test]
fn eight_mebibytes_make_a_batch_and_one_larger_wakeup_goes_alone() {
    on_both(async |world| {
        assert_eq!(fitting(world, "ascii", 'x', 3 << 20).await, 2);
        assert_eq!(fitting(world, "wide", '漢', 3 << 20).await, 2);
        assert_eq!(fitting(world, "huge", 'x', 9 << 20).await, 1);
    });
}
