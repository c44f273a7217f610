//! The shim with real processes: what it starts, what it keeps, what it ends, and what is left when it dies; and
//! clones and worktrees with the real git.
//! Every wait has a deadline and waits for an event or a condition, never for a while.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails loudly, in its helpers too")]

mod asked;
mod clones;
mod ends;
mod git;
mod limits;
mod logs;
mod output;
mod recovery;
mod secrets;
mod setup;
mod throughput;
mod trees;
mod words;
mod worktrees;
