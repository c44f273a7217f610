//! Comments: whom they wake, and that none is lost.

use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, CommentId, TaskId};
use wakeful_domain::run::Run;
use wakeful_domain::task::TaskStatus;
use wakeful_domain::wakeup::{Source, Wakeup, WakeupStatus};
use wakeful_store::ops::comments::{self, NewComment};
use wakeful_store::ops::origin::Origin;

use crate::world::{World, on_both, seconds};

impl World {
    pub async fn comment_from(&self, origin: Origin, task: TaskId, body: &str, reopen: bool) -> CommentId {
        let new = NewComment { id: self.id(), task, body: body.into(), reopen };
        let write =
            self.db.write("comment", (origin, new), |tx, (origin, new)| Box::pin(comments::insert(tx, origin, new)));
        write.await.unwrap().id
    }

    pub async fn comment(&self, task: TaskId, body: &str) -> CommentId {
        self.comment_from(self.origin(), task, body, false).await
    }

    /// An agent with its own key, in a run or not.
    pub fn as_agent(&self, agent: AgentId, run: Option<&Run>) -> Origin {
        Origin { actor: Actor::agent(agent), by_run: run.map(Run::proof), ..self.origin() }
    }

    async fn commented(&self, agent: AgentId) -> Vec<Wakeup> {
        let mut told = self.wakeups_of(agent).await;
        told.retain(|wakeup| wakeup.source == Source::Comment);
        told
    }
}

#[test]
fn a_comment_wakes_the_assignee_and_those_it_mentions() {
    on_both(async |world| {
        let (ann, bob, carl) = (world.agent("ann").await, world.agent("bob").await, world.agent("c.ü-1").await);
        let task = world.task_of("Paint", ann, &[]).await.id;
        world.succeed(&world.claim().await.run).await;
        let text = "@bob, ask @c.ü-1. Not @nobody, not x@ann nor `@ann`, and @bob once";
        let comment = world.comment(task, text).await;
        for agent in [ann, bob, carl] {
            let [told] = &world.commented(agent).await[..] else { panic!("one wakeup") };
            assert_eq!((told.priority, told.task), (70, Some(task)));
            assert_eq!(told.context["comment_ids"][0], comment.to_string());
            assert_eq!(told.payload["comment"]["body"], text);
        }
        assert!(world.commented(ann).await[0].reason.as_deref().unwrap().starts_with("tester commented on T-1: @bob"));
        assert_eq!(world.commented(bob).await[0].trigger_detail.as_deref(), Some("mention"));
        // One at a time holds the task; the assignee stays who it is.
        let run = world.claim().await.run;
        assert!(world.claim_any().await.is_none(), "the others wait for the task");
        assert_eq!(world.get_task(task).await.assignee, Some(ann));
        world.succeed(&run).await;
        assert!(world.claim_any().await.is_some());
    });
}

#[test]
fn an_agents_own_comment_never_wakes_itself() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task_of("Paint", ann, &[]).await.id;
        let run = world.claim().await.run;
        world.comment_from(world.as_agent(ann, Some(&run)), task, "begun, says @ann", false).await;
        world.succeed(&run).await;
        world.comment_from(world.as_agent(ann, None), task, "and done, @ann", false).await;
        assert!(world.commented(ann).await.is_empty() && world.claim_any().await.is_none());
        // A loop of one's own comments cannot even begin; another's comment gets through.
        world.comment_from(world.as_agent(bob, None), task, "is it dry?", false).await;
        assert_eq!(world.commented(ann).await.len(), 1);
    });
}

#[test]
fn all_comments_made_during_a_run_reach_it_or_the_follow_up() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task_of("Paint", ann, &[]).await.id;
        let run = world.claim().await.run;
        let mut said = Vec::new();
        for number in 0..7 {
            world.pass(seconds(1));
            said.push(world.comment(task, &format!("thought {number}")).await);
        }
        let inbox = world.inbox(&run).await;
        assert_eq!(inbox.len(), 7);
        world.acknowledge(&run, &inbox[..2]).await;
        world.succeed(&run).await;
        let follow_up = world.claim().await;
        let named: Vec<String> = follow_up
            .wakeups
            .iter()
            .map(|wakeup| wakeup.context["comment_ids"][0].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(named, said[2..].iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(follow_up.comments.len(), 7, "the task comes with all that was said since the last run began");
    });
}

#[test]
fn a_comment_on_a_closed_task_wakes_nobody_unless_it_opens_it_again() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task_of("Paint", ann, &[]).await.id;
        world.succeed(&world.claim().await.run).await;
        world.set_status(task, TaskStatus::Done).await;
        world.comment(task, "well done, @bob looked too").await;
        for agent in [ann, bob] {
            let [told] = &world.commented(agent).await[..] else { panic!("one wakeup") };
            assert_eq!((told.status, told.status_reason.as_deref()), (WakeupStatus::Skipped, Some("task_closed")));
        }
        world.comment_from(world.origin(), task, "it drips", true).await;
        assert_eq!(world.get_task(task).await.status, TaskStatus::Todo);
        let run = world.claim().await;
        assert_eq!(run.run.agent, ann);
        assert!(run.wakeups.iter().any(|wakeup| wakeup.source == Source::Comment));
    });
}

#[test]
fn what_was_said_to_a_former_assignee_goes_to_the_next_even_over_a_time_with_none() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task_of("Paint", ann, &[]).await.id;
        let comment = world.comment(task, "not blue").await;
        world.assign(task, None).await;
        assert!(world.claim_any().await.is_none());
        world.assign(task, Some(bob)).await;
        let [told] = &world.commented(bob).await[..] else { panic!("one wakeup") };
        let first = &world.commented(ann).await[0];
        assert_eq!((told.cause_id.clone(), told.root_id), (Some(first.id.to_string()), first.root_id));
        assert_eq!(told.context["comment_ids"][0], comment.to_string());
    });
}
