//! The programs of a PostgreSQL server. The tests start servers of their own in temporary
//! directories; a server that happens to run on the machine is left alone.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::environment;
use crate::setup::{Standing, system};

/// Where Debian keeps its PostgreSQL versions, outside of everybody's PATH.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";

/// What the tests start: all three, or the directory is not a server's.
const PROGRAMS: &[&str] = &["initdb", "pg_ctl", "postgres"];

pub fn server(root: &Path) -> Result<Standing> {
    if programs().is_none() {
        system::install(root, "postgresql")?;
    }
    let how = "install the PostgreSQL server (Debian: apt-get install postgresql), \
               or name the directory of its initdb in WAKEFUL_TEST_PG_BIN";
    Ok(match programs() {
        Some(folder) => Standing::Ready(folder.display().to_string()),
        None => Standing::Missing(how.into()),
    })
}

/// The directory of the server's programs: the one that WAKEFUL_TEST_PG_BIN names, that of the
/// `initdb` in PATH, or the newest of Debian's.
pub fn programs() -> Option<PathBuf> {
    let named = environment::variable("WAKEFUL_TEST_PG_BIN").map(PathBuf::from);
    // Through links: the server looks for its other files beside the real one.
    let in_path = environment::program("initdb").and_then(|initdb| initdb.canonicalize().ok());
    let in_path = in_path.and_then(|initdb| Some(initdb.parent()?.to_owned()));
    let candidates = named.into_iter().chain(in_path).chain(debian_versions(Path::new(DEBIAN_VERSIONS)));
    candidates.into_iter().find(|folder| PROGRAMS.iter().all(|program| folder.join(program).is_file()))
}

/// `<versions>/<number>/bin`, the highest number first.
fn debian_versions(versions: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(versions).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    numbers.into_iter().map(|number| versions.join(number.to_string()).join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first() {
        let folder = std::env::temp_dir().join(format!("wakeful-postgres-{}", std::process::id()));
        for version in ["9", "15", "17", "common"] {
            std::fs::create_dir_all(folder.join(version)).unwrap();
        }
        let found = debian_versions(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, ["17", "15", "9"].map(|version| folder.join(version).join("bin")));
        assert!(debian_versions(&folder).is_empty());
    }
}
