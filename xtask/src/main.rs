//! `cargo xtask`: what a change needs before it is one. Set-up, checks and tests; the house rules;
//! the benchmarks.
//!
//! It is not part of the product and uses none of its crates, so that it builds when they do not.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people: what it prints is its result")]

mod bench;
mod command;
mod environment;
mod faults;
mod mutants;
mod report;
mod setup;
mod sim;
mod test;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

const USAGE: &str = "\
usage: cargo xtask <command>

  test              set up what the tests need, then format, clippy, house rules and all tests
  setup             the set-up alone
  tidy              the house rules alone
  bench [names…]    build for release and run the benchmarks, or those named
  bench peers --peers <folder>
                    beside other queues, whose harnesses lie in that folder
  images            make the pictures of the console in docs/images
  faults [options]  build for release and run the fault suite: --seed N, --small, --case NAME, --table FILE, --list
  sim [options]     build for release and simulate: --seeds N, --seed S, --steps M, --file, --trace
  sim --mutants     break the product on purpose, in many ways, and let the simulator find each";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no workspace")?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["test"] => test::run(root),
        ["setup"] => setup::run(root),
        ["tidy"] => tidy::run(root),
        ["bench", names @ ..] => bench::run(root, names),
        ["images"] => test::images(root),
        ["faults", options @ ..] => faults::run(root, options),
        ["sim", "--mutants", names @ ..] => mutants::run(root, names),
        ["sim", options @ ..] => sim::run(root, options),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => {
            eprintln!("`cargo xtask {}` is not a command\n\n{USAGE}", other.join(" "));
            Ok(ExitCode::from(2))
        }
    }
}
