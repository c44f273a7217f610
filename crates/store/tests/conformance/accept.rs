//! Accepting a wake: durable and pending, once per idempotency key; refused or skipped for a stated reason.

use futures_util::future::join_all;
use serde_json::json as object;
use wakeful_domain::agent::{AgentEvent, AgentState, Heartbeat};
use wakeful_domain::company::CompanyState;
use wakeful_domain::task::TaskStatus;
use wakeful_domain::wakeup::{Source, Wakeup, WakeupStatus};
use wakeful_store::Refusal;
use wakeful_store::ops::wake::{self, Wake};

use crate::wishes::batch;
use crate::world::{World, conflict, on_both, seconds};

#[test]
fn an_accepted_wake_is_pending_and_may_start() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakeup = world.wake_with(agent, |wake| wake.reason = Some("look".into())).await;
        assert_eq!(world.wakeup(wakeup.id).await, wakeup);
        assert_eq!((wakeup.status, wakeup.attempt, wakeup.max_attempts), (WakeupStatus::Pending, 0, 5));
        assert_eq!((wakeup.priority, wakeup.root_id, wakeup.depth), (80, wakeup.id, 0));
        assert_eq!(batch(&world.claim().await), [wakeup.id]);
    });
}

#[test]
fn a_text_that_one_engine_cannot_keep_is_accepted_by_both() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakeup = world.wake_with(agent, |wake| wake.reason = Some("a\0b 漢 🙂".into())).await;
        let kept = world.wakeup(wakeup.id).await.reason.unwrap();
        assert!(kept.starts_with('a') && kept.ends_with("b 漢 🙂"), "{kept}");
    });
}

#[test]
fn what_the_caller_left_empty_is_filled_and_nothing_is_overwritten() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let task = world.task("t").await;
        let wakeup = world
            .wake_with(agent, |wake| {
                wake.task = Some(task);
                wake.reason = Some("theirs".into());
                wake.context.insert("reason".into(), "mine".into());
                wake.context.insert("source".into(), " ".into());
            })
            .await;
        assert_eq!(wakeup.context, object!({ "reason": "mine", "source": "manual", "task": task, "task_key": "T-1" }));
    });
}

#[test]
fn all_comments_of_a_wake_are_named_in_order() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakeup = world
            .wake_with(agent, |wake| {
                wake.payload.insert("comment_id".into(), "c1".into());
                wake.payload.insert("comment_ids".into(), object!(["c2", "c1", " ", "c3"]));
            })
            .await;
        assert_eq!(wakeup.context["comment_ids"], object!(["c1", "c2", "c3"]));
    });
}

fn keyed(world: &World, wake: Wake, hash: &str) -> Wake {
    Wake { id: world.id(), idempotency_key: Some("k".into()), request_hash: Some(hash.into()), ..wake }
}

#[test]
fn the_same_key_and_body_return_the_first_wakeup_even_when_it_is_over() {
    on_both(async |world| {
        let draft = world.draft(world.agent("a").await);
        let first = world.accept(keyed(world, draft.clone(), "x")).await.unwrap();
        let again = world.accept(keyed(world, draft.clone(), "x")).await.unwrap();
        assert_eq!((first.is_new, again.is_new, again.wakeup.id), (true, false, first.wakeup.id));
        world.succeed(&world.claim().await.run).await;
        let late = world.accept(keyed(world, draft, "x")).await.unwrap();
        assert_eq!((late.is_new, late.wakeup.status), (false, WakeupStatus::Completed));
    });
}

#[test]
fn a_key_is_forgotten_a_day_after_its_wakeup_is_over() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wake = async |hash| world.accept(keyed(world, world.draft(agent), hash)).await;
        let first = wake("x").await.unwrap().wakeup.id;
        world.pass(seconds(30 * 3_600));
        world.succeed(&world.claim().await.run).await;
        world.pass(seconds(24 * 3_600 - 1));
        assert_eq!(wake("x").await.unwrap().wakeup.id, first);
        world.pass(seconds(1));
        assert!(wake("y").await.unwrap().is_new);
        assert!(wake("x").await.is_err(), "the key is another wakeup's now");
    });
}

#[test]
fn another_body_under_the_same_key_is_refused() {
    on_both(async |world| {
        let draft = world.draft(world.agent("a").await);
        world.accept(keyed(world, draft.clone(), "x")).await.unwrap();
        let other = world.accept(keyed(world, draft, "y")).await;
        assert!(matches!(other, Err(Refusal::Invalid { field, .. }) if field == "idempotency_key"));
        assert_eq!(world.number("select count(*) from wakeups").await, 1);
    });
}

#[test]
fn the_same_key_in_another_company_is_another_key() {
    on_both(async |world| {
        let here = world.agent("a").await;
        let other = world.company("other", 5).await;
        let there = world.agent_with("a", |agent| agent.company = other).await;
        world.accept(keyed(world, world.draft(here), "x")).await.unwrap();
        assert!(world.accept(keyed(world, world.draft(there), "y")).await.unwrap().is_new);
    });
}

#[test]
fn concurrent_duplicates_make_one_row() {
    on_both(async |world| {
        let agents = [world.agent("a").await, world.agent("b").await];
        // Of two agents, so that it is not the lock on the agent that keeps them apart.
        let wakes = (0..24).map(|n| world.accept(keyed(world, world.draft(agents[n % 2]), "x")));
        let answers: Vec<_> = join_all(wakes).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_new).count(), 1);
        assert!(answers.iter().all(|answer| answer.wakeup.id == answers[0].wakeup.id));
        assert_eq!(world.number("select count(*) from wakeups").await, 1);
    });
}

#[test]
fn an_agent_that_cannot_be_woken_refuses_without_a_trace() {
    on_both(async |world| {
        let paused = world.agent("paused").await;
        world.agent_event(paused, AgentEvent::Pause).await.unwrap();
        let waiting = world.agent_with("waiting", |agent| agent.state = AgentState::PendingApproval).await;
        let gone = world.agent("gone").await;
        world.agent_event(gone, AgentEvent::Terminate).await.unwrap();
        for (agent, state) in [(paused, "paused"), (waiting, "pending_approval"), (gone, "terminated")] {
            match world.accept(keyed(world, world.draft(agent), "x")).await {
                Err(Refusal::Conflict { code: "agent_not_wakeable", state: told, .. }) => {
                    assert_eq!(told["state"], state);
                }
                other => panic!("{state}: {other:?}"),
            }
        }
        assert_eq!(world.number("select count(*) from wakeups").await, 0);
        // Refusals are not remembered.
        world.agent_event(paused, AgentEvent::Resume).await.unwrap();
        assert!(world.accept(keyed(world, world.draft(paused), "y")).await.unwrap().is_new);
    });
}

#[test]
fn an_agent_of_another_company_is_not_found() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let other = world.company("other", 5).await;
        let wake = Wake { company: Some(other), ..world.draft(agent) };
        assert!(matches!(world.accept(wake).await, Err(Refusal::NotFound { .. })));
    });
}

#[test]
fn a_paused_company_lets_wakes_wait() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.company_state(world.company, CompanyState::Paused).await;
        let wakeup = world.wake(agent).await;
        assert!(world.claim_any().await.is_none());
        world.company_state(world.company, CompanyState::Active).await;
        assert_eq!(batch(&world.claim().await), [wakeup]);
    });
}

async fn check_skipped(world: &World, wakeup: Wakeup, reason: &str) {
    assert_eq!((wakeup.status, wakeup.status_reason.as_deref()), (WakeupStatus::Skipped, Some(reason)));
    assert_eq!(world.wakeup(wakeup.id).await, wakeup, "a skip is kept");
    assert_eq!(wakeup.finished_at, Some(world.now()));
}

#[test]
fn an_agent_declines_timers_and_others_apart() {
    on_both(async |world| {
        let no_timers = world.agent_with("a", |agent| agent.heartbeat.enabled = false).await;
        let timers_only = Heartbeat { enabled: true, wake_on_demand: false, ..Heartbeat::default() };
        let no_demand = world.agent_with("b", |agent| agent.heartbeat = timers_only).await;
        let skipped = world.wake_with(no_timers, |wake| wake.source = Source::Timer).await;
        check_skipped(world, skipped, "heartbeat_disabled").await;
        for (_, source) in Source::ALL.iter().filter(|(_, source)| *source != Source::Timer) {
            let skipped = world.wake_with(no_demand, |wake| wake.source = *source).await;
            check_skipped(world, skipped, "wake_on_demand_disabled").await;
        }
        assert!(world.claim_any().await.is_none());
        world.wake(no_timers).await;
        world.wake_with(no_demand, |wake| wake.source = Source::Timer).await;
        assert_eq!(world.claim_some(5).await.len(), 2);
    });
}

#[test]
fn a_task_must_exist_in_the_company_and_be_open() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let unknown = world.wake_with(agent, |wake| wake.task = Some(world.id())).await;
        check_skipped(world, unknown, "task_not_found").await;
        let other = world.company("other", 5).await;
        let mut foreign = world.draft_task("theirs");
        foreign.company = other;
        let foreign = world.insert_task(foreign).await;
        let skipped = world.wake_with(agent, |wake| wake.task = Some(foreign)).await;
        check_skipped(world, skipped, "task_not_found").await;
        for status in [TaskStatus::Done, TaskStatus::Cancelled] {
            let mut closed = world.draft_task("closed");
            closed.status = status;
            let closed = world.insert_task(closed).await;
            let skipped = world.wake_with(agent, |wake| wake.task = Some(closed)).await;
            check_skipped(world, skipped, "task_closed").await;
        }
    });
}

#[test]
fn a_run_wakes_its_own_lane_only_at_a_named_time() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let task = world.task("t").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        let skipped = world.wake_with(agent, |wake| wake.by_run = Some(run.proof())).await;
        assert_eq!((skipped.depth, skipped.cause_id.clone()), (1, Some(run.id.to_string())));
        check_skipped(world, skipped, "self_caused").await;
        for (task, due_at) in [(Some(task), None), (None, Some(world.now() + seconds(60)))] {
            let wakeup = world
                .wake_with(agent, |wake| (wake.by_run, wake.task, wake.due_at) = (Some(run.proof()), task, due_at))
                .await;
            assert_eq!(wakeup.status, WakeupStatus::Pending);
        }
    });
}

#[test]
fn a_chain_of_causes_ends_after_thirty_two_links() {
    on_both(async |world| {
        let agents = [world.agent("a").await, world.agent("b").await];
        let root = world.wake(agents[0]).await;
        for depth in 1..=32 {
            let run = world.claim().await.run;
            let next = world.wake_with(agents[depth % 2], |wake| wake.by_run = Some(run.proof())).await;
            assert_eq!((next.status, next.depth, next.root_id), (WakeupStatus::Pending, depth as i64, root));
            world.succeed(&run).await;
        }
        let run = world.claim().await.run;
        let last = world.wake_with(agents[1], |wake| wake.by_run = Some(run.proof())).await;
        check_skipped(world, last, "loop_limit").await;
    });
}

#[test]
fn one_refused_wake_of_many_does_not_touch_the_others() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let gone = world.agent("gone").await;
        world.agent_event(gone, AgentEvent::Terminate).await.unwrap();
        let wakes = vec![world.draft(agent), world.draft(gone), world.draft(agent)];
        let answers = world.db.write("many", wakes, |tx, wakes| Box::pin(wake::accept_all(tx, wakes))).await.unwrap();
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(conflict(answers.into_iter().nth(1).unwrap()), "agent_not_wakeable");
        assert_eq!(world.claim().await.wakeups.len(), 2);
    });
}
