//! Cloning a repository on first use. A clone is made beside its place and moved there when it is whole. It
//! remembers what it is a clone of: a project that names another repository later gets another clone, and the
//! work in the first stays where it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::git::{CHECKOUT_MAX, FETCH_MAX, Git, GitError};

/// In the clone's `.git`, where neither git nor an agent looks.
const MARK: &str = "wakeful.json";
/// Clones of different repositories that one place may have had in its life.
const CLONES_MAX: usize = 100;

/// What is cloned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub url: String,
    /// A branch, tag or commit; the remote's default branch if absent.
    pub reference: Option<String>,
}

/// The directory of the clone of `source` at `place`, made now unless it is there. Whoever calls this sees to it
/// that nobody else does for the same place meanwhile.
pub async fn cloned(git: &Git, source: &Source, place: &Path) -> Result<PathBuf, GitError> {
    for number in 1..=CLONES_MAX {
        let dir = match number {
            1 => place.to_owned(),
            number => beside(place, &format!("-{number}")),
        };
        if !dir.exists() {
            make(git, source, &dir).await?;
            return Ok(dir);
        }
        if marked(&dir).is_some_and(|known| known == *source) {
            return Ok(dir);
        }
    }
    Err(GitError::other(format!("{} and its neighbours are all taken by other clones: remove some", place.display())))
}

fn beside(place: &Path, ending: &str) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    place.with_file_name(name)
}

fn marked(dir: &Path) -> Option<Source> {
    serde_json::from_slice(&fs::read(dir.join(".git").join(MARK)).ok()?).ok()
}

async fn make(git: &Git, source: &Source, dir: &Path) -> Result<(), GitError> {
    let parent = dir.parent().unwrap_or(dir);
    let half_made = beside(dir, ".half-made");
    let io_error = |error: io::Error| GitError::other(format!("cannot prepare {}: {error}", dir.display()));
    fs::create_dir_all(parent).map_err(io_error)?;
    // Left by a server that was killed; nobody has ever worked in it.
    if half_made.exists() {
        fs::remove_dir_all(&half_made).map_err(io_error)?;
    }
    let made = fill(git, source, parent, &half_made).await;
    if made.is_err() {
        // What cannot be removed now is removed by the next try.
        fs::remove_dir_all(&half_made).ok();
    }
    made?;
    let mark = serde_json::to_vec(source).map_err(|error| GitError::other(error.to_string()))?;
    fs::write(half_made.join(".git").join(MARK), mark).map_err(io_error)?;
    fs::rename(&half_made, dir).map_err(io_error)
}

async fn fill(git: &Git, source: &Source, parent: &Path, dir: &Path) -> Result<(), GitError> {
    let target = dir.to_string_lossy();
    let Some(reference) = &source.reference else {
        git.text(parent, &["clone", "--quiet", "--", &source.url, &target], FETCH_MAX).await?;
        return Ok(());
    };
    git.text(parent, &["clone", "--quiet", "--no-checkout", "--", &source.url, &target], FETCH_MAX).await?;
    // A branch of the remote becomes a branch here, a tag or commit is checked out as it is.
    let checked_out = git.text(dir, &["checkout", "--quiet", reference, "--"], CHECKOUT_MAX).await;
    let Err(refused) = checked_out else { return Ok(()) };
    // A commit that is on no branch, as a review has it, is only there if it is asked for.
    git.text(dir, &["fetch", "--quiet", "origin", reference], FETCH_MAX).await.map_err(|_| refused)?;
    git.text(dir, &["checkout", "--quiet", "--detach", "FETCH_HEAD"], CHECKOUT_MAX).await?;
    Ok(())
}
