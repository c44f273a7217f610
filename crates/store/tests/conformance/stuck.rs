//! Blockers that go no further by themselves: whoever waits for them is told.

use wakeful_domain::agent::AgentEvent;
use wakeful_domain::wakeup::{Source, WakeupStatus};

use crate::world::{on_both, seconds};

#[test]
fn a_blocker_whose_last_wakeup_is_given_up_wakes_those_that_wait_for_it() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent_with("bob", |a| a.retry.delays_s = vec![60]).await);
        let walls = world.task_of("Walls", bob, &[]).await.id;
        world.task_of("Roof", ann, &[walls]).await;
        world.fail(&world.claim().await.run, "exit_nonzero").await;
        assert_eq!(world.wakeups_of(ann).await.len(), 0, "it is tried again");
        world.pass(seconds(100));
        world.tick().await;
        let run = world.claim().await.run;
        let more = world.wake_about(bob, walls).await;
        world.fail(&run, "exit_nonzero").await;
        assert_eq!(world.wakeups_of(ann).await.len(), 0, "something more is to come");
        let run = world.claim().await.run;
        world.fail(&run, "auth_required").await;
        assert_eq!(world.status(more).await, WakeupStatus::Failed);
        let [told] = &world.wakeups_of(ann).await[..] else { panic!("one wakeup") };
        assert_eq!(told.source, Source::Dependency);
        let said = format!("T-1, which T-2 waits for, is stuck: {} was given up (auth_required)", run.id);
        assert_eq!(told.reason.as_deref(), Some(said.as_str()));
        assert_eq!(told.payload["stuck"]["error_code"], "auth_required");
        assert_eq!(told.payload["still_blocked_by"][0], walls.to_string());
    });
}

#[test]
fn a_blocker_of_a_terminated_agent_wakes_those_that_wait_for_it() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let walls = world.task_of("Walls", bob, &[]).await.id;
        world.task_of("Roof", ann, &[walls]).await;
        world.agent_event(bob, AgentEvent::Terminate).await.unwrap();
        let [told] = &world.wakeups_of(ann).await[..] else { panic!("one wakeup") };
        let said = "T-1, which T-2 waits for, is stuck: its agent bob was terminated";
        assert_eq!((told.source, told.reason.as_deref()), (Source::Dependency, Some(said)));
    });
}
