//! A repository of a test's own, and git as the runner calls it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use wakeful_runner::workspace::Git;

/// A directory with a repository `origin` in it that has one commit on `main`.
pub struct Place {
    dir: TempDir,
    pub git: Git,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap().to_owned();
        let environment = vec![
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
            ("HOME".into(), home),
            // Must not reach git: it would look elsewhere.
            ("GIT_DIR".into(), "/nowhere".into()),
        ];
        let place = Place { dir, git: Git::new(&environment) };
        fs::create_dir(place.path("origin")).unwrap();
        place.sh("origin", "git init -q -b main && echo one > file && mkdir sub && echo two > sub/file");
        place.commit("origin", "first");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join(name)
    }

    /// Runs a script in a directory, and gives what it prints.
    pub fn sh(&self, dir: &str, script: &str) -> String {
        self.sh_in(&self.path(dir), script)
    }

    pub fn sh_in(&self, dir: &Path, script: &str) -> String {
        let output = Command::new("/bin/sh")
            .args(["-ec", script])
            .current_dir(dir)
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", self.dir.path().to_str().unwrap())])
            .envs([("GIT_AUTHOR_NAME", "Ann"), ("GIT_AUTHOR_EMAIL", "ann@example.com")])
            .envs([("GIT_COMMITTER_NAME", "Ann"), ("GIT_COMMITTER_EMAIL", "ann@example.com")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits all there is in a directory; gives the commit.
    pub fn commit(&self, dir: &str, message: &str) -> String {
        self.sh(dir, &format!("git add -A && git commit -qm '{message}' && git rev-parse HEAD"))
    }
}
