//! Worktrees: apart from each other, found again, and removed only where nothing would be lost.

use std::fs;
use std::path::{Path, PathBuf};

use wakeful_runner::workspace::worktree::{
    Contents, Known, Repository, Standing, add, contents, remove, repository_of, standing,
};

use crate::git::Place;

const BRANCH: &str = "wakeful/T-1-abc";

async fn repository(place: &Place) -> Repository {
    repository_of(&place.git, &place.path("origin")).await.unwrap().unwrap()
}

/// A worktree of `origin` on its own branch.
async fn worktree(place: &Place) -> PathBuf {
    let path = place.path("worktrees/a/1");
    add(&place.git, &repository(place).await, &path, BRANCH).await.unwrap();
    path
}

async fn count(place: &Place, path: &Path) -> (usize, usize, usize) {
    let root = place.path("origin");
    let known = Known { repository: &root, path, branch: BRANCH, base_branch: Some("main") };
    let Contents { files, stashes, commits } = contents(&place.git, known).await.unwrap();
    (files, stashes, commits)
}

async fn removed(place: &Place, path: &Path) -> Result<(), String> {
    let root = place.path("origin");
    let known = Known { repository: &root, path, branch: BRANCH, base_branch: Some("main") };
    remove(&place.git, known).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_directory_knows_its_repository_or_that_it_has_none() {
    let place = Place::new();
    let found = repository_of(&place.git, &place.path("origin/sub")).await.unwrap().unwrap();
    assert_eq!((found.root.clone(), found.prefix.as_str()), (place.path("origin"), "sub/"));
    assert_eq!((found.branch.as_deref(), found.commit), (Some("main"), place.sh("origin", "git rev-parse HEAD")));
    fs::create_dir(place.path("plain")).unwrap();
    assert_eq!(repository_of(&place.git, &place.path("plain")).await.unwrap(), None);
    place.sh("plain", "git init -q");
    let error = repository_of(&place.git, &place.path("plain")).await.unwrap_err();
    assert!(error.to_string().contains("no commit yet"), "{error}");
}

#[tokio::test]
async fn a_worktree_has_a_branch_of_its_own_and_is_found_again() {
    let place = Place::new();
    let repository = repository(&place).await;
    let path = place.path("worktrees/a/1");
    assert_eq!(standing(&place.git, &repository, &path).await.unwrap(), Standing::Nothing);
    assert_eq!(worktree(&place).await, path);
    assert_eq!(place.sh_in(&path, "cat file sub/file; git branch --show-current"), format!("one\ntwo\n{BRANCH}"));
    assert_eq!(standing(&place.git, &repository, &path).await.unwrap(), Standing::Ready);
    assert_eq!(place.sh("origin", "git branch --show-current"), "main");

    let second = add(&place.git, &repository, &place.path("worktrees/b/1"), BRANCH).await.unwrap_err();
    assert!(second.to_string().contains(BRANCH), "one branch is checked out once: {second}");
    add(&place.git, &repository, &place.path("worktrees/b/1"), "wakeful/T-1-def").await.unwrap();
    fs::write(path.join("file"), "changed").unwrap();
    assert_eq!(place.sh_in(&place.path("worktrees/b/1"), "cat file"), "one");
}

#[tokio::test]
async fn what_is_no_worktree_of_the_repository_is_not_taken_for_one() {
    let place = Place::new();
    let repository = repository(&place).await;
    let in_the_way = async |path: &Path| match standing(&place.git, &repository, path).await.unwrap() {
        Standing::InTheWay(told) => told,
        other => panic!("{other:?}"),
    };
    fs::create_dir(place.path("plain")).unwrap();
    assert!(in_the_way(&place.path("plain")).await.contains("no worktree"));
    assert!(
        in_the_way(&place.path("origin/sub")).await.contains("no worktree"),
        "a directory of the repository itself"
    );
    place.sh("origin", "git init -q -b main ../other && cd ../other && echo x > x");
    place.commit("other", "other");
    assert!(in_the_way(&place.path("other")).await.contains("another repository"));
    let path = worktree(&place).await;
    place.sh("origin", &format!("git worktree lock --reason initializing {}", path.display()));
    assert!(in_the_way(&path).await.contains("half made"));
}

#[tokio::test]
async fn files_stashes_and_commits_that_are_nowhere_else_are_counted() {
    let place = Place::new();
    let path = worktree(&place).await;
    assert_eq!(count(&place, &path).await, (0, 0, 0));
    place.sh_in(
        &path,
        "echo new > new && mkdir d && echo a > d/a && echo changed > file && echo ignored.x > .gitignore",
    );
    place.sh_in(&path, "echo staged > sub/file && git add sub/file");
    assert_eq!(count(&place, &path).await, (5, 0, 0));
    assert!(removed(&place, &path).await.is_err(), "git itself refuses");
    place.sh_in(&path, "git stash -q -u");
    assert_eq!(count(&place, &path).await, (0, 1, 0));
    place.sh_in(&path, "git stash pop -q && git add -A && git commit -qm two && echo z > ignored.x");
    place.sh_in(&path, "git checkout -q --detach && echo more >> file && git commit -qam three");
    assert_eq!(count(&place, &path).await, (0, 0, 2), "those of a detached head too");
}

#[tokio::test]
async fn commits_that_are_merged_or_pushed_are_not_lost() {
    let place = Place::new();
    let path = worktree(&place).await;
    place.sh_in(&path, "echo two > file && git commit -qam two");
    assert_eq!(count(&place, &path).await, (0, 0, 1));
    place.sh("origin", &format!("git merge -q {BRANCH}"));
    assert_eq!(count(&place, &path).await, (0, 0, 0), "merged into the base");
    place.sh("origin", "git checkout -q -b aside HEAD~1");
    assert_eq!(count(&place, &path).await, (0, 0, 0), "the base need not be checked out");

    place.sh("origin", "git init -q --bare ../remote && git remote add there ../remote");
    place.sh_in(&path, "echo three > file && git commit -qam three");
    assert_eq!(count(&place, &path).await, (0, 0, 1));
    place.sh_in(&path, &format!("git push -q {} HEAD", place.path("remote").display()));
    place.sh("origin", "git fetch -q there");
    assert_eq!(count(&place, &path).await, (0, 0, 0), "pushed");
    removed(&place, &path).await.unwrap();
    assert!(!path.exists());
    assert_eq!(
        place.sh("origin", &format!("git branch --list {BRANCH} --format '%(refname:short)'")),
        BRANCH,
        "not merged: stays"
    );
}

#[tokio::test]
async fn a_worktree_goes_with_its_merged_branch_and_can_be_made_again() {
    let place = Place::new();
    let path = worktree(&place).await;
    removed(&place, &path).await.unwrap();
    assert_eq!((path.exists(), place.sh("origin", "git branch --list 'wakeful/*'")), (false, String::new()));
    removed(&place, &path).await.unwrap();

    worktree(&place).await;
    place.sh_in(&path, "echo two > file && git commit -qam two");
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(count(&place, &path).await, (0, 0, 1), "its directory is gone, its commit is not");
    assert_eq!(worktree(&place).await, path);
    assert_eq!(place.sh_in(&path, "cat file"), "two", "its branch goes on");
}
