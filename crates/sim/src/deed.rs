//! What a step did to the store: enough for the ledger to say what must have changed.

use wakeful_domain::agent::AgentEvent;
use wakeful_domain::company::CompanyState;
use wakeful_domain::id::{AgentId, CompanyId, MessageId, RunId, SubscriptionId, TaskId, WakeupId};
use wakeful_domain::run::StopRequest;
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::agents::AgentChange;
use wakeful_store::ops::companies::CompanyChange;
use wakeful_store::ops::finish::FinishRequest;
use wakeful_store::ops::holds::HoldRequest;
use wakeful_store::ops::inbox::AcknowledgeRequest;
use wakeful_store::ops::mail::NewMessage;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::subscriptions::declare::Declaration;
use wakeful_store::ops::subscriptions::topics::Publication;
use wakeful_store::ops::tasks::TaskChange;
use wakeful_store::ops::wake::Wake;

/// An operation with what it was told.
#[derive(Debug, Clone)]
pub enum Deed {
    /// One wake: refused as a whole if it is refused.
    Accept(Box<Wake>),
    /// Many wakes, each with an answer of its own.
    AcceptAll(Vec<Wake>),
    Dispatch {
        now: Timestamp,
        requests: Vec<RunId>,
    },
    Started(RunId),
    Acknowledge(AcknowledgeRequest),
    Finish(Box<FinishRequest>),
    Cancel {
        now: Timestamp,
        wakeup: WakeupId,
    },
    Retry {
        now: Timestamp,
        wakeup: WakeupId,
    },
    AgentState {
        now: Timestamp,
        agent: AgentId,
        event: AgentEvent,
        stop: Option<StopRequest>,
        is_deleted: bool,
    },
    CompanyState {
        company: CompanyId,
        state: CompanyState,
        stop: Option<StopRequest>,
    },
    Stop {
        run: RunId,
        stop: StopRequest,
    },
    AgentChange {
        now: Timestamp,
        agent: AgentId,
        change: Box<AgentChange>,
    },
    CompanyChange {
        company: CompanyId,
        change: CompanyChange,
    },
    TaskInsert {
        origin: Origin,
        task: Box<Task>,
        blocked_by: Vec<TaskId>,
    },
    TaskChange {
        origin: Origin,
        task: TaskId,
        change: Box<TaskChange>,
    },
    /// A comment, of somebody or of a run's agent, that mentions these.
    Comment {
        origin: Origin,
        task: TaskId,
        mentioned: Vec<AgentId>,
        reopen: bool,
    },
    Send {
        origin: Origin,
        letter: Box<NewMessage>,
    },
    /// Somebody who is no run of its reader has read a message.
    ReadOutside {
        now: Timestamp,
        message: MessageId,
    },
    Subscribe(Box<Declaration>),
    Unsubscribe(SubscriptionId),
    Publish {
        origin: Origin,
        publication: Box<Publication>,
    },
    CheckOut(HoldRequest),
    LetGo(HoldRequest),
    /// Adds to what is told about a run, and moves nothing.
    Tell,
    /// A write with a fence that is not the live run's: must be refused.
    Late,
}
