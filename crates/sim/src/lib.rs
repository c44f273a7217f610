//! The simulator: the real domain, store and dispatcher of Wakeful in one thread, with a time that only it moves, fake
//! agents, and trouble between any two steps: crashes, commits that are lost or get no answer, clocks that jump, nodes
//! that stall, results that come late or twice. One seed decides everything: the same seed writes the same trace.
//!
//! After every step the store's own invariants are checked, and its rows are compared with a [`ledger`] that keeps
//! them by its own reading of the specification. What it finds is one command to replay.
//!
//! Not here: processes, disks, sockets and HTTP; those have tests of their own. Not shipped.

mod acts;
mod calendar;
mod deed;
mod follow;
mod heard;
pub mod invariants;
mod ledger;
mod letters;
mod life;
mod mirror;
mod node;
mod operators;
mod shim;
mod subscribed;
mod subscribers;
mod temper;
mod town;
mod trace;
mod wakes;
mod world;

pub use calendar::live_by_schedules;
pub use life::{Failed, Lived, Place, STEPS_DEFAULT, live};
