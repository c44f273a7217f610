//! The end of a run as a whole: fenced, once, with session, totals and events. What becomes of the wakeups is `fates`.

use serde_json::json as object;
use wakeful_domain::id::AgentId;
use wakeful_domain::outcome::{End, Outcome, SessionChange, SessionState};
use wakeful_domain::run::{LogSummary, ProcessIdentity, RunStatus, SessionChoice, Workspace};
use wakeful_domain::session::Start;
use wakeful_domain::usage::Usage;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::ops::run_events::NewRunEvent;
use wakeful_store::ops::sessions::{self, Session};
use wakeful_store::ops::{agents, checkpoints, run_events, runs};

use crate::world::{World, conflict, on_both, seconds};

#[test]
fn a_late_end_is_fenced_and_changes_nothing() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakeup = world.wake(agent).await;
        let run = world.claim().await.run;
        let ended = world.succeed(&run).await;
        let before = (world.wakeup(wakeup).await, world.get_agent(agent).await);
        let late = world.ending(&run, Outcome::failed("exit_nonzero", "late"));
        assert_eq!(conflict(world.try_finish(late.clone()).await), "fenced");
        assert_eq!((world.wakeup(wakeup).await, world.get_agent(agent).await), before);
        assert_eq!(world.get_run(run.id).await, ended);
        // Nor does an old fence end the run that came after.
        world.wake(agent).await;
        let next = world.claim().await.run;
        let mut forged = late.clone();
        forged.run = next.id;
        assert_eq!(conflict(world.try_finish(forged).await), "fenced");
        assert_eq!(world.get_run(next.id).await.status, RunStatus::Starting);
    });
}

#[test]
fn every_write_of_a_run_proves_its_fence() {
    on_both(async |world| {
        world.wake(world.agent("a").await).await;
        let run = world.claim().await.run;
        let started = |fence| runs::Started {
            now: world.now(),
            run: run.id,
            fence,
            process: Some(ProcessIdentity { pid: 1, start_time: 2, boot_id: "b".into() }),
            session_before: None,
            session_choice: SessionChoice { choice: Start::Fresh, reason: "none".into() },
            workspace: Workspace { cwd: "/".into(), source: "adapter".into(), reason: "set".into(), worktree: None },
        };
        let start = |fence| world.db.write("s", started(fence), |tx, start| Box::pin(runs::started(tx, start)));
        let progress = |fence| {
            let usage = Some(Usage { input_tokens: 9, ..Usage::default() });
            let said = runs::Progress { now: world.now(), run: run.id, fence, message: None, usage, data: None };
            world.db.write("p", said, |tx, said| Box::pin(runs::progress(tx, said)))
        };
        let observe = |fence, read_seq| {
            let events = vec![NewRunEvent::plain("said", "hello", object!({}))];
            let (log_bytes, log_lines) = (10, 1);
            let (usage, cost_micros) = (None, None);
            let seen = runs::Observed {
                now: world.now(),
                run: run.id,
                fence,
                log_bytes,
                log_lines,
                read_seq,
                events,
                usage,
                cost_micros,
            };
            world.db.write("o", seen, |tx, seen| Box::pin(runs::observed(tx, seen)))
        };
        let note = |fence| {
            let arguments = (world.now(), run.id, fence);
            world.db.write("c", arguments, |tx, (now, run, fence)| {
                Box::pin(async move { checkpoints::put(tx, *now, *run, *fence, &object!({ "at": 1 })).await })
            })
        };
        let stale = run.fence - 1;
        assert_eq!(conflict(start(stale).await), "fenced");
        assert_eq!(conflict(progress(stale).await), "fenced");
        assert_eq!(conflict(observe(stale, 1).await), "fenced");
        assert_eq!(conflict(note(stale).await), "fenced");
        start(run.fence).await.unwrap();
        progress(run.fence).await.unwrap();
        observe(run.fence, 2).await.unwrap();
        observe(run.fence, 1).await.unwrap();
        note(run.fence).await.unwrap();
        let live = world.get_run(run.id).await;
        assert_eq!((live.status, live.usage.input_tokens, live.log.bytes), (RunStatus::Running, 9, 10));
        world.succeed(&run).await;
        assert_eq!(conflict(start(run.fence).await), "fenced");
        assert_eq!(conflict(progress(run.fence).await), "fenced");
        assert_eq!(conflict(observe(run.fence, 3).await), "fenced");
        assert_eq!(conflict(note(run.fence).await), "fenced");
        let events = world.run_events(run.id).await;
        assert_eq!(
            events,
            ["starting", "running", "progress", "said", "finished"],
            "what was read before is not told again"
        );
    });
}

impl World {
    /// The kinds of a run's events in their order.
    async fn run_events(&self, run: wakeful_domain::id::RunId) -> Vec<String> {
        let read = self.db.read("events", run, |tx, run| Box::pin(run_events::after(tx, *run, 0, 100)));
        read.await.unwrap().into_iter().map(|event| event.kind).collect()
    }

    async fn sessions(&self, agent: AgentId) -> Vec<Session> {
        self.db.read("sessions", agent, |tx, agent| Box::pin(sessions::of_agent(tx, *agent))).await.unwrap()
    }
}

fn with_session(id: &str, tokens: i64) -> Outcome {
    Outcome {
        session: SessionChange::Set(SessionState::new(object!({ "id": id }), id)),
        usage: Some(Usage { output_tokens: tokens, ..Usage::default() }),
        ..Outcome::succeeded()
    }
}

#[test]
fn a_session_is_set_kept_counted_replaced_and_cleared() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let end = async |outcome: Outcome| {
            world.wake(agent).await;
            let claimed = world.claim().await;
            world.pass(seconds(1));
            world.finish(&claimed.run, outcome).await;
            claimed.session.filter(|session| session.ended_because.is_none()).map(|session| session.state.params)
        };
        let figures = async || world.sessions(agent).await.first().map(|s| (s.display_id.clone(), s.turns, s.tokens));
        let kept = |id: &str, turns, tokens| Some((id.to_owned(), turns, tokens));
        assert_eq!(end(with_session("one", 10)).await, None);
        assert_eq!(figures().await, kept("one", 1, 10));
        assert_eq!(end(with_session("one", 5)).await, Some(object!({ "id": "one" })));
        assert_eq!(figures().await, kept("one", 2, 15));
        let kept_on_failure = Outcome { session: SessionChange::Keep, ..Outcome::failed("bad_config", "broke") };
        end(kept_on_failure).await;
        let session = world.sessions(agent).await.remove(0);
        assert_eq!((session.last_error.as_deref(), session.turns), (Some("broke"), 2));
        assert_eq!(end(with_session("two", 7)).await, Some(object!({ "id": "one" })));
        assert_eq!(figures().await, kept("two", 1, 7));
        assert_eq!(
            end(Outcome { session: SessionChange::Clear, ..Outcome::succeeded() }).await,
            Some(object!({ "id": "two" }))
        );
        assert_eq!(figures().await, None);
        assert_eq!(end(Outcome::succeeded()).await, None);
    });
}

#[test]
fn sessions_and_checkpoints_belong_to_their_lane() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let task = world.task("t").await;
        world.wake_about(agent, task).await;
        let run = world.claim().await.run;
        let put = world.db.write("checkpoint", (world.now(), run.id, run.fence), |tx, (now, run, fence)| {
            Box::pin(async move { checkpoints::put(tx, *now, *run, *fence, &object!({ "at": 7 })).await })
        });
        put.await.unwrap();
        world.finish(&run, with_session("s", 1)).await;
        world.wake(agent).await;
        let own_lane = world.claim().await;
        assert_eq!((own_lane.session, own_lane.checkpoint), (None, None));
        world.succeed(&own_lane.run).await;
        world.wake_about(agent, task).await;
        let same_lane = world.claim().await;
        assert_eq!(same_lane.session.unwrap().state.display_id, "s");
        assert_eq!(same_lane.checkpoint, Some(object!({ "at": 7 })));
    });
}

#[test]
fn totals_and_the_run_keep_what_the_run_used() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let usage = Usage { input_tokens: 1, output_tokens: 2, cache_read_tokens: 3, cache_write_tokens: 4 };
        let log = LogSummary { bytes: 5, lines: 6, sha256: Some("s".into()), truncated: true };
        for round in 1..=2 {
            world.wake(agent).await;
            let run = world.claim().await.run;
            world.pass(seconds(5));
            let mut request = world.ending(&run, Outcome::succeeded());
            request.outcome.usage = Some(usage);
            request.outcome.cost_micros = Some(1_500);
            request.outcome.model = Some("m".into());
            request.outcome.result = Some(object!([1]));
            request.exit_code = Some(0);
            request.log = Some(log.clone());
            let ended = world.try_finish(request).await.unwrap();
            assert_eq!((ended.usage, ended.cost_micros, ended.log.clone()), (usage, Some(1_500), log.clone()));
            assert_eq!((ended.exit_code, ended.finished_at), (Some(0), Some(world.now())));
            assert_eq!((ended.model.as_deref(), ended.result.clone()), (Some("m"), Some(object!([1]))));
            assert_eq!(world.get_run(run.id).await, ended);
            let figures = world.db.read("f", agent, |tx, agent| Box::pin(agents::figures(tx, *agent))).await.unwrap();
            assert_eq!((figures.runs_total, figures.tokens_total), (round, round * 10));
            assert_eq!((figures.cost_micros_total, figures.recent_failures), (round * 1_500, 0));
            assert_eq!(figures.last_run.unwrap().id, run.id);
        }
    });
}

#[test]
fn each_end_has_its_status_and_frees_lane_task_and_places() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let task = world.task("t").await;
        for (end, status) in [
            (End::Succeeded, RunStatus::Succeeded),
            (End::Failed, RunStatus::Failed),
            (End::Cancelled, RunStatus::Cancelled),
            (End::TimedOut, RunStatus::TimedOut),
            (End::Lost, RunStatus::Lost),
        ] {
            let wakeup = world.wake_about(agent, task).await;
            let run = world.claim().await.run;
            let outcome = match end {
                End::Succeeded => Outcome::succeeded(),
                End::Failed | End::Cancelled | End::TimedOut | End::Lost => Outcome::ended(end, "process_lost", "x"),
            };
            assert_eq!(world.finish(&run, outcome).await.status, status);
            assert_eq!(world.get_agent(agent).await.live_runs, 0);
            assert_eq!(world.get_company(world.company).await.live_runs, 0);
            assert_eq!(world.get_task(task).await.held_by, None);
            if world.status(wakeup).await == WakeupStatus::Pending {
                world.cancel(wakeup).await.unwrap();
            }
        }
    });
}
