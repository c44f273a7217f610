//! Worktrees: added to a repository on a branch of their own, looked at, and removed where nothing would be
//! lost. Git's own refusals are kept as they are; there is no `--force` in here.

use std::fs;
use std::path::{Path, PathBuf};

use super::git::{CHECKOUT_MAX, Git, GitError, LOOK_MAX};

/// A directory's repository, as far as a worktree needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The root of its working tree.
    pub root: PathBuf,
    /// The way from there to the directory; empty for the root itself.
    pub prefix: String,
    /// The branch that is checked out, if one is.
    pub branch: Option<String>,
    /// The commit that is checked out.
    pub commit: String,
    /// What all its worktrees share.
    common: PathBuf,
}

/// The repository that a directory lies in; `None` if it lies in none.
pub async fn repository_of(git: &Git, dir: &Path) -> Result<Option<Repository>, GitError> {
    let asked = ["rev-parse", "--show-toplevel", "--show-prefix", "--git-common-dir"];
    let told = match git.text(dir, &asked, LOOK_MAX).await {
        Ok(told) => told,
        Err(GitError::Failed { message, .. }) if message.contains("not a git repository") => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lines = told.split('\n');
    let [root, prefix, common] = std::array::from_fn(|_| lines.next().unwrap_or_default().to_owned());
    let commit = git.answer(dir, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await?;
    let commit = commit.ok_or_else(|| {
        GitError::other(format!("the repository {root} has no commit yet: make one, a worktree begins at a commit"))
    })?;
    let branch = git.answer(dir, &["symbolic-ref", "--quiet", "--short", "HEAD"]).await?;
    Ok(Some(Repository { prefix, branch, commit, common: real(&dir.join(common)), root: PathBuf::from(root) }))
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What stands where a worktree is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Nothing,
    /// A worktree of this repository, ready for use.
    Ready,
    /// Something else; the text says what, and what to do.
    InTheWay(String),
}

/// Looks at the place of a worktree of `repository`.
pub async fn standing(git: &Git, repository: &Repository, path: &Path) -> Result<Standing, GitError> {
    if !path.exists() {
        return Ok(Standing::Nothing);
    }
    let shown = path.display();
    let asked = ["rev-parse", "--show-toplevel", "--git-common-dir", "--absolute-git-dir"];
    let told = match git.text(path, &asked, LOOK_MAX).await {
        Ok(told) => told,
        Err(GitError::Failed { message, .. }) => {
            return Ok(Standing::InTheWay(format!("{shown} is there and no worktree: move it away ({message})")));
        }
        Err(error) => return Err(error),
    };
    let mut lines = told.split('\n');
    let [root, common, own] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    if real(Path::new(root)) != real(path) {
        return Ok(Standing::InTheWay(format!("{shown} is there and no worktree: move it away")));
    }
    if real(&path.join(common)) != repository.common {
        let told = format!(
            "{shown} is a worktree of another repository than {}: bring its work home and remove it with \
             `git -C {shown} worktree remove {shown}`",
            repository.root.display()
        );
        return Ok(Standing::InTheWay(told));
    }
    let is_half_made = fs::read_to_string(Path::new(own).join("locked")).is_ok_and(|why| why.trim() == "initializing");
    if is_half_made {
        let told = format!(
            "{shown} is half made: another git is at it, or was killed; if none is, remove it with \
             `git -C {} worktree remove --force --force {shown}`",
            repository.root.display()
        );
        return Ok(Standing::InTheWay(told));
    }
    Ok(Standing::Ready)
}

/// Adds a worktree on `branch`, which begins at the commit that the repository has checked out unless it is there
/// already; tells whether it begins.
pub async fn add(git: &Git, repository: &Repository, path: &Path, branch: &str) -> Result<bool, GitError> {
    let (root, text) = (&repository.root, path.to_string_lossy());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)
            .map_err(|error| GitError::other(format!("cannot create {}: {error}", parent.display())))?;
    }
    // One whose directory somebody deleted is still listed, and in the way.
    let listed = git.text(root, &["worktree", "list", "--porcelain"], LOOK_MAX).await?;
    if listed.lines().filter_map(|line| line.strip_prefix("worktree ")).any(|known| known == text) {
        git.text(root, &["worktree", "remove", &text], LOOK_MAX).await?;
    }
    let has_branch = has_branch(git, root, branch).await?;
    let added = match has_branch {
        true => git.text(root, &["worktree", "add", "--quiet", &text, branch], CHECKOUT_MAX).await,
        false => {
            let begun = ["worktree", "add", "--quiet", "--no-track", "-b", branch, &text, &repository.commit];
            git.text(root, &begun, CHECKOUT_MAX).await
        }
    };
    added.map(|_| !has_branch)
}

async fn has_branch(git: &Git, dir: &Path, branch: &str) -> Result<bool, GitError> {
    let name = format!("refs/heads/{branch}");
    Ok(git.answer(dir, &["rev-parse", "--verify", "--quiet", &name]).await?.is_some())
}

/// A worktree, by what was kept of it.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub repository: &'a Path,
    pub path: &'a Path,
    pub branch: &'a str,
    /// The branch that its own began at.
    pub base_branch: Option<&'a str>,
}

/// What is in a worktree and nowhere else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Changed, staged or untracked files; ignored ones do not count.
    pub files: usize,
    /// Stashes made on its branch.
    pub stashes: usize,
    /// Commits that are in neither the base branch, nor what the repository has checked out, nor any remote.
    pub commits: usize,
}

/// Counts what would be lost with a worktree. One whose directory is gone has no files left, but may have commits.
pub async fn contents(git: &Git, known: Known<'_>) -> Result<Contents, GitError> {
    let is_there = known.path.exists();
    let files = match is_there {
        true => {
            let asked = ["status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none"];
            git.text(known.path, &asked, LOOK_MAX).await?.lines().count()
        }
        false => 0,
    };
    let stashed = git.text(known.repository, &["stash", "list", "--format=%gs"], LOOK_MAX).await?;
    let made_here = [format!("WIP on {}:", known.branch), format!("On {}:", known.branch)];
    let stashes = stashed.lines().filter(|line| made_here.iter().any(|start| line.starts_with(start))).count();
    Ok(Contents { files, stashes, commits: unmerged(git, known, is_there).await? })
}

async fn unmerged(git: &Git, known: Known<'_>, is_there: bool) -> Result<usize, GitError> {
    let mut own = Vec::new();
    if is_there {
        own.push(git.text(known.path, &["rev-parse", "--verify", "HEAD^{commit}"], LOOK_MAX).await?);
    }
    if has_branch(git, known.repository, known.branch).await? {
        own.push(format!("refs/heads/{}", known.branch));
    }
    if own.is_empty() {
        return Ok(0);
    }
    let mut asked: Vec<&str> = vec!["rev-list", "--count"];
    asked.extend(own.iter().map(String::as_str));
    asked.extend(["--not", "HEAD", "--remotes"]);
    let base = known.base_branch.map(|branch| format!("refs/heads/{branch}"));
    if let (Some(branch), Some(name)) = (known.base_branch, &base)
        && has_branch(git, known.repository, branch).await?
    {
        asked.push(name);
    }
    let count = git.text(known.repository, &asked, LOOK_MAX).await?;
    count.parse().map_err(|_| GitError::other(format!("git counted `{count}` commits")))
}

/// Removes a worktree that holds nothing of its own, and its branch if it is merged. Git looks once more itself.
pub async fn remove(git: &Git, known: Known<'_>) -> Result<(), GitError> {
    let text = known.path.to_string_lossy();
    let listed = git.text(known.repository, &["worktree", "list", "--porcelain"], LOOK_MAX).await?;
    if listed.lines().filter_map(|line| line.strip_prefix("worktree ")).any(|listed| listed == text) {
        git.text(known.repository, &["worktree", "remove", &text], CHECKOUT_MAX).await?;
    }
    // A branch that is pushed but not merged stays.
    git.text(known.repository, &["branch", "--quiet", "-d", known.branch], LOOK_MAX).await.ok();
    Ok(())
}
