//! Tasks and whom they wake: assignment, re-assignment, blockers, closing; keys and links.

use serde_json::json as object;
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::{AgentId, TaskId, WakeupId};
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_domain::wakeup::{Source, Wakeup, WakeupStatus};
use wakeful_store::Refusal;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::tasks::{self, TaskChange};
use wakeful_store::ops::wake::Wake;
use wakeful_store::ops::wakeups::{self, WakeupFilter};

use crate::wishes::batch;
use crate::world::{World, conflict, on_both, seconds};

impl World {
    /// All wakeups of an agent, oldest first.
    pub async fn wakeups_of(&self, agent: AgentId) -> Vec<Wakeup> {
        let filter = WakeupFilter { agent: Some(agent), ..WakeupFilter::default() };
        let list = self.db.read("list", filter, |tx, filter| Box::pin(wakeups::list(tx, filter, None, 200))).await;
        let mut found = list.unwrap().items;
        found.reverse();
        found
    }

    pub async fn task_of(&self, title: &str, agent: AgentId, blocked_by: &[TaskId]) -> Task {
        let draft = Task { assignee: Some(agent), ..self.draft_task(title) };
        self.make_task(draft, blocked_by).await.unwrap()
    }

    pub async fn set_status(&self, task: TaskId, status: TaskStatus) -> Task {
        self.change_task(task, TaskChange { status: Some(status), ..TaskChange::default() }).await.unwrap()
    }

    async fn assign(&self, task: TaskId, agent: Option<AgentId>) -> Task {
        self.change_task(task, TaskChange { assignee: Some(agent), ..TaskChange::default() }).await.unwrap()
    }

    async fn wake_from(&self, source: Source, agent: AgentId, task: TaskId) -> WakeupId {
        let wake = Wake { source, task: Some(task), ..self.draft(agent) };
        self.accept(wake).await.unwrap().wakeup.id
    }
}

fn sources(wakeups: &[Wakeup]) -> Vec<(Source, WakeupStatus)> {
    wakeups.iter().map(|wakeup| (wakeup.source, wakeup.status)).collect()
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(answer: Result<T, Refusal>, expected: &str) {
    match answer {
        Err(Refusal::Invalid { field, .. }) => assert_eq!(field, expected),
        other => panic!("not refused for {expected}: {other:?}"),
    }
}

#[test]
fn a_new_task_wakes_its_assignee_once() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task_of("Paint", ann, &[]).await;
        assert_eq!(task.key, "T-1");
        let [wakeup] = &world.wakeups_of(ann).await[..] else { panic!("one wakeup") };
        assert_eq!((wakeup.source, wakeup.priority, wakeup.task), (Source::Assignment, 70, Some(task.id)));
        assert_eq!(wakeup.context["task_key"], "T-1");
        assert_eq!(wakeup.reason.as_deref(), Some("T-1 was assigned to you: Paint"));
        let run = world.claim().await.run;
        assert_eq!(world.get_task(task.id).await.status, TaskStatus::InProgress, "the claim takes it up");
        world.succeed(&run).await;
        // The same assignee again is no news.
        world.assign(task.id, Some(ann)).await;
        assert_eq!(world.wakeups_of(ann).await.len(), 1);
    });
}

#[test]
fn keys_count_up_in_each_company() {
    on_both(async |world| {
        let other = world.company("other", 5).await;
        let keys = [world.company, world.company, other, world.company]
            .map(|company| Task { company, ..world.draft_task("x") });
        let mut made = Vec::new();
        for draft in keys {
            made.push(world.make_task(draft, &[]).await.unwrap().key);
        }
        assert_eq!(made, ["T-1", "T-2", "T-1", "T-3"]);
    });
}

#[test]
fn a_task_in_the_backlog_wakes_nobody_until_it_is_to_be_done() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let draft = Task { assignee: Some(ann), status: TaskStatus::Backlog, ..world.draft_task("later") };
        let task = world.make_task(draft, &[]).await.unwrap();
        assert!(world.wakeups_of(ann).await.is_empty());
        world.set_status(task.id, TaskStatus::Todo).await;
        assert_eq!(sources(&world.wakeups_of(ann).await), [(Source::Assignment, WakeupStatus::Pending)]);
    });
}

#[test]
fn a_blocked_task_wakes_its_assignee_when_the_last_blocker_is_done() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let blockers = [world.task("one").await, world.task("two").await];
        let task = world.task_of("after", ann, &blockers).await;
        assert!(world.wakeups_of(ann).await.is_empty(), "it cannot be begun");
        world.set_status(blockers[0], TaskStatus::Done).await;
        assert!(world.wakeups_of(ann).await.is_empty());
        world.set_status(blockers[1], TaskStatus::Done).await;
        let [wakeup] = &world.wakeups_of(ann).await[..] else { panic!("one wakeup") };
        assert_eq!((wakeup.source, wakeup.task), (Source::Dependency, Some(task.id)));
        assert_eq!(wakeup.payload["blocker"]["key"], "T-2");
        assert_eq!(wakeup.payload["still_blocked_by"], object!([]));
    });
}

#[test]
fn a_cancelled_blocker_is_told_to_the_assignee() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let blockers = [world.task("one").await, world.task("two").await];
        world.task_of("after", ann, &blockers).await;
        world.set_status(blockers[0], TaskStatus::Cancelled).await;
        let [wakeup] = &world.wakeups_of(ann).await[..] else { panic!("one wakeup") };
        assert_eq!(wakeup.payload["blocker"]["status"], "cancelled");
        assert_eq!(wakeup.payload["still_blocked_by"], object!([blockers[1]]));
    });
}

#[test]
fn blockers_form_no_circle_and_a_task_is_not_its_own_ancestor() {
    on_both(async |world| {
        let first = world.task("first").await;
        let second = world.make_task(world.draft_task("second"), &[first]).await.unwrap().id;
        let third = world.make_task(world.draft_task("third"), &[second]).await.unwrap().id;
        let blocked_by = |id| TaskChange { blocked_by: Some(vec![id]), ..TaskChange::default() };
        assert_invalid(world.change_task(first, blocked_by(third)).await, "blocked_by[0]");
        assert_invalid(world.change_task(first, blocked_by(first)).await, "blocked_by[0]");
        assert_invalid(world.change_task(first, blocked_by(world.id())).await, "blocked_by[0]");
        let below = |id| TaskChange { parent: Some(Some(id)), ..TaskChange::default() };
        world.change_task(second, below(first)).await.unwrap();
        world.change_task(third, below(second)).await.unwrap();
        assert_invalid(world.change_task(first, below(third)).await, "parent");
        assert_invalid(world.change_task(first, below(first)).await, "parent");
    });
}

#[test]
fn what_a_task_names_must_be_in_its_company() {
    on_both(async |world| {
        let other = world.company("other", 5).await;
        let stranger = world.agent_with("stranger", |agent| agent.company = other).await;
        let far = world.make_task(Task { company: other, ..world.draft_task("far") }, &[]).await.unwrap().id;
        let draft = || world.draft_task("x");
        assert_invalid(world.make_task(Task { assignee: Some(stranger), ..draft() }, &[]).await, "assignee");
        assert_invalid(world.make_task(Task { parent: Some(far), ..draft() }, &[]).await, "parent");
        assert_invalid(world.make_task(Task { goal: Some(world.id()), ..draft() }, &[]).await, "goal");
        assert_invalid(world.make_task(Task { project: Some(world.id()), ..draft() }, &[]).await, "project");
        assert_invalid(world.make_task(draft(), &[far]).await, "blocked_by[0]");
        assert_eq!(world.number("select tasks_made from companies where slug = 'acme'").await, 0);
    });
}

#[test]
fn reassigning_calls_off_what_waits_and_hands_on_what_others_said() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task_of("Paint", ann, &[]).await.id;
        let comment = world.wake_from(Source::Comment, ann, task).await;
        world.wake_from(Source::Timer, ann, task).await;
        let elsewhere = world.wake(ann).await;
        world.assign(task, Some(bob)).await;
        let of_ann = world.wakeups_of(ann).await;
        let called_off = of_ann.iter().filter(|wakeup| wakeup.task == Some(task));
        for wakeup in called_off {
            assert_eq!((wakeup.status, wakeup.status_reason.as_deref()), (WakeupStatus::Cancelled, Some("reassigned")));
        }
        assert_eq!(world.status(elsewhere).await, WakeupStatus::Pending, "her other work stays");
        let of_bob = world.wakeups_of(bob).await;
        assert_eq!(
            sources(&of_bob),
            [(Source::Comment, WakeupStatus::Pending), (Source::Assignment, WakeupStatus::Pending)]
        );
        assert_eq!(of_bob[0].cause_id, Some(comment.to_string()), "the comment is issued anew, and says from what");
        assert_eq!(of_bob[0].root_id, comment);
    });
}

#[test]
fn a_live_run_of_the_former_assignee_goes_on_and_what_it_puts_back_is_handed_on() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task_of("Paint", ann, &[]).await.id;
        let comment = world.wake_from(Source::Comment, ann, task).await;
        let run = world.claim().await.run;
        world.assign(task, Some(bob)).await;
        assert!(world.claim_any().await.is_none(), "the task is held");
        world.fail(&run, "exit_nonzero").await;
        assert_eq!(world.wakeup(comment).await.status_reason.as_deref(), Some("reassigned"));
        let of_bob = world.wakeups_of(bob).await;
        assert_eq!(
            sources(&of_bob),
            [(Source::Assignment, WakeupStatus::Pending), (Source::Comment, WakeupStatus::Pending)]
        );
        assert_eq!(batch(&world.claim().await).len(), 2, "in one batch");
    });
}

#[test]
fn one_who_gets_a_task_back_tries_again_as_if_nothing_had_been() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task_of("Paint", ann, &[]).await.id;
        let run = world.claim().await.run;
        world.assign(task, Some(bob)).await;
        world.assign(task, Some(ann)).await;
        world.fail(&run, "exit_nonzero").await;
        let of_ann = world.wakeups_of(ann).await;
        assert_eq!(
            sources(&of_ann),
            [(Source::Assignment, WakeupStatus::Pending), (Source::Assignment, WakeupStatus::Pending)]
        );
        assert_eq!(sources(&world.wakeups_of(bob).await), [(Source::Assignment, WakeupStatus::Cancelled)]);
    });
}

#[test]
fn closing_a_task_calls_off_what_is_pointless_and_keeps_what_others_said() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task_of("Paint", ann, &[]).await.id;
        world.wake_from(Source::Timer, ann, task).await;
        let comment = world.wake_from(Source::Comment, ann, task).await;
        let closed = world.set_status(task, TaskStatus::Done).await;
        assert_eq!(closed.closed_at, Some(world.now()));
        let of_ann = world.wakeups_of(ann).await;
        assert_eq!(
            sources(&of_ann),
            [
                (Source::Assignment, WakeupStatus::Cancelled),
                (Source::Timer, WakeupStatus::Cancelled),
                (Source::Comment, WakeupStatus::Pending)
            ]
        );
        assert_eq!(batch(&world.claim().await), [comment]);
        let skipped = world.wake_from(Source::Manual, ann, task).await;
        assert_eq!(world.wakeup(skipped).await.status_reason.as_deref(), Some("task_closed"));
    });
}

#[test]
fn a_task_that_is_opened_again_wakes_its_assignee() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task_of("Paint", ann, &[]).await.id;
        let run = world.claim().await.run;
        world.succeed(&run).await;
        world.set_status(task, TaskStatus::Done).await;
        world.pass(seconds(1));
        let opened = world.set_status(task, TaskStatus::Todo).await;
        assert_eq!(opened.closed_at, None);
        assert_eq!(world.wakeups_of(ann).await.len(), 2);
    });
}

#[test]
fn an_assignment_waits_for_a_paused_agent_and_a_terminated_one_cannot_be_assigned() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        world.agent_event(ann, wakeful_domain::agent::AgentEvent::Pause).await.unwrap();
        world.task_of("Paint", ann, &[]).await;
        assert_eq!(sources(&world.wakeups_of(ann).await), [(Source::Assignment, WakeupStatus::Pending)]);
        assert!(world.claim_any().await.is_none());
        world.agent_event(ann, wakeful_domain::agent::AgentEvent::Resume).await.unwrap();
        assert!(world.claim_any().await.is_some());
        world.agent_event(ann, wakeful_domain::agent::AgentEvent::Terminate).await.unwrap();
        let draft = Task { assignee: Some(ann), ..world.draft_task("x") };
        assert_invalid(world.make_task(draft, &[]).await, "assignee");
    });
}

#[test]
fn what_wakeful_makes_for_a_terminated_agent_is_skipped_with_the_reason() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let blocker = world.task("first").await;
        world.task_of("after", ann, &[blocker]).await;
        world.agent_event(ann, wakeful_domain::agent::AgentEvent::Terminate).await.unwrap();
        world.set_status(blocker, TaskStatus::Done).await;
        let [wakeup] = &world.wakeups_of(ann).await[..] else { panic!("one wakeup") };
        assert_eq!((wakeup.status, wakeup.status_reason.as_deref()), (WakeupStatus::Skipped, Some("agent_terminated")));
    });
}

#[test]
fn a_task_of_a_terminated_agent_can_still_be_changed_and_closed() {
    on_both(async |world| {
        let (ann, gone) = (world.agent("ann").await, world.agent("gone").await);
        let task = world.task_of("Paint", gone, &[]).await;
        world.agent_event(gone, AgentEvent::Terminate).await.unwrap();
        assert_eq!(world.set_status(task.id, TaskStatus::Done).await.status, TaskStatus::Done);
        assert_eq!(world.set_status(task.id, TaskStatus::Todo).await.assignee, Some(gone));
        assert_eq!(world.assign(task.id, Some(ann)).await.assignee, Some(ann));
        let back = TaskChange { assignee: Some(Some(gone)), ..TaskChange::default() };
        assert_invalid(world.change_task(task.id, back).await, "assignee");
    });
}

#[test]
fn what_others_said_is_handed_on_even_when_the_former_assignee_gave_up() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task_of("Paint", ann, &[]).await.id;
        let comment = world.wake_from(Source::Comment, ann, task).await;
        let run = world.claim().await.run;
        world.assign(task, Some(bob)).await;
        world.fail(&run, "auth_required").await;
        assert_eq!(world.wakeup(comment).await.status_reason.as_deref(), Some("reassigned"));
        let of_ann = world.wakeups_of(ann).await;
        assert_eq!(of_ann[0].status, WakeupStatus::Failed, "her own assignment is a dead letter");
        assert_eq!(world.wakeups_of(bob).await[1].source, Source::Comment);
    });
}

#[test]
fn what_is_handed_on_keeps_its_time_and_its_attempts_and_outlives_the_close() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task_of("Paint", ann, &[]).await.id;
        let tomorrow = world.now() + seconds(86_400);
        let wake = Wake {
            source: Source::Comment,
            task: Some(task),
            due_at: Some(tomorrow),
            max_attempts: Some(2),
            ..world.draft(ann)
        };
        world.accept(wake).await.unwrap();
        let both = TaskChange { assignee: Some(Some(bob)), status: Some(TaskStatus::Done), ..TaskChange::default() };
        world.change_task(task, both).await.unwrap();
        let [handed_on] = &world.wakeups_of(bob).await[..] else { panic!("the comment alone") };
        assert_eq!((handed_on.status, handed_on.due_at, handed_on.max_attempts), (WakeupStatus::Pending, tomorrow, 2));
    });
}

#[test]
fn an_agent_is_not_tried_again_on_a_task_that_it_has_closed() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task_of("Paint", ann, &[]).await.id;
        let comment = world.wake_from(Source::Comment, ann, task).await;
        let run = world.claim().await.run;
        world.set_status(task, TaskStatus::Done).await;
        world.fail(&run, "exit_nonzero").await;
        let of_ann = world.wakeups_of(ann).await;
        assert_eq!(
            (of_ann[0].status, of_ann[0].status_reason.as_deref()),
            (WakeupStatus::Cancelled, Some("task_closed"))
        );
        assert_eq!(world.status(comment).await, WakeupStatus::Pending, "what others said is tried again");
    });
}

#[test]
fn a_review_wakes_the_one_it_is_given_to_and_rework_the_one_who_has_it() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let draft = Task { assignee: Some(ann), status: TaskStatus::InReview, ..world.draft_task("look") };
        let task = world.make_task(draft, &[]).await.unwrap().id;
        assert_eq!(world.wakeups_of(ann).await.len(), 1);
        world.assign(task, Some(bob)).await;
        assert_eq!(world.wakeups_of(bob).await.len(), 1);
        world.set_status(task, TaskStatus::Todo).await;
        assert_eq!(world.wakeups_of(bob).await.len(), 2);
    });
}

#[test]
fn a_run_that_has_ended_changes_no_task() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task_of("Paint", ann, &[]).await.id;
        let run = world.claim().await.run;
        world.succeed(&run).await;
        let origin = Origin { by_run: Some(run.proof()), ..world.origin() };
        let close = TaskChange { status: Some(TaskStatus::Done), ..TaskChange::default() };
        let write = world.db.write("change", (origin, task, close), |tx, (origin, task, close)| {
            Box::pin(tasks::change(tx, origin, *task, close))
        });
        assert_eq!(conflict(write.await), "fenced");
        let wake = Wake { by_run: Some(run.proof()), ..world.draft(ann) };
        assert_eq!(conflict(world.accept(wake).await), "fenced");
        assert_eq!(world.get_task(task).await.status, TaskStatus::InProgress);
    });
}
