//! A new agent: its kind is chosen first, then only that kind's fields are asked for. Whoever is new here gets one that
//! works and costs nothing: a command that says why it was woken.

use askama::Template;

use super::{Shown, page};
use crate::cli;
use crate::frame::Frame;
use crate::visit::Visit;

/// A kind of agent, as it is offered.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    title: &'static str,
    words: &'static str,
    /// Proposed as the name of the agent.
    proposed: &'static str,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "process",
        title: "A command",
        words: "Any program or line of shell. Works at once, costs nothing.",
        proposed: "hello",
    },
    Kind {
        name: "claude",
        title: "Claude Code",
        words: "The claude CLI on this machine, logged in.",
        proposed: "claude",
    },
    Kind { name: "codex", title: "Codex", words: "The codex CLI on this machine, logged in.", proposed: "codex" },
    Kind { name: "http", title: "A service", words: "An HTTP service that is called, signed.", proposed: "service" },
    Kind {
        name: "other",
        title: "Another CLI",
        words: "gemini, opencode, cursor, or a CLI that is described in JSON.",
        proposed: "agent",
    },
];

/// What the first agent of a newcomer does.
const EXAMPLE: &str = r#"echo "I was woken because: $WAKEFUL_REASON"; sleep 5; echo done"#;

#[derive(Template)]
#[template(path = "agent_new.html")]
struct NewAgentPage {
    frame: Frame,
    kind: &'static Kind,
}

impl NewAgentPage {
    fn kinds(&self) -> &'static [Kind] {
        KINDS
    }

    fn example(&self) -> &'static str {
        EXAMPLE
    }

    /// What the adapter of a CLI is called for on the command line.
    fn is_cli(&self) -> bool {
        matches!(self.kind.name, "claude" | "codex")
    }

    /// The same on the command line, with what the form says in braces, and in brackets what may be left out.
    fn command(&self) -> Option<String> {
        const COMMON: &str = "[ --title {title}][ --max-concurrent-runs {max_concurrent_runs!=1}][ --max-duration {limits.max_duration_s}]";
        const OF_CLI: &str = "[ --cwd {adapter.cwd}][ --model {adapter.model}][ --prompt {adapter.prompt}]";
        // Settings that have no option of their own.
        let config = |name: &str| format!("[ --config '{{\"{name}\":\"{{adapter.{name}}}\"}}']");
        let rest = match self.kind.name {
            "process" => "[ --cwd {adapter.cwd}] -- sh -c {adapter.command}".to_owned(),
            "claude" => format!(" --adapter claude{OF_CLI}{}", config("permission_mode")),
            "codex" => format!(" --adapter codex{OF_CLI}{}", config("sandbox")),
            "http" => " --adapter http --url {adapter.url}".to_owned(),
            _ => return None,
        };
        Some(format!("wakeful agent add {{name}}{COMMON}{rest}"))
    }

    /// The same before anything is typed.
    fn command_now(&self) -> String {
        let Kind { name: kind, proposed: name, .. } = *self.kind;
        match kind {
            "process" => format!("wakeful agent add {name} -- sh -c {}", cli::quoted(EXAMPLE)),
            "http" => format!("wakeful agent add {name} --adapter http --url URL"),
            kind => format!("wakeful agent add {name} --adapter {kind}"),
        }
    }
}

/// Shows the form for one kind.
pub async fn show(visit: Visit) -> Shown {
    // No events: what is being written stays as it is.
    let frame = Frame::around(&visit, "agents", "").await?.titled("New agent");
    let asked = visit.asked("kind");
    let kind = KINDS.iter().find(|kind| kind.name == asked).unwrap_or(&KINDS[0]);
    page(&NewAgentPage { frame, kind })
}
