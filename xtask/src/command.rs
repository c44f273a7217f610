//! Programs that xtask starts: at the root of the repository, their output shown as it comes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};

/// `line` as a command: words are separated by single spaces.
pub fn command(root: &Path, line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(root);
    forget_cargo_run(&mut command);
    command
}

/// What `cargo run` tells xtask about itself is not for the builds that xtask starts: build scripts
/// that watch these variables would run again with every change between `cargo` and `cargo xtask`.
fn forget_cargo_run(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// Runs it; whether it ended well. That it cannot be started is an error.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    println!("$ {}", shown(command));
    let status = command.status().with_context(|| format!("`{}` cannot be started", shown(command)))?;
    Ok(status.success())
}

/// What it writes, or nothing if it cannot be started or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output: Output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
