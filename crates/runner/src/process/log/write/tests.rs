//! A disk that stalls, one that refuses, and the sum of what it took.

use std::io::Read;

use super::*;
use crate::process::log::Content;
use crate::process::log::resume::Sum;

/// A log whose disk is a pipe: it takes 64 KiB and then nothing until somebody reads.
fn on_a_pipe() -> (LogWriter, io::PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
    let file = LogFile::new(Path::new("/nowhere"), Some(file), Sum::default());
    (LogWriter::on(file, LogLimits::default()), reader)
}

fn line(log: &mut LogWriter, text: &str) {
    let piece = Piece { bytes: text.as_bytes(), partial: false };
    log.append(LogStream::Stdout, piece, Timestamp::from_millis(0));
}

#[test]
fn a_disk_that_stalls_keeps_nobody_waiting_and_loses_nothing() {
    const LINES: u64 = 12_000;
    let (mut log, mut disk) = on_a_pipe();
    log.write_apart();
    let started = clock::monotonic();
    for number in 0..LINES {
        line(&mut log, &format!("{number} {}", "x".repeat(100)));
        if number % 500 == 0 {
            log.flush();
        }
    }
    log.flush();
    log.collect();
    assert!(!log.has_room() && log.busy_since().is_some());
    assert!(started.elapsed() < Duration::from_secs(5), "it waited for the disk: {:?}", started.elapsed());
    assert!(log.position().lines < LINES / 2);

    let reading = std::thread::spawn(move || {
        let mut written = String::new();
        disk.read_to_string(&mut written).unwrap();
        written
    });
    log.wait();
    assert!(log.has_room() && log.busy_since().is_none());
    assert_eq!(log.position().lines, LINES);
    drop(log);
    let written = reading.join().unwrap();
    let records = written.lines().map(|line| serde_json::from_str::<LogRecord>(line).unwrap());
    let is_next = |(number, record): (u64, LogRecord)| {
        let Content::Text(text) = &record.content else { return false };
        record.seq == number + 1 && text.starts_with(&format!("{number} x"))
    };
    assert!((0..).zip(records).all(is_next));
}

#[test]
fn what_is_behind_a_lost_batch_is_lost_with_it_and_the_numbers_have_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(dir.path(), LogLimits::default()).unwrap();
    log.write_apart();
    line(&mut log, "first");
    log.flush();
    log.wait();
    // Whoever has the file sees a batch refused; two more are numbered before anybody knows.
    lock(&log.file).fail_next();
    for text in ["a", "b", "c"] {
        line(&mut log, text);
        log.flush();
    }
    log.wait();
    line(&mut log, "last");
    let summary = log.finish();
    let text = std::fs::read_to_string(dir.path().join(LOG_FILE)).unwrap();
    let records: Vec<LogRecord> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(records[1].missing, Some(Missing { bytes: Some(6), lines: Some(3) }));
    assert_eq!(records[2].content, Content::Text("last".into()));
    assert_eq!((summary.lost_bytes, summary.lines, summary.bytes), (6, 3, text.len() as u64));
    assert!(summary.truncated && summary.sha256 == sum_of(text.as_bytes()));
}

#[test]
fn a_flood_is_summed_once_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(dir.path(), LogLimits::default()).unwrap();
    log.write_apart();
    for number in 0..30_000 {
        line(&mut log, &number.to_string());
        // Small batches and large ones.
        if number < 100 || number % 5_000 == 0 {
            log.flush();
        }
    }
    let summary = log.finish();
    assert_eq!(summary.sha256, sum_of(&std::fs::read(dir.path().join(LOG_FILE)).unwrap()));
}

fn sum_of(bytes: &[u8]) -> String {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.in_hexadecimal()
}
