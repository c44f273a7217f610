//! `cargo xtask faults`: the release build of the fault suite beside the binary that it tries. Not here: the faults
//! (`crates/faults`).

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::command::{command, succeeds};
use crate::environment;

const BUILDS: &[&str] = &[
    "cargo build --release --locked --package wakeful --bin wakeful",
    "cargo build --release --locked --package wakeful-faults",
];

pub fn run(root: &Path, arguments: &[&str]) -> Result<ExitCode> {
    for build in BUILDS {
        if !succeeds(&mut command(root, build))? {
            bail!("`{build}` failed: no fault was made");
        }
    }
    let program = environment::target(root).join("release").join("wakeful-faults");
    let is_good = succeeds(command(root, &program.to_string_lossy()).args(arguments))?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
