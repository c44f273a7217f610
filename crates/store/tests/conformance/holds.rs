//! Tasks that a run has checked out: leases of live runs, never of queued work.

use wakeful_domain::agent::Limits;
use wakeful_domain::id::TaskId;
use wakeful_domain::run::Run;
use wakeful_domain::subscription::{EventName, Source};
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_domain::waiting::WaitingReason;
use wakeful_store::Refusal;
use wakeful_store::ops::holds::{self, HoldRequest};
use wakeful_store::ops::tasks::TaskChange;

use crate::wishes::batch;
use crate::world::{World, conflict, on_both};

impl World {
    fn hold_request(&self, run: &Run, task: TaskId) -> HoldRequest {
        HoldRequest { now: self.now(), run: run.id, fence: run.fence, task }
    }

    async fn check_out(&self, run: &Run, task: TaskId) -> Result<Task, Refusal> {
        let request = self.hold_request(run, task);
        self.db.write("check_out", request, |tx, request| Box::pin(holds::check_out(tx, request))).await
    }

    async fn let_go(&self, run: &Run, task: TaskId) -> Result<Task, Refusal> {
        let request = self.hold_request(run, task);
        self.db.write("release", request, |tx, request| Box::pin(holds::release(tx, request))).await
    }
}

#[test]
fn a_checked_out_task_keeps_other_lanes_from_it_until_the_run_ends() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task("t").await;
        world.wake(ann).await;
        let run = world.claim().await.run;
        let taken = world.check_out(&run, task).await.unwrap();
        assert_eq!((taken.held_by, taken.status, taken.assignee), (Some(run.id), TaskStatus::InProgress, Some(ann)));
        assert_eq!(world.check_out(&run, task).await.unwrap().held_by, Some(run.id), "twice is once");
        let waiting = world.wake_with(bob, |wake| wake.task = Some(task)).await;
        assert!(world.claim_any().await.is_none());
        assert_eq!(world.waits_for(&waiting).await, WaitingReason::TaskHeld);
        world.fail(&run, "exit_nonzero").await;
        assert_eq!(world.get_task(task).await.held_by, None, "whatever the end of the run");
        assert_eq!(batch(&world.claim().await), [waiting.id]);
    });
}

/// Found by the simulator: only a claim and a change of the task were told.
#[test]
fn whoever_waits_for_the_status_of_a_task_is_told_that_it_is_checked_out() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task("t").await;
        world.subscribe_with(bob, Source::Task(task), |wanted| wanted.on = vec![EventName::TaskStatusChanged]).await;
        let run = world.run_of(ann, None).await;
        for _ in 0..2 {
            world.check_out(&run, task).await.unwrap();
        }
        let told = world.woken(bob).await;
        assert_eq!(told.len(), 1, "twice is once");
        assert_eq!(told[0].payload["data"]["status"], "in_progress");
    });
}

#[test]
fn letting_go_lets_the_next_one_start() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task("t").await;
        world.wake(ann).await;
        let run = world.claim().await.run;
        world.check_out(&run, task).await.unwrap();
        world.wake_about(bob, task).await;
        assert!(world.claim_any().await.is_none());
        assert_eq!(world.let_go(&run, task).await.unwrap().held_by, None);
        assert_eq!(world.claim().await.run.agent, bob);
        assert_eq!(conflict(world.let_go(&run, task).await), "task_held");
    });
}

#[test]
fn who_comes_second_is_told_who_holds_it_and_until_when() {
    on_both(async |world| {
        let limits = Limits { max_duration_s: Some(600), ..Limits::default() };
        let ann = world.agent_with("ann", |agent| agent.limits = limits).await;
        let bob = world.agent("bob").await;
        let task = world.task("t").await;
        world.wake_about(ann, task).await;
        let first = world.claim().await.run;
        world.wake(bob).await;
        let second = world.claim().await.run;
        let Err(Refusal::Conflict { code, state, .. }) = world.check_out(&second, task).await else {
            panic!("a task has one holder")
        };
        assert_eq!(code, "task_held");
        assert_eq!(state["holder"]["run"], first.id.to_string());
        assert_eq!((&state["live"], &state["advice"]), (&true.into(), &"yield".into()));
        world.stop(&first, false).await.unwrap();
        let Err(Refusal::Conflict { state, .. }) = world.check_out(&second, task).await else {
            panic!("it is still live")
        };
        assert_eq!(state["advice"], "retry", "it is ending");
    });
}

#[test]
fn the_task_of_its_own_lane_stays_with_a_run_until_it_ends() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task("t").await;
        world.wake_about(ann, task).await;
        let run = world.claim().await.run;
        assert_eq!(world.let_go(&run, task).await.unwrap().held_by, Some(run.id));
        world.succeed(&run).await;
        assert_eq!(world.get_task(task).await.held_by, None);
    });
}

#[test]
fn only_a_live_run_of_the_company_holds_an_open_task() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let other = world.company("other", 5).await;
        let far = world.make_task(Task { company: other, ..world.draft_task("far") }, &[]).await.unwrap().id;
        let done = world.task("done").await;
        let close = TaskChange { status: Some(TaskStatus::Done), ..TaskChange::default() };
        world.change_task(done, close).await.unwrap();
        world.wake(ann).await;
        let run = world.claim().await.run;
        assert!(matches!(world.check_out(&run, far).await, Err(Refusal::NotFound { .. })));
        assert_eq!(conflict(world.check_out(&run, done).await), "task_closed");
        world.succeed(&run).await;
        let task = world.task("t").await;
        assert_eq!(conflict(world.check_out(&run, task).await), "fenced");
    });
}
