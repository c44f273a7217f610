//! The files that the rules look at: what git tracks, and what it would if it were added now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::command;

/// A text file, its path relative to the root of the repository.
#[derive(Debug)]
pub struct File {
    pub path: PathBuf,
    pub text: String,
}

impl File {
    pub fn is_rust(&self) -> bool {
        self.has_extension(&["rs"])
    }

    pub fn is_markdown(&self) -> bool {
        self.has_extension(&["md"])
    }

    pub fn has_extension(&self, extensions: &[&str]) -> bool {
        self.path.extension().and_then(|found| found.to_str()).is_some_and(|found| extensions.contains(&found))
    }

    /// Rust that only tests run: `tests/`, `benches/`, `examples/`, and modules called `tests`.
    pub fn is_test(&self) -> bool {
        let in_folder = self.path.iter().any(|part| ["tests", "benches", "examples"].iter().any(|name| part == *name));
        in_folder || self.path.file_stem().is_some_and(|stem| stem == "tests")
    }

    /// Rust of a package's `src`, tests aside.
    pub fn is_source(&self) -> bool {
        self.is_rust() && !self.is_test() && self.path.iter().any(|part| part == "src")
    }

    pub fn is_named(&self, name: &str) -> bool {
        self.path.file_name().is_some_and(|found| found == name)
    }
}

/// The repository, or what a test says it is.
#[derive(Debug, Default)]
pub struct Tree {
    /// `None` is a file that is no text.
    entries: BTreeMap<PathBuf, Option<File>>,
}

impl Tree {
    pub fn of_repository(root: &Path) -> Result<Tree> {
        let listing = "git ls-files -z --cached --others --exclude-standard";
        let output = command(root, listing).output().context("git cannot be started")?;
        if !output.status.success() {
            bail!("`{listing}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let mut tree = Tree::default();
        for name in String::from_utf8_lossy(&output.stdout).split('\0').filter(|name| !name.is_empty()) {
            // A tracked file that is gone, and a link out of the tree, are nothing to look at.
            let Ok(bytes) = std::fs::read(root.join(name)) else { continue };
            tree.add(name, String::from_utf8(bytes).ok());
        }
        Ok(tree)
    }

    fn add(&mut self, name: &str, text: Option<String>) {
        let path = PathBuf::from(name);
        let file = text.filter(|text| !text.contains('\0')).map(|text| File { path: path.clone(), text });
        self.entries.insert(path, file);
    }

    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (name, text) in files {
            tree.add(name, Some((*text).to_owned()));
        }
        tree
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Every path, also of what is no text.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.keys().map(PathBuf::as_path)
    }

    /// The text files, by path.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.entries.values().flatten()
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.entries.get(Path::new(path))?.as_ref()
    }

    /// Whether there is such a file, or a folder with files.
    pub fn contains(&self, path: &Path) -> bool {
        path.as_os_str().is_empty()
            || self.entries.contains_key(path)
            || self.entries.keys().any(|file| file.starts_with(path))
    }

    /// The names of the folders in `folder` that hold files.
    pub fn folders(&self, folder: &str) -> Vec<&str> {
        let below = self.entries.keys().filter_map(|path| path.strip_prefix(folder).ok());
        let mut names: Vec<_> = below.filter(|path| path.iter().count() > 1).filter_map(first_name).collect();
        names.dedup();
        names
    }
}

fn first_name(path: &Path) -> Option<&str> {
    path.iter().next()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_place() {
        let check = |path: &str, is_source: bool, is_test: bool| {
            let file = File { path: path.into(), text: String::new() };
            assert_eq!((file.is_source(), file.is_test()), (is_source, is_test), "{path}");
        };
        check("crates/store/src/ops/wake.rs", true, false);
        check("crates/store/src/tests.rs", false, true);
        check("crates/store/src/wake/tests.rs", false, true);
        check("crates/store/tests/conformance/main.rs", false, true);
        check("crates/store/build.rs", false, false);
        check("crates/store/src/schema.sql", false, false);
    }

    #[test]
    fn folders_hold_files_and_contain_paths() {
        let tree = Tree::of(&[("crates/a/Cargo.toml", ""), ("crates/b/src/lib.rs", ""), ("crates/README.md", "")]);
        assert_eq!(tree.folders("crates"), ["a", "b"]);
        assert!(tree.contains(Path::new("crates/b/src")) && !tree.contains(Path::new("crates/c")));
    }
}
