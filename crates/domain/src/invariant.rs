//! What is always true, by name. The statements are checked by `store::ops::invariants`,
//! which property tests, the simulator and `wakeful doctor` all call.

/// A named statement about a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invariant {
    pub name: &'static str,
    pub statement: &'static str,
}

pub const ONE_FATE: Invariant = Invariant {
    name: "one_fate",
    statement: "a claimed wakeup has a live run, a finished one has a fate and a time, a pending one has neither",
};
pub const ONE_LIVE_RUN_PER_LANE: Invariant =
    Invariant { name: "one_live_run_per_lane", statement: "a lane has at most one live run, and names it" };
pub const ONE_LIVE_RUN_PER_TASK: Invariant = Invariant {
    name: "one_live_run_per_task",
    statement: "a task has at most one live run, and names it as its holder",
};
pub const CAPS_HOLD: Invariant = Invariant {
    name: "caps_hold",
    statement: "the live runs counted on agents and companies are the live runs there are",
};
pub const FENCES_RISE: Invariant = Invariant {
    name: "fences_rise",
    statement: "no two runs of a lane have the same fence, and none is above the lane's",
};
pub const EVENTS_GAPLESS: Invariant =
    Invariant { name: "events_gapless", statement: "the events of a run are numbered 1, 2, 3, … without a gap" };
pub const READY_INDEX_TRUE: Invariant = Invariant {
    name: "ready_index_true",
    statement: "the hot index names exactly the lanes that may start, each with the rank of its best wakeup",
};
pub const FIRED_ONCE: Invariant = Invariant {
    name: "fired_once",
    statement: "no two slots have fired the same wakeup or the same task, and none has fired both",
};
pub const FIRES_COUNTED: Invariant =
    Invariant { name: "fires_counted", statement: "a schedule has fired at least as often as it has slots that did" };
pub const DUE_IS_ACTIVE: Invariant = Invariant {
    name: "due_is_active",
    statement: "only an active schedule is due, and what is due has a slot to come",
};
pub const WAITS_ARE_TIMED: Invariant = Invariant {
    name: "waits_are_timed",
    statement: "a subscription is due when its window closes or its wait is over, whichever is first; only an open \
        window holds matches; one that has ended has none and is never due",
};
pub const SUBSCRIPTIONS_COUNTED: Invariant = Invariant {
    name: "subscriptions_counted",
    statement: "the open subscriptions counted on a company are those there are",
};

/// All of them.
pub const ALL: &[Invariant] = &[
    ONE_FATE,
    ONE_LIVE_RUN_PER_LANE,
    ONE_LIVE_RUN_PER_TASK,
    CAPS_HOLD,
    FENCES_RISE,
    EVENTS_GAPLESS,
    READY_INDEX_TRUE,
    FIRED_ONCE,
    FIRES_COUNTED,
    DUE_IS_ACTIVE,
    WAITS_ARE_TIMED,
    SUBSCRIPTIONS_COUNTED,
];

/// A row that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub subject: String,
}
