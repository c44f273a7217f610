//! Where a run works: the first that is there of the task's project, the agent's configuration, the session's
//! directory and the agent's home; and in it the git worktree of the lane, if the task asks for one.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use wakeful_domain::project::Project;
use wakeful_domain::run::{Workspace, WorktreeUse};
use wakeful_domain::task::Task;
use wakeful_domain::worktree::{Base, Worktree, WorktreeState, branch_name};
use wakeful_runner::workspace::GitError;
use wakeful_runner::workspace::clone::{Source, cloned};
use wakeful_runner::workspace::worktree::{Repository, Standing, add, repository_of, standing};
use wakeful_store::ops::claim::Claimed;
use wakeful_store::ops::worktrees;

use super::start::{Refused, refused};
use crate::clock;
use crate::engine::Engine;

/// Finds the directory of a run, clones and worktrees made as needed.
pub(super) async fn workspace(
    engine: &Engine,
    claimed: &Claimed,
    adapter: &Json,
    home: &Path,
) -> Result<Workspace, Refused> {
    let chosen = choose(engine, claimed, adapter, home).await?;
    match &claimed.task {
        Some(task) if task.workspace.worktree => in_worktree(engine, claimed, task, chosen).await,
        Some(_) | None => Ok(chosen),
    }
}

fn git_refused(code: &str, error: &GitError) -> Refused {
    match error {
        GitError::NotInstalled => refused("git_not_found", error.to_string()),
        GitError::TooLong { .. } | GitError::Failed { .. } | GitError::Other { .. } => refused(code, error.to_string()),
    }
}

async fn choose(engine: &Engine, claimed: &Claimed, adapter: &Json, home: &Path) -> Result<Workspace, Refused> {
    let found =
        |cwd: String, source: &str, reason: String| Workspace { cwd, source: source.into(), reason, worktree: None };
    let (project, passed_over) = of_project(engine, claimed).await?;
    if let Some((cwd, reason)) = project {
        return Ok(found(cwd, "project", reason));
    }
    let because = |reason: &str| match &passed_over {
        Some(why) => format!("{reason}; {why}"),
        None => reason.to_owned(),
    };
    if let Some(cwd) = adapter.get("cwd").and_then(Json::as_str) {
        return Ok(found(cwd.to_owned(), "adapter", because("the agent's configuration names it")));
    }
    if let Some(cwd) = of_session(claimed) {
        return Ok(found(cwd, "session", because("the lane's session works there")));
    }
    let reason = because("nothing else was said, so it is the agent's own directory");
    Ok(found(home.to_string_lossy().into_owned(), "agent_home", reason))
}

/// Where the lane's session works, if that is still there.
fn of_session(claimed: &Claimed) -> Option<String> {
    let session = claimed.session.as_ref().filter(|session| session.ended_because.is_none())?;
    let cwd = session.state.params.get("cwd").and_then(Json::as_str).or(session.cwd.as_deref())?;
    Path::new(cwd).is_dir().then(|| cwd.to_owned())
}

/// The directory of the task's project and the reason; or why its project is passed over.
type OfProject = (Option<(String, String)>, Option<String>);

async fn of_project(engine: &Engine, claimed: &Claimed) -> Result<OfProject, Refused> {
    let (Some(task), Some(project)) = (&claimed.task, &claimed.project) else { return Ok((None, None)) };
    let overrides = task.overrides_for(claimed.agent.id);
    if overrides.is_some_and(|overrides| overrides.use_project_workspace == Some(false)) {
        return Ok((None, Some(format!("the task says not to work in its project {}", project.name))));
    }
    for (number, workspace) in (1..).zip(&project.workspaces) {
        if let Some(cwd) = workspace.cwd.as_ref().filter(|cwd| Path::new(cwd).is_dir()) {
            let reason = format!("it is the first directory of project {} that exists", project.name);
            return Ok((Some((cwd.clone(), reason)), None));
        }
        if let Some(url) = &workspace.repo_url {
            let source = Source { url: url.clone(), reference: workspace.repo_ref.clone() };
            let dir = clone_of(engine, project, number, &source).await?;
            let reason = format!("it is the clone of {url} for project {}", project.name);
            return Ok((Some((dir.to_string_lossy().into_owned(), reason)), None));
        }
    }
    Ok((None, Some(format!("no directory of project {} exists", project.name))))
}

async fn clone_of(engine: &Engine, project: &Project, number: u32, source: &Source) -> Result<PathBuf, Refused> {
    let below = engine.config().data_dir.join("projects").join(project.id.to_string());
    let place = below.join(number.to_string());
    let _alone = engine.inner.directories.lock(&place).await;
    cloned(&engine.inner.git, source, &place).await.map_err(|error| {
        let told = GitError::Other {
            what: format!("{} could not be cloned for project {}: {error}", source.url, project.name),
        };
        git_refused("workspace_failed", if error == GitError::NotInstalled { &error } else { &told })
    })
}

/// The worktree of the lane, of the repository that the chosen directory lies in.
async fn in_worktree(engine: &Engine, claimed: &Claimed, task: &Task, chosen: Workspace) -> Result<Workspace, Refused> {
    let git = &engine.inner.git;
    let path = engine.config().data_dir.join("worktrees").join(claimed.agent.id.to_string()).join(task.id.to_string());
    let _alone = engine.inner.directories.lock(&path).await;
    let known = claimed.worktree.as_ref();
    // Where nothing names a directory, the lane's worktree stays what it is.
    let dir = match (known, chosen.source.as_str()) {
        (Some(known), "session" | "agent_home") => known.repository.clone(),
        (Some(_) | None, _) => chosen.cwd.clone(),
    };
    if !Path::new(&dir).is_dir() {
        return Err(refused("working_directory_missing", format!("there is no directory {dir} to make a worktree of")));
    }
    let failed = |error: GitError| git_refused("worktree_failed", &error);
    let repository = repository_of(git, Path::new(&dir)).await.map_err(failed)?.ok_or_else(|| {
        let told = format!("the task asks for a git worktree, but {dir} lies in no git repository");
        refused("not_a_repository", told)
    })?;
    let branch = known.map_or_else(|| branch_name(&task.key, claimed.agent.id), |known| known.branch.clone());
    let begins_anew = match standing(git, &repository, &path).await.map_err(failed)? {
        Standing::Nothing => add(git, &repository, &path, &branch).await.map_err(failed)?,
        Standing::Ready => false,
        Standing::InTheWay(told) => return Err(refused("worktree_failed", told)),
    };
    let base = match known {
        Some(known) if !begins_anew => known.base.clone(),
        Some(_) | None => Base { branch: repository.branch.clone(), commit: repository.commit.clone() },
    };
    let used = WorktreeUse {
        repository: repository.root.to_string_lossy().into_owned(),
        path: path.to_string_lossy().into_owned(),
        branch,
        base,
    };
    keep(engine, claimed, task, &used).await?;
    let cwd = inside(&path, &repository);
    let reason = format!(
        "the task asks for a worktree of its own: {} of {}, which was chosen because {}",
        used.branch, used.repository, chosen.reason
    );
    Ok(Workspace { cwd, source: chosen.source, reason, worktree: Some(used) })
}

/// The place in the worktree that the chosen directory has in the repository, if it is there.
fn inside(path: &Path, repository: &Repository) -> String {
    let same = path.join(repository.prefix.trim_end_matches('/'));
    let dir = if same.is_dir() { same } else { path.to_owned() };
    dir.to_string_lossy().trim_end_matches('/').to_owned()
}

async fn keep(engine: &Engine, claimed: &Claimed, task: &Task, used: &WorktreeUse) -> Result<(), Refused> {
    let now = clock::now();
    let row = Worktree {
        agent: claimed.agent.id,
        task: task.id,
        company: claimed.company.id,
        repository: used.repository.clone(),
        path: used.path.clone(),
        branch: used.branch.clone(),
        base: used.base.clone(),
        state: WorktreeState::Active,
        state_reason: None,
        created_at: now,
        updated_at: now,
    };
    let kept = engine.write("worktree.put", row, |tx, row| Box::pin(worktrees::put(tx, row))).await;
    kept.map_err(|refusal| refused("worktree_failed", format!("the worktree could not be noted: {refusal}")))
}
