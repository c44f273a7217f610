//! The shim with real processes: what it starts, what it keeps, what it ends, and what is left when it dies.
//! Every wait has a deadline and waits for an event or a condition, never for a while.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails loudly, in its helpers too")]

mod ends;
mod output;
mod recovery;
mod setup;
mod throughput;
mod trees;
