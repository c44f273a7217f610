//! Layers between a program and libc, built when a case needs one: what they break is broken for that program alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Skipped;

/// A disk of the store that fails or is slow.
pub const STORE_DISK: &str = include_str!("store_disk.c");
/// A wall clock that can be set.
pub const WALL_CLOCK: &str = include_str!("wall_clock.c");

/// Builds a layer in `dir`; gives its path, for `LD_PRELOAD`.
pub fn built(source: &str, dir: &Path) -> Result<String, Skipped> {
    let (file, library) = (dir.join("layer.c"), dir.join("layer.so"));
    fs::write(&file, source).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).args([&library, &file]).arg("-ldl");
    let Ok(output) = cc.output() else { return Err(Skipped("there is no C compiler (`cc`)")) };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(library.to_str().unwrap().to_owned())
}
