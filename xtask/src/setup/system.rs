//! The system's package manager: used on Debian and its kin, by root or by whom sudo asks nothing.

use std::path::Path;

use anyhow::Result;

use crate::command::{answer, command, succeeds};
use crate::environment;

/// Installs Debian packages. False if that is not allowed here or did not work: the caller then
/// says what to install by hand.
pub fn install(root: &Path, packages: &str) -> Result<bool> {
    let Some(apt) = apt(root) else { return Ok(false) };
    let install = format!("{apt} install --yes --no-install-recommends {packages}");
    if succeeds(&mut command(root, &install))? {
        return Ok(true);
    }
    // A fresh machine has no package lists, an old one has stale ones.
    Ok(succeeds(&mut command(root, &format!("{apt} update")))? && succeeds(&mut command(root, &install))?)
}

fn apt(root: &Path) -> Option<&'static str> {
    environment::program("apt-get").filter(|_| Path::new("/etc/debian_version").exists())?;
    if answer(&mut command(root, "id -u"))? == "0" {
        return Some("env DEBIAN_FRONTEND=noninteractive apt-get");
    }
    answer(&mut command(root, "sudo -n true"))?;
    Some("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get")
}
