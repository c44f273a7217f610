//! Every failure code Wakeful gives, and the class that decides what happens next.
//! This table is the only place where a code gets its class.

use serde::{Deserialize, Serialize};

/// What a failure means for the wakeups of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// May go away by itself: tried again with back-off.
    Transient,
    /// A usage limit: waits until it lifts, attempts not counted.
    Quota,
    /// Tried again at once or on the next occasion, attempts not counted: the run never had its chance.
    Release,
    /// Tried once more, then given up.
    Once,
    /// Will not go away without a person.
    Permanent,
    /// It is not known whether the work was done: only a person has it done again.
    Uncertain,
}

impl FailureClass {
    pub fn as_str(self) -> &'static str {
        match self {
            FailureClass::Transient => "transient",
            FailureClass::Quota => "quota",
            FailureClass::Release => "release",
            FailureClass::Once => "once",
            FailureClass::Permanent => "permanent",
            FailureClass::Uncertain => "uncertain",
        }
    }
}

/// Codes whose class is not [`FailureClass::Transient`]. Unknown codes are transient.
const CLASSES: &[(&str, FailureClass)] = &[
    ("usage_limit", FailureClass::Quota),
    ("launch_interrupted", FailureClass::Release),
    ("drained", FailureClass::Release),
    ("paused", FailureClass::Release),
    ("timed_out", FailureClass::Once),
    ("stalled", FailureClass::Once),
    ("bad_config", FailureClass::Permanent),
    ("command_not_found", FailureClass::Permanent),
    ("not_executable", FailureClass::Permanent),
    ("working_directory_missing", FailureClass::Permanent),
    ("auth_required", FailureClass::Permanent),
    ("model_not_found", FailureClass::Permanent),
    ("refused", FailureClass::Permanent),
    ("max_turns", FailureClass::Permanent),
    ("not_a_repository", FailureClass::Permanent),
    ("git_not_found", FailureClass::Permanent),
    ("secret_missing", FailureClass::Permanent),
    ("secret_unreadable", FailureClass::Permanent),
    ("address_refused", FailureClass::Permanent),
    ("http_refused", FailureClass::Permanent),
    ("http_redirected", FailureClass::Permanent),
    ("too_many_processes", FailureClass::Once),
    ("restored", FailureClass::Uncertain),
];

/// What a person can do about a code, in one clause.
const REMEDIES: &[(&str, &str)] = &[
    ("command_not_found", "install the command or give its full path in the agent's adapter.command"),
    ("not_executable", "make the command executable, or name another in adapter.command"),
    ("working_directory_missing", "create the directory, or name another in adapter.cwd"),
    ("auth_required", "log the agent's CLI in on this machine, or set its API key in the environment of the server"),
    ("model_not_found", "name a model that the account can use in adapter.model"),
    ("bad_config", "correct the agent's adapter configuration"),
    ("refused", "reword the task: the model declined it"),
    ("max_turns", "raise adapter.max_turns or make the task smaller"),
    ("timed_out", "raise limits.max_duration_s or make the task smaller"),
    (
        "workspace_failed",
        "see that the server's user can clone the repository without being asked, or correct the project",
    ),
    ("worktree_failed", "put the repository in order by what git says, or take `worktree` off the task's workspace"),
    (
        "not_a_repository",
        "name a git repository in the task's project or in adapter.cwd, or take `worktree` off the task's workspace",
    ),
    ("git_not_found", "install git where the server's PATH finds it"),
    ("secret_missing", "set the secret with `wakeful secret set NAME`, then retry"),
    ("secret_unreadable", "start the server with the master key that the secret was sealed under, or set it again"),
    ("address_refused", "let the address in with `wakeful up --http-allow`, or give the service a public one"),
    ("http_refused", "correct adapter.url, or see what the service says"),
    ("http_redirected", "name the address that the service redirects to in adapter.url"),
    (
        "no_first_output",
        "see whether the agent's command waits for a terminal or a network; raise limits.first_output_s if it is slow",
    ),
    ("stalled", "see the end of its log; raise limits.stale_after_s if it works that long in silence"),
    ("restored", "see whether its work was done; `wakeful wakeup retry` has it done again"),
    ("too_many_processes", "raise limits.max_processes, or see what the agent starts"),
    (
        "out_of_memory",
        "raise limits.max_memory_mb if it has one, give the machine more memory or run fewer agents at once",
    ),
];

/// The class of a failure code.
pub fn class_of(code: &str) -> FailureClass {
    CLASSES.iter().find(|(known, _)| *known == code).map_or(FailureClass::Transient, |(_, class)| *class)
}

/// What a person can do about it, where that is known.
pub fn remedy_for(code: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(known, _)| *known == code).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_class_of_the_specification() {
        let check = |code, class| assert_eq!(class_of(code), class, "{code}");
        for code in [
            "exit_nonzero",
            "agent_error",
            "killed",
            "out_of_memory",
            "spawn_failed",
            "overloaded",
            "process_lost",
            "no_result",
            "never seen before",
        ] {
            check(code, FailureClass::Transient);
        }
        check("usage_limit", FailureClass::Quota);
        check("command_not_found", FailureClass::Permanent);
        check("auth_required", FailureClass::Permanent);
        check("timed_out", FailureClass::Once);
        check("restored", FailureClass::Uncertain);
    }
}
