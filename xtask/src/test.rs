//! `cargo xtask test`: everything a change has to pass, on a machine that may have nothing but Rust.
//! All checks run even if one fails: one run tells everything. The tests come last, and the last
//! line counts them as the test runner did.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::command::{answer, command, succeeds};
use crate::report::{Report, Verdict};
use crate::{environment, setup, tidy};

pub fn run(root: &Path) -> Result<ExitCode> {
    let mut report = Report::begin();
    report.step("set-up", || setup::everything(root));
    if !report.is_good() {
        return Ok(report.close().exit_code());
    }
    report.step("format", || check(root, "cargo fmt --all --check", "run `cargo fmt --all`"));
    report.step("clippy", || {
        let line = "cargo clippy --workspace --all-targets --locked -- -D warnings";
        check(root, line, "mend what clippy names; an exception is `#[expect(…, reason = …)]`")
    });
    report.step("house rules", || tidy::check(root));
    report.step("dependencies", || dependencies(root));
    if has_doc_tests(root)? {
        let line = "cargo test --doc --workspace --locked";
        report.step("doc tests", || check(root, line, "mend the examples it names"));
    }
    let mut counts = None;
    report.step("tests", || {
        let (verdict, counted) = tests(root)?;
        counts = counted;
        Ok(verdict)
    });
    let verdict = report.close();
    match counts {
        Some(Counts { run, failed }) => println!("{run} tests run: {} passed, {failed} failed", run - failed),
        None => println!("no test was run"),
    }
    Ok(verdict.exit_code())
}

fn check(root: &Path, line: &str, remedy: &str) -> Result<Verdict> {
    Ok(Verdict::of(succeeds(&mut command(root, line))?, remedy))
}

/// Licences, bans and sources of what we depend on. Advisories need a repository from the network:
/// a change does not fail for them.
fn dependencies(root: &Path) -> Result<Verdict> {
    if answer(&mut command(root, "cargo deny --version")).is_none() {
        return Ok(Verdict::LeftOut("cargo-deny is not installed (cargo install cargo-deny --locked)".into()));
    }
    check(root, "cargo deny check bans licenses sources", "deny.toml says what may come in, and why")
}

struct Counts {
    run: u64,
    failed: u64,
}

fn tests(root: &Path) -> Result<(Verdict, Option<Counts>)> {
    let profile = if environment::variable("CI").is_some() { "ci" } else { "default" };
    // Beside the workspace's own manifest, wherever cargo builds.
    let results = root.join("target/nextest").join(profile).join("junit.xml");
    if results.exists() {
        std::fs::remove_file(&results).with_context(|| format!("{} cannot be removed", results.display()))?;
    }
    let line = format!("cargo nextest run --workspace --locked --no-fail-fast --profile {profile}");
    let mut nextest = command(root, &line);
    nextest.env("WAKEFUL_TEST_AGENTS_DIR", setup::agents::programs(root));
    nextest.env("WAKEFUL_TEST_AXE", setup::browser::axe_script(root));
    if let Some(programs) = setup::postgres::programs() {
        nextest.env("WAKEFUL_TEST_PG_BIN", programs);
    }
    let verdict = Verdict::of(succeeds(&mut nextest)?, "each failure is shown above with its output");
    Ok((verdict, std::fs::read_to_string(&results).ok().as_deref().and_then(counts)))
}

/// Makes the pictures of the console that the documents show, with the browser of its tests.
pub fn images(root: &Path) -> Result<ExitCode> {
    let made = succeeds(&mut command(root, "cargo build --locked --package wakeful"))?
        && succeeds(&mut command(
            root,
            "cargo nextest run --locked --package wakeful-web --run-ignored only pictures",
        ))?;
    Ok(if made { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The totals of a JUnit report: the attributes of its outermost element.
fn counts(junit: &str) -> Option<Counts> {
    let (_, rest) = junit.split_once("<testsuites ")?;
    let (attributes, _) = rest.split_once('>')?;
    let number = |name: &str| -> Option<u64> {
        let (_, rest) = attributes.split_once(&format!(" {name}=\""))?;
        rest.split_once('"')?.0.parse().ok()
    };
    Some(Counts { run: number("tests")?, failed: number("failures")? + number("errors")? })
}

/// Whether there is an example in a doc comment that rustdoc would run. Asked because rustdoc takes
/// a minute for a workspace without any.
fn has_doc_tests(root: &Path) -> Result<bool> {
    let files = tidy::Tree::of_repository(root)?;
    let sources = files.files().filter(|file| file.path.extension().is_some_and(|extension| extension == "rs"));
    Ok(sources.filter(|file| in_library(root, &file.path)).any(|file| has_doc_test(&file.text)))
}

/// Only libraries have doc tests.
fn in_library(root: &Path, path: &Path) -> bool {
    let mut parts = path.iter();
    let package: PathBuf = match path.starts_with("crates") {
        true => parts.by_ref().take(2).collect(),
        false => parts.by_ref().take(1).collect(),
    };
    parts.next().is_some_and(|folder| folder == "src") && root.join(package).join("src/lib.rs").is_file()
}

fn has_doc_test(text: &str) -> bool {
    let mut is_open = false;
    for line in text.lines().map(str::trim_start) {
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let Some(language) = comment.and_then(|comment| comment.trim().strip_prefix("```")) else { continue };
        let runs = language.split(',').all(|word| ["", "rust", "no_run", "should_panic"].contains(&word.trim()));
        if !is_open && runs {
            return true;
        }
        is_open = !is_open;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_the_outermost_element() {
        let junit = r#"<?xml version="1.0"?>
<testsuites name="nextest-run" tests="412" failures="2" errors="1" uuid="…">
    <testsuite name="a" tests="1" failures="0" errors="0">"#;
        let counts = counts(junit).unwrap();
        assert_eq!((counts.run, counts.failed), (412, 3));
        assert!(super::counts("").is_none());
    }

    #[test]
    fn an_example_is_a_doc_test_unless_its_language_says_otherwise() {
        let check = |text: &str, expected: bool| assert_eq!(has_doc_test(text), expected, "{text}");
        check("/// Adds.\n/// ```\n/// add(1);\n/// ```", true);
        check("    //! ```no_run\n    //! ```", true);
        check("/// ```text\n/// a\n/// ```\n", false);
        check("/// ```text\n/// a\n/// ```\n/// ```rust\n", true);
        check("// ```\n", false);
        check("fn add() {}", false);
    }
}
