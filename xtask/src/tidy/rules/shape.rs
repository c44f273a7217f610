//! The shape of Rust files: how long they and their functions are, how they open, and that they do
//! not panic where an error is due.

use crate::tidy::source::{body, definitions, line_of, outside_tests, views};
use crate::tidy::{Finding, Tree};

/// Aim for 400; beyond this a file has more than one subject.
const FILE_LINES_MAX: usize = 500;
/// Aim for 70; beyond this a function does not fit a mind.
const FUNCTION_LINES_MAX: usize = 100;

/// Files that may be longer: path and reason. Keep it empty.
const LONG_FILES: &[(&str, &str)] = &[];

pub fn file_length(tree: &Tree) -> Vec<Finding> {
    let is_excepted = |path: &std::path::Path| LONG_FILES.iter().any(|(excepted, _)| path == *excepted);
    let sources = tree.files().filter(|file| file.is_source() && !is_excepted(&file.path));
    let long = sources.filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| {
            let what = format!("{lines} lines; the limit is {FILE_LINES_MAX}");
            Finding::at(&file.path, lines, what, "give each subject a file of its own")
        })
    });
    long.collect()
}

pub fn function_length(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.is_rust()) {
        let code = views(&file.text).code;
        for function in definitions(&code, &["fn"]) {
            let Some(body) = body(&code, function.offset) else { continue };
            let first = line_of(&code, function.offset);
            let lines = line_of(&code, body.end) - first + 1;
            if lines > FUNCTION_LINES_MAX {
                let what = format!("`{}` has {lines} lines; the limit is {FUNCTION_LINES_MAX}", function.name);
                findings.push(Finding::at(&file.path, first, what, "move its steps into functions with names"));
            }
        }
    }
    findings
}

pub fn opening_comment(tree: &Tree) -> Vec<Finding> {
    let sources = tree.files().filter(|file| file.is_rust() && file.path.iter().any(|part| part == "src"));
    let silent = sources.filter(|file| {
        let first = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        first.trim_start().strip_prefix("//!").is_none_or(|comment| comment.trim().is_empty())
    });
    let remedy = "open with `//!`: what it is, what it is not, which invariant it keeps";
    silent.map(|file| Finding::at(&file.path, 1, "does not say what it is", remedy)).collect()
}

/// `.unwrap()` is clippy's; `.expect()` is the same with a message.
pub fn expect(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.is_source()) {
        let code = outside_tests(&views(&file.text).code);
        for (offset, _) in code.match_indices("expect(").filter(|(offset, _)| is_call(&code, *offset)) {
            let remedy = "return an error, or make the case impossible by type; tests may expect";
            findings.push(Finding::at(&file.path, line_of(&code, offset), "`expect` outside of tests", remedy));
        }
    }
    findings
}

/// A method or a path: neither the attribute `#[expect(` nor the end of another name.
fn is_call(code: &str, offset: usize) -> bool {
    code[..offset].trim_end().ends_with(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rules::found;

    const SOURCE: &str = "crates/a/src/b.rs";

    #[test]
    fn long_files_are_found_unless_they_are_tests() {
        let long = "//! Long.\n".repeat(FILE_LINES_MAX + 1);
        assert_eq!(found(file_length, &[(SOURCE, &long)]), ["crates/a/src/b.rs:501"]);
        assert!(found(file_length, &[("crates/a/tests/b.rs", &long), ("crates/a/src/b/tests.rs", &long)]).is_empty());
        assert!(found(file_length, &[(SOURCE, &"\n".repeat(FILE_LINES_MAX))]).is_empty());
    }

    #[test]
    fn long_functions_are_found_by_their_own_lines() {
        let function = |lines: usize| format!("\nfn a() {{{}}}\nfn b() {{}}", "\n".repeat(lines - 1));
        assert_eq!(found(function_length, &[(SOURCE, &function(FUNCTION_LINES_MAX + 1))]), ["crates/a/src/b.rs:2"]);
        assert!(found(function_length, &[(SOURCE, &function(FUNCTION_LINES_MAX))]).is_empty());
        let braces = format!("fn a() {{ b(\"{{\"); }}{}", "\n".repeat(FUNCTION_LINES_MAX * 2));
        assert!(found(function_length, &[(SOURCE, &braces)]).is_empty());
    }

    #[test]
    fn a_file_has_to_say_what_it_is() {
        let check = |text: &str, expected: usize| {
            assert_eq!(found(opening_comment, &[(SOURCE, text)]).len(), expected, "{text}");
        };
        check("//! What is kept.\n", 0);
        check("\n//! What is kept.\n", 0);
        check("use std::fmt;\n", 1);
        check("// What is kept.\n", 1);
        check("//!\n", 1);
        check("", 1);
        assert!(found(opening_comment, &[("crates/a/tests/b.rs", "")]).is_empty());
    }

    #[test]
    fn expecting_is_for_tests_and_attributes() {
        let check = |text: &str, expected: usize| {
            assert_eq!(found(expect, &[(SOURCE, text)]).len(), expected, "{text}");
        };
        check("fn a() { b().expect(\"c\"); }", 1);
        check("fn a() { b()\n  .expect(\"c\"); }", 1);
        check("fn a() { Option::expect(b, \"c\"); }", 1);
        check("#[expect(dead_code, reason = \"c\")] fn a() {}", 0);
        check("#![expect(dead_code)]", 0);
        check("fn a() { b().expect_err(\"c\"); parser.must_expect(d); }", 0);
        check("// .expect(\n", 0);
        check("#[cfg(test)]\nmod tests { fn a() { b().expect(\"c\"); } }", 0);
        assert!(found(expect, &[("crates/a/tests/b.rs", "fn a() { b().expect(\"c\"); }")]).is_empty());
    }
}
