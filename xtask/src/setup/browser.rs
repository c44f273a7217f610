//! What the tests of the console need: a browser with its driver, from the system, and axe-core, which finds what is not
//! accessible, pinned in `target/axe`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::{answer, command, succeeds};
use crate::environment;
use crate::setup::{Standing, system};

/// Raise it here and nowhere else.
const AXE: &str = "4.14.1";

/// The browser, and what drives it.
pub fn chromium(root: &Path) -> Result<Standing> {
    let both = || {
        let line = |program: &str| answer(&mut command(root, program))?.lines().next().map(str::to_owned);
        Some(format!("{}, {}", line("chromium --version")?, line("chromedriver --version")?))
    };
    if both().is_none() {
        system::install(root, "chromium chromium-driver")?;
    }
    let how = "install Chromium and its driver, as `chromium` and `chromedriver` (Debian: apt-get install chromium chromium-driver)";
    Ok(both().map_or_else(|| Standing::Missing(how.into()), Standing::Ready))
}

/// The script that is run in pages.
pub fn axe(root: &Path) -> Result<Standing> {
    let folder = folder(root);
    if !is_installed(root) {
        std::fs::create_dir_all(&folder)?;
        let mut npm = command(root, "npm install --no-audit --no-fund --no-progress --save-exact");
        npm.arg("--prefix").arg(&folder).arg(format!("axe-core@{AXE}"));
        succeeds(&mut npm)?;
    }
    let how = format!("see what npm says above; by hand: npm install --prefix {} axe-core@{AXE}", folder.display());
    Ok(if is_installed(root) { Standing::Ready(AXE.into()) } else { Standing::Missing(how) })
}

/// Where the script is.
pub fn axe_script(root: &Path) -> PathBuf {
    folder(root).join("node_modules/axe-core/axe.min.js")
}

fn folder(root: &Path) -> PathBuf {
    environment::target(root).join("axe")
}

fn is_installed(root: &Path) -> bool {
    let begins = std::fs::read_to_string(axe_script(root)).unwrap_or_default();
    begins.lines().next().is_some_and(|line| line.contains(&format!("v{AXE}")))
}
