//! What must not stand in any file: open ends that nobody follows, and traces of the machine or the
//! network where a file was written. The needles are put together here so that this file has none.

use crate::tidy::source::{line_of, views};
use crate::tidy::{Finding, Tree};

const OPEN_ENDS: &[&str] = &["TODO", "FIXME"];
const CODE: &[&str] = &["rs", "sql", "toml", "html", "css", "js", "sh", "yml", "yaml"];

/// An open end has an issue that closes it: `TODO(issue 4)`.
pub fn open_ends(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.has_extension(CODE)) {
        let text = if file.is_rust() { views(&file.text).comments } else { file.text.clone() };
        for word in OPEN_ENDS {
            for (offset, _) in text.match_indices(word) {
                if is_word(&text, offset, word) && !has_issue(&text[offset + word.len()..]) {
                    let remedy = format!("do it, or write `{word}(issue <number>)`");
                    findings.push(Finding::at(
                        &file.path,
                        line_of(&text, offset),
                        format!("`{word}` without an issue"),
                        remedy,
                    ));
                }
            }
        }
    }
    findings
}

fn is_word(text: &str, offset: usize, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    !text[..offset].ends_with(is_part) && !text[offset + word.len()..].starts_with(is_part)
}

fn has_issue(after: &str) -> bool {
    let number = after.strip_prefix("(issue ").and_then(|rest| rest.split_once(')'));
    number.is_some_and(|(number, _)| number.parse::<u32>().is_ok())
}

/// Directories that are somebody's.
const MACHINE_FOLDERS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Absolute paths of the machine on which a file was written.
pub fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let remedy = "write it relative to the repository, or take a made-up path like `/srv/agent`";
    let mut findings = Vec::new();
    for file in tree.files() {
        for folder in MACHINE_FOLDERS {
            for (offset, _) in file.text.match_indices(folder) {
                if is_absolute(&file.text[..offset]) && names_something(&file.text[offset + folder.len()..]) {
                    let what = format!("a path below `{folder}`");
                    findings.push(Finding::at(&file.path, line_of(&file.text, offset), what, remedy));
                }
            }
        }
    }
    findings
}

/// Not the middle of a longer path or an address.
fn is_absolute(before: &str) -> bool {
    !before.ends_with(|character: char| character.is_alphanumeric() || "/._-~}".contains(character))
}

/// Not a placeholder like `<name>` or `$USER`.
fn names_something(after: &str) -> bool {
    after.starts_with(|character: char| character.is_alphanumeric() || ".-_".contains(character))
}

/// Hosts that serve packages, and words in the names of private ones.
const REGISTRIES: &[&str] = &[
    concat!("registry.np", "mjs.org"),
    concat!("registry.ya", "rnpkg.com"),
    concat!("index.cra", "tes.io"),
    concat!("static.cra", "tes.io"),
    concat!("py", "pi.org"),
    concat!("files.python", "hosted.org"),
    concat!("proxy.go", "lang.org"),
    concat!("arti", "factory"),
    concat!("jfr", "og"),
];

/// Where packages come from is the machine's configuration, not the repository's.
pub fn registry_hosts(tree: &Tree) -> Vec<Finding> {
    let remedy = "leave the host to cargo's and npm's configuration (npm: omit-lockfile-registry-resolved=true)";
    let mut findings = Vec::new();
    for file in tree.files() {
        let text = file.text.to_ascii_lowercase();
        for host in REGISTRIES {
            for (offset, _) in text.match_indices(host) {
                let what = format!("the package registry `{host}`");
                findings.push(Finding::at(&file.path, line_of(&text, offset), what, remedy));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rules::found;

    #[test]
    fn open_ends_need_an_issue() {
        let check = |path: &str, text: &str, expected: usize| {
            assert_eq!(found(open_ends, &[(path, text)]).len(), expected, "{text}");
        };
        let [todo, fixme] = [OPEN_ENDS[0], OPEN_ENDS[1]];
        check("a.rs", &format!("// {todo}: later"), 1);
        check("a.rs", &format!("/* {fixme}(someone) */"), 1);
        check("a.sql", &format!("-- {todo} later"), 1);
        check("a.rs", &format!("// {todo}(issue 4): later"), 0);
        check("a.rs", &format!("let text = \"{todo}\"; // MASTODON"), 0);
        check("a.md", &format!("{todo}s carry an issue"), 0);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let check = |text: String, expected: usize| {
            assert_eq!(found(machine_paths, &[("a.md", &text)]).len(), expected, "{text}");
        };
        for folder in MACHINE_FOLDERS {
            check(format!("cd {folder}wakeful"), 1);
            check(format!("\"{folder}wakeful/a\""), 1);
            check(format!("{folder}<name> and {folder}$USER"), 0);
            check(format!("https://example.com{folder}a and ~{folder}a and target{folder}a"), 0);
        }
    }

    #[test]
    fn registries_are_found_in_any_file() {
        for host in REGISTRIES {
            let text = format!("# one\nhttps://{}/x", host.to_uppercase());
            assert_eq!(found(registry_hosts, &[("a.lock", &text)]), ["a.lock:2"]);
        }
        assert!(found(registry_hosts, &[("a.md", "https://crates.io/crates/jiff")]).is_empty());
    }
}
