//! What an agent writes until it is on disk and a follower knows: throughput beside a bare copy through a pipe, and
//! the memory of the shim under floods.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use wakeful_runner::adapters::StopSignal;
use wakeful_runner::process::log::{LogReader, LogStream, bytes_of};
use wakeful_runner::process::{ExitRecord, Launch, LogLimits, ProcessLimits, Shims, Update};

use crate::report::{Report, percentile};

/// Of output in each round of throughput.
const BYTES: u64 = 256_000_000;
/// Of the log, at least, the follower must have been told before the end.
const SHARE_TOLD_MIN: f64 = 0.95;
/// Copies and shims take turns, because the machine's speed changes.
const ROUNDS: usize = 5;

pub fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dir = tempfile::tempdir().context("a directory for logs")?;
    let input = lines(dir.path())?;
    let shims = Shims::new(binary, &["shim"]);
    let (mut bare, mut ours, mut scrubbed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bare.push(copied(&input, dir.path())?);
        let launch = agent(&dir, &format!("plain-{round}"), &format!("exec cat {}", input.display()));
        ours.push(runtime.block_on(logged(&shims, &launch))?);
        let secrets = vec!["sk-0123456789abcdefghijklmnop".into(), "ghp_0123456789abcdefghijklmnop".into()];
        let launch =
            Launch { secrets, ..agent(&dir, &format!("secret-{round}"), &format!("exec cat {}", input.display())) };
        scrubbed.push(runtime.block_on(logged(&shims, &launch))?);
    }
    let ceiling = ("cat | cat > file", percentile(&mut bare, 50.0));
    report.at_least("output to disk and follower, median of 5", percentile(&mut ours, 50.0), "MB/s", ceiling, 0.3);
    report.at_least("the same with two secrets looked for", percentile(&mut scrubbed, 50.0), "MB/s", ceiling, 0.3);

    flood(
        &runtime,
        &shims,
        &dir,
        report,
        "a flood of 10 GB",
        "yes a line of ordinary length, as agents write them | head -c 10000000000",
    )?;
    flood(&runtime, &shims, &dir, report, "a line of 500 MB", "head -c 500000000 /dev/zero | tr '\\0' x")
}

/// Lines as agents write them, mostly short, some of JSON.
fn lines(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("input");
    let mut file = BufWriter::new(File::create(&path)?);
    let (mut written, mut number) = (0, 0_u64);
    while written < BYTES {
        number += 1;
        let line = match number % 4 {
            0 => format!(
                "{{\"type\":\"assistant\",\"number\":{number},\"text\":\"what an agent says, of some length and \\\"quoted\\\"\"}}\n"
            ),
            1 => format!("{number}\n"),
            _ => format!("   Compiling some-crate v0.{number}.1 (/somewhere/in/a/worktree/crates/some-crate)\n"),
        };
        file.write_all(line.as_bytes())?;
        written += line.len() as u64;
    }
    file.flush()?;
    Ok(path)
}

/// MB/s of a copy through a pipe.
fn copied(input: &Path, dir: &Path) -> Result<f64> {
    let output = dir.join("copy");
    let start = Instant::now();
    let script = format!("cat {} | cat > {}", input.display(), output.display());
    if !Command::new("/bin/sh").args(["-c", &script]).status()?.success() {
        bail!("`{script}` failed");
    }
    let took = start.elapsed();
    fs::remove_file(output)?;
    Ok(fs::metadata(input)?.len() as f64 / 1e6 / took.as_secs_f64())
}

/// MB/s from the launch until the follower was told how far it can read for the last time; what is left then comes with
/// the exit record, after the log has been synced, which the copy never is.
async fn logged(shims: &Shims, launch: &Launch) -> Result<f64> {
    let start = Instant::now();
    let (record, hinted, hinted_at) = followed(shims, launch).await?;
    let took = hinted_at - start;
    let share = hinted as f64 / record.log.bytes as f64;
    if record.log.truncated || share < SHARE_TOLD_MIN {
        bail!("the log is not whole: {:?}, followed up to {hinted}", record.log);
    }
    fs::remove_dir_all(&launch.dir)?;
    Ok(BYTES as f64 * share / 1e6 / took.as_secs_f64())
}

/// Runs it to its end; how it ended, and how far the follower was told to read, and when.
async fn followed(shims: &Shims, launch: &Launch) -> Result<(ExitRecord, u64, Instant)> {
    let mut attached = shims.launch(launch).await?;
    let (mut hinted, mut hinted_at) = (0, Instant::now());
    loop {
        match attached.next().await {
            Update::Output { log_bytes, .. } => (hinted, hinted_at) = (log_bytes, Instant::now()),
            Update::Exited(record) => return Ok((*record, hinted, hinted_at)),
            Update::Gone => bail!("the shim went without an exit record"),
            _ => {}
        }
    }
}

/// Speed and memory of a shim whose agent writes far more than is kept.
fn flood(
    runtime: &tokio::runtime::Runtime,
    shims: &Shims,
    dir: &TempDir,
    report: &mut Report,
    what: &str,
    script: &str,
) -> Result<()> {
    let name = what.replace(' ', "-");
    let launch = agent(dir, &name, &format!("{script}; echo; grep VmHWM /proc/$PPID/status"));
    let launch = Launch { log: LogLimits::default(), ..launch };
    let start = Instant::now();
    let (record, _, _) = runtime.block_on(followed(shims, &launch))?;
    let took = start.elapsed();
    let tail = LogReader::open(&launch.dir)?.tail(2)?;
    let text = String::from_utf8_lossy(&bytes_of(&tail.records, LogStream::Stdout)).into_owned();
    let peak = text.lines().last().and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    let peak_mb = peak.context("the agent did not say how much memory the shim took")? / 1024.0;
    report.at_most(
        &format!("memory of the shim, {what}"),
        peak_mb,
        "MB",
        format!("{:.0} MB of log", record.log.bytes as f64 / 1e6),
        16.0,
    );
    report.note(&format!("time for {what}"), format!("{:.1} s", took.as_secs_f64()));
    Ok(())
}

fn agent(dir: &TempDir, name: &str, script: &str) -> Launch {
    let path = std::path::absolute(dir.path().join(name)).unwrap_or_else(|_| dir.path().join(name));
    Launch {
        run: format!("bench-{name}"),
        number: 1,
        cwd: "/".into(),
        dir: path,
        argv: vec!["/bin/sh".into(), "-c".into(), script.to_owned()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("WAKEFUL_RUN".into(), format!("bench-{name}"))],
        stdin: String::new(),
        keeps_stdin_open: false,
        stop_signal: StopSignal::Terminate,
        grace_ms: 1_000,
        max_duration_ms: None,
        first_output_ms: None,
        limits: ProcessLimits::default(),
        linger_ms: 1_000,
        log: LogLimits { text_bytes_max: 2 * BYTES, ..LogLimits::default() },
        secrets: Vec::new(),
        secret_files: Vec::new(),
    }
}
