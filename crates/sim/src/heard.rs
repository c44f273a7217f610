//! What an operation answered, brought to what the trace shows and the ledger compares.

use std::fmt;

use wakeful_domain::agent::Agent;
use wakeful_domain::comment::Comment;
use wakeful_domain::company::Company;
use wakeful_domain::id::{RunId, SubscriptionId, WakeupId};
use wakeful_domain::mail::Message;
use wakeful_domain::run::Run;
use wakeful_domain::task::Task;
use wakeful_domain::wakeup::{Wakeup, WakeupStatus};
use wakeful_store::Refusal;
use wakeful_store::ops::claim::Claimed;
use wakeful_store::ops::dispatch::Dispatched;
use wakeful_store::ops::inbox::Acknowledgement;
use wakeful_store::ops::spending::Spent;
use wakeful_store::ops::subscriptions::declare::Declared;
use wakeful_store::ops::subscriptions::topics::Published;
use wakeful_store::ops::timers::TimerReport;
use wakeful_store::ops::wake::Accepted;

use crate::world::code_of;

/// The gist of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Done,
    /// For each wake: the wakeup, how it stands and whether it is new; or why it was refused.
    Accepted(Vec<Result<(WakeupId, WakeupStatus, bool), &'static str>>),
    Dispatched {
        timers: TimerReport,
        /// Each run with its batch in the order in which it is handed over.
        claimed: Vec<(RunId, Vec<WakeupId>)>,
    },
    Acknowledged(Acknowledgement),
    Ended(&'static str),
    Stopped(Vec<RunId>),
    /// Which, and whether it is new.
    Subscribed(SubscriptionId, bool),
    /// How many it matched.
    Published(i64),
}

/// An answer that has a gist.
pub trait Heard {
    fn told(&self) -> Told;
}

impl Heard for () {
    fn told(&self) -> Told {
        Told::Done
    }
}

impl Heard for Spent {
    fn told(&self) -> Told {
        Told::Done
    }
}

impl Heard for (Run, Spent) {
    fn told(&self) -> Told {
        self.0.told()
    }
}

impl Heard for Declared {
    fn told(&self) -> Told {
        Told::Subscribed(self.subscription.id, self.is_new)
    }
}

impl Heard for Published {
    fn told(&self) -> Told {
        Told::Published(self.matched)
    }
}

impl Heard for Accepted {
    fn told(&self) -> Told {
        Told::Accepted(vec![Ok((self.wakeup.id, self.wakeup.status, self.is_new))])
    }
}

impl Heard for Vec<Result<Accepted, Refusal>> {
    fn told(&self) -> Told {
        let each = self.iter().map(|answer| match answer {
            Ok(accepted) => Ok((accepted.wakeup.id, accepted.wakeup.status, accepted.is_new)),
            Err(refusal) => Err(code_of(refusal)),
        });
        Told::Accepted(each.collect())
    }
}

impl Heard for Dispatched {
    fn told(&self) -> Told {
        let batch = |claimed: &Claimed| claimed.wakeups.iter().map(|wakeup| wakeup.id).collect();
        Told::Dispatched {
            timers: self.timers,
            claimed: self.claimed.iter().map(|claimed| (claimed.run.id, batch(claimed))).collect(),
        }
    }
}

impl Heard for Acknowledgement {
    fn told(&self) -> Told {
        Told::Acknowledged(self.clone())
    }
}

impl Heard for Run {
    fn told(&self) -> Told {
        Told::Ended(self.status.as_str())
    }
}

impl Heard for Wakeup {
    fn told(&self) -> Told {
        Told::Ended(self.status.as_str())
    }
}

impl Heard for (Agent, Vec<RunId>) {
    fn told(&self) -> Told {
        Told::Stopped(self.1.clone())
    }
}

impl Heard for (Company, Vec<RunId>) {
    fn told(&self) -> Told {
        Told::Stopped(self.1.clone())
    }
}

impl Heard for Agent {
    fn told(&self) -> Told {
        Told::Done
    }
}

impl Heard for Company {
    fn told(&self) -> Told {
        Told::Done
    }
}

impl Heard for Comment {
    fn told(&self) -> Told {
        Told::Done
    }
}

impl Heard for Message {
    fn told(&self) -> Told {
        Told::Done
    }
}

impl Heard for Task {
    fn told(&self) -> Told {
        Told::Done
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Done => write!(f, "done"),
            Told::Accepted(answers) => {
                for (place, answer) in answers.iter().enumerate() {
                    let gap = if place == 0 { "" } else { ", " };
                    match answer {
                        Ok((id, status, true)) => write!(f, "{gap}{id} {status}")?,
                        Ok((id, status, false)) => write!(f, "{gap}{id} {status} (known)")?,
                        Err(code) => write!(f, "{gap}refused {code}")?,
                    }
                }
                Ok(())
            }
            Told::Dispatched { timers, claimed } => {
                write!(f, "due {}, expired {}, freed {}", timers.became_due, timers.expired, timers.unparked)?;
                for (run, batch) in claimed {
                    write!(f, "; {run} takes {batch:?}")?;
                }
                Ok(())
            }
            Told::Acknowledged(answer) => write!(f, "took {:?}, refused {:?}", answer.acknowledged, answer.refused),
            Told::Ended(status) => write!(f, "{status}"),
            Told::Subscribed(id, true) => write!(f, "{id}"),
            Told::Subscribed(id, false) => write!(f, "{id} (again)"),
            Told::Published(matched) => write!(f, "matched {matched}"),
            Told::Stopped(runs) => write!(f, "stops {runs:?}"),
        }
    }
}
