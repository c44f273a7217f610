//! The programs that agents are: whether they are here, which version, and whether they are logged in.
//! Nothing is asked of a model or over the network.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{Finding, Verdict, finding};
use crate::environment;

/// A CLI that does not say its version by then hangs.
const VERSION_TIMEOUT: Duration = Duration::from_secs(15);

/// An agent CLI and where its login shows.
struct Cli {
    name: &'static str,
    /// Any of these variables is a login.
    variables: &'static [&'static str],
    /// Any of these files in the home directory is one.
    files: &'static [&'static str],
    log_in: &'static str,
}

const CLIS: &[Cli] = &[
    Cli {
        name: "claude",
        variables: &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"],
        files: &[".claude/.credentials.json"],
        log_in: "run `claude` once and log in, or give agents ANTHROPIC_API_KEY as a secret",
    },
    Cli {
        name: "codex",
        variables: &["OPENAI_API_KEY", "CODEX_API_KEY"],
        files: &[".codex/auth.json"],
        log_in: "run `codex login`, or give agents CODEX_API_KEY as a secret",
    },
    Cli {
        name: "gemini",
        variables: &["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"],
        files: &[".gemini/oauth_creds.json"],
        log_in: "run `gemini` once and log in, or give agents GEMINI_API_KEY as a secret",
    },
    Cli {
        name: "opencode",
        variables: &["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"],
        files: &[".local/share/opencode/auth.json"],
        log_in: "run `opencode auth login`, or give agents a provider's key as a secret",
    },
    Cli {
        name: "cursor-agent",
        variables: &["CURSOR_API_KEY"],
        files: &[".config/cursor/auth.json", ".cursor/cli-config.json"],
        log_in: "run `cursor-agent login`, or give agents CURSOR_API_KEY as a secret",
    },
];

/// Every agent CLI, and git.
pub(super) async fn findings() -> Vec<Finding> {
    let mut findings = Vec::with_capacity(CLIS.len() + 1);
    for cli in CLIS {
        findings.push(agent_cli(cli).await);
    }
    findings.push(git().await);
    findings
}

async fn agent_cli(cli: &Cli) -> Finding {
    let Some(path) = on_path(cli.name) else {
        let told =
            format!("install it if your agents use it, or name it in the agent's adapter.command ({})", cli.name);
        return finding(cli.name, Verdict::Warning, "not on the PATH").remedy(told);
    };
    let version = match version(&path).await {
        Ok(version) => version,
        Err(problem) => {
            let told = format!("{}: {problem}", path.display());
            return finding(cli.name, Verdict::Warning, told)
                .remedy(format!("see what `{} --version` says", path.display()));
        }
    };
    match login(cli) {
        Some(login) => finding(cli.name, Verdict::Ok, format!("{version}, logged in by {login} ({})", path.display())),
        None => finding(cli.name, Verdict::Warning, format!("{version}, no login found ({})", path.display()))
            .remedy(cli.log_in),
    }
}

fn login(cli: &Cli) -> Option<String> {
    let variable = cli.variables.iter().find(|name| environment::is_set(name)).map(|name| (*name).to_owned());
    let home = environment::home();
    let file =
        || cli.files.iter().map(|file| home.as_deref().unwrap_or(Path::new("/")).join(file)).find(|file| file.exists());
    variable.or_else(|| file().map(|file| file.display().to_string()))
}

async fn git() -> Finding {
    let Some(path) = on_path("git") else {
        return finding("git", Verdict::Warning, "not on the PATH")
            .remedy("install git if tasks are to have clones or worktrees");
    };
    match version(&path).await {
        Ok(version) => finding("git", Verdict::Ok, format!("{version} ({})", path.display())),
        Err(problem) => finding("git", Verdict::Warning, problem).remedy("see what `git --version` says"),
    }
}

/// The agent CLIs of this machine by the names of their adapters, with where they are; those that are logged in first.
pub fn found() -> Vec<(&'static str, PathBuf)> {
    let mut found: Vec<(&Cli, PathBuf)> = CLIS.iter().filter_map(|cli| Some((cli, on_path(cli.name)?))).collect();
    found.sort_by_key(|(cli, _)| login(cli).is_none());
    found.into_iter().map(|(cli, path)| (cli.name.trim_end_matches("-agent"), path)).collect()
}

fn on_path(name: &str) -> Option<PathBuf> {
    environment::path().into_iter().map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The first line of what it says about its version.
async fn version(path: &Path) -> Result<String, String> {
    let asked = Command::new(path).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(VERSION_TIMEOUT, asked).await {
        Err(_) => return Err(format!("it did not say its version within {} s", VERSION_TIMEOUT.as_secs())),
        Ok(Err(error)) => return Err(format!("it cannot be started: {error}")),
        Ok(Ok(output)) => output,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().find(|line| !line.trim().is_empty()) {
        Some(line) if output.status.success() => Ok(line.trim().chars().take(80).collect()),
        _ => Err(format!("`--version` ended with {}", output.status)),
    }
}
