//! What keeps Wakeful moving: it accepts wakes, starts what may start, follows what runs, ends
//! what is over, and finds everything again after a crash. Decisions are the domain's, rows the
//! store's, processes the runner's; here they are put together.
//!
//! Invariants kept here: an answer leaves only after its commit; effects (start, stop) only after
//! theirs; every live run of the store has exactly one task in here that follows it.

mod archive;
mod beat;
mod budgets;
pub mod clock;
mod clock_watch;
pub mod context;
mod course;
mod delivery;
mod engine;
mod explain;
mod host;
mod live;
mod locks;
mod meters;
mod nudge;
mod patrol;
mod places;
pub mod pressure;
mod questions;
mod recovery;
mod restored;
mod retention;
pub mod room;
mod run;
mod run_meters;
mod scheduling;
pub mod secrets;
mod steering;
mod token;
mod worktrees;

pub use course::{Course, EndedRun, TimedStep};
pub use engine::{Engine, EngineConfig, LogWatch};
pub use explain::{Explanation, Link};
pub use meters::{Meter, Meters};
pub use recovery::Recovery;
pub use retention::{GcReport, Gone};
pub use run_meters::RunMeters;
pub use steering::Delivery;
pub use token::{TokenKind, hash_of, mint, of_secret};
