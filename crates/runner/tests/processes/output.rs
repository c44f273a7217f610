//! What the agent writes is what the log holds, byte for byte, or the log says what is missing.

use std::fs;
use std::path::Path;

use wakeful_runner::process::log::{LogReader, LogStream, RECORD_BYTES_MAX, bytes_of, tail_log};
use wakeful_runner::process::{ExitRecord, Launch, LogLimits};

use super::setup::*;

#[tokio::test]
async fn output_is_kept_to_the_byte() {
    let check = async |script: &str, expected: Vec<u8>| {
        let launch = sh(script);
        let record = run(&launch).await;
        assert!(stdout_of(&launch) == expected, "{script}");
        check_summary(&launch, &record);
        assert!(!record.log.truncated);
    };
    check("true", Vec::new()).await;
    check("printf 'a\\nb\\n\\n'", b"a\nb\n\n".into()).await;
    check("printf 'no end'", b"no end".into()).await;
    check("printf 'a\\r\\nb\\000c\\n'", b"a\r\nb\0c\n".into()).await;
    // A character in three writes.
    check("printf '\\342'; sleep 0.05; printf '\\202'; sleep 0.05; printf '\\254\\n'", "€\n".into()).await;
    check("printf '\\377\\376 binary\\ntext\\n'", b"\xff\xfe binary\ntext\n".into()).await;
    check("head -c 1048576 /dev/zero | tr '\\0' x", vec![b'x'; 1_048_576]).await;
    check("head -c 1048576 /dev/zero", vec![0; 1_048_576]).await;
    check("yes äöü | head -n 100000", "äöü\n".repeat(100_000).into_bytes()).await;
    check("yes '' | head -n 100000", vec![b'\n'; 100_000]).await;
}

#[tokio::test]
async fn a_prompt_without_a_line_end_is_seen_while_the_agent_waits() {
    let launch = sh("printf 'password: '; while [ ! -e go ]; do sleep 0.01; done; printf 'thanks\\n'");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "password: ").await;
    fs::write(file_in(&launch, "go"), "").unwrap();
    exit_of(&mut attached).await;
    assert_eq!(stdout_of(&launch), b"password: thanks\n");
    assert_eq!(in_time(tail_log(&launch.dir, 1)).await.unwrap().records.len(), 2);
}

#[tokio::test]
async fn both_streams_are_kept_apart_and_binary_is_marked_as_such() {
    let launch = sh("echo out; echo err >&2; printf '\\377\\n' >&2");
    run(&launch).await;
    let records = log_of(&launch);
    assert_eq!(bytes_of(&records, LogStream::Stdout), b"out\n");
    assert_eq!(bytes_of(&records, LogStream::Stderr), b"err\n\xff\n");
    let text = fs::read_to_string(file_in(&launch, "log.ndjson")).unwrap();
    assert!(text.contains(r#""stream":"stderr","base64":"/w=="}"#), "{text}");
    assert!(text.lines().all(|line| line.len() < RECORD_BYTES_MAX));
}

#[tokio::test]
async fn a_flood_keeps_head_and_tail_and_marks_the_cut() {
    let text_bytes_max = 1 << 20;
    let limits = LogLimits { text_bytes_max, tail_bytes_max: 256 * 1024 };
    let launch = Launch { log: limits, ..sh("seq 1 8000000; grep VmHWM /proc/$PPID/status") };
    let record = run(&launch).await;
    assert!(record.log.truncated);
    check_summary(&launch, &record);

    let records = log_of(&launch);
    let cut = records.iter().position(|record| record.missing.is_some()).unwrap();
    let written = bytes_of(&records, LogStream::Stdout);
    let (head, tail) = (bytes_of(&records[..cut], LogStream::Stdout), bytes_of(&records[cut..], LogStream::Stdout));
    assert!(head.starts_with(b"1\n2\n3\n") && head.len() as u64 <= text_bytes_max);
    assert!(head.len() as u64 > text_bytes_max / 2 && tail.len() > 10_000);
    let tail = String::from_utf8(tail).unwrap();
    let (numbers, memory) = tail.trim_end().rsplit_once('\n').unwrap();
    assert!(numbers.ends_with("\n8000000"));

    let all: u64 =
        (1..=8_000_000_u64).map(|number| u64::from(number.ilog10()) + 2).sum::<u64>() + memory.len() as u64 + 1;
    assert_eq!(records[cut].missing.unwrap().bytes.unwrap() + written.len() as u64, all);
    let lines = records.iter().filter(|record| record.stream == LogStream::Stdout).count() as u64;
    assert_eq!(records[cut].missing.unwrap().lines.unwrap() + lines, 8_000_001);
    let peak_kb: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak_kb < 12 * 1024, "the shim took {peak_kb} kB");
}

#[tokio::test]
async fn one_endless_line_costs_bounded_memory() {
    let launch = Launch {
        log: LogLimits { text_bytes_max: 1 << 20, ..LogLimits::default() },
        ..sh("head -c 200000000 /dev/zero | tr '\\0' x; echo; grep VmHWM /proc/$PPID/status")
    };
    let record = run(&launch).await;
    assert!(record.log.truncated && record.log.bytes < 2 << 20);
    let out = String::from_utf8(stdout_of(&launch)).unwrap();
    let peak_kb: u64 = out.trim_end().rsplit_once('\n').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak_kb < 12 * 1024, "the shim took {peak_kb} kB");
}

#[tokio::test]
async fn a_full_disk_costs_output_but_not_the_run() {
    // A file may be 64 KiB long: further writes fail as they do when the disk is full.
    let launch = sh("seq 1 20000; echo end >&2; exit 4");
    let limited = "ulimit -f 128; exec \"$0\"";
    let arguments = ["-c", limited, SHIM];
    let mut attached =
        in_time(wakeful_runner::process::Shims::new(Path::new("/bin/sh"), &arguments).launch(&launch)).await.unwrap();
    let record = exit_of(&mut attached).await;
    assert_eq!(record.code, Some(4));
    assert!(record.log.truncated);
    let kept = stdout_of(&launch);
    assert!(kept.starts_with(b"1\n2\n"));
    let all: u64 = (1..=20_000_u64).map(|number| u64::from(number.ilog10()) + 2).sum::<u64>() + 4;
    let kept = kept.len() + bytes_of(&log_of(&launch), LogStream::Stderr).len();
    assert_eq!(record.log.lost_bytes + kept as u64, all);
    let last = log_of(&launch).pop().unwrap();
    let missing = last.missing.unwrap();
    assert_eq!(
        (last.stream, missing.bytes),
        (LogStream::Wakeful, Some(record.log.lost_bytes)),
        "the loss has its mark"
    );
    check_summary(&launch, &record);
}

#[tokio::test]
async fn the_tail_is_read_from_the_end_and_reading_on_is_gapless() {
    let launch = sh("seq 1 50000");
    run(&launch).await;
    let tail = in_time(tail_log(&launch.dir, 3)).await.unwrap();
    assert_eq!(bytes_of(&tail.records, LogStream::Stdout), b"49998\n49999\n50000\n");
    assert!(tail.is_complete);
    let on = LogReader::open(&launch.dir).unwrap().read(tail.offset_next, 1).unwrap();
    assert!(on.records.is_empty() && on.is_complete && on.offset_next == tail.offset_next);
    let all = in_time(tail_log(&launch.dir, 60_000)).await.unwrap();
    assert_eq!(all.records.len(), 50_000);
}

#[tokio::test]
async fn a_second_launch_continues_the_log_and_a_torn_record_is_removed() {
    let launch = sh("echo one");
    run(&launch).await;
    let torn = r#"{"seq":2,"ts":"2026-11-21T10:"#;
    let log = file_in(&launch, "log.ndjson");
    fs::write(&log, fs::read_to_string(&log).unwrap() + torn).unwrap();

    let second = Launch { number: 2, argv: vec!["echo".into(), "two".into()], ..launch.clone() };
    let record = run(&second).await;
    assert_eq!(stdout_of(&second), b"one\ntwo\n");
    let records = log_of(&second);
    assert_eq!(records[1].stream, LogStream::Wakeful);
    assert!(records[1].missing.is_some());
    assert!(record.log.truncated);
    check_summary(&second, &record);
}

/// The record tells the truth about the file.
fn check_summary(launch: &Launch, record: &ExitRecord) {
    use std::process::Command;
    let log = file_in(launch, "log.ndjson");
    let bytes = fs::read(&log).unwrap_or_default();
    assert_eq!(record.log.bytes, bytes.len() as u64);
    assert_eq!(record.log.lines, bytes.iter().filter(|byte| **byte == b'\n').count() as u64);
    if log.exists() {
        let sum = Command::new("sha256sum").arg(log).output().unwrap().stdout;
        assert!(String::from_utf8(sum).unwrap().starts_with(&record.log.sha256));
    }
}
