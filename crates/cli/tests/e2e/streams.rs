//! Logs and events, read by offset, followed live, resumed after a break: nothing is missed, nothing comes twice.

use std::fs;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::sse::{Event, follow};
use crate::support::{LOOK_EVERY, Server, id};

/// Writes 60 numbered lines over about a second, some of them to standard error.
const TALKS: &str = r#"i=0; while [ $i -lt 60 ]; do i=$((i+1))
    if [ $((i % 5)) -eq 0 ]; then echo "line $i" >&2; else echo "line $i"; fi
    sleep 0.015; done"#;

async fn part(server: &Server, run: &str, query: &str) -> Response {
    let response = server.request(Method::GET, &format!("/runs/{run}/log{query}")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

async fn text(server: &Server, run: &str, query: &str) -> String {
    part(server, run, &format!("/text{query}")).await.text().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

fn records(bytes: &[u8]) -> Vec<Value> {
    std::str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Fails unless these are the records of [`TALKS`], each once and numbered from 1.
#[track_caller]
fn assert_whole(records: &[Value]) {
    let numbers: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=u64::try_from(records.len()).unwrap()).collect::<Vec<_>>());
    let mut lines: Vec<&str> = records.iter().map(|record| record["text"].as_str().unwrap()).collect();
    lines.sort_unstable_by_key(|line| line.trim_start_matches("line ").parse::<u32>().unwrap());
    assert_eq!(lines, (1..=60).map(|number| format!("line {number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_log_is_read_by_offset_while_it_grows_without_a_gap_or_a_double_line() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", TALKS).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let (mut bytes, mut offset) = (Vec::new(), 0);
    loop {
        let response = part(&server, &run, &format!("?offset={offset}&limit=100")).await;
        assert_eq!(header(&response, "content-type"), "application/x-ndjson");
        let is_complete = header(&response, "wakeful-log-complete") == "true";
        let next: usize = header(&response, "wakeful-next-offset").parse().unwrap();
        let got = response.bytes().await.unwrap();
        assert_eq!(next, offset + got.len());
        assert!(got.is_empty() || got.ends_with(b"\n"), "whole records only");
        bytes.extend(got);
        offset = next;
        if is_complete {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_whole(&records(&bytes));
    let run = server.finished(&run).await;
    let file = fs::read(server.run_dir(&id(&run)).join("log.ndjson")).unwrap();
    assert_eq!(file, bytes);
    let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(run["log"], json!({ "bytes": bytes.len(), "lines": 60, "sha256": sum, "truncated": false }));
    let beyond = part(&server, &id(&run), "?offset=1000000").await;
    assert_eq!(header(&beyond, "wakeful-log-complete"), "true");
    assert!(beyond.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_text_of_a_log_is_what_the_agent_wrote() {
    let server = Server::start().await;
    let script = r"printf 'one\ntwo\n'; printf 'trouble\n' >&2; printf '\377\376\n'; head -c 200000 /dev/zero | tr '\0' x; echo; printf 'größe\nno end'";
    let agent = server.process_agent("ann", script).await;
    let run = id(&server.run_of(&agent, json!({})).await);
    let long = "x".repeat(200_000);
    let expected = [b"one\ntwo\n\xff\xfe\n".as_slice(), long.as_bytes(), "\ngröße\nno end".as_bytes()].concat();
    assert_eq!(part(&server, &run, "/text?stream=stdout").await.bytes().await.unwrap(), expected);
    assert_eq!(text(&server, &run, "?stream=stderr").await, "trouble\n");
    assert_eq!(text(&server, &run, "?tail=2").await, "größe\nno end");
    let all = part(&server, &run, "/text").await.bytes().await.unwrap();
    assert_eq!(all.len(), expected.len() + "trouble\n".len());
}

#[tokio::test]
async fn a_followed_log_is_resumed_exactly_behind_the_last_event_that_was_seen() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", TALKS).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let path = format!("/runs/{run}/log");
    let (mut seen, mut last) = (Vec::new(), None::<String>);
    'over: loop {
        let mut stream = follow(&server, &path, last.as_deref()).await;
        // It goes away after every seventh event, with whatever lies unread in its buffers.
        for _ in 0..7 {
            let event = stream.next().await.unwrap();
            last = Some(event.id);
            match event.kind.as_str() {
                "end" => break 'over,
                _ => seen.push(event.data),
            }
        }
    }
    assert_whole(&seen);
    let mut again = follow(&server, &path, None).await;
    let mut whole = Vec::new();
    while let Some(event) = again.next().await.filter(|event| event.kind == "log") {
        whole.push(event.data);
    }
    assert_eq!(whole, seen);
    assert_eq!(server.finished(&run).await["status"], "succeeded", "`end` comes when the run is over");
}

#[tokio::test]
async fn a_followed_log_goes_on_over_a_crash_of_the_server() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", TALKS).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let path = format!("/runs/{run}/log");
    let mut seen: Vec<Event> = Vec::new();
    let mut stream = follow(&server, &path, None).await;
    while seen.len() < 20 {
        seen.push(stream.next().await.unwrap());
    }
    server.kill9();
    while let Some(event) = stream.next().await {
        seen.push(event);
    }
    server.start_again().await;
    let mut stream = follow(&server, &path, seen.last().map(|event| event.id.as_str())).await;
    while let Some(event) = stream.next().await.filter(|event| event.kind == "log") {
        seen.push(event);
    }
    assert_whole(&seen.into_iter().map(|event| event.data).collect::<Vec<_>>());
    assert_eq!(server.finished(&run).await["status"], "succeeded");
}

#[tokio::test]
async fn events_are_resumed_exactly_over_crashes_and_restarts_of_the_server() {
    let mut server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let path = "/companies/default/events";
    let mut seen: Vec<Event> = Vec::new();
    let first = id(&server.all(path).await[0]);
    let mut last = first.clone();
    for round in 0..4 {
        let mut stream = follow(&server, path, Some(&last)).await;
        let wakeup = server.wake(&agent, json!({ "reason": format!("round {round}") })).await;
        server.settled(&wakeup).await;
        for _ in 0..3 {
            seen.push(stream.next().await.unwrap());
        }
        match round % 2 {
            0 => server.kill9(),
            _ => assert!(server.stop().await.success()),
        }
        // What had been sent is read to its end.
        while let Some(event) = stream.next().await {
            seen.push(event);
        }
        last = seen.last().unwrap().id.clone();
        server.start_again().await;
    }
    let listed = server.all(path).await;
    let mut stream = follow(&server, path, Some(&last)).await;
    while seen.len() + 1 < listed.len() {
        seen.push(stream.next().await.unwrap());
    }
    let streamed: Vec<&Value> = seen.iter().map(|event| &event.data).collect();
    assert_eq!(streamed, listed.iter().skip(1).collect::<Vec<_>>());
    for event in &seen {
        assert_eq!((&json!(event.id), &json!(event.kind)), (&event.data["id"], &event.data["type"]));
    }
    let after = server.show(&format!("{path}?after={first}&limit=200")).await;
    assert_eq!(after["items"].as_array().unwrap().len(), listed.len() - 1);
}

#[tokio::test]
async fn a_new_event_stream_begins_now_and_only_the_companys_own_events_come() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    server.run_of(&agent, json!({})).await;
    server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let mut stream = follow(&server, "/companies/default/events", None).await;
    let mut other = follow(&server, "/companies/other/events", None).await;
    let wakeup = server.wake(&agent, json!({ "delay_ms": 60_000 })).await;
    let event = stream.next().await.unwrap();
    assert_eq!((event.kind.as_str(), &event.data["subject"]), ("wakeup.accepted", &json!(wakeup)));
    assert!(other.is_silent(Duration::from_millis(200)).await);
    let request = server.request(Method::GET, "/companies/default/events").header("accept", "text/event-stream");
    assert_eq!(request.header("last-event-id", "nope").send().await.unwrap().status(), 422);
}

#[tokio::test]
async fn many_listeners_at_different_places_all_hear_the_same() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let path = "/companies/default/events";
    let first = id(&server.all(path).await[0]);
    let mut streams = Vec::new();
    for place in 0..12 {
        if place % 4 == 0 {
            server.run_of(&agent, json!({})).await;
        }
        let last = (place % 3 == 0).then_some(first.as_str());
        streams.push(follow(&server, path, last).await);
    }
    for _ in 0..5 {
        server.run_of(&agent, json!({})).await;
    }
    let listed = server.all(path).await;
    let last = id(listed.last().unwrap());
    for (place, stream) in streams.iter_mut().enumerate() {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|event: &Event| event.id != last) {
            heard.push(stream.next().await.unwrap());
        }
        let heard: Vec<&Value> = heard.iter().map(|event| &event.data).collect();
        let expected: Vec<&Value> = listed.iter().skip_while(|event| *event != heard[0]).collect();
        assert_eq!(heard, expected, "listener {place}");
        assert!(place % 3 != 0 || heard.len() + 1 == listed.len(), "listener {place} has missed the beginning");
    }
}

#[tokio::test]
async fn who_is_revoked_hears_no_more() {
    let server = Server::start().await;
    let made = server.post("/companies/default/tokens", &json!({ "name": "reader", "role": "viewer" })).await.1;
    let reader = server.with_token(made["token"].as_str().unwrap());
    let mut theirs = follow(&reader, "/companies/default/events", None).await;
    let mut ours = follow(&server, "/companies/default/events", None).await;
    assert_eq!(server.delete(&format!("/companies/default/tokens/{}", id(&made))).await.0, 204);
    while theirs.next().await.is_some() {}
    server.process_agent("ann", "true").await;
    while ours.next().await.unwrap().kind != "agent.status" {}
}

#[tokio::test]
async fn a_log_is_the_same_once_it_is_compressed_and_is_read_by_line() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "seq 1 20000; sleep 1").await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    server.until(&format!("/runs/{run}"), |run| run["log"]["lines"] == 20_000).await;
    let whole = async || part(&server, &run, "?limit=8000000").await.text().await.unwrap();
    let before = whole().await;
    let ended = server.finished(&run).await;
    while server.run_dir(&run).join("log.ndjson").exists() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let packed = std::fs::metadata(server.run_dir(&run).join("log.ndjson.zst")).unwrap().len();
    assert!(packed * 5 < before.len() as u64, "{packed} of {}", before.len());
    assert_eq!(whole().await, before);
    let sum = wakeful_domain::hex::of(&Sha256::digest(before.as_bytes()));
    assert_eq!(ended["log"]["sha256"], sum, "the sum is that of the plain log");

    let of_line = records(part(&server, &run, "?line=12345&limit=1").await.text().await.unwrap().as_bytes());
    assert_eq!((&of_line[0]["seq"], &of_line[0]["text"]), (&json!(12_345), &json!("12345")));
    assert_eq!(part(&server, &run, "?line=20001").await.text().await.unwrap(), "");
    assert_eq!(server.get(&format!("/runs/{run}/log?line=1&offset=1")).await.0, 422);
    assert_eq!(server.stdout(&run).await.lines().count(), 20_000);
    let tail = server.cli(&["run", "logs", &run, "--tail", "2"]).await.stdout;
    assert_eq!(tail, "19999\n20000\n");
    let followed = server.cli(&["run", "logs", "-f", &run]).await.stdout;
    assert_eq!(followed.lines().count(), 20_000);
}
