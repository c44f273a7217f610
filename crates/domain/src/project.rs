//! A project: where tasks are worked on. Its workspaces are directories and repositories, in the order of
//! their making; a run takes the first that is there.

use serde::{Deserialize, Serialize};

use crate::id::{CompanyId, ProjectId};
use crate::time::Timestamp;

/// Longer names are refused.
pub const NAME_CHARS_MAX: usize = 200;
/// Workspaces of one project.
pub const WORKSPACES_MAX: usize = 20;
/// Longer paths are none: Linux takes 4,096 bytes, its end included.
pub const CWD_BYTES_MAX: usize = 4_095;
/// Longer addresses are refused.
pub const REPO_URL_BYTES_MAX: usize = 2_000;
/// Longer names of branches, tags and commits are refused; file systems take 255 bytes.
pub const REPO_REF_BYTES_MAX: usize = 250;

/// One place of a project: a directory that is there, or a repository to be cloned on first use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectWorkspace {
    /// An absolute path on the server's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// What `git clone` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_url: Option<String>,
    /// The branch, tag or commit that is checked out when it is cloned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_ref: Option<String>,
}

/// Where tasks are worked on.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    pub id: ProjectId,
    pub company: CompanyId,
    pub name: String,
    pub workspaces: Vec<ProjectWorkspace>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What is wrong with a name, if anything.
pub fn name_problem(name: &str) -> Option<String> {
    let is_good = !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX && !has_control(name);
    (!is_good).then(|| format!("must have 1 to {NAME_CHARS_MAX} characters on one line"))
}

/// What is wrong with workspaces, if anything: the field and what to do about it.
pub fn workspaces_problem(workspaces: &[ProjectWorkspace]) -> Option<(String, String)> {
    if workspaces.len() > WORKSPACES_MAX {
        let told = format!("holds {}; a project has at most {WORKSPACES_MAX}", workspaces.len());
        return Some(("workspaces".into(), told));
    }
    workspaces.iter().enumerate().find_map(|(place, workspace)| {
        let (field, message) = workspace.problem()?;
        let path =
            if field.is_empty() { format!("workspaces[{place}]") } else { format!("workspaces[{place}].{field}") };
        Some((path, message))
    })
}

impl ProjectWorkspace {
    fn problem(&self) -> Option<(&'static str, String)> {
        if self.cwd.is_none() && self.repo_url.is_none() {
            return Some(("", "needs a `cwd` (an absolute directory) or a `repo_url` (a repository to clone)".into()));
        }
        let of = |field, problem: Option<String>| problem.map(|problem| (field, problem));
        let cwd = self.cwd.as_deref().and_then(cwd_problem);
        let url = self.repo_url.as_deref().and_then(url_problem);
        let reference = match (&self.repo_ref, &self.repo_url) {
            (Some(_), None) => Some("is of no use without a `repo_url`".into()),
            (Some(reference), Some(_)) => ref_problem(reference),
            (None, _) => None,
        };
        of("cwd", cwd).or_else(|| of("repo_url", url)).or_else(|| of("repo_ref", reference))
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn cwd_problem(cwd: &str) -> Option<String> {
    let is_good = cwd.starts_with('/') && cwd.len() <= CWD_BYTES_MAX && !cwd.contains('\0');
    (!is_good).then(|| format!("must be an absolute path of at most {CWD_BYTES_MAX} bytes, as /srv/app"))
}

fn url_problem(url: &str) -> Option<String> {
    let is_text =
        (1..=REPO_URL_BYTES_MAX).contains(&url.len()) && !has_control(url) && !url.contains(char::is_whitespace);
    // `host:path` of scp is an address as well; what begins with a hyphen would be an option of git.
    let is_address = url.starts_with('/') || (url.contains(':') && !url.starts_with(['-', ':', '.']));
    // Programs as addresses (`ext::sh -c …`) are none that a project may name.
    if !is_text || !is_address || url.contains("::") {
        return Some(format!(
            "must be what `git clone` takes, without blanks, at most {REPO_URL_BYTES_MAX} bytes: \
             https://host/path, ssh://host/path, user@host:path or an absolute path"
        ));
    }
    let holds_password = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .is_some_and(|host| host.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')));
    holds_password.then(|| {
        "must not hold a password: everybody in the company could read it; let a git credential helper or an ssh key of \
         the server's user have it"
            .into()
    })
}

/// What git itself refuses in names of branches and tags, and what a command line would take for an option.
fn ref_problem(reference: &str) -> Option<String> {
    let has_bad = reference.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c));
    let is_good = (1..=REPO_REF_BYTES_MAX).contains(&reference.len())
        && !has_bad
        && !reference.starts_with(['-', '/', '.'])
        && !reference.ends_with(['/', '.'])
        && !reference.contains("..")
        && !reference.contains("@{");
    (!is_good).then(|| format!("must be a branch, tag or commit of at most {REPO_REF_BYTES_MAX} bytes, as main"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cwd: Option<&str>, url: Option<&str>, reference: Option<&str>, field: Option<&str>) {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let workspace = ProjectWorkspace { cwd: text(cwd), repo_url: text(url), repo_ref: text(reference) };
        let found = workspaces_problem(&[ProjectWorkspace { cwd: text(Some("/")), ..Default::default() }, workspace]);
        assert_eq!(found.as_ref().map(|(field, _)| field.as_str()), field, "{cwd:?} {url:?} {reference:?}: {found:?}");
    }

    #[test]
    fn a_mistake_names_its_field() {
        check(Some("/srv/app"), None, None, None);
        check(None, None, None, Some("workspaces[1]"));
        check(None, None, Some("main"), Some("workspaces[1]"));
        for cwd in ["", "srv/app", "~/app", "/a\0b", &"/a".repeat(2_100)] {
            check(Some(cwd), None, None, Some("workspaces[1].cwd"));
        }
        for url in [
            "https://example.com/a.git",
            "ssh://git@example.com:22/a",
            "git@example.com:a/b.git",
            "file:///srv/a",
            "/srv/a",
        ] {
            check(None, Some(url), None, None);
        }
        for url in
            ["", "app", "--upload-pack=x", "-c:x", "ext::sh -c x", "ext::sh", "a b:c", "https://u:p@example.com/a"]
        {
            check(None, Some(url), None, Some("workspaces[1].repo_url"));
        }
        for reference in ["main", "v1.2", "feature/x", "0123abcd"] {
            check(None, Some("/srv/a"), Some(reference), None);
        }
        for reference in ["", "-f", "a b", "a..b", "a~1", "x@{1}", "/a", "a/"] {
            check(None, Some("/srv/a"), Some(reference), Some("workspaces[1].repo_ref"));
        }
        check(Some("/srv/a"), None, Some("main"), Some("workspaces[1].repo_ref"));
    }

    #[test]
    fn there_is_a_limit_to_workspaces_and_names() {
        let one = ProjectWorkspace { cwd: Some("/srv/a".into()), ..Default::default() };
        assert_eq!(workspaces_problem(&vec![one.clone(); WORKSPACES_MAX]), None);
        assert_eq!(workspaces_problem(&vec![one; WORKSPACES_MAX + 1]).unwrap().0, "workspaces");
        assert_eq!(name_problem("größe 1"), None);
        for bad in ["", " ", "a\nb", &"x".repeat(NAME_CHARS_MAX + 1)] {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
    }
}
