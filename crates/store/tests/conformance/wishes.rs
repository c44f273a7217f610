//! What tests ask of wakeups and runs, in one short call each.

use serde_json::Map;
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, RunId, TaskId, WakeupId};
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::{Run, StopRequest};
use wakeful_domain::wakeup::{Source, Wakeup, WakeupStatus};
use wakeful_store::Refusal;
use wakeful_store::ops::claim::{ClaimRequest, Claimed};
use wakeful_store::ops::finish::FinishRequest;
use wakeful_store::ops::inbox::{AcknowledgeRequest, Acknowledgement};
use wakeful_store::ops::timers::TimerReport;
use wakeful_store::ops::wake::{Accepted, Maker, Wake};
use wakeful_store::ops::{claim, finish, inbox, runs, timers, wake, wakeups};

use crate::world::World;

impl World {
    /// A wake by hand, of the agent's own lane, now.
    pub fn draft(&self, agent: AgentId) -> Wake {
        Wake {
            id: self.id(),
            company: None,
            agent,
            task: None,
            source: Source::Manual,
            trigger_detail: None,
            reason: None,
            priority: None,
            payload: Map::new(),
            context: Map::new(),
            actor: Actor::user("tester"),
            idempotency_key: None,
            request_hash: None,
            now: self.now(),
            due_at: None,
            expires_at: None,
            max_attempts: None,
            by_run: None,
            maker: Maker::Request,
        }
    }

    pub async fn accept(&self, wake: Wake) -> Result<Accepted, Refusal> {
        self.db.write("wake", wake, |tx, wake| Box::pin(wake::accept(tx, wake))).await
    }

    /// A wakeup after a change to the draft.
    pub async fn wake_with(&self, agent: AgentId, change: impl FnOnce(&mut Wake)) -> Wakeup {
        let mut wake = self.draft(agent);
        change(&mut wake);
        self.accept(wake).await.unwrap().wakeup
    }

    pub async fn wake(&self, agent: AgentId) -> WakeupId {
        self.wake_with(agent, |_| {}).await.id
    }

    pub async fn wake_about(&self, agent: AgentId, task: TaskId) -> WakeupId {
        self.wake_with(agent, |wake| wake.task = Some(task)).await.id
    }

    pub async fn wakeup(&self, id: WakeupId) -> Wakeup {
        self.db.read("wakeup", id, |tx, id| Box::pin(wakeups::get(tx, *id))).await.unwrap()
    }

    pub async fn status(&self, id: WakeupId) -> WakeupStatus {
        self.wakeup(id).await.status
    }

    pub fn claim_request(&self) -> ClaimRequest {
        let run: RunId = self.id();
        ClaimRequest { now: self.now(), run, token_hash: run.to_string() }
    }

    pub async fn try_claim(&self) -> Result<Option<Claimed>, Refusal> {
        self.db.write("claim", self.claim_request(), |tx, request| Box::pin(claim::claim(tx, request))).await
    }

    /// What may start now, if anything.
    pub async fn claim_any(&self) -> Option<Claimed> {
        self.try_claim().await.unwrap()
    }

    pub async fn claim(&self) -> Claimed {
        self.claim_any().await.expect("something may start")
    }

    pub async fn claim_some(&self, count: usize) -> Vec<Claimed> {
        let requests: Vec<_> = (0..count).map(|_| self.claim_request()).collect();
        self.db.write("claim", requests, |tx, requests| Box::pin(claim::claim_some(tx, requests))).await.unwrap()
    }

    pub async fn get_run(&self, id: RunId) -> Run {
        self.db.read("run", id, |tx, id| Box::pin(runs::get(tx, *id))).await.unwrap()
    }

    pub fn ending(&self, run: &Run, outcome: Outcome) -> FinishRequest {
        FinishRequest {
            id_seed: self.origin().id_seed,
            now: self.now(),
            draw: 0.5,
            run: run.id,
            fence: run.fence,
            outcome,
            exit_code: None,
            signal: None,
            log: None,
        }
    }

    pub async fn try_finish(&self, request: FinishRequest) -> Result<Run, Refusal> {
        self.db.write("finish", request, |tx, request| Box::pin(finish::finish(tx, request))).await
    }

    pub async fn finish(&self, run: &Run, outcome: Outcome) -> Run {
        self.try_finish(self.ending(run, outcome)).await.unwrap()
    }

    pub async fn succeed(&self, run: &Run) -> Run {
        self.finish(run, Outcome::succeeded()).await
    }

    pub async fn fail(&self, run: &Run, code: &str) -> Run {
        self.finish(run, Outcome::failed(code, "it went wrong")).await
    }

    pub async fn stop(&self, run: &Run, puts_back: bool) -> Result<Run, Refusal> {
        let stop = StopRequest { puts_back, ..StopRequest::cancel("enough", self.now()) };
        let arguments = (run.id, stop);
        self.db.write("stop", arguments, |tx, (run, stop)| Box::pin(runs::request_stop(tx, *run, stop))).await
    }

    pub async fn tick(&self) -> TimerReport {
        self.db.write("tick", self.now(), |tx, now| Box::pin(timers::tick(tx, *now))).await.unwrap()
    }

    pub async fn cancel(&self, id: WakeupId) -> Result<Wakeup, Refusal> {
        let arguments = (self.now(), id);
        self.db.write("cancel", arguments, |tx, (now, id)| Box::pin(wakeups::cancel(tx, *now, *id))).await
    }

    pub async fn retry(&self, id: WakeupId) -> Result<Wakeup, Refusal> {
        let arguments = (self.now(), id);
        self.db.write("retry", arguments, |tx, (now, id)| Box::pin(wakeups::retry(tx, *now, *id))).await
    }

    pub async fn inbox(&self, run: &Run) -> Vec<WakeupId> {
        let shown = self.db.read("inbox", run.id, |tx, run| Box::pin(inbox::of_run(tx, *run))).await.unwrap();
        shown.iter().map(|wakeup| wakeup.id).collect()
    }

    pub async fn try_acknowledge(&self, run: &Run, ids: &[WakeupId]) -> Result<Acknowledgement, Refusal> {
        let request = AcknowledgeRequest {
            now: self.now(),
            run: run.id,
            fence: run.fence,
            wakeups: ids.to_vec(),
            messages: vec![],
        };
        self.db.write("ack", request, |tx, request| Box::pin(inbox::acknowledge(tx, request))).await
    }

    pub async fn acknowledge(&self, run: &Run, ids: &[WakeupId]) -> Acknowledgement {
        self.try_acknowledge(run, ids).await.unwrap()
    }
}

/// The ids of a batch, in its order.
pub fn batch(claimed: &Claimed) -> Vec<WakeupId> {
    claimed.wakeups.iter().map(|wakeup| wakeup.id).collect()
}

/// The one wakeup of the batch that leads.
pub fn lead(claimed: &Claimed) -> WakeupId {
    let leads: Vec<_> = claimed.wakeups.iter().filter(|wakeup| wakeup.lead).collect();
    assert_eq!(leads.len(), 1, "a batch has one lead");
    leads[0].id
}

pub fn cancelled() -> Outcome {
    Outcome::ended(End::Cancelled, "cancelled", "by the operator")
}

pub fn timed_out() -> Outcome {
    Outcome::ended(End::TimedOut, "timed_out", "took too long")
}
