//! Programs that are asked something: their answers, their failures, and that nothing of them is left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wakeful_runner::ask::{AskError, Question, ask, sweep_asked};
use wakeful_runner::process::Shims;

use crate::setup::{SHIM, in_time};

struct Desk {
    below: PathBuf,
    id: String,
}

impl Desk {
    fn new(name: &str) -> Desk {
        let below = Path::new(env!("CARGO_TARGET_TMPDIR")).join("asked").join(name);
        std::fs::create_dir_all(&below).unwrap();
        Desk { below, id: format!("ask-{name}-{}", std::process::id()) }
    }

    async fn ask(&self, script: &str, input: &str, timeout: Duration) -> Result<String, AskError> {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        let question = Question {
            id: &self.id,
            command: &command,
            input: input.into(),
            env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
            below: &self.below,
            timeout,
        };
        let shims = Shims::new(Path::new(SHIM), &[]);
        let answer = in_time(ask(&shims, question)).await;
        assert_eq!(std::fs::read_dir(&self.below).unwrap().count(), 0, "its directory is removed");
        answer.map(|bytes| String::from_utf8(bytes).unwrap())
    }
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_answer_is_what_it_writes() {
    let desk = Desk::new("answers");
    let answer = desk.ask("read line; echo \"{\\\"heard\\\": $line}\"; echo aside >&2", "{\"a\":1}\n", LONG).await;
    assert_eq!(answer.unwrap(), "{\"heard\": {\"a\":1}}\n");
}

#[tokio::test]
async fn a_failure_tells_how_and_what_it_said() {
    let desk = Desk::new("fails");
    let error = desk.ask("echo no such mailbox >&2; exit 3", "", LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "it ended with exit code 3: no such mailbox");
    let error = desk.ask("kill -9 $$", "", LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "it ended with signal 9");
    let error = desk.ask("head -c 400000 /dev/zero | tr '\\0' x", "", LONG).await.unwrap_err();
    assert!(matches!(error, AskError::TooLong), "{error}");
}

#[tokio::test]
async fn one_that_takes_too_long_is_ended_with_all_it_started() {
    let desk = Desk::new("hangs");
    let pid_file = desk.below.with_extension("pid");
    let script = format!("(trap '' TERM; setsid sleep 300 & echo $! > {}); sleep 300", pid_file.display());
    let error = desk.ask(&script, "", Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, AskError::TimedOut(_)), "{error}");
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "what it started is gone");
}

#[tokio::test]
async fn what_is_left_of_a_server_that_died_is_ended() {
    let desk = Desk::new("left");
    let dir = desk.below.join(&desk.id);
    std::fs::create_dir_all(&dir).unwrap();
    let mut child = std::process::Command::new("sleep").arg("300").env("WAKEFUL_RUN", &desk.id).spawn().unwrap();
    sweep_asked(&desk.below).await.unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(!dir.exists());
}
