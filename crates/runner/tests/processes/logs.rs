//! Logs after the end: compressed and read as before; read by line; on a disk that is full.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use wakeful_runner::process::log::{
    LogReader, LogStream, RECORD_BYTES_MAX, bytes_of, close_after_death, compress, read_log, read_log_lines, tail_log,
};
use wakeful_runner::process::{ExitRecord, Launch, Shims, Update};

use super::setup::*;

/// A log of some megabytes, with short lines, long ones and other bytes.
async fn long_log() -> (Launch, ExitRecord) {
    let script = "seq 1 30000; head -c 300000 /dev/zero | tr '\\0' x; echo; printf '\\377\\n'; seq 1 10000 >&2; sleep 0.5; seq 1 100";
    let launch = sh(script);
    let record = run(&launch).await;
    (launch, record)
}

fn is_packed(launch: &Launch) -> bool {
    let exists = |name| file_in(launch, name).exists();
    assert!(!exists("log.ndjson.zst.unfinished") && !exists("log.ndjson.unfinished"));
    assert!(exists("log.ndjson") != exists("log.ndjson.zst"), "one of them is there");
    exists("log.ndjson.zst")
}

#[tokio::test]
async fn a_compressed_log_reads_as_the_plain_one() {
    let (launch, record) = long_log().await;
    let plain = log_of(&launch);
    let text = fs::read(file_in(&launch, "log.ndjson")).unwrap();
    let before = LogReader::open(&launch.dir).unwrap();
    let done = compress(&launch.dir).unwrap().unwrap();
    assert!(is_packed(&launch));
    assert_eq!((done.bytes_before, &done.sha256), (record.log.bytes, &record.log.sha256));
    assert!(done.bytes_after * 5 < done.bytes_before, "{done:?}");
    assert!(compress(&launch.dir).unwrap().is_none(), "once");

    assert!(log_of(&launch) == plain);
    let tail = in_time(tail_log(&launch.dir, 5)).await.unwrap();
    assert_eq!(bytes_of(&tail.records, LogStream::Stdout), b"96\n97\n98\n99\n100\n");
    assert!(tail.is_complete && tail.offset_next == record.log.bytes);
    // At the same offsets, also where a frame ends, and by a reader that has the plain one open.
    let after = LogReader::open(&launch.dir).unwrap();
    let mut starts = vec![0];
    starts.extend(text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at as u64 + 1));
    for start in starts.iter().step_by(997).chain(starts.last()) {
        assert_eq!(after.read(*start, 1).unwrap(), before.read(*start, 1).unwrap());
    }
    // Others can read it as well.
    let zstd = std::process::Command::new("zstd").arg("-dc").arg(file_in(&launch, "log.ndjson.zst")).output();
    if let Ok(output) = zstd {
        assert!(output.stdout == text);
    }
}

#[tokio::test]
async fn a_line_is_found_in_either_form() {
    let (launch, record) = long_log().await;
    for _ in 0..2 {
        let all = log_of(&launch);
        for line in
            [0, 1, 2, 29_999, 30_000, 30_001, 30_003, 30_004, 30_006, 40_000, record.log.lines - 1, record.log.lines]
        {
            let chunk = in_time(read_log_lines(&launch.dir, line, 1)).await.unwrap();
            let first = usize::try_from(line.max(1)).unwrap() - 1;
            assert_eq!(chunk.records, all[first..first + chunk.records.len()], "{line}");
            assert!(!chunk.records.is_empty(), "{line}");
            let on = in_time(read_log(&launch.dir, chunk.offset_next, 1)).await.unwrap();
            assert_eq!(on.records.first(), all.get(first + chunk.records.len()), "{line}");
        }
        let beyond = in_time(read_log_lines(&launch.dir, record.log.lines + 1, 1)).await.unwrap();
        assert!(beyond.records.is_empty() && beyond.is_complete && beyond.offset_next == record.log.bytes);
        compress(&launch.dir).unwrap();
    }
    assert!(is_packed(&launch));
}

#[tokio::test]
async fn a_short_log_stays_plain_and_none_stays_none() {
    let launch = sh("echo short");
    run(&launch).await;
    assert!(compress(&launch.dir).unwrap().is_none() && !is_packed(&launch));
    let silent = sh("true");
    run(&silent).await;
    assert!(compress(&silent.dir).unwrap().is_none());
    assert!(LogReader::open(&silent.dir).unwrap().read_lines(1, 1).unwrap().is_complete);
}

#[tokio::test]
async fn a_second_launch_goes_on_with_a_compressed_log() {
    let launch = sh("seq 1 3000");
    run(&launch).await;
    assert!(compress(&launch.dir).unwrap().is_some() && is_packed(&launch));
    let second = Launch { number: 2, argv: vec!["echo".into(), "two".into()], ..launch.clone() };
    let record = run(&second).await;
    assert!(!is_packed(&launch));
    assert_eq!((record.log.lines, record.log.truncated), (3001, false));
    assert!(stdout_of(&launch).ends_with(b"3000\ntwo\n"));
    // So does the mark after a shim's death.
    assert!(compress(&launch.dir).unwrap().is_some());
    assert_eq!(close_after_death(&launch.dir, "the shim was killed").unwrap().lines, 3002);
    assert!(!is_packed(&launch));
}

#[tokio::test]
async fn whoever_reads_while_it_is_compressed_reads_it_whole() {
    let launch = sh("seq 1 20000");
    run(&launch).await;
    let expected = log_of(&launch).len();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0;
            while !is_over.load(Ordering::Relaxed) || rounds == 0 {
                assert_eq!(log_of(&launch).len(), expected);
                rounds += 1;
            }
        });
        for _ in 0..5 {
            compress(&launch.dir).unwrap().unwrap();
            // Brought back as a launch would do it, which adds nothing here.
            let packed = fs::read(file_in(&launch, "log.ndjson.zst")).unwrap();
            assert!(!packed.is_empty());
            let records = log_of(&launch);
            let plain = file_in(&launch, "plain");
            write_plain(&plain, &records);
            fs::rename(plain, file_in(&launch, "log.ndjson")).unwrap();
            fs::remove_file(file_in(&launch, "log.ndjson.zst")).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

fn write_plain(path: &std::path::Path, records: &[wakeful_runner::process::log::LogRecord]) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    let lines: String = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
    file.write_all(lines.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_damaged_compressed_log_is_an_error_that_says_so() {
    let launch = sh("seq 1 5000");
    run(&launch).await;
    compress(&launch.dir).unwrap().unwrap();
    let path = file_in(&launch, "log.ndjson.zst");
    let whole = fs::read(&path).unwrap();
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = LogReader::open(&launch.dir).and_then(|reader| reader.read(0, RECORD_BYTES_MAX)).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        assert!(close_after_death(&launch.dir, "no reason").is_err());
        assert_eq!(fs::read(&path).unwrap(), bytes, "what is left of it is kept");
    };
    check(&whole[..whole.len() - 1]);
    check(&whole[..10]);
    check(b"");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    check(&changed);
}

#[tokio::test]
async fn a_disk_that_is_full_costs_output_and_says_so_and_takes_more_when_there_is_room() {
    // A disk with 1 MiB left that only the shim and its agent see; without the right to mount one there is nothing to try.
    let script = "seq 1 200000; rm filling; seq 1 100; exit 4";
    let launch = Launch { cwd: "/".into(), ..sh(script) };
    let mount = r#"exec unshare -m sh -c '
        mount -t tmpfs -o size=32m none "$2" || exit 1
        dd if=/dev/zero of="$2/filling" bs=1M count=31 2>/dev/null
        "$1"; cp "$2"/log.ndjson "$2"/exit-1.json "$3"' sh "$0" "$1" "$2""#;
    let kept = file_in(&launch, "kept");
    fs::create_dir(&kept).unwrap();
    let disk = file_in(&launch, "disk");
    fs::create_dir(&disk).unwrap();
    let on_disk = Launch { dir: disk.clone(), cwd: disk.clone(), ..launch.clone() };
    let arguments = ["-c", mount, SHIM, disk.to_str().unwrap(), kept.to_str().unwrap()];
    let mut attached = in_time(Shims::new(std::path::Path::new("/bin/sh"), &arguments).launch(&on_disk)).await.unwrap();
    let mut last = in_time(attached.next()).await;
    while !matches!(last, Update::Exited(_) | Update::Gone) {
        last = in_time(attached.next()).await;
    }
    let Update::Exited(record) = last else { return };
    assert_eq!(record.code, Some(4));
    assert!(record.log.truncated && record.log.lost_bytes > 0);
    until("the log is copied", || fs::read(kept.join("exit-1.json")).is_ok_and(|bytes| bytes.ends_with(b"\n"))).await;
    fs::write(kept.join("shim-1.json"), "\"abandoned\"\n").unwrap();
    let records = log_of(&Launch { dir: kept, ..launch });
    let missing: u64 = records.iter().filter_map(|record| record.missing?.bytes).sum();
    assert_eq!(missing, record.log.lost_bytes);
    let written = bytes_of(&records, LogStream::Stdout);
    let all: u64 = (1..=200_000_u64).map(|number| u64::from(number.ilog10()) + 2).sum::<u64>() + 292;
    assert_eq!(written.len() as u64 + missing, all);
    assert!(written.ends_with(b"98\n99\n100\n"), "what comes after there is room again is kept");
}
