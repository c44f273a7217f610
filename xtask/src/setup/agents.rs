//! The agent CLIs that the tests wake for real: pinned, and in `target/agents` so that what a
//! developer has installed is neither used nor changed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{answer, command, succeeds};
use crate::environment;
use crate::setup::Standing;

struct Cli {
    package: &'static str,
    version: &'static str,
    program: &'static str,
}

/// The versions the adapters are tested with. Raise them here and nowhere else.
const CLIS: &[Cli] = &[
    Cli { package: "@anthropic-ai/claude-code", version: "2.1.329", program: "claude" },
    Cli { package: "@openai/codex", version: "0.169.0", program: "codex" },
    Cli { package: "@google/gemini-cli", version: "0.61.0", program: "gemini" },
    Cli { package: "opencode-ai", version: "1.18.33", program: "opencode" },
];

pub fn clis(root: &Path) -> Result<Standing> {
    if !is_installed(root) && !install(root)? {
        let specs = specs().join(" ");
        let folder = folder(root).display().to_string();
        let how = format!("see what npm says above; by hand: npm install --prefix {folder} {specs}");
        return Ok(Standing::Missing(how));
    }
    Ok(Standing::Ready(specs().join(", ")))
}

/// Where the programs are.
pub fn programs(root: &Path) -> PathBuf {
    folder(root).join("node_modules").join(".bin")
}

fn folder(root: &Path) -> PathBuf {
    environment::target(root).join("agents")
}

/// Says what was installed, once it has been seen to work: an installation that broke off is none.
fn stamp(root: &Path) -> PathBuf {
    folder(root).join("installed")
}

fn specs() -> Vec<String> {
    CLIS.iter().map(|cli| format!("{}@{}", cli.package, cli.version)).collect()
}

fn is_installed(root: &Path) -> bool {
    let stamped = std::fs::read_to_string(stamp(root)).is_ok_and(|stamp| stamp == specs().join("\n"));
    stamped && CLIS.iter().all(|cli| programs(root).join(cli.program).exists())
}

fn install(root: &Path) -> Result<bool> {
    let folder = folder(root);
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    let mut npm = command(root, "npm install --no-audit --no-fund --no-progress --save-exact");
    npm.arg("--prefix").arg(&folder).args(specs());
    if !succeeds(&mut npm)? || !CLIS.iter().all(|cli| answers(root, cli)) {
        return Ok(false);
    }
    std::fs::write(stamp(root), specs().join("\n")).context("the agent CLIs cannot be marked as installed")?;
    Ok(true)
}

fn answers(root: &Path, cli: &Cli) -> bool {
    let program = programs(root).join(cli.program);
    let mut version = std::process::Command::new(&program);
    // A home of its own: what the developer has configured is not asked and not touched.
    version.arg("--version").env("HOME", folder(root)).current_dir(folder(root));
    let said = answer(&mut version);
    let is_right = said.as_deref().is_some_and(|said| said.contains(cli.version));
    if !is_right {
        let said = said.unwrap_or_else(|| "nothing".into());
        println!("{} --version says {said}, not {}", program.display(), cli.version);
    }
    is_right
}
