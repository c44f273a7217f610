//! Colours are for terminals alone, and never against the reader's will.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

use crate::support::{Server, clean, program};

/// What a command writes to a terminal.
async fn on_a_terminal(server: &Server, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let terminal = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(terminal).unwrap();
    let mut command = Command::new(program());
    clean(&mut command, server.outside()).env("WAKEFUL_DATA_DIR", server.path()).args(arguments);
    command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(terminal);
    let status = tokio::process::Command::from(command).status().await.unwrap();
    assert!(status.success());
    let mut printed = Vec::new();
    // Once nobody holds the other end, reading on is an error; what was written is there before.
    File::from(master).read_to_end(&mut printed).unwrap_err();
    String::from_utf8(printed).unwrap()
}

#[tokio::test]
async fn colours_come_on_a_terminal_unless_the_reader_says_no() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    server.run_of(&agent, json!({})).await;
    let list = ["run", "ls"];
    let printed = on_a_terminal(&server, &list, &[]).await;
    assert!(printed.contains("\x1b[32msucceeded\x1b[0m"), "{printed:?}");
    assert!(
        on_a_terminal(&server, &list, &[("NO_COLOR", "")]).await.contains('\x1b'),
        "an empty NO_COLOR says nothing"
    );
    for (arguments, variables) in [
        (&["run", "ls"][..], &[("NO_COLOR", "1")][..]),
        (&["run", "ls", "--no-color"], &[]),
        (&["--no-color", "run", "ls"], &[]),
        (&["run", "ls", "--json"], &[]),
    ] {
        let printed = on_a_terminal(&server, arguments, variables).await;
        assert!(printed.contains("succeeded") && !printed.contains('\x1b'), "{arguments:?}: {printed}");
    }
    assert!(!server.cli(&list).await.stdout.contains('\x1b'), "no terminal, no colours");
}

#[tokio::test]
async fn what_an_agent_wrote_does_not_steer_the_readers_terminal() {
    let server = Server::start().await;
    let script = r#"printf '\033[31mred\033[0m \033]52;c;ZXZpbA==\007 \033[2J\n'"#;
    let agent = server.process_agent("ann", script).await;
    let run = crate::support::id(&server.run_of(&agent, json!({})).await);
    let shown = on_a_terminal(&server, &["run", "logs", &run], &[]).await;
    assert_eq!(shown.trim_end(), "\x1b[31mred\x1b[0m \u{241b}]52;c;ZXZpbA==\u{2407} \u{241b}[2J");
    let kept = server.cli(&["run", "logs", &run]).await.stdout;
    assert_eq!(kept, "\x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07 \x1b[2J\n", "a program gets what was written");
}
