//! Where things lie on this machine.

use std::path::{Path, PathBuf};

use wakeful_domain::id::{AgentId, RunId};

use crate::engine::Engine;

impl Engine {
    /// Where a run keeps its log and its records.
    pub fn run_dir(&self, run: RunId) -> PathBuf {
        self.inner.config.data_dir.join("runs").join(run.to_string())
    }

    /// The directory of an agent's own: where it works unless something else is said.
    pub(crate) fn agent_home(&self, agent: AgentId) -> PathBuf {
        self.inner.config.data_dir.join("agents").join(agent.to_string())
    }

    /// The directory that holds this binary, so that runs find `wakeful` on their PATH.
    pub(crate) fn program_dir(&self) -> Option<&Path> {
        self.inner.config.program.parent()
    }
}
