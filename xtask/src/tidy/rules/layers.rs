//! Who may depend on whom: cli → web → api → engine → {store, runner} → domain. Read from the
//! manifests, where a wrong direction shows before it compiles.

use crate::tidy::{Finding, Tree};

/// Every folder of `crates/` with the crates of ours that it may use.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("store", &["domain"]),
    ("runner", &["domain"]),
    ("engine", &["domain", "store", "runner"]),
    ("api", &["domain", "store", "runner", "engine"]),
    ("web", &["domain", "store", "runner", "engine", "api"]),
    ("cli", &["domain", "store", "runner", "engine", "api", "web"]),
    // Not shipped: they use what they test or measure.
    ("sim", &["domain", "store", "runner", "engine", "api"]),
    ("bench", &["domain", "store", "runner", "engine", "api", "stub-model", "test-postgres"]),
    ("stub-model", &[]),
    ("test-postgres", &[]),
    ("test-server", &[]),
    ("faults", &["domain", "store", "runner", "stub-model", "test-postgres", "test-server"]),
];

/// What tests may use beyond their crate's layer.
const FOR_TESTS: &[&str] = &["stub-model", "test-postgres", "test-server"];

/// Dependencies of others that belong to some crates only, with the reason.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("axum", &["api", "web", "cli", "sim", "bench", "stub-model", "test-server"], "HTTP ends at the api crate"),
    ("anyhow", &["cli", "bench"], "below the command line an error is an enum, to branch on or to report"),
];

/// What does I/O, waits or reads a clock: not in the domain, its tests included.
const IMPURE: &[&str] = &["tokio", "tokio-util", "futures-util", "rusqlite", "tokio-postgres", "reqwest", "rustix"];

pub fn layers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.is_named("Cargo.toml")) {
        let mut parts = file.path.iter().filter_map(|part| part.to_str());
        let (Some("crates"), Some(package), Some("Cargo.toml")) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package) else {
            let remedy = "give it its place in LAYERS (xtask/src/tidy/rules/layers.rs) and in ARCHITECTURE.md";
            findings.push(Finding::at(&file.path, 1, format!("the crate `{package}` has no layer"), remedy));
            continue;
        };
        for dependency in dependencies(&file.text) {
            if let Some((what, remedy)) = objection(package, allowed, &dependency) {
                findings.push(Finding::at(&file.path, dependency.line, what, remedy));
            }
        }
    }
    findings
}

fn objection(package: &str, allowed: &[&str], dependency: &Dependency) -> Option<(String, String)> {
    let name = dependency.name;
    let what = format!("`{package}` depends on `{name}`");
    if let Some(ours) = ours(name) {
        let is_right = allowed.contains(&ours) || dependency.is_for_tests && FOR_TESTS.contains(&ours);
        let remedy =
            format!("`{package}` may use [{}]: move what is shared down, or the caller up", allowed.join(", "));
        return (!is_right).then_some((what, remedy));
    }
    if package == "domain" && IMPURE.contains(&name) {
        return Some((what, "the domain is pure: time, chance and I/O are its callers' arguments".into()));
    }
    let (_, holders, reason) = RESERVED.iter().find(|(reserved, _, _)| *reserved == name)?;
    let is_right = dependency.is_for_tests || holders.contains(&package);
    (!is_right).then(|| (what, format!("only {} may: {reason}", holders.join(", "))))
}

/// The folder of a package of ours.
fn ours(package: &str) -> Option<&str> {
    if package == "wakeful" { Some("cli") } else { package.strip_prefix("wakeful-") }
}

#[derive(Debug, PartialEq, Eq)]
struct Dependency<'a> {
    name: &'a str,
    line: usize,
    is_for_tests: bool,
}

/// The dependencies of a manifest: `name = …`, `name.workspace = true` and `[dependencies.name]`,
/// also below `[target.…]`.
fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut section = "";
    for (line, text) in (1..).zip(manifest.lines().map(str::trim)) {
        if let Some(header) = text.strip_prefix('[') {
            section = header.split(']').next().unwrap_or_default();
            if let Some((_, name)) = section.split_once("dependencies.") {
                found.push(Dependency { name, line, is_for_tests: section.contains("dev-dependencies") });
            }
        } else if section.ends_with("dependencies") && !text.starts_with('#') {
            let name = text.split(['.', '=', ' ']).next().unwrap_or_default().trim_matches('"');
            if !name.is_empty() {
                found.push(Dependency { name, line, is_for_tests: section.ends_with("dev-dependencies") });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rules::found;

    fn check(package: &str, manifest: &str, expected: usize) {
        let path = format!("crates/{package}/Cargo.toml");
        assert_eq!(found(layers, &[(path.as_str(), manifest)]).len(), expected, "{package}: {manifest}");
    }

    #[test]
    fn dependencies_point_down() {
        check("engine", "[dependencies]\nwakeful-store.workspace = true\nwakeful-runner = { path = \"../runner\" }", 0);
        check("store", "[dependencies]\nwakeful-runner.workspace = true", 1);
        check("runner", "[dependencies]\nserde = \"1\"\n\n[dependencies.wakeful-store]\nworkspace = true", 1);
        check("domain", "[dev-dependencies]\nwakeful-store.workspace = true", 1);
        check("api", "[target.'cfg(unix)'.dependencies]\nwakeful.workspace = true", 1);
        check("shared", "[package]", 1);
    }

    #[test]
    fn some_dependencies_have_their_place() {
        check("domain", "[dependencies]\ntokio.workspace = true", 1);
        check("domain", "[dev-dependencies]\ntokio.workspace = true", 1);
        check("engine", "[dependencies]\naxum = { version = \"0.8\" }", 1);
        check("engine", "[dependencies]\nanyhow = \"1\"", 1);
        check("cli", "[dependencies]\nanyhow = \"1\"\naxum.workspace = true", 0);
        check("runner", "[dev-dependencies]\naxum.workspace = true\nwakeful-stub-model.workspace = true", 0);
        check("runner", "[dependencies]\nwakeful-stub-model.workspace = true", 1);
    }

    #[test]
    fn manifests_are_read_by_section() {
        let manifest =
            "[package]\nname = \"a\"\n[dependencies]\n# b\nc.workspace = true\n\n[dev-dependencies.d]\nversion = \"1\"";
        let found: Vec<_> = dependencies(manifest).iter().map(|found| (found.name, found.line)).collect();
        assert_eq!(found, [("c", 5), ("d", 7)]);
    }
}
