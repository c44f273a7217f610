//! Clones: made once, whole or not at all, at the reference that was asked for.

use std::fs;

use wakeful_runner::workspace::GitError;
use wakeful_runner::workspace::clone::{Source, cloned};

use crate::git::Place;

fn source(place: &Place, reference: Option<&str>) -> Source {
    let url = place.path("origin").to_str().unwrap().to_owned();
    Source { url, reference: reference.map(str::to_owned) }
}

#[tokio::test]
async fn a_clone_is_made_once_and_what_is_done_in_it_stays() {
    let place = Place::new();
    let dir = cloned(&place.git, &source(&place, None), &place.path("projects/1")).await.unwrap();
    assert_eq!(
        (dir.clone(), place.sh_in(&dir, "cat file; git branch --show-current")),
        (place.path("projects/1"), "one\nmain".into())
    );
    fs::write(dir.join("work"), "mine").unwrap();
    assert_eq!(cloned(&place.git, &source(&place, None), &place.path("projects/1")).await.unwrap(), dir);
    assert_eq!(fs::read_to_string(dir.join("work")).unwrap(), "mine");
    assert_eq!(place.sh_in(&dir, "git status --porcelain"), "?? work", "our mark is no file of the repository");
}

#[tokio::test]
async fn another_repository_or_reference_at_the_same_place_is_another_clone() {
    let place = Place::new();
    place.sh("origin", "git branch next && git tag v1 && git init -q -b main ../other && cd ../other && echo x > x");
    place.commit("other", "other");
    let first = cloned(&place.git, &source(&place, None), &place.path("projects/1")).await.unwrap();
    let next = cloned(&place.git, &source(&place, Some("next")), &place.path("projects/1")).await.unwrap();
    assert_eq!(
        (next.clone(), place.sh_in(&next, "git branch --show-current")),
        (place.path("projects/1-2"), "next".into())
    );
    let url = place.path("other").to_str().unwrap().to_owned();
    let other = cloned(&place.git, &Source { url, reference: None }, &place.path("projects/1")).await.unwrap();
    assert_eq!((other.clone(), other.join("x").exists()), (place.path("projects/1-3"), true));
    assert_eq!(cloned(&place.git, &source(&place, None), &place.path("projects/1")).await.unwrap(), first);
}

#[tokio::test]
async fn a_branch_a_tag_and_a_commit_are_checked_out() {
    let place = Place::new();
    let first = place.sh("origin", "git tag v1 && git rev-parse HEAD");
    place.sh("origin", "git checkout -q -b next && echo more >> file");
    let second = place.commit("origin", "second");
    // A commit that no branch has any more.
    place.sh("origin", "git config uploadpack.allowAnySHA1InWant true && git checkout -q main && git branch -D next -q && git branch next main -q");
    for (number, reference, head, branch) in [
        (1, "next", &first, "next"),
        (2, "v1", &first, ""),
        (3, first.as_str(), &first, ""),
        (4, second.as_str(), &second, ""),
    ] {
        let at = place.path(&format!("projects/{number}"));
        let dir = cloned(&place.git, &source(&place, Some(reference)), &at).await.unwrap();
        assert_eq!(place.sh_in(&dir, "git rev-parse HEAD"), *head, "{reference}");
        assert_eq!(place.sh_in(&dir, "git branch --show-current"), branch, "{reference}");
    }
}

#[tokio::test]
async fn what_cannot_be_cloned_is_an_error_in_gits_words_and_leaves_nothing() {
    let place = Place::new();
    let nowhere = Source { url: place.path("nowhere").to_str().unwrap().to_owned(), reference: None };
    let error = cloned(&place.git, &nowhere, &place.path("projects/1")).await.unwrap_err();
    let GitError::Failed { message, .. } = &error else { panic!("{error}") };
    assert!(message.contains("does not exist") && message.contains("nowhere"), "{error}");
    let error =
        cloned(&place.git, &source(&place, Some("no-such-branch")), &place.path("projects/1")).await.unwrap_err();
    assert!(error.to_string().contains("no-such-branch"), "{error}");
    assert_eq!(fs::read_dir(place.path("projects")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_clone_that_was_broken_off_is_made_anew() {
    let place = Place::new();
    fs::create_dir_all(place.path("projects/1.half-made/.git")).unwrap();
    let dir = cloned(&place.git, &source(&place, None), &place.path("projects/1")).await.unwrap();
    assert!(dir.join("file").exists() && !place.path("projects/1.half-made").exists());
}
