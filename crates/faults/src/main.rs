//! `wakeful-faults`: makes the faults one after another and shows what held. `cargo xtask faults` builds and runs it.
//! Not here: what a fault is; that is the library.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people: what it prints is its result")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use wakeful_faults::{Case, End, Scale, Told, agent, case, cases, table};

const USAGE: &str = "\
usage: cargo xtask faults [--seed N] [--small] [--case NAME]… [--table FILE] [--other PROGRAM] [--list]

  --seed N      the seed of what is random (1)
  --small       a little of each, in seconds
  --case NAME   this case alone; may be repeated
  --table FILE  put the lines of these cases into the document's table
  --other PROGRAM  another build of `wakeful`, for `stop_and_upgrade`
  --list        name the cases";

struct Wanted {
    seed: u64,
    scale: Scale,
    cases: Vec<&'static Case>,
    table: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["agent", "tick", every_ms, count] => {
            let (Ok(every_ms), Ok(count)) = (every_ms.parse(), count.parse()) else { return ExitCode::from(2) };
            agent::tick(Duration::from_millis(every_ms), count);
            ExitCode::SUCCESS
        }
        ["--list"] => {
            cases::ALL.iter().for_each(|case| println!("{:<16} {}", case.name, case.provoked));
            ExitCode::SUCCESS
        }
        words => match wanted(words) {
            Ok(wanted) => run(&wanted),
            Err(problem) => {
                eprintln!("{problem}\n\n{USAGE}");
                ExitCode::from(2)
            }
        },
    }
}

fn wanted(words: &[&str]) -> Result<Wanted, String> {
    let mut wanted = Wanted { seed: 1, scale: Scale::Full, cases: Vec::new(), table: None };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().copied().ok_or_else(|| format!("`{word}` wants a value"));
        match *word {
            "--seed" => wanted.seed = value()?.parse().map_err(|error| format!("--seed: {error}"))?,
            "--small" => wanted.scale = Scale::Small,
            "--case" => {
                let name = value()?;
                wanted.cases.push(case(name).ok_or_else(|| format!("there is no case `{name}`; see --list"))?);
            }
            "--other" => {
                let path = PathBuf::from(value()?);
                // Named from where the caller stands.
                let path = path.canonicalize().map_err(|error| format!("--other: {error}"))?;
                cases::OTHER_BUILD.set(path).map_err(|_| "--other stands there twice")?;
            }
            "--table" => wanted.table = Some(value()?.into()),
            other => return Err(format!("`{other}` is not known here")),
        }
    }
    if wanted.cases.is_empty() {
        wanted.cases = cases::ALL.iter().collect();
    }
    Ok(wanted)
}

fn run(wanted: &Wanted) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the async runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut told: Vec<Told> = Vec::new();
    for case in &wanted.cases {
        let one = runtime.block_on(case.held(wanted.scale, wanted.seed));
        let (word, text) = match &one.end {
            End::Held(measured) => ("held", measured.as_str()),
            End::Broken(found) => ("BROKEN", found.as_str()),
            End::Skipped(reason) => ("skipped", *reason),
        };
        println!("{:<16} {word:<8} {:>5.1} s  {text}", case.name, one.took.as_secs_f64());
        told.push(one);
    }
    let broken = told.iter().filter(|one| matches!(one.end, End::Broken(_))).count();
    println!("\n{} cases, {broken} broken (seed {})", told.len(), wanted.seed);
    if let Some(path) = &wanted.table {
        let document = std::fs::read_to_string(path).unwrap_or_default();
        let written = table::put(&document, &told).map(|document| std::fs::write(path, document));
        match written {
            Some(Ok(())) => {}
            Some(Err(error)) => eprintln!("{} could not be written: {error}", path.display()),
            None => eprintln!("{} has no place for a table", path.display()),
        }
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
