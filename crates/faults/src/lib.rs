//! The fault suite: what goes wrong on a machine is made to go wrong, with real processes and a real
//! server over HTTP, and what must hold is looked at from outside. Each fault is a named [`Case`]; its
//! measured facts make one line of a table (`docs/reference/faults.md`).
//!
//! A rule that is broken is a panic that says what was found: there is nobody to hand an error to. Not here: faults
//! of the store alone and of the clock, which the simulator makes (`crates/sim`).
#![expect(clippy::unwrap_used, reason = "what cannot go on fails loudly, and fails its case")]

pub mod agent;
mod case;
pub mod cases;
mod fakes;
mod load;
mod logs;
mod machine;
mod preload;
pub mod table;
mod waiting;

pub use case::{Case, End, Measured, Scale, Skipped, Told};

/// The case of this name.
pub fn case(name: &str) -> Option<&'static Case> {
    cases::ALL.iter().find(|case| case.name == name)
}
