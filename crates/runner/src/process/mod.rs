//! The processes of a run. One small shim process owns the agent's tree, its pipes, its log and its
//! limits, and leaves the exit record on disk; the server only talks to it. Either may die.
//!
//! [`shim::main`] is the shim. [`server`] is the server's side: launch, attach, find, sweep.
//! [`log`] reads and writes the log. The rest is what both sides know.
//!
//! Invariants: an agent starts only after its shim's identity is durable; an exit record exists only
//! when the tree was proven empty; nothing that we did not start is ever signalled.

mod cgroup;
mod clock;
pub mod identity;
pub mod launch;
pub mod log;
pub mod protocol;
pub mod record;
pub mod server;
pub mod shim;
mod tree;

pub use cgroup::{ControlGroups, control_groups};
pub use identity::Identity;
pub use launch::{Launch, LogLimits, ProcessLimits, SecretFile};
pub use protocol::INPUT_BYTES_MAX;
pub use record::{ExitRecord, Limit, LogSummary, ResourceUsage, StartFailure, StopRecord};
pub use server::{
    Attached, FindError, Found, LaunchError, Orders, Shims, Swept, TreeProcess, Update, find, process_tree, sweep,
};
