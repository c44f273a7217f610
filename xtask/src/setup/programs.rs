//! Programs that are there when they answer to `--version`.

use std::path::Path;

use anyhow::Result;

use crate::command::{answer, command, succeeds};
use crate::setup::{Standing, system};

/// Version control: the house rules ask it which files there are.
pub fn git(root: &Path) -> Result<Standing> {
    if let Some(version) = first_line(root, "git --version") {
        return Ok(Standing::Ready(version));
    }
    system::install(root, "git")?;
    Ok(standing(root, "git --version", "install git (Debian: apt-get install git)"))
}

/// Parts of the Rust toolchain that a minimal installation leaves out.
pub fn rust_components(root: &Path) -> Result<Standing> {
    let both = || Some(format!("{}, {}", first_line(root, FMT)?, first_line(root, CLIPPY)?));
    if both().is_none() && first_line(root, "rustup --version").is_some() {
        succeeds(&mut command(root, "rustup component add rustfmt clippy"))?;
    }
    let how = "rustup component add rustfmt clippy (or your system's packages of that name)";
    Ok(both().map_or_else(|| Standing::Missing(how.into()), Standing::Ready))
}

const FMT: &str = "cargo fmt --version";
const CLIPPY: &str = "cargo clippy --version";

/// The test runner: it keeps tests apart in processes of their own.
pub fn nextest(root: &Path) -> Result<Standing> {
    let version = "cargo nextest --version";
    if let Some(found) = first_line(root, version) {
        return Ok(Standing::Ready(found));
    }
    println!("cargo-nextest is missing and is built now; it takes some minutes, once");
    succeeds(&mut command(root, "cargo install cargo-nextest --locked"))?;
    Ok(standing(root, version, "cargo install cargo-nextest --locked"))
}

/// What the agent CLIs run on and come with.
pub fn npm(root: &Path) -> Result<Standing> {
    let both = || Some(format!("node {}, npm {}", first_line(root, NODE)?, first_line(root, NPM)?));
    if both().is_none() {
        system::install(root, "nodejs npm")?;
    }
    let how = "install Node.js 18 or newer with npm (Debian: apt-get install nodejs npm)";
    Ok(both().map_or_else(|| Standing::Missing(how.into()), Standing::Ready))
}

const NODE: &str = "node --version";
const NPM: &str = "npm --version";

fn standing(root: &Path, version: &str, how: &str) -> Standing {
    first_line(root, version).map_or_else(|| Standing::Missing(how.into()), Standing::Ready)
}

fn first_line(root: &Path, line: &str) -> Option<String> {
    answer(&mut command(root, line))?.lines().next().map(str::to_owned)
}
