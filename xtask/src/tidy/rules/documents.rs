//! Documents that keep up with the code: the map names every crate and decision, the changelog is
//! open, links lead somewhere. What is not written yet is not checked.

use std::path::{Component, Path, PathBuf};

use crate::tidy::{Finding, Tree};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const DECISIONS: &str = "docs/decisions";

pub fn architecture(tree: &Tree) -> Vec<Finding> {
    let Some(map) = tree.file(ARCHITECTURE) else { return Vec::new() };
    let crates = tree.folders("crates").into_iter().map(|name| format!("crates/{name}"));
    let decisions = tree.files().filter(|file| file.path.starts_with(DECISIONS));
    let decisions = decisions.filter_map(|file| file.path.file_name()?.to_str().map(str::to_owned));
    let missing = crates.chain(decisions).filter(|name| !names(&map.text, name));
    let remedy = "say in one line what it is for, where a reader looks for it";
    missing.map(|name| Finding::at(&map.path, 1, format!("`{name}` is not mentioned"), remedy)).collect()
}

/// Whether `text` has `name`, and not only as the start of a longer one.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(offset, _)| {
        let after = &text[offset + name.len()..];
        !after.starts_with(|character: char| character.is_alphanumeric() || character == '-' || character == '_')
    })
}

pub fn changelog(tree: &Tree) -> Vec<Finding> {
    let closed = tree.files().filter(|file| file.is_named("CHANGELOG.md")).filter(|file| {
        let mut headings = file.text.lines().filter_map(|line| line.strip_prefix("## "));
        !headings.any(|heading| heading.trim().trim_matches(['[', ']']).eq_ignore_ascii_case("unreleased"))
    });
    let remedy = "open one above the last release: `## Unreleased`";
    closed.map(|file| Finding::at(&file.path, 1, "has no section for what is not released", remedy)).collect()
}

pub fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.is_markdown()) {
        for (line, target) in targets(&file.text) {
            if !resolves(tree, &file.path, target) {
                let remedy = "name a file of the repository, relative to this one";
                findings.push(Finding::at(&file.path, line, format!("the link `{target}` leads nowhere"), remedy));
            }
        }
    }
    findings
}

/// The targets of `[text](target)` and `[name]: target`, code aside, with their lines.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            found.extend(inline_targets(text).map(|target| (line, target)));
            let reference = text.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
            found.extend(reference.map(|(_, target)| (line, address(target))));
        }
    }
    found
}

fn inline_targets(line: &str) -> impl Iterator<Item = &str> {
    let starts = line.match_indices("](").map(|(at, open)| (at, at + open.len()));
    let prose = starts.filter(|(at, _)| line[..*at].matches('`').count().is_multiple_of(2));
    prose.filter_map(|(_, start)| Some(address(line[start..].split_once(')')?.0)))
}

/// Without a title, and without the angle brackets that may go around it.
fn address(target: &str) -> &str {
    target.split_whitespace().next().unwrap_or_default().trim_matches(['<', '>'])
}

fn resolves(tree: &Tree, from: &Path, target: &str) -> bool {
    let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
    let path = target.split(['#', '?']).next().unwrap_or_default();
    if is_elsewhere || path.is_empty() {
        return true;
    }
    let folder = from.parent().unwrap_or(Path::new(""));
    normal(&folder.join(path)).is_some_and(|path| tree.contains(&path))
}

/// The path without `.` and `..`; `None` if it leads out of the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rules::found;

    #[test]
    fn the_map_names_every_crate_and_decision() {
        let crates = [("crates/store/Cargo.toml", ""), ("docs/decisions/0001-lanes.md", "")];
        let check = |map: &str, expected: usize| {
            let mut files = crates.to_vec();
            files.push((ARCHITECTURE, map));
            assert_eq!(found(architecture, &files).len(), expected, "{map}");
        };
        check("`crates/store`: what is kept. docs/decisions/0001-lanes.md", 0);
        check("`crates/store`: what is kept.", 1);
        check("`crates/stores` docs/decisions/0001-lanes.md", 1);
        check("", 2);
        assert!(found(architecture, &crates).is_empty());
    }

    #[test]
    fn a_changelog_is_open() {
        let check = |text: &str, expected: usize| {
            assert_eq!(found(changelog, &[("CHANGELOG.md", text)]).len(), expected, "{text}");
        };
        check("# Changes\n\n## Unreleased\n", 0);
        check("## [Unreleased]\n", 0);
        check("## 0.1.0\n\nUnreleased\n", 1);
        assert!(found(changelog, &[("README.md", "")]).is_empty());
    }

    #[test]
    fn links_lead_to_files_and_folders() {
        let check = |text: &str, expected: usize| {
            let files = [("docs/guide.md", text), ("README.md", ""), ("docs/decisions/0001.md", "")];
            assert_eq!(found(links, &files).len(), expected, "{text}");
        };
        check("[a](../README.md) [b](decisions/) [c](decisions/0001.md#why \"title\") [d](#here)", 0);
        check("[a](https://example.com) [b](mailto:a@example.com)", 0);
        check("[a](README.md) [b](../docs/absent.md)", 2);
        check("[a](/README.md) [b](../../README.md)", 2);
        check("[a]: absent.md", 1);
        check("`[a](absent.md)`\n```\n[b](absent.md)\n```", 0);
    }
}
