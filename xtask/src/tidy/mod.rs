//! The house rules as checks. A rule looks at the tree of files and at nothing else, so that a test
//! can show it a bad one. What a compiler, clippy or rustfmt can check is theirs (clippy.toml).

mod rules;
mod source;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::report::Verdict;
pub use tree::Tree;

/// A place that breaks a rule, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
    pub what: String,
    pub remedy: String,
}

impl Finding {
    pub fn at(path: &Path, line: usize, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, what: what.into(), remedy: remedy.into() }
    }
}

/// A rule of the house.
pub type Rule = fn(&Tree) -> Vec<Finding>;

pub fn run(root: &Path) -> Result<ExitCode> {
    Ok(check(root)?.exit_code())
}

/// Checks every rule and prints what breaks one.
pub fn check(root: &Path) -> Result<Verdict> {
    let tree = Tree::of_repository(root)?;
    let mut broken = 0;
    for (name, rule) in rules::ALL {
        let mut findings = rule(&tree);
        findings.sort();
        broken += findings.len();
        for Finding { path, line, what, remedy } in findings {
            println!("{}:{line}: {what}\n    {remedy} [{name}]", path.display());
        }
    }
    println!("{} rules, {} files, {broken} findings", rules::ALL.len(), tree.len());
    Ok(Verdict::of(broken == 0, "each finding above says what to do"))
}
