//! What is known of a session when its lane is claimed: how much it was used, where, and why it ended.

use serde_json::json as object;
use wakeful_domain::id::{AgentId, TaskId};
use wakeful_domain::outcome::{Outcome, SessionChange, SessionState};
use wakeful_domain::run::{ProcessIdentity, SessionChoice, Workspace};
use wakeful_domain::session::{ENDED_BY_ADAPTER, ENDED_BY_OPERATOR, ENDED_BY_SILENCE, KnownSession, Start};
use wakeful_domain::usage::Usage;
use wakeful_store::ops::{runs, sessions};

use crate::world::{World, on_both, seconds};

fn named(name: &str) -> SessionChange {
    SessionChange::Set(SessionState::new(object!(name), name))
}

fn with(session: SessionChange, tokens: i64) -> Outcome {
    let usage = Some(Usage { input_tokens: tokens, ..Usage::default() });
    Outcome { session, usage, ..Outcome::succeeded() }
}

impl World {
    /// A run of the agent's own lane that begins so, works there and ends so; gives what it found.
    async fn session_run(&self, agent: AgentId, start: Start, cwd: &str, outcome: Outcome) -> Option<KnownSession> {
        self.wake(agent).await;
        let claimed = self.claim().await;
        let started = runs::Started {
            now: self.now(),
            run: claimed.run.id,
            fence: claimed.run.fence,
            process: Some(ProcessIdentity { pid: 1, start_time: 2, boot_id: "b".into() }),
            session_before: None,
            session_choice: SessionChoice { choice: start, reason: "for the test".into() },
            workspace: Workspace { cwd: cwd.into(), source: "adapter".into(), reason: "set".into(), worktree: None },
        };
        self.db.write("s", started, |tx, start| Box::pin(runs::started(tx, start))).await.unwrap();
        self.pass(seconds(1));
        self.finish(&claimed.run, outcome).await;
        claimed.session
    }

    async fn reset_sessions(&self, agent: AgentId, lane: Option<Option<TaskId>>) -> u64 {
        let arguments = (self.now(), agent, lane);
        let reset =
            self.db.write("reset", arguments, |tx, (now, id, lane)| Box::pin(sessions::reset(tx, *now, *id, *lane)));
        reset.await.unwrap()
    }
}

#[test]
fn runs_and_tokens_of_a_session_are_counted_from_its_own_beginning() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let run = async |start, session, tokens| world.session_run(agent, start, "/srv", with(session, tokens)).await;
        let counted = |known: Option<KnownSession>| known.map(|known| (known.turns, known.tokens));
        assert_eq!(counted(run(Start::Fresh, named("s"), 10).await), None);
        assert_eq!(counted(run(Start::Resumed, named("s"), 5).await), Some((1, 10)));
        assert_eq!(
            counted(run(Start::Resumed, SessionChange::Keep, 5).await),
            Some((2, 15)),
            "a silent run is a run of it"
        );
        let before = run(Start::Rotated, named("s"), 7).await;
        assert_eq!(counted(before.clone()), Some((3, 20)));
        let after = run(Start::Resumed, named("s"), 1).await;
        assert_eq!(counted(after.clone()), Some((1, 7)), "the same name, but it began anew");
        let (before, after) = (before.unwrap(), after.unwrap());
        assert!(before.created_at < after.created_at && before.last_run != after.last_run);
        assert_eq!(after.cwd.as_deref(), Some("/srv"));
    });
}

#[test]
fn an_ended_session_says_why_until_another_takes_its_place() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let run = async |start, session| world.session_run(agent, start, "/srv", with(session, 1)).await;
        let because = |known: Option<KnownSession>| known.and_then(|known| known.ended_because);
        run(Start::Fresh, named("s")).await;
        assert_eq!(world.reset_sessions(agent, Some(Some(world.id()))).await, 0, "another lane");
        assert_eq!(world.reset_sessions(agent, Some(None)).await, 1);
        assert_eq!(world.reset_sessions(agent, None).await, 0, "ended already");
        let listed = world.db.read("list", agent, |tx, agent| Box::pin(sessions::of_agent(tx, *agent)));
        assert!(listed.await.unwrap().is_empty());
        assert_eq!(because(run(Start::Fresh, named("s")).await).as_deref(), Some(ENDED_BY_OPERATOR));
        let again = run(Start::Resumed, SessionChange::Clear).await.unwrap();
        assert_eq!((again.ended_because, again.turns), (None, 1));
        assert_eq!(because(run(Start::Fresh, named("t")).await).as_deref(), Some(ENDED_BY_ADAPTER));
        run(Start::Rotated, SessionChange::Keep).await;
        assert_eq!(because(run(Start::Fresh, SessionChange::Keep).await).as_deref(), Some(ENDED_BY_SILENCE));
    });
}

#[test]
fn a_failed_run_that_began_without_the_session_leaves_it_as_it_was() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.retry.delays_s.clear()).await;
        world.session_run(agent, Start::Fresh, "/srv", with(named("s"), 10)).await;
        world.session_run(agent, Start::Rotated, "/other", Outcome::failed("overloaded", "not now")).await;
        let known = world.session_run(agent, Start::Rotated, "/srv", Outcome::succeeded()).await.unwrap();
        assert_eq!((known.turns, known.tokens, known.cwd.as_deref()), (1, 10, Some("/srv")));
        assert_eq!(known.ended_because, None, "the next try is told of it again");
    });
}
