//! `cargo xtask sim --mutants`: breaks the product on purpose, one way at a time, in a copy of the tree, and lets the
//! simulator find it. A simulator that finds nothing has to show that it can.
//!
//! A mutant is an exact text and what stands in its place. One that no longer matches is an error: it goes with the
//! code that it breaks.

mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::command::{command, succeeds};
use crate::tidy::Tree;
use table::{MUTANTS, Mutant, OF_SCHEDULES};

/// Seeds that a mutant may live through. A few hundred catch nearly all; the rest is for what is rare.
const SEEDS_MAX: u32 = 3_000;

/// Every mutant, with what else the simulator is told so that its lives are of the right kind.
fn all() -> impl Iterator<Item = (&'static Mutant, &'static [&'static str])> {
    let of_towns = MUTANTS.iter().map(|mutant| (mutant, [].as_slice()));
    of_towns.chain(OF_SCHEDULES.iter().map(|mutant| (mutant, ["--schedules", "--steps", "300"].as_slice())))
}

/// How a mutant fared.
struct Caught {
    invariant: String,
    seed: String,
    step: String,
}

pub fn run(root: &Path, names: &[&str]) -> Result<ExitCode> {
    let folder = crate::environment::target(root).join("mutants");
    let copy = folder.join("tree");
    copy_tree(root, &copy)?;
    check_texts(&copy)?;
    let wanted = all().filter(|(mutant, _)| names.is_empty() || names.contains(&mutant.name));
    let mut rows = Vec::new();
    for (mutant, lives) in wanted {
        let caught = try_one(&copy, &folder.join("build"), mutant, lives)?;
        rows.push((mutant, caught));
    }
    let survivors = rows.iter().filter(|(_, caught)| caught.is_none()).count();
    println!("\n| broken on purpose | where | caught by | seed | step |\n|---|---|---|---|---|");
    for (mutant, caught) in &rows {
        let (invariant, seed, step) = match caught {
            Some(caught) => (format!("`{}`", caught.invariant), caught.seed.as_str(), caught.step.as_str()),
            None => ("**nothing**".to_owned(), "", ""),
        };
        println!("| {} | `{}` | {invariant} | {seed} | {step} |", mutant.name, mutant.file);
    }
    println!("\n{} mutants, {} caught", rows.len(), rows.len() - survivors);
    Ok(if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Copies what git tracks or would track; what is the same already keeps its time, so that less is built anew.
fn copy_tree(root: &Path, copy: &Path) -> Result<()> {
    let tree = Tree::of_repository(root)?;
    for path in tree.paths() {
        let (from, to) = (root.join(path), copy.join(path));
        let bytes = std::fs::read(&from).with_context(|| format!("{} cannot be read", from.display()))?;
        if std::fs::read(&to).is_ok_and(|kept| kept == bytes) {
            continue;
        }
        write(&to, &bytes)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}

/// Every text stands exactly once where its mutant says.
fn check_texts(copy: &Path) -> Result<()> {
    for (mutant, _) in all() {
        let text = read(&copy.join(mutant.file))?;
        let count = text.matches(mutant.old).count();
        if count != 1 {
            bail!(
                "mutant `{}`: its text stands {count} times in {}; give it the present one",
                mutant.name,
                mutant.file
            );
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Builds the copy with one mutant in it and simulates until it is caught; puts the text back in any case.
fn try_one(copy: &Path, build: &Path, mutant: &Mutant, lives: &[&str]) -> Result<Option<Caught>> {
    println!("\nmutant `{}`", mutant.name);
    let path = copy.join(mutant.file);
    let text = read(&path)?;
    write(&path, text.replace(mutant.old, mutant.new).as_bytes())?;
    let caught = simulate(copy, build, lives);
    write(&path, text.as_bytes())?;
    let caught = caught?;
    match &caught {
        Some(caught) => println!("caught by {} at seed {} step {}", caught.invariant, caught.seed, caught.step),
        None => println!("not caught in {SEEDS_MAX} seeds"),
    }
    Ok(caught)
}

fn simulate(copy: &Path, build: &Path, lives: &[&str]) -> Result<Option<Caught>> {
    let mut cargo = command(copy, "cargo build --quiet --locked --package wakeful-sim");
    if !succeeds(cargo.env("CARGO_TARGET_DIR", build))? {
        bail!("a mutant must build: otherwise the compiler has caught it, not the simulator");
    }
    let program: PathBuf = build.join("debug").join("wakeful-sim");
    let seeds = SEEDS_MAX.to_string();
    let output = command(copy, &program.to_string_lossy())
        .args(["--seeds", &seeds])
        .args(lives)
        .output()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    Ok(caught(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads the last line of a failure: `caught: invariant=… seed=… step=…`.
fn caught(output: &str) -> Option<Caught> {
    let line = output.lines().rfind(|line| line.starts_with("caught: "))?;
    let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned);
    Some(Caught { invariant: word("invariant=")?, seed: word("seed=")?, step: word("step=")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catch_is_read_from_the_last_line() {
        let found = caught("x\ncaught: invariant=one_fate seed=7 step=12\n").unwrap();
        assert_eq!((found.invariant.as_str(), found.seed.as_str(), found.step.as_str()), ("one_fate", "7", "12"));
        assert!(caught("500 seeds").is_none());
    }

    #[test]
    fn every_mutant_still_finds_its_text() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        check_texts(root).unwrap();
    }

    #[test]
    fn mutants_have_names_of_their_own() {
        let mut names: Vec<_> = all().map(|(mutant, _)| mutant.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().count());
    }
}
