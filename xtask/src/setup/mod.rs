//! What the tests need beside Rust: looked for, installed where that is allowed, and otherwise named
//! together with the way to get it. Nothing here changes a machine that has everything.

pub mod agents;
pub mod browser;
pub mod postgres;
mod programs;
mod system;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::report::Verdict;

/// How a requirement stands once everything has been tried that may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Which one was found.
    Ready(String),
    /// How to install it.
    Missing(String),
}

/// A thing that the tests need: found, installed or missing.
type Requirement = fn(&Path) -> Result<Standing>;

/// In the order in which they need each other. Whatever else the tests come to need is a line here and
/// a function that answers for it.
const REQUIREMENTS: &[(&str, Requirement)] = &[
    ("git", programs::git),
    ("rustfmt and clippy", programs::rust_components),
    ("cargo-nextest", programs::nextest),
    ("PostgreSQL server", postgres::server),
    ("Node.js and npm", programs::npm),
    ("agent CLIs", agents::clis),
    ("Chromium", browser::chromium),
    ("axe-core", browser::axe),
];

pub fn run(root: &Path) -> Result<ExitCode> {
    Ok(everything(root)?.exit_code())
}

/// Looks after every requirement, and lists all that is missing rather than the first.
pub fn everything(root: &Path) -> Result<Verdict> {
    let mut missing = Vec::new();
    for (what, requirement) in REQUIREMENTS {
        let standing = requirement(root).unwrap_or_else(|error| Standing::Missing(format!("{error:#}")));
        match standing {
            Standing::Ready(found) => println!("{what}: {found}"),
            Standing::Missing(how) => {
                println!("{what}: MISSING");
                missing.push(format!("  {what}: {how}"));
            }
        }
    }
    if missing.is_empty() {
        return Ok(Verdict::Passed);
    }
    println!("\nThe tests need what is missing here:\n{}", missing.join("\n"));
    Ok(Verdict::Failed("install what is listed above, then run `cargo xtask test` again".into()))
}
