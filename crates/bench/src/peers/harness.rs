//! The peers' harnesses: copied to a folder of ours, built there, run against a store of their own with a limit of
//! time. The given folder is only read. A harness prints one JSON line a measure, `{"metric", "value", …}`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value as Json;

use super::stores::Store;
use super::{Figures, METRICS, Peer};

/// Jobs that a harness drains; not compared, so few. The Rust one adds them in thousands.
const JOBS: &str = "2000";
/// A run takes about 15 s; a drain alone is given 90 s by the harnesses.
const RUN_WITHIN: Duration = Duration::from_secs(150);
/// The largest of them compiles some hundred crates.
const BUILD_WITHIN: Duration = Duration::from_secs(3_600);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What harnesses share by path.
const SHARED: &str = "common";
/// What a build leaves behind; never copied.
const BUILT: &[&str] = &["target", "node_modules"];
/// What a harness would do differently if the caller happens to have them set.
const UNSET: &[&str] = &["LOAD", "LABEL", "CONC", "BATCH", "POLL_MS", "WORKERS", "BULL_PG", "PORT"];
/// Of what a program complained, the end.
const COMPLAINT_CHARS_MAX: usize = 400;

/// Where harnesses are built, and what became of each folder.
#[derive(Debug)]
pub struct Workshop {
    given: PathBuf,
    home: PathBuf,
    /// The fault, if it could not be built.
    built: BTreeMap<&'static str, Option<String>>,
}

impl Workshop {
    pub fn open(given: PathBuf, home: PathBuf) -> Result<Workshop> {
        ensure!(given.is_dir(), "{} is no folder: it should hold the peers' harnesses", given.display());
        // Folders of ours are written only where they are not theirs.
        let (theirs, ours) = (fs::canonicalize(&given)?, std::path::absolute(&home)?);
        ensure!(!ours.starts_with(&theirs), "{} lies in {}", ours.display(), theirs.display());
        if given.join(SHARED).is_dir() {
            copy(&given.join(SHARED), &home.join(SHARED))?;
        }
        Ok(Workshop { given, home, built: BTreeMap::new() })
    }

    /// Copies and builds the peer's folder, unless that has been done for another peer in it.
    pub fn build(&mut self, peer: &Peer) {
        if !self.built.contains_key(peer.folder) {
            println!("peers: {}: {}", peer.folder, peer.build);
            let fault = self.try_build(peer).err().map(|error| format!("not built: {error:#}"));
            if let Some(fault) = &fault {
                println!("peers: {}: {fault}", peer.folder);
            }
            self.built.insert(peer.folder, fault);
        }
    }

    fn try_build(&self, peer: &Peer) -> Result<()> {
        let given = self.given.join(peer.folder);
        ensure!(given.is_dir(), "there is no folder `{}` in {}", peer.folder, self.given.display());
        let home = self.home.join(peer.folder);
        copy(&given, &home)?;
        let ended = run(&mut self.command(peer, peer.build), BUILD_WITHIN)?;
        match ended.fault() {
            Some(fault) => bail!("`{}`: {fault}", peer.build),
            None => Ok(()),
        }
    }

    /// What the peer reached, and what went wrong, if anything did.
    pub fn run(&self, peer: &Peer) -> Result<(Figures, Option<String>)> {
        if let Some(Some(fault)) = self.built.get(peer.folder) {
            bail!("{fault}");
        }
        let store = Store::make(peer.needs)?;
        let mut command = self.command(peer, peer.run);
        UNSET.iter().for_each(|name| {
            command.env_remove(name);
        });
        store.tell(command.env("COND", "empty").env("N", JOBS));
        let ended = run(&mut command, RUN_WITHIN)?;
        let figures = read(&ended.output);
        let missing: Vec<&str> = METRICS.into_iter().filter(|metric| !figures.contains_key(*metric)).collect();
        let mut faults: Vec<String> =
            ended.fault().map(|fault| format!("`{}`: {fault}", peer.run)).into_iter().collect();
        if faults.is_empty() && !missing.is_empty() {
            faults.push(format!("it printed no {}", missing.join(", ")));
        }
        faults.extend(self.wants_newer_node(peer));
        Ok((figures, (!faults.is_empty()).then(|| faults.join("; "))))
    }

    fn command(&self, peer: &Peer, line: &str) -> Command {
        let target = self.home.join("target");
        let mut words = line.split(' ').map(|word| word.replace("{target}", &target.to_string_lossy()));
        let mut command = Command::new(words.next().unwrap_or_default());
        // One folder for all: they share most of what they are built from.
        command.args(words).current_dir(self.home.join(peer.folder)).env("CARGO_TARGET_DIR", target);
        command
    }

    /// Whether the harness asks for a newer Node than there is.
    fn wants_newer_node(&self, peer: &Peer) -> Option<String> {
        let package = fs::read_to_string(self.home.join(peer.folder).join("package.json")).ok()?;
        let package: Json = serde_json::from_str(&package).ok()?;
        let wanted = package["engines"]["node"].as_str()?;
        let output = Command::new("node").arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        is_older(&version, wanted).then(|| format!("it asks for Node {wanted}; this is {version}"))
    }
}

/// Whether `version` (`v20.1.0`) is below what `wanted` (`>=22.18`) asks for.
fn is_older(version: &str, wanted: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        let text = text.trim_start_matches(|character: char| !character.is_ascii_digit());
        text.split('.').map_while(|part| part.parse().ok()).collect()
    };
    numbers(version) < numbers(wanted)
}

/// Copies a folder without what was built in it. What is the same already stays untouched, so that nothing is built
/// twice. A manifest becomes a workspace of its own: ours may lie above it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if BUILT.iter().any(|built| name == *built) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&path, &to.join(name))?;
            continue;
        }
        let mut content = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        if name == "Cargo.toml" && !content.windows(11).any(|part| part == b"[workspace]") {
            content.extend_from_slice(b"\n[workspace]\n");
        }
        let to = to.join(name);
        if fs::read(&to).ok().as_ref() != Some(&content) {
            fs::write(&to, content).with_context(|| format!("{} cannot be written", to.display()))?;
        }
    }
    Ok(())
}

/// The metrics among the lines.
fn read(output: &str) -> Figures {
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    lines
        .filter_map(|line| Some((line["metric"].as_str()?.to_owned(), line["value"].as_f64()?)))
        .filter(|(metric, _)| METRICS.contains(&metric.as_str()))
        .collect()
}

/// How a program ended.
struct Ended {
    /// Nothing if it had to be killed.
    status: Option<ExitStatus>,
    limit: Duration,
    output: String,
    complaint: String,
}

impl Ended {
    fn fault(&self) -> Option<String> {
        let how = match self.status {
            Some(status) if status.success() => return None,
            Some(status) => status.to_string(),
            None => format!("not done within {} s", self.limit.as_secs()),
        };
        let complaint = self.complaint.split_whitespace().collect::<Vec<_>>().join(" ");
        let skipped = complaint.chars().count().saturating_sub(COMPLAINT_CHARS_MAX);
        let complaint: String = complaint.chars().skip(skipped).collect();
        Some(if complaint.is_empty() { how } else { format!("{how}: {complaint}") })
    }
}

/// Runs a program, at most so long.
fn run(command: &mut Command, limit: Duration) -> Result<Ended> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{}` cannot be started", command.get_program().to_string_lossy()))?;
    let (output, complaint) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = wait(&mut child, limit)?;
    Ok(Ended { status, limit, output: text(output), complaint: text(complaint) })
}

fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill().ok();
            child.wait()?;
            return Ok(None);
        }
        sleep(LOOK_EVERY);
    }
}

/// Reads beside the program, so that a full pipe holds nothing up.
fn collect(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes).ok();
        }
        bytes
    })
}

fn text(bytes: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.join().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_compared_metrics_of_a_harness_are_read() {
        let output = "hello\n\
            {\"peer\":\"a\",\"cond\":\"empty\",\"metric\":\"enq1\",\"value\":12.5,\"unit\":\"/s\"}\n\
            {\"peer\":\"a\",\"cond\":\"empty\",\"metric\":\"bulk\",\"value\":9,\"unit\":\"/s\"}\n\
            {\"peer\":\"a\",\"cond\":\"empty\",\"metric\":\"latency_p50\",\"value\":null,\"unit\":\"ms\"}\n";
        assert_eq!(read(output), Figures::from([("enq1".to_owned(), 12.5)]));
    }

    #[test]
    fn versions_of_node_are_compared_by_their_numbers() {
        let check = |version: &str, wanted: &str, expected: bool| {
            assert_eq!(is_older(version, wanted), expected, "{version} {wanted}");
        };
        check("v20.20.2", ">=22.18", true);
        check("v22.9.0", ">=22.18", true);
        check("v22.18.0", ">=22.18", false);
        check("v24.1.0", ">=22.18", false);
    }

    #[test]
    fn a_copy_leaves_out_what_was_built_and_stands_alone() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join("node_modules/a")).unwrap();
        fs::create_dir_all(from.path().join("src")).unwrap();
        fs::write(from.path().join("src/main.rs"), "fn main() {}").unwrap();
        fs::write(from.path().join("Cargo.toml"), "[package]\n").unwrap();
        copy(from.path(), to.path()).unwrap();
        assert!(to.path().join("src/main.rs").is_file());
        assert!(!to.path().join("node_modules").exists());
        assert_eq!(fs::read_to_string(to.path().join("Cargo.toml")).unwrap(), "[package]\n\n[workspace]\n");
    }
}
