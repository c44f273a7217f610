//! A run of its own for each test, and the waits that all tests use.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wakeful_runner::adapters::StopSignal;
use wakeful_runner::process::log::{LogChunk, LogReader, LogRecord, LogStream, bytes_of};
use wakeful_runner::process::{Attached, ExitRecord, Launch, LogLimits, ProcessLimits, Update};

/// The shim by itself.
pub const SHIM: &str = env!("CARGO_BIN_EXE_shim");
/// No step of any test takes longer, on a loaded machine included.
const DEADLINE: Duration = Duration::from_secs(30);

static RUNS: AtomicU32 = AtomicU32::new(1);

/// A run of `/bin/sh -c script` in a directory of its own.
pub fn sh(script: &str) -> Launch {
    launch_of(&["/bin/sh", "-c", script])
}

/// A run of any command.
pub fn launch_of(argv: &[&str]) -> Launch {
    let run = format!("test-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runs").join(&run);
    fs::remove_dir_all(&dir).ok();
    fs::create_dir_all(&dir).unwrap();
    Launch {
        env: vec![
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
            ("WAKEFUL_RUN".into(), run.clone()),
            ("LC_ALL".into(), "C.UTF-8".into()),
        ],
        run,
        number: 1,
        cwd: dir.clone(),
        dir,
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        stdin: String::new(),
        keeps_stdin_open: false,
        stop_signal: StopSignal::Terminate,
        grace_ms: 10_000,
        max_duration_ms: None,
        first_output_ms: None,
        limits: ProcessLimits::default(),
        linger_ms: 100,
        log: LogLimits::default(),
        secrets: Vec::new(),
        secret_files: Vec::new(),
    }
}

/// Starts it with the test's own shim.
pub async fn start(launch: &Launch) -> Attached {
    in_time(wakeful_runner::process::Shims::new(Path::new(SHIM), &[]).launch(launch)).await.unwrap()
}

/// Runs it to its end.
pub async fn run(launch: &Launch) -> ExitRecord {
    let mut attached = start(launch).await;
    exit_of(&mut attached).await
}

/// The exit record that the connection reports.
pub async fn exit_of(attached: &mut Attached) -> ExitRecord {
    loop {
        match in_time(attached.next()).await {
            Update::Exited(record) => return *record,
            Update::Gone => panic!("the shim went without an exit record"),
            _ => {}
        }
    }
}

/// Waits until the log holds `text` on standard output.
pub async fn output_with(attached: &mut Attached, launch: &Launch, text: &str) {
    loop {
        if String::from_utf8_lossy(&stdout_of(launch)).contains(text) {
            return;
        }
        match in_time(attached.next()).await {
            Update::Started(_) | Update::Output { .. } => {}
            other => panic!("{other:?} before the output {text:?}"),
        }
    }
}

/// Fails a test that waits for what does not come.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

/// Waits for a condition that nothing announces.
pub async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let poll = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, poll).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The whole log; `seq` is checked to count from 1 without a gap.
pub fn log_of(launch: &Launch) -> Vec<LogRecord> {
    let reader = LogReader::open(&launch.dir).unwrap();
    let mut records = Vec::new();
    let mut offset = 0;
    loop {
        let LogChunk { records: more, offset_next, .. } = reader.read(offset, 1 << 20).unwrap();
        if offset_next == offset {
            break;
        }
        offset = offset_next;
        records.extend(more);
    }
    let counted: Vec<u64> = records.iter().map(|record| record.seq).collect();
    assert_eq!(counted, (1..=records.len() as u64).collect::<Vec<_>>());
    records
}

/// All of standard output as it stands in the log.
pub fn stdout_of(launch: &Launch) -> Vec<u8> {
    bytes_of(&log_of(launch), LogStream::Stdout)
}

/// The live processes of the run.
pub fn processes_of(launch: &Launch) -> Vec<i32> {
    let mark = format!("WAKEFUL_RUN={}", launch.run);
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    })
    .collect()
}

/// A file in the directory of the run.
pub fn file_in(launch: &Launch, name: &str) -> PathBuf {
    launch.dir.join(name)
}

/// Starts it with a shim that can make no control groups. What the shim may fail to keep small is kept by a group
/// around it that it does not see, if there is one; [`uncontained`] removes it.
pub async fn start_without_cgroups(launch: &Launch) -> Attached {
    // Whoever may not hide them may not make any either.
    let hidden = r#"
        contained=/sys/fs/cgroup/pids/contained-$1
        mkdir $contained && echo 3000 > $contained/pids.max && echo 0 > $contained/tasks
        exec unshare -m sh -c 'umount -R -l /sys/fs/cgroup; exec "$0"' "$0""#;
    start_hidden(launch, hidden).await
}

/// Starts it with a shim that can make control groups of version 1 at most.
pub async fn start_with_earlier_cgroups(launch: &Launch) -> Attached {
    let hidden = r#"exec unshare -m sh -c 'umount /sys/fs/cgroup/unified; exec "$0"' "$0""#;
    start_hidden(launch, hidden).await
}

/// Starts it by a script that hides something from the shim, where we may.
async fn start_hidden(launch: &Launch, hidden: &str) -> Attached {
    let is_root = fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t");
    let script = if is_root { hidden } else { "exec \"$0\"" };
    let shims = wakeful_runner::process::Shims::new(Path::new("/bin/sh"), &["-c", script, SHIM, &launch.run]);
    in_time(shims.launch(launch)).await.unwrap()
}

/// Removes the group around a shim that has ended.
pub async fn uncontained(launch: &Launch) {
    let group = format!("/sys/fs/cgroup/pids/contained-{}", launch.run);
    until("the shim has left its group", || !fs::exists(&group).unwrap() || fs::remove_dir(&group).is_ok()).await;
}

/// The control groups of the run.
pub fn cgroups_of(launch: &Launch) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
                if entry.file_name().to_string_lossy().starts_with(&format!("wakeful-{}-", launch.run)) {
                    found.push(entry.path());
                }
            }
        }
    }
    found
}
