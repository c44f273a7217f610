//! Guards against loops: the circuit of a lane, the depth and the runs of a chain of causes; what tells the operator.

use wakeful_domain::agent::AgentEvent;
use wakeful_domain::escalation::{Escalation, EscalationKind, EscalationStatus};
use wakeful_domain::id::AgentId;
use wakeful_domain::lane::CIRCUIT_FAILURES;
use wakeful_domain::waiting::{Host, WaitingReason, why_waiting};
use wakeful_domain::wakeup::{Wakeup, WakeupStatus};
use wakeful_store::ops::companies::{self, CompanyChange};
use wakeful_store::ops::escalations;
use wakeful_store::ops::standing;
use wakeful_store::ops::wake::Wake;

use crate::world::{World, on_both, seconds};

const FREE: Host = Host {
    live_runs: 0,
    live_runs_max: 64,
    is_draining: false,
    is_in_safe_mode: false,
    restored_from: None,
    pressure: None,
};

impl World {
    pub async fn escalations(&self) -> Vec<Escalation> {
        let read = self
            .db
            .read("list", self.company, |tx, company| Box::pin(escalations::list(tx, *company, None, None, 200)));
        read.await.unwrap().items
    }

    pub async fn waits_for(&self, wakeup: &Wakeup) -> WaitingReason {
        let standing = self.db.read("standing", wakeup.clone(), |tx, wakeup| Box::pin(standing::of(tx, wakeup)));
        why_waiting(&standing.await.unwrap(), FREE, self.now()).reason
    }

    /// Fails runs of the agent's own lane, one wake each.
    async fn fail_times(&self, agent: AgentId, times: usize, code: &str) {
        for _ in 0..times {
            self.wake(agent).await;
            self.fail(&self.claim().await.run, code).await;
            self.pass(seconds(1));
        }
    }

    async fn without_retries(&self, name: &str) -> AgentId {
        self.agent_with(name, |agent| agent.retry.delays_s = vec![]).await
    }
}

#[test]
fn five_failures_in_a_row_open_the_circuit_and_a_person_is_told_once() {
    on_both(async |world| {
        let agent = world.without_retries("a").await;
        world.fail_times(agent, CIRCUIT_FAILURES, "exit_nonzero").await;
        let waiting = world.wake_with(agent, |_| {}).await;
        assert!(world.claim_any().await.is_none());
        assert_eq!(world.waits_for(&waiting).await, WaitingReason::CircuitOpen);
        let [told] = &world.escalations().await[..] else { panic!("one escalation") };
        assert_eq!((told.kind, told.count, told.status), (EscalationKind::CircuitOpen, 1, EscalationStatus::Open));
        // Other lanes of the agent go on.
        let task = world.task("t").await;
        world.wake_about(agent, task).await;
        assert_eq!(world.claim().await.run.task, Some(task));
        world.agent_event(agent, AgentEvent::Resume).await.unwrap();
        assert_eq!(world.escalations().await[0].status, EscalationStatus::Resolved);
    });
}

#[test]
fn resuming_closes_the_circuit_and_the_next_failure_does_not_open_it() {
    on_both(async |world| {
        let agent = world.without_retries("a").await;
        world.fail_times(agent, CIRCUIT_FAILURES, "exit_nonzero").await;
        world.wake(agent).await;
        world.agent_event(agent, AgentEvent::Resume).await.unwrap();
        world.fail(&world.claim().await.run, "exit_nonzero").await;
        world.wake(agent).await;
        assert!(world.claim_any().await.is_some(), "four more are needed");
    });
}

#[test]
fn an_explicit_retry_on_the_lane_closes_its_circuit() {
    on_both(async |world| {
        let agent = world.without_retries("a").await;
        let dead = world.wake(agent).await;
        world.fail(&world.claim().await.run, "exit_nonzero").await;
        world.fail_times(agent, CIRCUIT_FAILURES - 1, "exit_nonzero").await;
        world.wake(agent).await;
        assert!(world.claim_any().await.is_none());
        world.retry(dead).await.unwrap();
        assert_eq!(world.claim().await.wakeups.len(), 2);
    });
}

#[test]
fn failures_far_apart_or_broken_by_a_success_or_a_usage_limit_open_nothing() {
    on_both(async |world| {
        let slow = world.without_retries("slow").await;
        for _ in 0..2 * CIRCUIT_FAILURES {
            world.fail_times(slow, 1, "exit_nonzero").await;
            world.pass(seconds(8 * 60));
        }
        let mixed = world.without_retries("mixed").await;
        world.fail_times(mixed, CIRCUIT_FAILURES - 1, "exit_nonzero").await;
        world.wake(mixed).await;
        world.succeed(&world.claim().await.run).await;
        world.fail_times(mixed, CIRCUIT_FAILURES - 1, "exit_nonzero").await;
        world.wake(mixed).await;
        world.fail(&world.claim().await.run, "usage_limit").await;
        assert!(world.escalations().await.is_empty());
    });
}

#[test]
fn a_wakeup_whose_attempts_are_spent_is_a_dead_letter_though_the_circuit_opens() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.retry.delays_s = vec![0]).await;
        for _ in 0..CIRCUIT_FAILURES - 1 {
            world.wake_with(agent, |wake| wake.max_attempts = Some(1)).await;
            world.fail(&world.claim().await.run, "exit_nonzero").await;
        }
        let last = world.wake_with(agent, |wake| wake.max_attempts = Some(1)).await.id;
        let other = world.wake(agent).await;
        world.fail(&world.claim().await.run, "exit_nonzero").await;
        assert_eq!(world.status(last).await, WakeupStatus::Failed);
        assert_eq!(world.status(other).await, WakeupStatus::Pending);
        let other = world.wakeup(other).await;
        assert_eq!(world.waits_for(&other).await, WaitingReason::CircuitOpen);
    });
}

#[test]
fn a_permanent_failure_is_told_to_the_operator_once_with_the_remedy() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        for _ in 0..3 {
            world.wake(agent).await;
            world.fail(&world.claim().await.run, "command_not_found").await;
        }
        let [told] = &world.escalations().await[..] else { panic!("one escalation") };
        assert_eq!((told.kind, told.count), (EscalationKind::PermanentFailure, 3));
        assert!(told.detail.contains("install the command"), "{}", told.detail);
        let events = world.number("select count(*) from events where type = 'escalation.raised'").await;
        assert_eq!(events, 1);
    });
}

/// Two agents that wake each other, each from its own run.
async fn ping_pong(world: &World, rounds: usize) -> Vec<Wakeup> {
    let agents = [world.agent("ping").await, world.agent("pong").await];
    world.wake(agents[0]).await;
    let mut made = Vec::new();
    for round in 0..rounds {
        let Some(claimed) = world.claim_any().await else { break };
        let other = agents[(round + 1) % 2];
        let wake = Wake { by_run: Some(claimed.run.proof()), ..world.draft(other) };
        made.push(world.accept(wake).await.unwrap().wakeup);
        world.succeed(&claimed.run).await;
        world.pass(seconds(1));
    }
    made
}

#[test]
fn two_agents_that_wake_each_other_are_cut_by_depth() {
    on_both(async |world| {
        let made = ping_pong(world, 60).await;
        assert_eq!(made.len(), 33);
        let (last, before) = made.split_last().unwrap();
        assert!(before.iter().all(|wakeup| wakeup.status == WakeupStatus::Pending));
        assert_eq!((last.status, last.status_reason.as_deref()), (WakeupStatus::Skipped, Some("loop_limit")));
        assert!(made.iter().all(|wakeup| wakeup.root_id == made[0].root_id));
        assert_eq!(world.escalations().await.len(), 1);
    });
}

#[test]
fn runs_of_one_root_are_limited_by_the_hour() {
    on_both(async |world| {
        let change = CompanyChange { max_runs_per_root_hour: Some(3), ..CompanyChange::default() };
        let arguments = (world.now(), world.company, change);
        let write = world
            .db
            .write("company", arguments, |tx, (now, id, change)| Box::pin(companies::change(tx, *now, *id, change)));
        write.await.unwrap();
        let made = ping_pong(world, 60).await;
        let last = made.last().unwrap();
        assert_eq!((made.len(), last.status_reason.as_deref()), (4, Some("loop_limit")));
        // One that asks again is skipped again, and nobody is told again.
        let run = world.number("select count(*) from root_runs").await;
        assert_eq!(run, 3);
        let [told] = &world.escalations().await[..] else { panic!("one escalation") };
        assert_eq!(told.kind, EscalationKind::LoopLimit);
    });
}

#[test]
fn an_escalation_that_is_resolved_may_be_raised_again() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let fail = async || {
            world.wake(agent).await;
            world.fail(&world.claim().await.run, "command_not_found").await;
        };
        fail().await;
        let first = world.escalations().await[0].id;
        let arguments = (world.now(), first);
        let write = world.db.write("resolve", arguments, |tx, (now, id)| {
            Box::pin(async move {
                escalations::acknowledge(tx, *now, *id, "ann").await?;
                escalations::resolve(tx, *now, *id, "ann").await
            })
        });
        let resolved = write.await.unwrap();
        assert_eq!((resolved.acked_by.as_deref(), resolved.resolved_by.as_deref()), (Some("ann"), Some("ann")));
        world.agent_event(agent, AgentEvent::Resume).await.unwrap();
        fail().await;
        assert_eq!(world.escalations().await.len(), 2);
    });
}

#[test]
fn a_wake_from_outside_does_not_make_a_chain_any_shorter() {
    on_both(async |world| {
        let agents = [world.agent("ping").await, world.agent("pong").await];
        world.wake(agents[0]).await;
        let mut last = None;
        for round in 0..60 {
            let Some(claimed) = world.claim_any().await else { break };
            let other = agents[(round + 1) % 2];
            // It leads, since it is the more urgent.
            world.wake_with(other, |wake| wake.priority = Some(100)).await;
            let wake = Wake { by_run: Some(claimed.run.proof()), ..world.draft(other) };
            last = Some(world.accept(wake).await.unwrap().wakeup);
            world.succeed(&claimed.run).await;
            world.pass(seconds(1));
            if last.as_ref().is_some_and(|last| last.status == WakeupStatus::Skipped) {
                break;
            }
        }
        assert_eq!(last.unwrap().status_reason.as_deref(), Some("loop_limit"));
    });
}

#[test]
fn a_success_resolves_what_could_not_run_and_the_next_time_is_told_again() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        world.fail(&world.claim().await.run, "auth_required").await;
        world.wake(agent).await;
        world.succeed(&world.claim().await.run).await;
        assert_eq!(world.escalations().await[0].status, EscalationStatus::Resolved);
        world.wake(agent).await;
        world.fail(&world.claim().await.run, "auth_required").await;
        assert_eq!(world.escalations().await.len(), 2);
    });
}
