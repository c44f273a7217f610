//! What an agent is told while it works, how it is let go once it has said its last word, and what it finds in
//! files that are on no disk.

use std::fs;
use std::time::Duration;

use wakeful_runner::process::{Attached, Found, INPUT_BYTES_MAX, Launch, Limit, SecretFile, Update, find};

use super::setup::*;

/// An agent that reads lines until its input is closed.
fn listening(script: &str) -> Launch {
    Launch { keeps_stdin_open: true, stdin: "first\n".into(), ..sh(script) }
}

/// The answer to an input, and its id.
async fn answer(attached: &mut Attached) -> (String, Option<String>) {
    loop {
        match in_time(attached.next()).await {
            Update::InputTaken { id } => return (id, None),
            Update::InputRefused { id, reason } => return (id, Some(reason)),
            Update::Started(_) | Update::Output { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_agent_that_listens_is_told_while_it_works() {
    let launch = listening("while read line; do echo got $line; done; until test -e go; do sleep 0.01; done; echo end");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "got first").await;
    attached.input("a", "second\n").unwrap();
    assert_eq!(answer(&mut attached).await, ("a".into(), None));
    output_with(&mut attached, &launch, "got second").await;
    // Given again, as after a broken connection: answered, not written.
    attached.orders().input("a", "second\n").unwrap();
    assert_eq!(answer(&mut attached).await, ("a".into(), None));
    attached.input("b", "third\n").unwrap();
    attached.close_input().unwrap();
    assert_eq!(answer(&mut attached).await, ("b".into(), None));
    attached.input("c", "too late\n").unwrap();
    let (id, reason) = answer(&mut attached).await;
    assert!(id == "c" && reason.unwrap().contains("closed"));
    fs::write(file_in(&launch, "go"), "").unwrap();
    assert_eq!(exit_of(&mut attached).await.code, Some(0));
    assert_eq!(stdout_of(&launch), b"got first\ngot second\ngot third\nend\n");
}

#[tokio::test]
async fn an_input_that_is_not_wanted_is_refused() {
    let launch = sh("echo up; while [ ! -e go ]; do sleep 0.01; done");
    let mut attached = start(&launch).await;
    attached.input("a", "anyone?").unwrap();
    assert!(answer(&mut attached).await.1.unwrap().contains("closed"), "it has none");
    fs::write(file_in(&launch, "go"), "").unwrap();
    exit_of(&mut attached).await;

    let launch = listening("exec <&-; echo closed; while [ ! -e go ]; do sleep 0.01; done");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "closed").await;
    attached.input("a", "anyone?").unwrap();
    assert!(answer(&mut attached).await.1.unwrap().contains("closed"), "it has closed it");
    fs::write(file_in(&launch, "go"), "").unwrap();
    exit_of(&mut attached).await;
}

#[tokio::test]
async fn an_agent_that_does_not_read_is_told_only_so_much() {
    let launch = listening("read first; while [ ! -e go ]; do sleep 0.01; done; wc -c; echo end");
    let mut attached = start(&launch).await;
    let half = "x".repeat(INPUT_BYTES_MAX / 2);
    attached.input("1", &half).unwrap();
    attached.input("2", &half).unwrap();
    attached.input("3", "x").unwrap();
    assert!(attached.input("4", &"x".repeat(INPUT_BYTES_MAX + 1)).is_err());
    let (id, reason) = answer(&mut attached).await;
    assert!(id == "3" && reason.unwrap().contains("1 MiB"));
    // A stop finds its way past what waits; another server may ask about it.
    let Found::Running(mut other) = in_time(find(&launch.dir, 1)).await.unwrap() else { panic!("it runs") };
    fs::write(file_in(&launch, "go"), "").unwrap();
    assert_eq!(answer(&mut other).await, ("1".into(), None));
    assert_eq!(answer(&mut other).await, ("2".into(), None));
    other.close_input().unwrap();
    assert_eq!(exit_of(&mut attached).await.code, Some(0));
    assert_eq!(stdout_of(&launch), format!("{INPUT_BYTES_MAX}\nend\n").as_bytes());
}

#[tokio::test]
async fn what_waits_when_the_agent_ends_is_refused() {
    let launch = listening("read first; echo up; while [ ! -e go ]; do sleep 0.01; done");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "up").await;
    attached.input("1", &"x".repeat(INPUT_BYTES_MAX)).unwrap();
    // Beside it there is no room for another, which shows that it has come.
    attached.input("2", "x").unwrap();
    assert_eq!(answer(&mut attached).await.0, "2");
    fs::write(file_in(&launch, "go"), "").unwrap();
    let (id, reason) = answer(&mut attached).await;
    assert!(id == "1" && reason.is_some());
    exit_of(&mut attached).await;
}

#[tokio::test]
async fn an_agent_that_goes_after_its_last_word_just_ends() {
    let launch = listening("while read line; do :; done; echo bye; exit 3");
    let mut attached = start(&launch).await;
    attached.finish(Duration::from_secs(20)).unwrap();
    let record = exit_of(&mut attached).await;
    assert_eq!(record.code, Some(3));
    assert!(!record.ended_after_finish && record.stop.is_none() && record.limit.is_none());
}

#[tokio::test]
async fn an_agent_that_stays_after_its_last_word_is_ended_without_a_stop() {
    let launch = Launch { grace_ms: 50, ..listening("trap '' TERM; echo result; while :; do sleep 0.05; done") };
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "result").await;
    attached.finish(Duration::from_millis(50)).unwrap();
    let record = exit_of(&mut attached).await;
    assert!(record.ended_after_finish && record.signal == Some(9));
    assert!(record.stop.is_none() && record.limit.is_none() && record.held_open.is_none());
    assert!(processes_of(&launch).is_empty());
}

#[tokio::test]
async fn what_is_left_after_a_last_word_lingers_and_is_counted() {
    let launch =
        Launch { grace_ms: 50, ..sh("sleep 1000 & sleep 1000 & trap '' TERM; (trap '' TERM; sleep 1000) & exit 0") };
    let record = run(&launch).await;
    assert_eq!((record.code, record.ended_after_finish), (Some(0), false));
    assert!(record.held_open.is_some_and(|count| (3..=4).contains(&count)), "{:?}", record.held_open);
    assert!(run(&sh("exit 0")).await.held_open.is_none());
}

#[tokio::test]
async fn silence_at_the_start_is_limited() {
    let silent = Launch { first_output_ms: Some(100), ..sh("sleep 1000") };
    let record = run(&silent).await;
    assert_eq!((record.limit, record.timed_out, record.signal), (Some(Limit::FirstOutput), false, Some(15)));
    let talking = Launch { first_output_ms: Some(5_000), ..sh("printf . >&2; exit 4") };
    let record = run(&talking).await;
    assert_eq!((record.limit, record.code), (None, Some(4)));
}

#[tokio::test]
async fn a_secret_file_is_read_below_the_agent_and_is_on_no_disk() {
    let secret = SecretFile { variable: "KEY_FILE".into(), content: "s3cret\nof two lines\n".into() };
    let script = "(setsid sh -c 'cat $KEY_FILE; cat $KEY_FILE') | md5sum; echo x >> $KEY_FILE || echo sealed; echo at $KEY_FILE; while [ ! -e go ]; do sleep 0.01; done";
    let launch = Launch { secret_files: vec![secret], ..sh(script) };
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "at /proc").await;
    let out = String::from_utf8(stdout_of(&launch)).unwrap();
    // Of the content, twice.
    assert!(out.starts_with("4ca009b576c8d0a24f01e6f47cdb9424  -\nsealed\n"), "{out}");
    let path = out.trim().rsplit_once(' ').unwrap().1.to_owned();
    assert_eq!(fs::read_to_string(&path).unwrap(), "s3cret\nof two lines\n");
    fs::write(file_in(&launch, "go"), "").unwrap();
    exit_of(&mut attached).await;
    until("the shim and its files are gone", || !fs::exists(&path).unwrap()).await;
    for entry in fs::read_dir(&launch.dir).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("s3cret"));
    }
}
