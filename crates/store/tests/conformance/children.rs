//! Children and their parent: who is told of which end, with what, and how often.

use serde_json::json as object;
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::{AgentId, TaskId};
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::Run;
use wakeful_domain::task::{DEPTH_MAX, Task, TaskStatus, WakeParent};
use wakeful_domain::wakeup::{Source, Wakeup, WakeupStatus};
use wakeful_store::Refusal;
use wakeful_store::ops::comments::NewComment;
use wakeful_store::ops::holds::{self, HoldRequest};
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::tasks::{self, TaskChange};

use crate::assignments::assert_invalid;
use crate::wishes::{batch, cancelled, timed_out};
use crate::world::{World, on_both, seconds};

impl World {
    /// What an agent was told of the children of its tasks, oldest first.
    pub async fn heard(&self, agent: AgentId) -> Vec<Wakeup> {
        let mut told = self.wakeups_of(agent).await;
        told.retain(|wakeup| wakeup.source == Source::Child);
        told.sort_by_key(|wakeup| (wakeup.requested_at, wakeup.id));
        told
    }

    /// A task that an agent has, and that wakes nobody any more.
    pub async fn parent_of(&self, agent: Option<AgentId>) -> TaskId {
        let parent = self.make_task(Task { assignee: agent, ..self.draft_task("Build") }, &[]).await.unwrap().id;
        if agent.is_some() {
            self.succeed(&self.claim().await.run).await;
        }
        parent
    }

    pub async fn child_of(&self, parent: TaskId, agent: AgentId, wake_parent: WakeParent) -> Task {
        let draft =
            Task { parent: Some(parent), assignee: Some(agent), wake_parent, ..self.draft_task("Paint the door") };
        self.make_task(draft, &[]).await.unwrap()
    }

    /// A run closes a task, as its agent would.
    async fn close_in(&self, run: &Run, task: TaskId) {
        let origin = Origin { by_run: Some(run.proof()), ..self.origin() };
        let close = TaskChange { status: Some(TaskStatus::Done), ..TaskChange::default() };
        let write = self.db.write("change", (origin, task, close), |tx, (origin, task, close)| {
            Box::pin(tasks::change(tx, origin, *task, close))
        });
        write.await.unwrap();
    }
}

#[test]
fn a_child_that_finishes_wakes_the_agent_of_its_parent_with_what_it_has_to_say() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let parent = world.parent_of(Some(ann)).await;
        let sibling = world.child_of(parent, bob, WakeParent::Never).await;
        world.succeed(&world.claim().await.run).await;
        let child = world.child_of(parent, bob, WakeParent::Each).await;
        let run = world.claim().await.run;
        let outcome = Outcome {
            summary: Some("it is red".into()),
            result: Some(object!({ "coats": 2 })),
            ..Outcome::succeeded()
        };
        world.finish(&run, outcome).await;
        let [told] = &world.heard(ann).await[..] else { panic!("one wakeup") };
        assert_eq!((told.task, told.priority, told.status), (Some(parent), 65, WakeupStatus::Pending));
        let said = told.reason.clone().unwrap();
        assert_eq!(said, format!("{} of T-3 (child of T-1) finished: succeeded", run.id));
        assert_eq!((told.cause_id.clone(), told.depth), (Some(run.id.to_string()), 1), "it goes on in the run's chain");
        let end = &told.payload["finished_child"];
        assert_eq!((&end["task"], &end["run"], &end["agent"]), (&object!(child.id), &object!(run.id), &object!(bob)));
        assert_eq!((&end["status"], &end["summary"]), (&object!("succeeded"), &object!("it is red")));
        assert_eq!((&end["result"], &end["error"]), (&object!({ "coats": 2 }), &object!(null)));
        assert!(end["usage"].is_object());
        assert_eq!(told.payload["siblings"][0]["task"], object!(sibling.id));
        assert_eq!(told.payload["children"]["open"], 2);
        // Another run of the same child is another end.
        world.wake_about(bob, child.id).await;
        world.succeed(&world.claim_of(bob).await).await;
        assert_eq!(world.heard(ann).await.len(), 2);
    });
}

impl World {
    /// Claims until a run of this agent starts; the others succeed.
    pub async fn claim_of(&self, agent: AgentId) -> Run {
        loop {
            let run = self.claim().await.run;
            if run.agent == agent {
                return run;
            }
            self.succeed(&run).await;
        }
    }
}

#[test]
fn every_outcome_is_told_once_it_is_not_tried_again() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let bob = world.agent_with("bob", |agent| agent.retry.delays_s = vec![60]).await;
        let parent = world.parent_of(Some(ann)).await;
        let outcomes = [
            (Outcome::failed("auth_required", "log in"), "failed"),
            (cancelled(), "cancelled"),
            (timed_out(), "timed_out"),
            (Outcome::ended(End::Lost, "process_lost", "gone"), "lost"),
        ];
        for (place, (outcome, status)) in outcomes.into_iter().enumerate() {
            world.pass(seconds(1));
            world.child_of(parent, bob, WakeParent::Each).await;
            let run = world.claim_of(bob).await;
            world.finish(&run, outcome.clone()).await;
            if matches!(status, "timed_out" | "lost") {
                assert_eq!(world.heard(ann).await.len(), place, "{status}: it is tried again");
                world.pass(seconds(100));
                world.tick().await;
                let run = world.claim_of(bob).await;
                world.finish(&run, outcome).await;
            }
            let told = world.heard(ann).await;
            assert_eq!(told.len(), place + 1, "{status}");
            assert_eq!(told[place].payload["finished_child"]["status"], status);
        }
    });
}

#[test]
fn a_run_that_closes_its_own_task_is_one_wakeup_and_a_close_by_others_is_one() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let parent = world.parent_of(Some(ann)).await;
        let child = world.child_of(parent, bob, WakeParent::Each).await.id;
        let run = world.claim().await.run;
        world.close_in(&run, child).await;
        assert_eq!(world.heard(ann).await.len(), 0, "it has more to say at its end");
        world.succeed(&run).await;
        assert_eq!(world.heard(ann).await.len(), 1);
        world.pass(seconds(1));
        let other = world.child_of(parent, bob, WakeParent::Each).await.id;
        world.set_status(other, TaskStatus::Cancelled).await;
        let told = world.heard(ann).await;
        assert_eq!(told.len(), 2);
        let end = &told[1].payload["finished_child"];
        assert_eq!((&end["run"], &end["status"]), (&object!(null), &object!("cancelled")));
        assert_eq!(told[1].reason.as_deref(), Some("T-3 (child of T-1) was closed: cancelled"));
    });
}

#[test]
fn a_run_that_closed_its_task_and_then_failed_is_told_though_it_is_tried_again() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let parent = world.parent_of(Some(ann)).await;
        let child = world.child_of(parent, bob, WakeParent::Each).await.id;
        let run = world.claim().await.run;
        world.close_in(&run, child).await;
        world.fail(&run, "exit_nonzero").await;
        let [told] = &world.heard(ann).await[..] else { panic!("one wakeup") };
        assert_eq!(told.payload["finished_child"]["task_status"], "done");
    });
}

#[test]
fn all_is_told_once_when_the_last_child_is_closed_and_never_is_not() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent_with("bob", |a| a.max_concurrent_runs = 5).await);
        let parent = world.parent_of(Some(ann)).await;
        let mut children = Vec::new();
        for mode in [WakeParent::All, WakeParent::All, WakeParent::Never] {
            children.push(world.child_of(parent, bob, mode).await.id);
        }
        let runs: Vec<Run> = world.claim_some(3).await.into_iter().map(|claimed| claimed.run).collect();
        // Each run closes its own task; the one that closes the last of them tells, however the others end after it.
        for run in &runs {
            world.close_in(run, run.task.unwrap()).await;
        }
        world.succeed(&runs[2]).await;
        assert_eq!(world.heard(ann).await.len(), 1);
        world.succeed(&runs[0]).await;
        world.succeed(&runs[1]).await;
        let [told] = &world.heard(ann).await[..] else { panic!("one wakeup") };
        assert!(
            told.reason.as_deref().unwrap().starts_with("all children of T-1 are closed; the last was"),
            "{told:?}"
        );
        assert_eq!(told.payload["children"], object!({ "total": 3, "open": 0, "by_status": { "done": 3 } }));
    });
}

#[test]
fn what_a_child_says_while_nobody_has_the_parent_is_kept_for_whoever_gets_it() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let parent = world.parent_of(None).await;
        for _ in 0..3 {
            world.child_of(parent, bob, WakeParent::Each).await;
            world.succeed(&world.claim().await.run).await;
        }
        assert!(world.claim_any().await.is_none());
        world.assign(parent, Some(ann)).await;
        assert_eq!(world.heard(ann).await.len(), 3);
        let claimed = world.claim().await;
        assert_eq!(batch(&claimed).len(), 4, "with the assignment");
        world.succeed(&claimed.run).await;
        // Taken away, what was said and not heard waits for the next one.
        let other = world.parent_of(Some(ann)).await;
        world.child_of(other, bob, WakeParent::Each).await;
        world.succeed(&world.claim_of(bob).await).await;
        world.assign(other, None).await;
        world.assign(other, Some(bob)).await;
        let [told] = &world.heard(bob).await[..] else { panic!("one wakeup") };
        assert_eq!((told.status, told.task), (WakeupStatus::Pending, Some(other)));
    });
}

#[test]
fn a_run_that_checks_a_task_out_that_nobody_has_is_told_what_was_kept() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let parent = world.parent_of(None).await;
        world.child_of(parent, bob, WakeParent::Each).await;
        world.succeed(&world.claim().await.run).await;
        world.wake(ann).await;
        let run = world.claim().await.run;
        let request = HoldRequest { now: world.now(), run: run.id, fence: run.fence, task: parent };
        world.db.write("out", request, |tx, request| Box::pin(holds::check_out(tx, request))).await.unwrap();
        assert_eq!(world.heard(ann).await.len(), 1);
        world.succeed(&run).await;
        assert_eq!(world.claim().await.run.task, Some(parent));
    });
}

#[test]
fn n_children_that_finish_during_one_run_of_the_parent_make_one_follow_up_with_all_of_them() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent_with("bob", |a| a.max_concurrent_runs = 10).await);
        world.sql("update companies set max_concurrent_runs = 20").await.unwrap();
        let parent = world.task_of("Build", ann, &[]).await.id;
        let run = world.claim().await.run;
        for _ in 0..8 {
            world.child_of(parent, bob, WakeParent::Each).await;
        }
        for child in world.claim_some(8).await {
            world.succeed(&child.run).await;
        }
        assert!(world.claim_any().await.is_none(), "the parent's lane is busy");
        assert_eq!(world.inbox(&run).await.len(), 8);
        world.succeed(&run).await;
        let follow_up = world.claim().await;
        assert_eq!((follow_up.wakeups.len(), follow_up.run.task), (8, Some(parent)));
        assert!(world.claim_any().await.is_none());
    });
}

#[test]
fn the_parent_of_a_terminated_agents_task_is_told_and_so_is_it_when_its_run_is_stopped() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let bob = world.agent("bob").await;
        let parent = world.parent_of(Some(ann)).await;
        world.child_of(parent, bob, WakeParent::Each).await;
        let run = world.claim().await.run;
        let waiting = world.child_of(parent, bob, WakeParent::Each).await;
        world.agent_event(bob, AgentEvent::Terminate).await.unwrap();
        let [told] = &world.heard(ann).await[..] else { panic!("one wakeup, of the child that never began") };
        assert_eq!(told.payload["finished_child"]["status"], "agent_terminated");
        assert_eq!(told.payload["finished_child"]["task"], object!(waiting.id));
        world.agent_event(bob, AgentEvent::Terminate).await.unwrap();
        assert_eq!(world.heard(ann).await.len(), 1, "it is terminated once");
        world.pass(seconds(1));
        world.finish(&run, cancelled()).await;
        assert_eq!(world.heard(ann).await[1].payload["finished_child"]["run"], object!(run.id));
    });
}

#[test]
fn what_a_child_says_to_a_closed_parent_is_skipped_and_said_so() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let parent = world.parent_of(Some(ann)).await;
        world.child_of(parent, bob, WakeParent::Each).await;
        world.set_status(parent, TaskStatus::Done).await;
        world.succeed(&world.claim().await.run).await;
        let [told] = &world.heard(ann).await[..] else { panic!("one wakeup") };
        assert_eq!((told.status, told.status_reason.as_deref()), (WakeupStatus::Skipped, Some("task_closed")));
    });
}

#[test]
fn trees_of_tasks_are_bounded_and_have_no_circles() {
    on_both(async |world| {
        let mut chain = vec![world.task("root").await];
        for depth in 1..DEPTH_MAX {
            let parent = Some(chain[depth - 1]);
            chain.push(world.insert_task(Task { parent, ..world.draft_task("deeper") }).await);
        }
        let too_deep = Task { parent: chain.last().copied(), ..world.draft_task("too deep") };
        assert_invalid(world.make_task(too_deep, &[]).await, "parent");
        let below = |parent| TaskChange { parent: Some(Some(parent)), ..TaskChange::default() };
        assert_invalid(world.change_task(chain[0], below(chain[5])).await, "parent");
        assert_invalid(world.change_task(chain[0], below(chain[0])).await, "parent");
        let other = world.task("other").await;
        assert_invalid(world.change_task(chain[0], below(other)).await, "parent");
        world.change_task(chain[1], below(other)).await.unwrap();
    });
}

#[test]
fn children_that_end_at_the_same_moment_are_all_told() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent_with("bob", |a| a.max_concurrent_runs = 20).await);
        world.sql("update companies set max_concurrent_runs = 40").await.unwrap();
        let parent = world.parent_of(Some(ann)).await;
        for _ in 0..12 {
            world.child_of(parent, bob, WakeParent::Each).await;
        }
        let runs = world.claim_some(12).await;
        let requests: Vec<_> = runs.iter().map(|claimed| world.ending(&claimed.run, Outcome::succeeded())).collect();
        let ended = futures_of(world, requests).await;
        assert_eq!((ended, world.heard(ann).await.len()), (12, 12));
        assert_eq!(batch(&world.claim().await).len(), 12);
    });
}

/// Ends runs at the same moment; gives how many did.
async fn futures_of(world: &World, requests: Vec<wakeful_store::ops::finish::FinishRequest>) -> usize {
    let mut tasks = tokio::task::JoinSet::new();
    for request in requests {
        let db = world.db.clone();
        tasks.spawn(async move {
            db.write("finish", request, |tx, request| Box::pin(wakeful_store::ops::finish::finish(tx, request))).await
        });
    }
    tasks.join_all().await.into_iter().filter(Result::is_ok).count()
}

#[test]
fn what_happens_to_a_whole_family_at_the_same_moment_happens_in_some_order() {
    on_both(async |world| {
        let (ann, carl) = (world.agent("ann").await, world.agent("carl").await);
        let bob = world.agent_with("bob", |a| a.max_concurrent_runs = 20).await;
        world.sql("update companies set max_concurrent_runs = 40").await.unwrap();
        let parent = world.parent_of(Some(ann)).await;
        let mut children: Vec<TaskId> = Vec::new();
        for _ in 0..6 {
            children.push(world.child_of(parent, bob, WakeParent::Each).await.id);
        }
        let runs = world.claim_some(6).await;
        // Each child waits for the one before, and its agent for the other's end.
        for pair in children.windows(2) {
            let waits = TaskChange { blocked_by: Some(vec![pair[0]]), ..TaskChange::default() };
            world.change_task(pair[1], waits).await.unwrap();
        }
        let mut at_once = tokio::task::JoinSet::new();
        for claimed in &runs {
            let (db, request) = (world.db.clone(), world.ending(&claimed.run, Outcome::failed("auth_required", "no")));
            at_once.spawn(async move { end(&db, request).await });
        }
        for child in &children {
            let (db, origin, new) = (world.db.clone(), world.origin(), world.note(*child, "@ann @carl @bob look"));
            at_once.spawn(async move {
                let write = db.write("comment", (origin, new), |tx, (origin, new)| {
                    Box::pin(wakeful_store::ops::comments::insert(tx, origin, new))
                });
                write.await.map(drop)
            });
            let done = TaskChange { status: Some(TaskStatus::Done), ..TaskChange::default() };
            let (db, arguments) = (world.db.clone(), (world.origin(), *child, done));
            at_once.spawn(async move { change(&db, arguments).await });
        }
        for agent in [carl, ann] {
            let give = TaskChange { assignee: Some(Some(agent)), ..TaskChange::default() };
            let (db, arguments) = (world.db.clone(), (world.origin(), parent, give));
            at_once.spawn(async move { change(&db, arguments).await });
        }
        for outcome in at_once.join_all().await {
            outcome.unwrap();
        }
        let told: usize = world.heard(ann).await.len() + world.heard(carl).await.len();
        assert!(told >= 12, "six runs and six closes, some issued anew: {told}");
    });
}

async fn end(db: &wakeful_store::Db, request: wakeful_store::ops::finish::FinishRequest) -> Result<(), Refusal> {
    db.write("finish", request, |tx, request| Box::pin(wakeful_store::ops::finish::finish(tx, request))).await.map(drop)
}

async fn change(db: &wakeful_store::Db, arguments: (Origin, TaskId, TaskChange)) -> Result<(), Refusal> {
    let write =
        db.write("change", arguments, |tx, (origin, task, change)| Box::pin(tasks::change(tx, origin, *task, change)));
    write.await.map(drop)
}

impl World {
    fn note(&self, task: TaskId, body: &str) -> NewComment {
        NewComment { id: self.id(), task, body: body.into(), reopen: false }
    }
}
