//! What becomes of the wakeups of a run that ends: every class of failure, attempts, expiry, stop and pause.

use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::WakeupId;
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::RunStatus;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::WakeupStatus;

use crate::wishes::{batch, cancelled, timed_out};
use crate::world::{World, conflict, on_both, seconds};

async fn check(world: &World, id: WakeupId, status: WakeupStatus, attempt: i64) {
    let wakeup = world.wakeup(id).await;
    assert_eq!((wakeup.status, wakeup.attempt), (status, attempt));
}

async fn check_waits(world: &World, id: WakeupId, due_at: Timestamp, attempt: i64) {
    check(world, id, WakeupStatus::Pending, attempt).await;
    assert_eq!(world.wakeup(id).await.due_at, due_at);
    if due_at > world.now() {
        assert!(world.claim_any().await.is_none());
        assert_eq!(world.tick().await.next_at, Some(due_at));
        world.set_time(due_at);
    }
    world.tick().await;
}

#[test]
fn a_success_completes_the_whole_batch_and_leaves_no_old_error_on_it() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let ids = [world.wake(agent).await, world.wake(agent).await];
        world.fail(&world.claim().await.run, "exit_nonzero").await;
        world.pass(seconds(120));
        world.tick().await;
        world.succeed(&world.claim().await.run).await;
        for id in ids {
            check(world, id, WakeupStatus::Completed, 2).await;
            let wakeup = world.wakeup(id).await;
            assert_eq!((wakeup.error_code, wakeup.error, wakeup.status_reason), (None, None, None));
            assert_eq!(wakeup.finished_at, Some(world.now()));
        }
    });
}

#[test]
fn a_transient_failure_is_tried_again_four_times_and_then_is_a_dead_letter() {
    on_both(async |world| {
        let wakeup = world.wake(world.agent("a").await).await;
        for (attempt, delay_s) in [(1, 120), (2, 600), (3, 1_800), (4, 7_200)] {
            let claimed = world.claim().await;
            assert_eq!(batch(&claimed), [wakeup]);
            world.fail(&claimed.run, "overloaded").await;
            check_waits(world, wakeup, world.now() + seconds(delay_s), attempt).await;
        }
        world.fail(&world.claim().await.run, "overloaded").await;
        check(world, wakeup, WakeupStatus::Failed, 5).await;
        let dead = world.wakeup(wakeup).await;
        assert_eq!((dead.error_code.as_deref(), dead.error.as_deref()), (Some("overloaded"), Some("it went wrong")));
        assert_eq!((world.tick().await.next_at, world.claim_any().await.is_none()), (None, true));
    });
}

#[test]
fn each_wakeup_of_a_failed_batch_is_judged_alone() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let once = world.wake_with(agent, |wake| wake.max_attempts = Some(1)).await.id;
        let usual = world.wake(agent).await;
        world.fail(&world.claim().await.run, "killed").await;
        check(world, once, WakeupStatus::Failed, 1).await;
        check_waits(world, usual, world.now() + seconds(120), 1).await;
        let fresh = world.wake(agent).await;
        world.fail(&world.claim().await.run, "killed").await;
        assert_eq!(world.wakeup(usual).await.due_at, world.now() + seconds(600));
        assert_eq!(world.wakeup(fresh).await.due_at, world.now() + seconds(120));
    });
}

#[test]
fn the_policy_of_the_agent_decides_when_and_how_often() {
    on_both(async |world| {
        let brisk = world.agent_with("brisk", |agent| agent.retry.delays_s = vec![10]).await;
        let never = world.agent_with("never", |agent| agent.retry.delays_s = vec![]).await;
        let again = world.wake_with(brisk, |wake| wake.max_attempts = Some(3)).await.id;
        for attempt in 1..=2 {
            world.fail(&world.claim().await.run, "killed").await;
            check_waits(world, again, world.now() + seconds(10), attempt).await;
        }
        world.cancel(again).await.unwrap();
        let given_up = world.wake(never).await;
        world.fail(&world.claim().await.run, "killed").await;
        check(world, given_up, WakeupStatus::Failed, 1).await;
    });
}

#[test]
fn chance_moves_a_retry_by_a_quarter_at_most() {
    on_both(async |world| {
        for (draw, delay_s) in [(0.0, 90), (1.0, 150)] {
            let wakeup = world.wake(world.agent(&format!("a{delay_s}")).await).await;
            let mut request = world.ending(&world.claim().await.run, Outcome::failed("killed", "x"));
            request.draw = draw;
            world.try_finish(request).await.unwrap();
            assert_eq!(world.wakeup(wakeup).await.due_at, world.now() + seconds(delay_s));
        }
    });
}

#[test]
fn a_usage_limit_parks_every_agent_of_the_account_and_only_it() {
    on_both(async |world| {
        let account = |name: &str| serde_json::json!({ "type": "claude", "account": name });
        let a = world.agent_with("a", |agent| agent.adapter = account("one")).await;
        let same = world.agent_with("same", |agent| agent.adapter = account("one")).await;
        let other = world.agent_with("other", |agent| agent.adapter = account("two")).await;
        let codex = serde_json::json!({ "type": "codex", "account": "one" });
        let tool = world.agent_with("tool", |agent| agent.adapter = codex).await;
        let elsewhere = world.company("elsewhere", 5).await;
        let foreign = world.agent_with("a", |agent| (agent.company, agent.adapter) = (elsewhere, account("one"))).await;
        let limited = world.wake(a).await;
        let run = world.claim().await.run;
        let reset = world.now() + seconds(3_600);
        world.finish(&run, Outcome { retry_at: Some(reset), ..Outcome::failed("usage_limit", "limit") }).await;
        check(world, limited, WakeupStatus::Pending, 0).await;
        assert_eq!(world.wakeup(limited).await.due_at, reset + seconds(30), "spread by the draw");
        let newcomer = world.agent_with("newcomer", |agent| agent.adapter = account("one")).await;
        for (agent, until) in [
            (a, Some(reset)),
            (same, Some(reset)),
            (newcomer, Some(reset)),
            (other, None),
            (tool, None),
            (foreign, None),
        ] {
            assert_eq!(world.get_agent(agent).await.quota_until, until, "{}", world.get_agent(agent).await.name);
            world.wake(agent).await;
        }
        let mut started: Vec<_> = world.claim_some(9).await.into_iter().map(|claimed| claimed.agent.id).collect();
        started.sort();
        assert_eq!(started, [other, tool, foreign]);
        world.set_time(reset + seconds(30));
        assert_eq!(world.tick().await.unparked, 3);
        assert_eq!(world.claim_some(9).await.len(), 3, "no cap is in the way");
    });
}

#[test]
fn a_usage_limit_without_a_time_rests_a_while_and_a_longer_one_stands() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.max_concurrent_runs = 3).await;
        for n in 0..3 {
            world.wake_about(agent, world.task(&n.to_string()).await).await;
        }
        let runs = world.claim_some(3).await;
        let long = world.now() + seconds(7_200);
        world.fail(&runs[0].run, "usage_limit").await;
        assert_eq!(world.get_agent(agent).await.quota_until, Some(world.now() + seconds(900)));
        world.finish(&runs[1].run, Outcome { retry_at: Some(long), ..Outcome::failed("usage_limit", "x") }).await;
        world.fail(&runs[2].run, "usage_limit").await;
        assert_eq!(world.get_agent(agent).await.quota_until, Some(long));
    });
}

#[test]
fn what_never_had_its_chance_goes_back_uncounted() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakeup = world.wake(agent).await;
        for code in ["launch_interrupted", "drained"] {
            world.fail(&world.claim().await.run, code).await;
            check_waits(world, wakeup, world.now(), 0).await;
        }
        assert_eq!(world.number("select failures from lanes").await, 0);
        assert_eq!(world.claim().await.wakeups[0].attempt, 1);
    });
}

#[test]
fn a_timeout_is_tried_once_more() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for stalled in [false, true] {
            let end = || if stalled { Outcome::failed("stalled", "no word") } else { timed_out() };
            let wakeup = world.wake(agent).await;
            world.finish(&world.claim().await.run, end()).await;
            check_waits(world, wakeup, world.now() + seconds(120), 1).await;
            world.finish(&world.claim().await.run, end()).await;
            check(world, wakeup, WakeupStatus::Failed, 2).await;
        }
    });
}

#[test]
fn a_permanent_failure_ends_the_wakeups() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for code in ["command_not_found", "auth_required", "model_not_found", "bad_config", "refused"] {
            let wakeup = world.wake(agent).await;
            world.fail(&world.claim().await.run, code).await;
            check(world, wakeup, WakeupStatus::Failed, 1).await;
        }
    });
}

#[test]
fn a_retry_that_would_come_after_the_expiry_is_a_dead_letter() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for (expires_s, status) in [(120, WakeupStatus::Failed), (121, WakeupStatus::Pending)] {
            let expires_at = Some(world.now() + seconds(expires_s));
            let wakeup = world.wake_with(agent, |wake| wake.expires_at = expires_at).await.id;
            world.fail(&world.claim().await.run, "killed").await;
            check(world, wakeup, status, 1).await;
        }
    });
}

#[test]
fn a_stop_cancels_the_wakeups_and_beats_a_later_success() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for outcome in [cancelled(), Outcome::succeeded(), Outcome::failed("exit_nonzero", "x"), timed_out()] {
            let wakeup = world.wake(agent).await;
            let run = world.claim().await.run;
            let late = world.wake(agent).await;
            let stopped = world.stop(&run, false).await.unwrap();
            assert_eq!(stopped.status, RunStatus::Starting, "until it is over its token still writes");
            let ended = world.finish(&run, outcome).await;
            assert_eq!(ended.status, RunStatus::Cancelled);
            check(world, wakeup, WakeupStatus::Cancelled, 1).await;
            assert_eq!(conflict(world.stop(&run, false).await), "run_terminal");
            let follow_up = world.claim().await;
            assert_eq!(batch(&follow_up), [late], "what else waits starts the follow-up");
            world.succeed(&follow_up.run).await;
        }
    });
}

#[test]
fn a_pause_with_stop_puts_the_wakeups_back_uncounted() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakeup = world.wake(agent).await;
        for outcome in [cancelled(), Outcome::succeeded()] {
            let run = world.claim().await.run;
            world.agent_event(agent, AgentEvent::Pause).await.unwrap();
            world.stop(&run, true).await.unwrap();
            assert_eq!(world.finish(&run, outcome).await.status, RunStatus::Cancelled);
            check(world, wakeup, WakeupStatus::Pending, 0).await;
            assert!(world.claim_any().await.is_none());
            world.agent_event(agent, AgentEvent::Resume).await.unwrap();
        }
        assert_eq!(batch(&world.claim().await), [wakeup]);
    });
}

#[test]
fn a_cancel_beats_a_pause_and_not_the_other_way_round() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for stops in [[true, false], [false, true]] {
            let wakeup = world.wake(agent).await;
            let run = world.claim().await.run;
            for puts_back in stops {
                world.stop(&run, puts_back).await.unwrap();
            }
            world.finish(&run, cancelled()).await;
            check(world, wakeup, WakeupStatus::Cancelled, 1).await;
        }
    });
}

#[test]
fn a_resumed_agent_no_longer_waits_for_a_usage_limit() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        world.fail(&world.claim().await.run, "usage_limit").await;
        let fresh = world.wake(agent).await;
        assert!(world.claim_any().await.is_none());
        assert_eq!(world.agent_event(agent, AgentEvent::Resume).await.unwrap().quota_until, None);
        assert_eq!(batch(&world.claim().await), [fresh]);
    });
}

#[test]
fn nothing_goes_back_to_an_agent_that_is_terminated() {
    on_both(async |world| {
        for (code, stop) in [("exit_nonzero", None), ("usage_limit", None), ("drained", None), ("x", Some(true))] {
            let account = serde_json::json!({ "type": "claude", "account": code });
            let agent = world.agent_with(code, |agent| agent.adapter = account).await;
            let wakeup = world.wake(agent).await;
            let run = world.claim().await.run;
            let waiting = world.wake(agent).await;
            if let Some(puts_back) = stop {
                world.stop(&run, puts_back).await.unwrap();
            }
            world.agent_event(agent, AgentEvent::Terminate).await.unwrap();
            check(world, waiting, WakeupStatus::Cancelled, 0).await;
            world.fail(&run, code).await;
            check(world, wakeup, WakeupStatus::Cancelled, 1).await;
        }
    });
}

#[test]
fn failures_in_a_row_are_counted_on_the_lane() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let ends = [
            (Outcome::failed("bad_config", "x"), 1),
            (Outcome::ended(End::Lost, "process_lost", "x"), 2),
            (timed_out(), 3),
            (Outcome::succeeded(), 0),
            (Outcome::failed("auth_required", "x"), 1),
        ];
        for (outcome, failures) in ends {
            world.wake(agent).await;
            world.finish(&world.claim().await.run, outcome).await;
            assert_eq!(world.number("select failures from lanes").await, failures);
        }
    });
}

#[test]
fn a_usage_limit_or_a_pause_does_not_end_a_row_of_failures() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for code in ["bad_config", "drained"] {
            world.wake(agent).await;
            world.fail(&world.claim().await.run, code).await;
        }
        assert_eq!(world.number("select failures from lanes").await, 1);
    });
}
