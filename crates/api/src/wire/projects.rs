//! Projects, goals and worktrees in requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_domain::goal::Goal;
use wakeful_domain::project::{Project, ProjectWorkspace};
use wakeful_domain::worktree::{Base, Worktree, WorktreeState};

use super::agents::present;

/// A project to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    pub name: String,
    /// `{cwd?, repo_url?, repo_ref?}` each, at most 20: runs take the first that is there.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub workspaces: Vec<ProjectWorkspace>,
}

/// Changes to a project; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectPatch {
    pub name: Option<String>,
    #[schema(value_type = Option<Vec<Object>>)]
    pub workspaces: Option<Vec<ProjectWorkspace>>,
}

/// Where tasks are worked on.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectView {
    pub id: String,
    pub company: String,
    pub name: String,
    #[schema(value_type = Vec<Object>)]
    pub workspaces: Vec<ProjectWorkspace>,
    pub created_at: String,
    pub updated_at: String,
}

impl From<Project> for ProjectView {
    fn from(project: Project) -> Self {
        ProjectView {
            id: project.id.to_string(),
            company: project.company.to_string(),
            name: project.name,
            workspaces: project.workspaces,
            created_at: project.created_at.to_string(),
            updated_at: project.updated_at.to_string(),
        }
    }
}

/// A goal to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGoal {
    pub title: String,
    /// Id of the goal that it serves.
    pub parent: Option<String>,
    pub description: Option<String>,
}

/// A goal to be broken down into tasks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecomposeRequest {
    /// Id of the agent that is to do it.
    pub agent: String,
    /// What it is to mind.
    pub reason: Option<String>,
}

/// Changes to a goal; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GoalPatch {
    pub title: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
}

/// What tasks are for.
#[derive(Debug, Serialize, ToSchema)]
pub struct GoalView {
    pub id: String,
    pub company: String,
    pub title: String,
    pub parent: Option<String>,
    pub description: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

impl From<Goal> for GoalView {
    fn from(goal: Goal) -> Self {
        GoalView {
            id: goal.id.to_string(),
            company: goal.company.to_string(),
            title: goal.title,
            parent: goal.parent.map(|parent| parent.to_string()),
            description: goal.description,
            created_at: goal.created_at.to_string(),
            updated_at: goal.updated_at.to_string(),
        }
    }
}

/// A git worktree of a lane.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorktreeView {
    pub agent: String,
    pub task: String,
    pub company: String,
    pub repository: String,
    pub path: String,
    pub branch: String,
    /// `{branch, commit}`: where its branch began.
    #[schema(value_type = Object)]
    pub base: Base,
    /// `active`, `kept` or `removed`.
    #[schema(value_type = String)]
    pub state: WorktreeState,
    /// What would be lost, while it is kept.
    pub state_reason: Option<String>,
    /// What a person can do, while it is kept.
    pub advice: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

impl From<Worktree> for WorktreeView {
    fn from(worktree: Worktree) -> Self {
        WorktreeView {
            advice: worktree.advice(),
            agent: worktree.agent.to_string(),
            task: worktree.task.to_string(),
            company: worktree.company.to_string(),
            repository: worktree.repository,
            path: worktree.path,
            branch: worktree.branch,
            base: worktree.base,
            state: worktree.state,
            state_reason: worktree.state_reason,
            created_at: worktree.created_at.to_string(),
            updated_at: worktree.updated_at.to_string(),
        }
    }
}
