//! Every rule by name, in the order in which they are checked. A rule without a test that shows it
//! something bad is no rule.

mod documents;
mod layers;
mod names;
mod shape;
mod text;

use crate::tidy::Rule;

pub const ALL: &[(&str, Rule)] = &[
    ("file length", shape::file_length),
    ("function length", shape::function_length),
    ("opening comment", shape::opening_comment),
    ("expect", shape::expect),
    ("names", names::names),
    ("layers", layers::layers),
    ("open ends", text::open_ends),
    ("machine paths", text::machine_paths),
    ("registry hosts", text::registry_hosts),
    ("architecture", documents::architecture),
    ("changelog", documents::changelog),
    ("links", documents::links),
];

/// What a rule finds in these files, as `path:line`.
#[cfg(test)]
fn found(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
    let findings = rule(&crate::tidy::Tree::of(files));
    findings.iter().map(|finding| format!("{}:{}", finding.path.display(), finding.line)).collect()
}
