//! Names that say nothing: a module or type called after no word of the domain collects whatever
//! has no other place.

use std::path::Path;

use crate::tidy::source::{definitions, line_of, views};
use crate::tidy::{Finding, Tree};

/// The last word of a name.
const EMPTY_WORDS: &[&str] =
    &["manager", "managers", "helper", "helpers", "util", "utils", "utility", "utilities", "common", "data", "info"];

const KEYWORDS: &[&str] = &["fn", "mod", "struct", "enum", "union", "trait", "type"];

const REMEDY: &str = "use the word of the domain for what it is or does (crates/domain/src/lib.rs has a glossary)";

pub fn names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.is_rust()) {
        if let Some(name) = module_name(&file.path).filter(|name| is_empty(name)) {
            findings.push(Finding::at(&file.path, 1, format!("a module called `{name}`"), REMEDY));
        }
        let code = views(&file.text).code;
        for found in definitions(&code, KEYWORDS).iter().filter(|found| is_empty(found.name)) {
            let what = format!("`{} {}`", found.keyword, found.name);
            findings.push(Finding::at(&file.path, line_of(&code, found.offset), what, REMEDY));
        }
    }
    findings
}

/// A file's own name, or its folder's for `mod.rs`.
fn module_name(path: &Path) -> Option<&str> {
    let named = if path.file_name()? == "mod.rs" { path.parent()? } else { path };
    named.file_stem()?.to_str()
}

fn is_empty(name: &str) -> bool {
    let last = if name.contains('_') {
        name.rsplit('_').find(|word| !word.is_empty()).unwrap_or_default()
    } else {
        let start = name.char_indices().filter(|(_, character)| character.is_uppercase()).map(|(at, _)| at).next_back();
        &name[start.unwrap_or(0)..]
    };
    EMPTY_WORDS.contains(&last.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rules::found;

    #[test]
    fn empty_names_are_found_at_the_end_of_a_name() {
        let check = |path: &str, text: &str, expected: usize| {
            assert_eq!(found(names, &[(path, text)]).len(), expected, "{path}: {text}");
        };
        check("crates/a/src/util.rs", "", 1);
        check("crates/a/tests/common/mod.rs", "", 1);
        check("crates/a/src/b.rs", "struct RunManager;", 1);
        check("crates/a/src/b.rs", "pub(crate) enum Data {}", 1);
        check("crates/a/src/b.rs", "fn run_info() {}", 1);
        check("crates/a/src/b.rs", "mod test_helpers {}", 1);
        check("crates/a/src/b.rs", "struct ManagerOf; struct Database; fn information() {} fn commonly() {}", 0);
        check("crates/a/src/b.rs", "fn log() { tracing::info!(data = 1); /* struct Info */ }", 0);
    }
}
