//! Logs of runs as the API gives them, held against what was written: no record missing, none twice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::Value;
use wakeful_test_server::Client;

/// Bytes that are asked for at once.
const PART_BYTES: usize = 4 * 1024 * 1024;

/// Every record of the log; fails if an answer is not whole records of JSON.
pub async fn records(client: &Client, run: &str) -> Vec<Value> {
    let (mut records, mut offset) = (Vec::new(), 0);
    loop {
        let path = format!("/runs/{run}/log?offset={offset}&limit={PART_BYTES}");
        let part = client.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(part.status(), 200, "{path}");
        let bytes = part.bytes().await.unwrap();
        if bytes.is_empty() {
            return records;
        }
        offset += bytes.len();
        let text = std::str::from_utf8(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(text.ends_with('\n'), "{path}: a record is torn");
        records.extend(text.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{path}: {error}: {line:.200}"))
        }));
    }
}

/// What is wrong with the numbers of the records: they count from 1 without a gap.
pub fn numbering_problem(records: &[Value]) -> Option<String> {
    let wrong = (1..).zip(records).find(|(number, record)| record["seq"].as_u64() != Some(*number));
    wrong.map(|(number, record)| format!("record {number} of {} is numbered {}", records.len(), record["seq"]))
}

/// What the agent wrote to standard output, byte for byte.
pub fn stdout_of(records: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records.iter().filter(|record| record["stream"] == "stdout") {
        match (record["text"].as_str(), record["base64"].as_str()) {
            (Some(text), None) => bytes.extend_from_slice(text.as_bytes()),
            (None, Some(encoded)) => bytes.extend(STANDARD.decode(encoded).unwrap()),
            _ => panic!("neither text nor bytes: {record}"),
        }
        if record["partial"] != true {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Records in which Wakeful says that something is missing.
pub fn marks(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|record| record["stream"] == "wakeful" && record["missing"].is_object()).collect()
}

/// Which lines a run may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    All(usize),
    /// It was killed: the first so many of them, whatever the number, and perhaps a torn last one.
    First(usize),
}

/// What is wrong with a log of lines `<run> line <number>` from 1 on: a line missing, doubled or strange.
pub fn lines_problem(records: &[Value], run: &str, wanted: Wanted) -> Option<String> {
    if let Some(problem) = numbering_problem(records) {
        return Some(problem);
    }
    let written = stdout_of(records);
    let text = String::from_utf8_lossy(&written);
    let line = |number: usize| format!("{run} line {number}\n");
    let (max, is_whole) = match wanted {
        Wanted::All(count) => (count, true),
        Wanted::First(count) => (count, false),
    };
    let expected: String = (1..=max).map(line).collect();
    let is_right = if is_whole { text == expected } else { expected.starts_with(text.trim_end_matches('\n')) };
    if is_right {
        return None;
    }
    let found = text.lines().count();
    let first = (1..).zip(text.lines()).find(|(number, found)| *found != line(*number).trim_end());
    Some(match first {
        Some((number, found)) => format!("where line {number} of {max} should stand there is `{found}`"),
        None => format!("{found} lines of {max}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log(numbers: &[usize]) -> Vec<Value> {
        let record = |(seq, number): (usize, &usize)| json!({ "seq": seq, "stream": "stdout", "text": format!("r line {number}") });
        (1..).zip(numbers).map(record).collect()
    }

    fn check(numbers: &[usize], wanted: Wanted, is_right: bool) {
        assert_eq!(lines_problem(&log(numbers), "r", wanted).is_none(), is_right, "{numbers:?} {wanted:?}");
    }

    #[test]
    fn a_line_that_is_missing_doubled_or_strange_is_noticed() {
        check(&[1, 2, 3], Wanted::All(3), true);
        check(&[1, 3], Wanted::All(3), false);
        check(&[1, 2], Wanted::All(3), false);
        check(&[1, 2, 2, 3], Wanted::All(3), false);
        check(&[2, 1, 3], Wanted::All(3), false);
        check(&[1, 2], Wanted::First(3), true);
        check(&[], Wanted::First(3), true);
        check(&[1, 3], Wanted::First(3), false);
        check(&[1, 1], Wanted::First(3), false);
        let stranger = lines_problem(&log(&[1]), "other", Wanted::First(3));
        assert!(stranger.is_some_and(|problem| problem.contains("r line 1")));
    }

    #[test]
    fn a_record_that_is_missing_or_doubled_is_noticed() {
        let mut records = log(&[1, 2, 3]);
        assert_eq!(numbering_problem(&records), None);
        let doubled = records[1].clone();
        records.insert(1, doubled);
        assert!(numbering_problem(&records).is_some());
        records.drain(1..3);
        assert!(numbering_problem(&records).is_some());
    }

    #[test]
    fn bytes_are_put_together_again() {
        let records = [
            json!({ "seq": 1, "stream": "stdout", "text": "a", "partial": true }),
            json!({ "seq": 2, "stream": "stderr", "text": "no" }),
            json!({ "seq": 3, "stream": "stdout", "base64": "/w==" }),
        ];
        assert_eq!(stdout_of(&records), b"a\xff\n");
        assert!(marks(&records).is_empty());
    }
}
