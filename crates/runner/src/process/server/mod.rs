//! The server's side of the shim: start one, listen to it, find it again, clean up after it.
//! Nothing here spawns a task or knows the database; the caller drives [`Attached::next`].
//!
//! Blocking calls made on the caller's thread are short, a few small files each; walks over `/proc`
//! go through `spawn_blocking`.

mod attach;
mod find;
mod launch;
mod orders;
mod processes;
mod sweep;

pub use attach::{Attached, Update};
pub use find::{Death, FindError, Found, find};
pub use launch::{LaunchError, Shims};
pub use orders::Orders;
pub use processes::{TreeProcess, process_tree};
pub use sweep::{SweepError, Swept, sweep};
