//! `cargo xtask bench`: the release build, measured by the `bench` crate. Not here: what is measured.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::command::{command, succeeds};
use crate::environment;

const BUILDS: &[&str] = &[
    "cargo build --release --locked --package wakeful --bin wakeful",
    "cargo build --release --locked --package wakeful-bench",
];

pub fn run(root: &Path, names: &[&str]) -> Result<ExitCode> {
    for build in BUILDS {
        if !succeeds(&mut command(root, build))? {
            bail!("`{build}` failed: nothing was measured");
        }
    }
    let release = environment::target(root).join("release");
    let bench = release.join("wakeful-bench");
    let is_good =
        succeeds(command(root, &bench.to_string_lossy()).args(names).env("WAKEFUL_BIN", release.join("wakeful")))?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
