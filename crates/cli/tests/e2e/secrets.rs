//! Secrets: set from standard input, given to runs, and found nowhere else: not in the log, the
//! events, results or errors, not on a command line, and in no file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Printed, Server, clean, id, program};

const CANARY: &str = "canary-8f3b\"quoted\\";

/// Sets a secret as a person does.
pub fn set(server: &Server, name: &str, value: &str) -> Printed {
    let mut command = Command::new(program());
    clean(&mut command, server.outside()).env("WAKEFUL_DATA_DIR", server.path()).args(["secret", "set", name]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Printed { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The files below a directory that hold the text.
fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_secret_reaches_the_run_and_nothing_else() {
    let server = Server::start().await;
    let printed = set(&server, "api-key", &format!("{CANARY}\n"));
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    // The value must not stand in the script either, which is no secret.
    let script = r#"
        K='cana''ry-8f3b"quoted\'
        test "$KEY" = "$K" || exit 3
        test "$(cat "$KEY_FILE")" = "$KEY" || exit 4
        sh -c 'test "$(cat "$KEY_FILE")" = "$KEY"' || exit 5
        echo "the key is $KEY!"; printf 'half: cana'; sleep 1.2; printf 'ry-8f3b"quoted\\ end\n'
        echo "token $WAKEFUL_TOKEN" >&2
        J='cana''ry-8f3b\"quoted\\'
        wakeful checkpoint "{\"key\": \"$J\"}" > /dev/null || exit 6
        wakeful ask "is $KEY right?" > /dev/null || exit 7
        wakeful task add "use $KEY" > /dev/null || exit 8
        printf %s "$KEY" | base64; printf %s "$KEY" | base64 >&2
        printf '{"summary": "used %s", "outcome": "failed", "error": "bad %s"}' "$J" "$J" > "$WAKEFUL_RESULT_FILE"
    "#;
    let env = json!({ "KEY": { "secret": "api-key" }, "KEY_FILE": { "secret": "api-key", "file": true } });
    let adapter = json!({ "type": "process", "command": script, "env": env });
    let agent = server.agent(&json!({ "name": "keeper", "adapter": adapter, "retry": { "delays_s": [] } })).await;
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!((&run["summary"], &run["error"]), (&json!("used ***"), &json!("bad ***")), "{run:#}");
    let run = id(&run);
    assert_eq!(server.stdout(&run).await, "the key is ***!\nhalf: *** end\n***\n");
    let text = server.request(reqwest::Method::GET, &format!("/runs/{run}/log/text")).send().await.unwrap();
    assert!(text.text().await.unwrap().contains("token ***"));
    assert_eq!(server.show(&format!("/runs/{run}/checkpoint")).await, json!({ "key": "***" }));
    assert_eq!(files_with(server.path(), "canary-8f3b"), Vec::<String>::new());
    assert!(!server.log().contains("canary-8f3b"));
}

#[tokio::test]
async fn secrets_are_listed_by_name_replaced_and_removed() {
    let server = Server::start().await;
    assert_eq!(set(&server, "b", "first value").code, 0);
    assert_eq!(set(&server, "a", "other value").code, 0);
    assert_eq!(set(&server, "b", "second value").code, 0);
    let listed = server.cli(&["secret", "ls", "--json"]).await.stdout;
    let names: Vec<Value> = serde_json::from_str::<Value>(&listed).unwrap()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|secret| secret["name"].clone())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert!(!listed.contains("value"), "{listed}");

    let adapter =
        json!({ "type": "process", "command": "test \"$B\" = 'second value'", "env": { "B": { "secret": "b" } } });
    let agent = server.agent(&json!({ "name": "user", "adapter": adapter })).await;
    assert_eq!(server.run_of(&agent, json!({})).await["status"], "succeeded");
    assert_eq!(server.cli(&["secret", "rm", "b"]).await.code, 0);
    assert_eq!(server.cli(&["secret", "rm", "b"]).await.code, 3);
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!(run["error_code"], "secret_missing", "{run:#}");
    assert!(run["error"].as_str().unwrap().contains("wakeful secret set b"), "{run:#}");
}

#[tokio::test]
async fn what_cannot_be_a_secret_is_refused_without_being_repeated() {
    let server = Server::start().await;
    let path = "/companies/default/secrets";
    let check = async |body: Value, field: &str| {
        let (status, problem) = server.post(path, &body).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some(field)), "{problem}");
        assert!(!problem.to_string().contains("xyz"), "{problem}");
    };
    check(json!({ "name": "a b", "value": "long enough" }), "name").await;
    check(json!({ "name": "a", "value": "xyz" }), "value").await;
    check(json!({ "name": "a", "value": "xyz\u{0}xyz" }), "value").await;
    assert_eq!(server.post(path, &json!({ "name": "a", "value": "good enough" })).await.0, 201);
    assert_eq!(server.post(path, &json!({ "name": "a", "value": "good enough" })).await.0, 409);
    assert_eq!(set(&server, "empty", "").code, 2);
    let agent = server.process_agent("nosy", "sleep 60").await;
    let run = server.running(&server.wake(&agent, json!({})).await).await;
    let as_run = server.with_token(&crate::support::run_token(&run));
    assert_eq!(as_run.get(path).await.0, 403, "an agent does not even see the names");
}

#[tokio::test]
async fn the_master_key_comes_from_where_it_is_said_to() {
    let key = "c2VjcmV0LWtleS1zZWNyZXQta2V5LXNlY3JldC1rZXk=";
    let mut server = Server::start_with(&[], &[("WAKEFUL_MASTER_KEY", key)]).await;
    assert!(!server.path().join("master.key").exists());
    assert_eq!(set(&server, "a", "good enough").code, 0);
    let adapter = json!({ "type": "process", "command": "env", "env": { "A": { "secret": "a" } } });
    let agent = server.agent(&json!({ "name": "user", "adapter": adapter })).await;
    let run = server.run_of(&agent, json!({})).await;
    assert!(!server.stdout(&id(&run)).await.contains("MASTER_KEY"), "agents do not inherit it");

    server.stop().await;
    let mut other = Server::start().await;
    other.stop().await;
    for name in ["wakeful.db", "wakeful.db-wal", "wakeful.db-shm"] {
        fs::remove_file(other.path().join(name)).ok();
        fs::copy(server.path().join(name), other.path().join(name)).ok();
    }
    other.start_again().await;
    let run = other.run_of(&agent, json!({})).await;
    assert_eq!(run["error_code"], "secret_unreadable", "{run:#}");
    assert!(run["error"].as_str().unwrap().contains("was sealed under master key"), "{run:#}");
}
