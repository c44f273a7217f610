//! `cargo xtask bench`: the release build, measured by the `bench` crate. Not here: what is measured.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::command::{command, succeeds};
use crate::environment;

const BUILDS: &[&str] = &[
    "cargo build --release --locked --package wakeful --bin wakeful",
    "cargo build --release --locked --package wakeful-bench",
];

/// Names the folder of the peers' harnesses, as the option `--peers` does.
const PEERS_VARIABLE: &str = "WAKEFUL_PEERS";

pub fn run(root: &Path, arguments: &[&str]) -> Result<ExitCode> {
    let (names, peers) = read(arguments)?;
    for build in BUILDS {
        if !succeeds(&mut command(root, build))? {
            bail!("`{build}` failed: nothing was measured");
        }
    }
    let target = environment::target(root);
    let bench = target.join("release/wakeful-bench");
    let mut bench = command(root, &bench.to_string_lossy());
    bench.args(names).env("WAKEFUL_BIN", target.join("release/wakeful"));
    bench.env("WAKEFUL_PEERS_BUILD", target.join("peers"));
    if let Some(peers) = peers.or_else(|| environment::variable(PEERS_VARIABLE).map(PathBuf::from)) {
        // Named from where the caller stands; the benchmark runs at the root.
        bench.env(PEERS_VARIABLE, std::path::absolute(peers)?);
    }
    Ok(if succeeds(&mut bench)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The benchmarks that are named, and the folder of the peers' harnesses.
fn read<'a>(arguments: &[&'a str]) -> Result<(Vec<&'a str>, Option<PathBuf>)> {
    let (mut names, mut peers) = (Vec::new(), None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--peers" => peers = Some(arguments.next().context("`--peers` wants a folder")?.into()),
            option if option.starts_with('-') => bail!("`{option}` is no option of `cargo xtask bench`; `--peers` is"),
            name => names.push(name),
        }
    }
    Ok((names, peers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_the_folder_of_the_peers_are_told_apart() {
        assert_eq!(read(&["peers", "--peers", "../q", "runs"]).unwrap(), (vec!["peers", "runs"], Some("../q".into())));
        assert_eq!(read(&[]).unwrap(), (vec![], None));
        assert!(read(&["--peers"]).is_err());
        assert!(read(&["--pears", "x"]).is_err());
    }
}
