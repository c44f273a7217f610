//! Verbs of projects, goals and worktrees, described.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Subcommand)]
pub enum ProjectVerb {
    /// Add a project
    Add(ProjectAddArguments),
    /// List projects
    Ls,
    /// Show a project
    Show {
        /// Its id
        project: String,
    },
}

#[derive(Debug, Clone, Args)]
pub struct ProjectAddArguments {
    pub name: String,
    /// Directory on the server's machine in which its tasks are worked on
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Repository that is cloned on first use, unless the directory exists
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Branch, tag or commit to check out when it is cloned
    #[arg(long = "ref", value_name = "REF", requires = "repo")]
    pub reference: Option<String>,
    /// One more workspace, as a JSON object {cwd?, repo_url?, repo_ref?}; may be repeated
    #[arg(long, value_name = "JSON")]
    pub workspace: Vec<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum GoalVerb {
    /// Add a goal
    Add {
        title: String,
        /// Id of the goal that it serves
        #[arg(long, value_name = "GOAL")]
        parent: Option<String>,
        #[arg(long)]
        description: Option<String>,
    },
    /// List goals as a tree
    Ls,
    /// Show a goal
    Show {
        /// Its id
        goal: String,
    },
    /// Ask an agent to break a goal down into tasks
    Decompose {
        /// Its id
        goal: String,
        /// Name or id of the agent, which is woken
        agent: String,
        /// What to mind
        #[arg(short = 'm', long = "message", value_name = "TEXT")]
        message: Option<String>,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub enum WorktreeVerb {
    /// List worktrees: those in use, and those kept because something in them would be lost
    Ls {
        /// active, kept or removed
        #[arg(long)]
        state: Option<String>,
    },
}
