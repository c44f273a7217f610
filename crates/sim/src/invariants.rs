//! What only history shows, by name: statements that one look at the store cannot check, since they compare what is
//! with what was. Those of one look are `wakeful_domain::invariant`, checked by the store's own code.

use wakeful_domain::invariant::Invariant;

pub const FATE_IS_FINAL: Invariant = Invariant {
    name: "fate_is_final",
    statement: "a terminal wakeup never changes, but for an explicit retry of a failed one",
};
pub const ACCEPTED_IS_KEPT: Invariant = Invariant {
    name: "accepted_is_kept",
    statement: "what was answered as accepted is in the store, and nothing ever leaves it",
};
pub const ACCEPTED_AS_ASKED: Invariant = Invariant {
    name: "accepted_as_asked",
    statement: "an accepted wake waits, or is skipped, coalesced or counted for a reason that holds",
};
pub const KEY_IS_ONE_WAKEUP: Invariant = Invariant {
    name: "key_is_one_wakeup",
    statement: "one idempotency key gives one wakeup, however often it is sent",
};
pub const BATCH_IS_DUE: Invariant = Invariant {
    name: "batch_is_due",
    statement: "a claim takes exactly the wakeups of its lane that were pending, due and not expired",
};
pub const LATE_WAKE_WAITS: Invariant = Invariant {
    name: "late_wake_waits",
    statement: "what arrives while a run is live stays pending: only an acknowledgement or a later claim takes it",
};
pub const STARTS_BELOW_CAPS: Invariant = Invariant {
    name: "starts_below_caps",
    statement: "no run starts at or above a cap of its agent, its company or its host",
};
pub const STARTS_WHAT_IS_READY: Invariant = Invariant {
    name: "starts_what_is_ready",
    statement: "a run starts only on a lane that is ready, and a look leaves nothing ready behind while there is room",
};
pub const BEST_GOES_FIRST: Invariant = Invariant {
    name: "best_goes_first",
    statement: "the company with the fewest live runs goes first, in it the smallest rank",
};
pub const FENCE_RISES: Invariant =
    Invariant { name: "fence_rises", statement: "every claim raises its lane's fence by one, and nothing else does" };
pub const OLD_FENCE_CHANGES_NOTHING: Invariant = Invariant {
    name: "old_fence_changes_nothing",
    statement: "a write with an old fence is refused and changes no row",
};
pub const REFUSED_CHANGES_NOTHING: Invariant =
    Invariant { name: "refused_changes_nothing", statement: "what was refused or never committed changed no row" };
pub const NOTHING_ELSE_CHANGES: Invariant = Invariant {
    name: "nothing_else_changes",
    statement: "an operation changes what it is about, in the way it is meant to, and nothing else",
};
pub const READ_WITH_ITS_WAKEUP: Invariant = Invariant {
    name: "read_with_its_wakeup",
    statement: "mail is read when its reader's run has acknowledged it or succeeded with it, and unread again if that run fails",
};
pub const SUBSCRIBED_IS_TOLD: Invariant = Invariant {
    name: "subscribed_is_told",
    statement: "whoever subscribed is told in the transaction of what happened, once, and each subscription stands as that leaves it",
};
pub const FATE_AS_DECIDED: Invariant = Invariant {
    name: "fate_as_decided",
    statement: "each wakeup of an ended run has the fate that the table of failure classes gives it",
};
pub const ATTEMPTS_ARE_EXACT: Invariant = Invariant {
    name: "attempts_are_exact",
    statement: "a claim or an acknowledgement counts one attempt; what had no chance takes it back; a retry counts from 0",
};
pub const WAITING_HAS_A_REASON: Invariant = Invariant {
    name: "waiting_has_a_reason",
    statement: "every pending wakeup waits for a named reason that holds; what could start has started after a look",
};
pub const OPERATION_WORKS: Invariant =
    Invariant { name: "operation_works", statement: "an operation does what it says, and refuses only with a reason" };
pub const STOP_IS_OBEYED: Invariant =
    Invariant { name: "stop_is_obeyed", statement: "a stop that was asked for in time decides the end of the run" };
pub const EVERYTHING_ENDS: Invariant = Invariant {
    name: "everything_ends",
    statement: "once nothing stands in the way, every wakeup gets its fate, and no run, hold or process is left",
};
pub const PROCESSES_ARE_RUNS: Invariant = Invariant {
    name: "processes_are_runs",
    statement: "the processes under supervision are those of live runs, at most one for each launch",
};
pub const EVERY_SLOT_HAS_ITS_ROW: Invariant = Invariant {
    name: "every_slot_has_its_row",
    statement: "every nominal time that has come while its schedule was active has its row, as soon as a node has looked",
};
pub const NO_SLOT_TWICE: Invariant = Invariant {
    name: "no_slot_twice",
    statement: "no nominal time has two rows, and what a slot has made was made by it alone, once",
};
pub const SLOTS_AS_THE_POLICY_SAYS: Invariant = Invariant {
    name: "slots_as_the_policy_says",
    statement: "what is late is caught up with as far as the policy says, and what is stale is missed",
};
pub const FIRES_ARE_COUNTED: Invariant =
    Invariant { name: "fires_are_counted", statement: "a schedule has fired as often as it has slots that did" };
pub const NEXT_IS_RIGHT: Invariant = Invariant {
    name: "next_is_right",
    statement: "an active schedule has the next nominal time before it; one that has none is disabled, and no other",
};

/// An invariant that did not hold, and how that showed.
#[derive(Debug, Clone)]
pub struct Broken {
    pub invariant: Invariant,
    pub detail: String,
}

impl Broken {
    pub fn new(invariant: Invariant, detail: impl Into<String>) -> Broken {
        Broken { invariant, detail: detail.into() }
    }
}

/// Holds, or is broken with this detail.
pub fn require(holds: bool, invariant: Invariant, detail: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken::new(invariant, detail())) }
}
