//! Directories for runs, made with the git command line: repositories cloned, worktrees added, looked at and
//! removed. What a run is and which directory it gets is decided elsewhere.
//!
//! Invariants: a clone is there whole or not at all; nothing is ever removed with `--force`; no git command
//! asks a question, runs a hook, or outlives its time limit.

pub mod clone;
mod git;
pub mod worktree;

pub use git::{Git, GitError};
