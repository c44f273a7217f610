//! Worktrees as rows: one a lane, found when nothing works in them any more.

use wakeful_domain::id::{AgentId, TaskId};
use wakeful_domain::task::TaskStatus;
use wakeful_domain::worktree::{Base, Worktree, WorktreeState};
use wakeful_store::ops::tasks::TaskChange;
use wakeful_store::ops::worktrees;

use crate::world::{World, on_both, seconds};

impl World {
    async fn put_worktree(&self, agent: AgentId, task: TaskId) -> Worktree {
        let worktree = Worktree {
            agent,
            task,
            company: self.company,
            repository: "/srv/a".into(),
            path: format!("/data/worktrees/{agent}/{task}"),
            branch: "wakeful/T-1-x".into(),
            base: Base { branch: Some("main".into()), commit: "0123".into() },
            state: WorktreeState::Active,
            state_reason: None,
            created_at: self.now(),
            updated_at: self.now(),
        };
        self.db.write("put", worktree.clone(), |tx, row| Box::pin(worktrees::put(tx, row))).await.unwrap();
        worktree
    }

    /// Those that a look now would find; kept ones if they were looked at ten seconds ago.
    async fn unused(&self) -> Vec<Worktree> {
        let before = wakeful_domain::time::Timestamp::from_millis(self.now().as_millis() - 10_000);
        self.db.read("unused", before, |tx, before| Box::pin(worktrees::unused(tx, *before, 10))).await.unwrap()
    }

    async fn settle_worktree(&self, worktree: &Worktree, state: WorktreeState, reason: Option<&str>) {
        let change = (self.now(), worktree.clone(), state, reason.map(str::to_owned));
        let write = self.db.write("state", change, |tx, (now, worktree, state, reason)| {
            Box::pin(worktrees::set_state(tx, *now, worktree, *state, reason.as_deref(), true))
        });
        write.await.unwrap();
    }

    async fn close_task(&self, task: TaskId) {
        let change = TaskChange { status: Some(TaskStatus::Done), ..TaskChange::default() };
        self.change_task(task, change).await.unwrap();
    }
}

#[test]
fn a_worktree_is_unused_once_its_task_is_closed_and_no_run_of_the_lane_is_live() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let mut task = world.draft_task("t");
        task.workspace.worktree = true;
        let task = world.insert_task(task).await;
        world.wake_about(agent, task).await;
        let claimed = world.claim().await;
        let worktree = world.put_worktree(agent, task).await;
        assert_eq!(world.unused().await, []);
        world.close_task(task).await;
        assert_eq!(world.unused().await, [], "its run is live");
        world.succeed(&claimed.run).await;
        assert_eq!(world.unused().await, std::slice::from_ref(&worktree));
        let still = || {
            world.db.read("s", (agent, task), |tx, (agent, task)| Box::pin(worktrees::still_unused(tx, *agent, *task)))
        };
        assert_eq!(still().await.unwrap(), Some(worktree.clone()));

        world.settle_worktree(&worktree, WorktreeState::Kept, Some("1 uncommitted file")).await;
        assert_eq!(world.unused().await, [], "looked at just now");
        world.pass(seconds(11));
        assert_eq!(world.unused().await.len(), 1, "looked at again later");
        world.settle_worktree(&worktree, WorktreeState::Removed, None).await;
        world.pass(seconds(11));
        assert_eq!((world.unused().await, still().await.unwrap()), (vec![], None));
    });
}

#[test]
fn a_claim_brings_the_worktree_of_its_lane_alone() {
    on_both(async |world| {
        let (ann, ben) = (world.agent("ann").await, world.agent("ben").await);
        let mut task = world.draft_task("t");
        task.workspace.worktree = true;
        let task = world.insert_task(task).await;
        let of_ann = world.put_worktree(ann, task).await;
        for (agent, expected) in [(ann, Some(of_ann)), (ben, None)] {
            world.wake_about(agent, task).await;
            let claimed = world.claim().await;
            assert_eq!(claimed.worktree, expected);
            world.succeed(&claimed.run).await;
        }
    });
}

#[test]
fn worktrees_are_listed_page_by_page_without_those_that_are_gone() {
    on_both(async |world| {
        let (ann, ben) = (world.agent("ann").await, world.agent("ben").await);
        let (one, two) = (world.task("one").await, world.task("two").await);
        let mut made = Vec::new();
        for (agent, task) in [(ann, one), (ben, one), (ann, two), (ben, two)] {
            made.push(world.put_worktree(agent, task).await);
        }
        world.settle_worktree(&made[0], WorktreeState::Removed, None).await;
        let list = async |state, cursor| {
            let arguments = (world.company, state, cursor);
            let page = world.db.read("list", arguments, |tx, (company, state, cursor)| {
                Box::pin(worktrees::list(tx, *company, *state, *cursor, 2))
            });
            page.await.unwrap()
        };
        let lanes = |items: Vec<Worktree>| items.into_iter().map(|row| (row.task, row.agent)).collect::<Vec<_>>();
        let first = list(None, None).await;
        assert_eq!(first.next_cursor, Some(format!("{two}.{ann}")));
        assert_eq!(lanes(first.items), [(two, ben), (two, ann)]);
        let second = list(None, Some((two, ann))).await;
        assert_eq!((lanes(second.items), second.next_cursor), (vec![(one, ben)], None));
        assert_eq!(lanes(list(Some(WorktreeState::Removed), None).await.items), [(one, ann)]);
    });
}
