//! Weaknesses of systems that came before, each shown not to be here, under the number it has in
//! docs/reference/lessons.md. What needs processes is in the end-to-end tests.

use std::time::Duration;

use serde_json::json as object;
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::RunId;
use wakeful_domain::outcome::{Outcome, SessionChange, SessionState};
use wakeful_domain::run::RunStatus;
use wakeful_domain::task::Task;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::Refusal;
use wakeful_store::ops::wake::{self, Wake};
use wakeful_store::ops::{finish, run_events};

use crate::wishes::{batch, cancelled};
use crate::world::{World, conflict, on_both, seconds};

impl World {
    /// What the rows that a run's end touches look like.
    async fn everything(&self) -> Vec<i64> {
        let mut found = Vec::new();
        for count in [
            "select count(*) from wakeups where status = 'claimed'",
            "select count(*) from runs where status in ('starting', 'running')",
            "select count(*) from lanes where live_run_id is not null",
            "select count(*) from tasks where held_by_run is not null",
            "select count(*) from sessions",
            "select count(*) from events",
            "select count(*) from run_events",
            "select cast(sum(live_runs) as bigint) from agents",
        ] {
            found.push(self.number(count).await);
        }
        found
    }
}

fn timer(world: &World, agent: wakeful_domain::id::AgentId) -> Wake {
    Wake { source: Source::Timer, ..world.draft(agent) }
}

#[test]
fn w08_a_late_result_overwrites_nothing() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.stop(&run, false).await.unwrap();
        let ended = world.finish(&run, cancelled()).await;
        assert_eq!(conflict(world.try_finish(world.ending(&run, Outcome::succeeded())).await), "fenced");
        let kept = world.get_run(run.id).await;
        assert_eq!((kept.status, kept.error), (RunStatus::Cancelled, ended.error));
    });
}

#[test]
fn w09_the_end_of_a_run_is_whole_or_not_at_all() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake_about(agent, world.task("t").await).await;
        let run = world.claim().await.run;
        let before = world.everything().await;
        let broken = world.db.write("finish", world.ending(&run, Outcome::succeeded()), |tx, request| {
            Box::pin(async move {
                finish::finish(tx, request).await?;
                Err::<(), _>(Refusal::invalid("power", "fails at the last moment"))
            })
        });
        assert!(broken.await.is_err());
        assert_eq!(world.everything().await, before);
        world.assert_sound().await;
        world.succeed(&run).await;
    });
}

#[test]
fn w10_the_next_run_has_the_session_that_the_last_one_left() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.wake(agent).await;
        let session = SessionState { params: object!({ "id": "s1" }), display_id: "s1".into() };
        let outcome = Outcome { session: SessionChange::Set(session.clone()), ..Outcome::succeeded() };
        world.finish(&run, outcome).await;
        assert_eq!(world.claim().await.session.map(|known| known.state), Some(session));
    });
}

#[test]
fn w11_what_comes_mid_run_is_not_folded_into_what_the_agent_has_read() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let task = world.task("t").await;
        world.wake_about(agent, task).await;
        let run = world.claim().await.run;
        let comment = Wake { source: Source::Comment, task: Some(task), ..world.draft(agent) };
        let comment = world.accept(comment).await.unwrap().wakeup.id;
        world.succeed(&run).await;
        assert_eq!(batch(&world.claim().await), [comment]);
    });
}

#[test]
fn w12_every_comment_of_a_batch_reaches_the_run_and_nothing_is_overwritten() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for number in 1..=3 {
            world
                .wake_with(agent, |wake| {
                    wake.source = Source::Comment;
                    wake.reason = Some(format!("reason {number}"));
                    wake.payload.insert("comment_id".into(), format!("c{number}").into());
                })
                .await;
        }
        let claimed = world.claim().await;
        let told = claimed
            .wakeups
            .iter()
            .map(|wakeup| (wakeup.context["comment_ids"][0].clone(), wakeup.reason.clone().unwrap_or_default()));
        let expected = [1, 2, 3].map(|number| (object!(format!("c{number}")), format!("reason {number}")));
        assert!(told.eq(expected));
    });
}

#[test]
fn w13_many_wakes_of_a_waiting_agent_make_one_run() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task("t").await;
        world.wake_about(ann, task).await;
        let run = world.claim().await.run;
        for _ in 0..10 {
            world.wake_about(bob, task).await;
        }
        world.succeed(&run).await;
        assert_eq!(world.claim().await.wakeups.len(), 10);
    });
}

#[test]
fn w14_what_only_waits_holds_no_task() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task("t").await;
        world.agent_event(ann, AgentEvent::Pause).await.unwrap();
        let draft = Task { assignee: Some(ann), ..world.draft_task("hers") };
        let hers = world.make_task(draft, &[]).await.unwrap().id;
        assert_eq!((world.get_task(hers).await.held_by, world.get_task(task).await.held_by), (None, None));
        world.wake_about(bob, hers).await;
        assert_eq!(world.claim().await.run.agent, bob, "her pending wake keeps nobody from it");
    });
}

#[test]
fn w15_wakes_at_the_same_moment_make_one_run() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakes = (0..8).map(|_| world.accept(world.draft(agent)));
        let accepted = futures_util::future::join_all(wakes).await;
        assert!(accepted.iter().all(Result::is_ok));
        assert_eq!(world.claim().await.wakeups.len(), 8);
        assert!(world.claim_any().await.is_none());
    });
}

#[test]
fn w16_an_idempotency_key_is_kept() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let keyed = || Wake { idempotency_key: Some("k".into()), request_hash: Some("x".into()), ..world.draft(agent) };
        let first = world.accept(keyed()).await.unwrap();
        let again = world.accept(keyed()).await.unwrap();
        assert_eq!((again.is_new, again.wakeup.id), (false, first.wakeup.id));
    });
}

#[test]
fn w17_ticks_while_a_run_is_live_are_one_row_and_one_agent_spoils_no_other() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        world.wake(ann).await;
        world.claim().await;
        world.agent_event(bob, AgentEvent::Terminate).await.unwrap();
        let carol = world.agent("carol").await;
        for _ in 0..5 {
            let wakes = [ann, bob, carol].map(|agent| timer(world, agent)).to_vec();
            let write = world.db.write("ticks", wakes, |tx, wakes| Box::pin(wake::accept_all(tx, wakes)));
            let answers = write.await.unwrap();
            assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        }
        assert_eq!(world.number("select count(*) from wakeups where source = 'timer'").await, 2);
        assert_eq!(world.claim().await.run.agent, carol);
    });
}

#[test]
fn w18_the_events_of_a_cancelled_run_have_no_gap_and_no_double() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.stop(&run, false).await.unwrap();
        world.finish(&run, cancelled()).await;
        let read = world.db.read("events", run.id, |tx, run: &RunId| Box::pin(run_events::after(tx, *run, 0, 100)));
        let numbers: Vec<i64> = read.await.unwrap().iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
        assert!(numbers.len() >= 3);
    });
}

#[test]
fn w26_between_companies_nobody_waits_behind_a_crowd() {
    on_both(async |world| {
        let crowded = world.agent_with("crowded", |agent| agent.max_concurrent_runs = 50).await;
        for _ in 0..20 {
            let task = world.task("t").await;
            world.wake_about(crowded, task).await;
        }
        assert_eq!(world.claim_some(3).await.len(), 3);
        let other = world.company("other", 5).await;
        let quiet = world.agent_with("quiet", |agent| agent.company = other).await;
        world.wake(quiet).await;
        assert_eq!(world.claim().await.run.agent, quiet, "the next place is theirs");
    });
}

#[test]
fn w27_an_agent_that_is_paused_meanwhile_loses_no_wake_and_frees_its_place() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        let later = world.wake(agent).await;
        world.agent_event(agent, AgentEvent::Pause).await.unwrap();
        world.succeed(&run).await;
        assert!(world.claim_any().await.is_none());
        assert_eq!((world.get_agent(agent).await.live_runs, world.status(later).await), (0, WakeupStatus::Pending));
        world.agent_event(agent, AgentEvent::Resume).await.unwrap();
        assert_eq!(batch(&world.claim().await), [later]);
    });
}

#[test]
fn t01_a_wake_is_completed_by_the_end_of_its_run_alone() {
    on_both(async |world| {
        let wakeup = world.wake(world.agent("a").await).await;
        assert_eq!(world.status(wakeup).await, WakeupStatus::Pending);
        let run = world.claim().await.run;
        assert_eq!(world.status(wakeup).await, WakeupStatus::Claimed);
        world.succeed(&run).await;
        assert_eq!(world.status(wakeup).await, WakeupStatus::Completed);
    });
}

#[test]
fn t02_t03_all_four_delays_are_used_and_after_the_last_attempt_nothing_is_tried_again() {
    on_both(async |world| {
        let wakeup = world.wake(world.agent("a").await).await;
        let mut delays = Vec::new();
        while let Some(claimed) = world.claim_any().await {
            world.fail(&claimed.run, "exit_nonzero").await;
            let failed = world.wakeup(wakeup).await;
            if failed.status == WakeupStatus::Pending {
                delays.push(failed.due_at.since(world.now()));
                world.set_time(failed.due_at);
                world.tick().await;
            }
        }
        assert_eq!(delays, [120, 600, 1_800, 7_200].map(Duration::from_secs));
        assert_eq!((world.status(wakeup).await, world.wakeup(wakeup).await.attempt), (WakeupStatus::Failed, 5));
        world.pass(seconds(1_000_000));
        world.tick().await;
        assert!(world.claim_any().await.is_none());
    });
}

#[test]
fn t04_of_many_claimers_at_the_same_moment_one_wins() {
    on_both(async |world| {
        world.wake(world.agent("a").await).await;
        let claims = futures_util::future::join_all((0..6).map(|_| world.try_claim())).await;
        let won = claims.iter().filter(|claim| matches!(claim, Ok(Some(_)))).count();
        assert_eq!(won, 1);
    });
}

#[test]
fn t06_as_many_runs_of_a_company_are_live_as_its_cap_says() {
    on_both(async |world| {
        for number in 0..8 {
            world.wake(world.agent(&format!("a{number}")).await).await;
        }
        assert_eq!(world.claim_some(16).await.len(), 5);
    });
}

#[test]
fn t07_a_task_with_an_assignee_makes_one_wake_and_one_run() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let draft = Task { assignee: Some(agent), ..world.draft_task("t") };
        world.make_task(draft, &[]).await.unwrap();
        assert_eq!(world.number("select count(*) from wakeups").await, 1);
        world.succeed(&world.claim().await.run).await;
        assert!(world.claim_any().await.is_none());
    });
}

#[test]
fn t09_cancelling_what_is_over_is_refused_and_changes_no_history() {
    on_both(async |world| {
        let wakeup = world.wake(world.agent("a").await).await;
        world.succeed(&world.claim().await.run).await;
        assert_eq!(conflict(world.cancel(wakeup).await), "wakeup_terminal");
        assert_eq!(world.status(wakeup).await, WakeupStatus::Completed);
    });
}

#[test]
fn t10_t14_every_wakeup_comes_with_its_event_in_one_transaction() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wake = world.draft(agent);
        let broken = world.db.write("wake", wake, |tx, wake| {
            Box::pin(async move {
                wake::accept(tx, wake).await?;
                Err::<(), _>(Refusal::invalid("power", "fails at the last moment"))
            })
        });
        assert!(broken.await.is_err());
        let counts = async || {
            let wakeups = world.number("select count(*) from wakeups").await;
            (wakeups, world.number("select count(*) from events where type like 'wakeup.%'").await)
        };
        assert_eq!(counts().await, (0, 0));
        let draft = Task { assignee: Some(agent), ..world.draft_task("t") };
        world.make_task(draft, &[]).await.unwrap();
        world.wake(agent).await;
        assert_eq!(counts().await, (2, 2), "whatever makes it");
    });
}

#[test]
fn t13_waiting_for_another_try_and_given_up_are_told_apart() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let again = world.wake(agent).await;
        world.fail(&world.claim().await.run, "exit_nonzero").await;
        let never = world.wake_with(agent, |wake| wake.max_attempts = Some(1)).await.id;
        world.fail(&world.claim().await.run, "exit_nonzero").await;
        assert_eq!(
            (world.status(again).await, world.status(never).await),
            (WakeupStatus::Pending, WakeupStatus::Failed)
        );
    });
}

#[test]
fn t17_company_and_agent_are_asked_when_a_wake_would_start() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        world.company_state(world.company, wakeful_domain::company::CompanyState::Paused).await;
        assert!(world.claim_any().await.is_none());
        world.company_state(world.company, wakeful_domain::company::CompanyState::Active).await;
        assert!(world.claim_any().await.is_some());
    });
}
