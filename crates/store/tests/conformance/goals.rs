//! Goals are trees of one company, whatever is asked for at once.

use futures_util::future::join_all;
use wakeful_domain::goal::{DEPTH_MAX, Goal};
use wakeful_domain::id::GoalId;
use wakeful_store::Refusal;
use wakeful_store::ops::goals::{self, GoalChange};

use crate::world::{World, on_both};

impl World {
    fn draft_goal(&self, title: &str, parent: Option<GoalId>) -> Goal {
        let (created_at, updated_at) = (self.now(), self.now());
        Goal {
            id: self.id(),
            company: self.company,
            parent,
            title: title.into(),
            description: None,
            created_at,
            updated_at,
        }
    }

    async fn insert_goal(&self, goal: Goal) -> Result<GoalId, Refusal> {
        let id = goal.id;
        self.db.write("goal", goal, |tx, goal| Box::pin(goals::insert(tx, goal))).await?;
        Ok(id)
    }

    async fn goal(&self, title: &str, parent: Option<GoalId>) -> GoalId {
        self.insert_goal(self.draft_goal(title, parent)).await.unwrap()
    }

    async fn move_goal(&self, id: GoalId, parent: Option<GoalId>) -> Result<Goal, Refusal> {
        let change = GoalChange { parent: Some(parent), ..GoalChange::default() };
        let arguments = (self.now(), id, change);
        self.db
            .write("goal.change", arguments, |tx, (now, id, change)| Box::pin(goals::change(tx, *now, *id, change)))
            .await
    }

    async fn chain(&self, id: GoalId) -> Vec<String> {
        let chain = self.db.read("chain", id, |tx, id| Box::pin(async move { Ok(goals::chain(tx, *id).await?) })).await;
        chain.unwrap().into_iter().map(|goal| goal.title).collect()
    }
}

#[track_caller]
fn refused_parent<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    match result {
        Err(Refusal::Invalid { field, message }) if field == "parent" => message,
        other => panic!("expected a refusal of the parent, found {other:?}"),
    }
}

#[test]
fn a_goal_serves_another_of_its_company() {
    on_both(async |world| {
        let root = world.goal("root", None).await;
        let leaf = world.goal("leaf", Some(root)).await;
        assert_eq!(world.chain(leaf).await, ["leaf", "root"]);
        let elsewhere = world.company("elsewhere", 5).await;
        let foreign = Goal { company: elsewhere, ..world.draft_goal("foreign", Some(root)) };
        assert!(refused_parent(world.insert_goal(foreign).await).contains("in this company"));
        let unknown = world.draft_goal("lost", Some(world.id()));
        refused_parent(world.insert_goal(unknown).await);
        world.move_goal(leaf, None).await.unwrap();
        assert_eq!(world.chain(leaf).await, ["leaf"]);
    });
}

#[test]
fn no_goal_is_its_own_ancestor() {
    on_both(async |world| {
        let top = world.goal("top", None).await;
        let middle = world.goal("middle", Some(top)).await;
        let low = world.goal("low", Some(middle)).await;
        for parent in [top, middle, low] {
            refused_parent(world.move_goal(top, Some(parent)).await);
        }
        world.move_goal(low, Some(top)).await.unwrap();
        assert_eq!(world.chain(low).await, ["low", "top"]);
    });
}

#[test]
fn two_goals_that_are_put_below_each_other_at_once_do_not_both_move() {
    on_both(async |world| {
        let (a, b) = (world.goal("a", None).await, world.goal("b", None).await);
        let moved = join_all([world.move_goal(a, Some(b)), world.move_goal(b, Some(a))]).await;
        assert_eq!(moved.iter().filter(|answer| answer.is_ok()).count(), 1);
    });
}

#[test]
fn trees_have_a_depth_that_is_not_passed_from_above_or_below() {
    on_both(async |world| {
        let mut deepest = world.goal("1", None).await;
        for number in 2..=DEPTH_MAX {
            deepest = world.goal(&number.to_string(), Some(deepest)).await;
        }
        assert_eq!(world.chain(deepest).await.len(), DEPTH_MAX);
        refused_parent(world.insert_goal(world.draft_goal("too deep", Some(deepest))).await);
        let above = world.goal("above", None).await;
        let parent = world.goal("parent", Some(above)).await;
        let below = world.goal("below", None).await;
        world.goal("child", Some(below)).await;
        let last_but_one =
            world.db.read("chain", deepest, |tx, id| Box::pin(async move { Ok(goals::chain(tx, *id).await?) }));
        let last_but_one = last_but_one.await.unwrap()[1].id;
        refused_parent(world.move_goal(below, Some(last_but_one)).await);
        world.move_goal(below, Some(parent)).await.unwrap();
        let page = world.db.read("list", (world.company, above), |tx, (company, above)| {
            Box::pin(goals::list(tx, *company, Some(*above), None, 10))
        });
        assert_eq!(page.await.unwrap().items.iter().map(|goal| goal.id).collect::<Vec<_>>(), [parent]);
    });
}
