//! Every operation on the store, one file a noun. Each takes the transaction and its
//! arguments, has its SQL right above it, and awaits nothing else.

pub mod agents;
pub(crate) mod assignments;
pub mod blockers;
pub mod checkpoints;
pub mod claim;
pub mod comments;
pub mod companies;
pub mod dispatch;
pub mod escalations;
pub mod events;
pub mod filter;
pub mod finish;
pub mod goals;
pub(crate) mod guards;
pub mod holds;
pub mod inbox;
pub mod invariants;
pub mod meta;
pub mod origin;
pub mod projects;
pub(crate) mod quiet_hours;
pub mod ready;
pub mod request_keys;
pub mod run_events;
pub mod runs;
pub mod sessions;
pub mod standing;
pub mod stats;
pub mod tasks;
pub mod timers;
pub mod tokens;
pub mod wake;
pub(crate) mod wake_keys;
pub mod wakeups;
pub mod worktrees;
