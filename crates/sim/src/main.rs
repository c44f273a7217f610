//! `wakeful-sim`: lives many seeds, on all cores, and shows the first that fails. `cargo xtask sim` builds and runs it.
//! Not here: what a life is; that is the library.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people: what it prints is its result")]
#![expect(clippy::disallowed_methods, reason = "it tells how long it took; no life sees that clock")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use wakeful_sim::{Failed, Lived, Place, STEPS_DEFAULT, live, live_by_schedules};

const USAGE: &str = "\
usage: cargo xtask sim [--seeds N] [--seed S] [--steps M] [--schedules] [--file] [--trace]

  --seeds N   how many seeds (500; 1 with --seed)
  --seed S    the first seed (0)
  --steps M   steps of trouble in each life (100)
  --schedules lives of schedules instead of towns
  --file      keep the store in a file instead of in memory
  --trace     show the whole trace of each life";

struct Wanted {
    seeds: u64,
    first: u64,
    steps: u32,
    is_of_schedules: bool,
    in_file: bool,
    shows_trace: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match wanted(&arguments) {
        Ok(wanted) => run(&wanted),
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn wanted(arguments: &[String]) -> Result<Wanted, String> {
    let (mut seeds, mut first, mut steps) = (None, None, STEPS_DEFAULT);
    let (mut is_of_schedules, mut in_file, mut shows_trace) = (false, false, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || {
            let text = rest.next().ok_or_else(|| format!("`{argument}` wants a number"))?;
            text.replace('_', "").parse::<u64>().map_err(|_| format!("`{text}` is no number"))
        };
        match argument.as_str() {
            "--seeds" => seeds = Some(number()?),
            "--seed" => first = Some(number()?),
            "--steps" => steps = u32::try_from(number()?).map_err(|error| error.to_string())?,
            "--schedules" => is_of_schedules = true,
            "--file" => in_file = true,
            "--trace" => shows_trace = true,
            other => return Err(format!("`{other}` is not known here")),
        }
    }
    let seeds = seeds.unwrap_or(if first.is_some() { 1 } else { 500 });
    Ok(Wanted { seeds, first: first.unwrap_or(0), steps, is_of_schedules, in_file, shows_trace })
}

fn run(wanted: &Wanted) -> ExitCode {
    let began = Instant::now();
    let next = AtomicU64::new(wanted.first);
    let end = wanted.first.saturating_add(wanted.seeds);
    let worst: Mutex<Option<Box<Failed>>> = Mutex::new(None);
    let counts = [const { AtomicU64::new(0) }; 6];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= end {
                        return;
                    }
                    match life(seed, wanted) {
                        Ok(lived) => {
                            let Lived { steps, wakeups, runs, slots, crashes, .. } = lived;
                            let figures = [1, u64::from(steps), wakeups as u64, runs as u64, slots, crashes];
                            counts.iter().zip(figures).for_each(|(count, by)| {
                                count.fetch_add(by, Ordering::SeqCst);
                            });
                            if wanted.shows_trace {
                                println!("{}", lived.trace);
                            }
                        }
                        Err(failed) => {
                            // Seeds are handed out in order: nobody begins a later one.
                            next.store(end, Ordering::SeqCst);
                            let mut worst = worst.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            if worst.as_ref().is_none_or(|known| failed.seed < known.seed) {
                                *worst = Some(failed);
                            }
                        }
                    }
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let [seeds, steps, wakeups, runs, slots, crashes] = counts.map(AtomicU64::into_inner);
    let rate = steps as f64 / seconds.max(0.001);
    println!("{seeds} seeds, {steps} steps, {wakeups} wakeups, {runs} runs in {seconds:.1} s: {rate:.0} steps/s");
    if wanted.is_of_schedules {
        println!("{slots} slots, {crashes} crashes");
    }
    match worst.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        None => ExitCode::SUCCESS,
        Some(failed) => {
            show(&failed);
            ExitCode::FAILURE
        }
    }
}

fn life(seed: u64, wanted: &Wanted) -> Result<Lived, Box<Failed>> {
    let live = if wanted.is_of_schedules { live_by_schedules } else { live };
    if !wanted.in_file {
        return live(seed, wanted.steps, Place::Memory);
    }
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("no directory for the store: {error}");
            std::process::exit(2);
        }
    };
    live(seed, wanted.steps, Place::File(&folder.path().join("store.db")))
}

fn show(failed: &Failed) {
    println!("\n{failed}");
    println!("caught: invariant={} seed={} step={}", failed.broken.invariant.name, failed.seed, failed.step);
}
