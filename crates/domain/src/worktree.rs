//! A git worktree of a lane's own: made once, used by all runs of the lane, and removed once the task is
//! closed, if nothing in it would be lost.

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, CompanyId, TaskId};
use crate::time::Timestamp;

/// What becomes of a worktree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorktreeState {
    /// Runs of the lane work in it.
    Active,
    /// Its task is closed, but something in it would be lost.
    Kept,
    Removed,
}

/// Where its branch began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The branch that was checked out in the repository; none if it was none.
    pub branch: Option<String>,
    pub commit: String,
}

/// A git worktree of a lane's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Worktree {
    pub agent: AgentId,
    pub task: TaskId,
    pub company: CompanyId,
    /// The directory of the repository that it belongs to.
    pub repository: String,
    pub path: String,
    pub branch: String,
    pub base: Base,
    pub state: WorktreeState,
    /// Why it is kept.
    pub state_reason: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Characters of an agent's id that tell it from others: the last ones, which are random.
const AGENT_CHARS: usize = 8;

/// The branch of an agent's work on a task.
pub fn branch_name(task_key: &str, agent: AgentId) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let key: String = task_key.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let agent = agent.to_string();
    format!("wakeful/{key}-{}", &agent[agent.len().saturating_sub(AGENT_CHARS)..])
}

/// What would be lost with a worktree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unsaved {
    /// Changed, staged or untracked files.
    pub files: usize,
    /// Stashes made on its branch.
    pub stashes: usize,
    /// Commits that are in neither the base branch, nor what the repository has checked out, nor any remote.
    pub commits: usize,
}

impl Unsaved {
    /// Why the worktree is kept; `None` if nothing would be lost.
    pub fn reason(&self) -> Option<String> {
        let count = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let parts = [
            count(self.files, "uncommitted file", "uncommitted files"),
            count(self.stashes, "stash", "stashes"),
            count(self.commits, "commit not merged or pushed", "commits not merged or pushed"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

impl Worktree {
    /// What a person can do about a worktree that is kept.
    pub fn advice(&self) -> Option<String> {
        (self.state == WorktreeState::Kept).then(|| {
            let Worktree { path, branch, repository, .. } = self;
            format!(
                "look with `git -C {path} status` and `git -C {repository} log {branch}`; once all is committed and merged \
                 or pushed it is removed by itself, or give it up with `git -C {repository} worktree remove --force {path}`"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdSource;

    #[test]
    fn branches_tell_agents_apart_and_are_names_that_git_takes() {
        let mut ids = IdSource::new(1);
        let [one, two]: [AgentId; 2] = std::array::from_fn(|n| ids.next(Timestamp::from_millis(n as i64)));
        assert_ne!(branch_name("T-12", one), branch_name("T-12", two));
        assert!(branch_name("T-12", one).starts_with("wakeful/T-12-"));
        assert!(branch_name("a b..c~", one).starts_with("wakeful/a-b--c--"));
    }

    #[test]
    fn what_would_be_lost_is_counted() {
        let check = |files, stashes, commits, expected: Option<&str>| {
            assert_eq!(Unsaved { files, stashes, commits }.reason().as_deref(), expected);
        };
        check(0, 0, 0, None);
        check(3, 0, 0, Some("3 uncommitted files"));
        check(0, 0, 2, Some("2 commits not merged or pushed"));
        check(1, 1, 1, Some("1 uncommitted file, 1 stash, 1 commit not merged or pushed"));
    }
}
