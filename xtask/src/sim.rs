//! `cargo xtask sim`: the release build of the simulator over many seeds. Not here: what a life is (`crates/sim`), and
//! how the simulator itself is tested (`mutants`).

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::command::{command, succeeds};
use crate::environment;

const BUILD: &str = "cargo build --release --locked --package wakeful-sim";

pub fn run(root: &Path, arguments: &[&str]) -> Result<ExitCode> {
    if !succeeds(&mut command(root, BUILD))? {
        bail!("`{BUILD}` failed: nothing was simulated");
    }
    let program = environment::target(root).join("release").join("wakeful-sim");
    let is_good = succeeds(command(root, &program.to_string_lossy()).args(arguments))?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
