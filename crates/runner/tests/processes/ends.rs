//! How a launch ends: codes, signals, failed starts, stops and limits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use wakeful_runner::adapters::StopSignal;
use wakeful_runner::process::{Launch, Update};

use super::setup::*;

#[tokio::test]
async fn the_exit_status_is_the_true_one() {
    let check = async |script: &str, code: Option<i32>, signal: Option<i32>| {
        let record = run(&sh(script)).await;
        assert_eq!((record.code, record.signal), (code, signal), "{script}");
        assert!(record.stop.is_none() && !record.timed_out && !record.out_of_memory && record.start_failed.is_none());
        assert!(record.ended_at >= record.started_at);
    };
    check("exit 0", Some(0), None).await;
    check("exit 3", Some(3), None).await;
    check("exit 255", Some(255), None).await;
    check("kill -9 $$", None, Some(9)).await;
    check("kill -TERM $$", None, Some(15)).await;
    check("kill -SEGV $$", None, Some(11)).await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let check = async |launch: Launch, code: &str, words: &[&str]| {
        let mut attached = start(&launch).await;
        let Update::StartFailed(failure) = in_time(attached.next()).await else { panic!("it started") };
        assert_eq!(failure.code, code, "{}", failure.message);
        for word in words {
            assert!(failure.message.contains(word), "{:?} lacks {word:?}", failure.message);
        }
        let record = exit_of(&mut attached).await;
        assert_eq!(record.start_failed, Some(failure));
        assert_eq!((record.code, record.signal), (None, None));
    };
    check(launch_of(&["no-such-agent"]), "command_not_found", &["no-such-agent", "/usr/local/bin:/usr/bin:/bin"]).await;
    check(launch_of(&["/no/such/agent"]), "command_not_found", &["/no/such/agent"]).await;
    check(launch_of(&["/etc/passwd"]), "not_executable", &["/etc/passwd"]).await;
    check(Launch { cwd: "/no/such/place".into(), ..sh("true") }, "working_directory_missing", &["/no/such/place"])
        .await;
    check(Launch { argv: Vec::new(), ..sh("true") }, "command_not_found", &["no command"]).await;

    let script = sh("true");
    fs::write(file_in(&script, "agent"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(file_in(&script, "agent"), fs::Permissions::from_mode(0o755)).unwrap();
    check(Launch { argv: vec!["./agent".into()], ..script }, "command_not_found", &["./agent", "interpreter"]).await;
}

#[tokio::test]
async fn the_environment_directory_and_input_are_exactly_those_of_the_description() {
    let mut launch = sh("pwd; env | grep -v ^_= | sort; cat; grep -E '^Sig(Blk|Ign)' /proc/self/status");
    launch.env = vec![
        ("WAKEFUL_RUN".into(), launch.run.clone()),
        ("PATH".into(), "/bin:/usr/bin".into()),
        ("A".into(), "ä\nb".into()),
    ];
    launch.stdin = "x".repeat(300_000) + "\nend\n";
    run(&launch).await;
    let expected = format!(
        "{dir}\nA=ä\nPATH=/bin:/usr/bin\nPWD={dir}\nWAKEFUL_RUN={run}\nb\n{input}SigBlk:\t0000000000000000\nSigIgn:\t",
        dir = launch.dir.display(),
        run = launch.run,
        input = launch.stdin
    );
    let actual = String::from_utf8(stdout_of(&launch)).unwrap();
    let (rest, ignored) = actual.trim_end().split_at(actual.rfind('\t').unwrap() + 1);
    assert!(rest == expected, "{}", rest.replace(&launch.stdin, "(input)"));
    // The two above 31 are glibc's own.
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 0x7fff_ffff, 0);
}

#[tokio::test]
async fn signals_that_the_server_ignores_stop_the_agent_all_the_same() {
    let mut launch = sh("echo ready; while :; do sleep 0.01; done");
    launch.stop_signal = StopSignal::Interrupt;
    let arguments = ["-c", "trap '' INT QUIT HUP TERM USR1 TSTP; exec \"$0\"", SHIM];
    let shell = std::path::Path::new("/bin/sh");
    let mut attached = in_time(wakeful_runner::process::Shims::new(shell, &arguments).launch(&launch)).await.unwrap();
    output_with(&mut attached, &launch, "ready").await;
    attached.stop("operator", None).unwrap();
    assert_eq!(exit_of(&mut attached).await.signal, Some(2));
}

#[tokio::test]
async fn an_agent_that_does_not_read_its_input_ends_all_the_same() {
    let mut launch = sh("exec 0<&-; echo done");
    launch.stdin = "x".repeat(1_000_000);
    assert_eq!(run(&launch).await.code, Some(0));
    assert_eq!(stdout_of(&launch), b"done\n");
}

#[tokio::test]
async fn the_stop_signal_is_the_one_of_the_description() {
    let mut launch = sh(
        "trap 'echo interrupted; exit 7' INT; trap 'echo terminated; exit 8' TERM; echo ready; while :; do sleep 0.01; done",
    );
    launch.stop_signal = StopSignal::Interrupt;
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "ready").await;
    attached.orders().stop("because", None).unwrap();
    let record = exit_of(&mut attached).await;
    assert_eq!(record.code, Some(7));
    assert_eq!(record.stop.unwrap().reason, "because");
    assert_eq!(stdout_of(&launch), b"ready\ninterrupted\n");
}

#[tokio::test]
async fn an_agent_that_ignores_the_stop_is_killed_after_the_grace() {
    let launch = sh("trap '' TERM; echo ready; while :; do sleep 1; done");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "ready").await;
    attached.stop("operator", Some(Duration::from_millis(50))).unwrap();
    let record = exit_of(&mut attached).await;
    assert_eq!((record.code, record.signal), (None, Some(9)));
    assert_eq!(record.stop.unwrap().reason, "operator");
    assert!(!record.out_of_memory);
    assert!(processes_of(&launch).is_empty());
}

#[tokio::test]
async fn a_stop_right_after_the_launch_is_not_lost() {
    let launch = sh("exec sleep 100");
    let mut attached = start(&launch).await;
    attached.stop("at once", Some(Duration::ZERO)).unwrap();
    let record = exit_of(&mut attached).await;
    assert!(record.signal.is_some());
    assert_eq!(record.stop.unwrap().reason, "at once");
}

#[tokio::test]
async fn a_terminated_shim_stops_its_tree_first() {
    let launch = sh("trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.01; done");
    let mut attached = start(&launch).await;
    output_with(&mut attached, &launch, "ready").await;
    let shim = attached.shim_pid().unwrap().to_string();
    std::process::Command::new("kill").args(["-TERM", &shim]).status().unwrap();
    let record = exit_of(&mut attached).await;
    assert_eq!(record.code, Some(9));
    assert!(record.stop.unwrap().reason.contains("SIGTERM"));
}

#[tokio::test]
async fn an_ended_shim_is_collected() {
    let mut attached = start(&sh("true")).await;
    let shim = attached.shim_pid().unwrap();
    exit_of(&mut attached).await;
    drop(attached);
    until("no zombie is left", || !std::path::Path::new(&format!("/proc/{shim}")).exists()).await;
}

#[tokio::test]
async fn the_time_limit_is_kept_without_a_server() {
    let launch = Launch { max_duration_ms: Some(100), grace_ms: 100, ..sh("trap '' TERM; sleep 100; sleep 100") };
    drop(start(&launch).await);
    until("the exit record", || file_in(&launch, "exit-1.json").exists()).await;
    let record = match in_time(wakeful_runner::process::find(&launch.dir, 1)).await.unwrap() {
        wakeful_runner::process::Found::Ended(record) => record,
        other => panic!("{other:?}"),
    };
    assert!(record.timed_out && record.signal == Some(9) && record.stop.is_none());
    assert!(processes_of(&launch).is_empty());
}
