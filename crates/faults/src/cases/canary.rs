//! A secret and the tokens of runs are looked for all the time, everywhere but where they belong.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wakeful_test_server::{every_pid, id, variable};

use super::server;
use crate::waiting::nothing_is_left;
use crate::{Case, Measured, Scale};

pub const CANARY: Case = Case {
    name: "canary",
    rows: "33",
    provoked: "runs print, report and use a secret and their token, while the server logs at trace and every command line, environment, file and log is read all the time",
    must_hold: "the values are never seen but in the environment of the run's own processes",
    run: |scale, seed| Box::pin(canary(scale, seed)),
};

/// What is looked for, and where it was found.
#[derive(Default)]
struct Watch {
    values: Mutex<Vec<String>>,
    found: Mutex<BTreeSet<String>>,
    looks: AtomicU64,
    in_own_environment: AtomicU64,
    is_over: AtomicBool,
}

impl Watch {
    fn holds(values: &[String], bytes: &[u8]) -> bool {
        values.iter().any(|value| bytes.windows(value.len()).any(|part| part == value.as_bytes()))
    }

    fn look_in(&self, values: &[String], place: &str, bytes: &[u8]) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        if Watch::holds(values, bytes) {
            self.found.lock().unwrap().insert(place.to_owned());
        }
    }

    fn look_at_processes(&self) {
        let values = self.values.lock().unwrap().clone();
        for pid in every_pid() {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            self.look_in(&values, &format!("the command line of {pid}"), &read("cmdline"));
            // Read once: a process may end between two looks at it.
            let environment = read("environ");
            if Watch::holds(&values, &environment) {
                if environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"WAKEFUL_RUN=")) {
                    self.in_own_environment.fetch_add(1, Ordering::Relaxed);
                } else {
                    let place = format!("the environment of {}", crate::machine::command_of(pid));
                    self.found.lock().unwrap().insert(place);
                }
            }
        }
    }

    fn look_at_files(&self, dir: &Path) {
        let values = self.values.lock().unwrap().clone();
        for file in files_below(dir) {
            // It is the agent's own, and holds what the agent writes to it, until its run is over.
            if file.ends_with("result.json") && !self.is_over.load(Ordering::Relaxed) {
                continue;
            }
            self.look_in(&values, &file.display().to_string(), &fs::read(&file).unwrap_or_default());
        }
    }
}

/// Regular files: a socket cannot be read, a link is looked at where it leads.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
    found
}

/// Prints the secret and the token, in pieces too, to both outputs; reports them in every way there is.
const CARELESS: &str = r#"
    echo "key $KEY token $WAKEFUL_TOKEN"; echo "key $KEY" >&2
    printf 'half: %s' "$(printf %s "$KEY" | cut -c1-9)"; sleep 0.3; printf '%s end\n' "$(printf %s "$KEY" | cut -c10-)"
    test "$(cat "$KEY_FILE")" = "$KEY" || exit 4
    printf '{"key": "%s"}' "$KEY" | wakeful checkpoint - > /dev/null || exit 5
    printf '{"summary": "used %s and %s", "outcome": "failed", "error": "bad %s"}' "$KEY" "$WAKEFUL_TOKEN" "$KEY" > "$WAKEFUL_RESULT_FILE"
"#;

async fn canary(scale: Scale, seed: u64) -> Measured {
    let (agents, period) = scale.of((2, Duration::from_secs(4)), (8, Duration::from_secs(20)));
    let mut rng = fastrand::Rng::with_seed(seed);
    let secret: String = std::iter::repeat_with(|| rng.alphanumeric()).take(32).collect();
    // What is logged at the finest level, of the libraries too, is in a file like any other.
    let server = server(agents + 1, &["--log-level", "trace"]).await;
    let (status, _) = server.put("/companies/default/secrets/canary", &json!({ "value": secret })).await;
    assert_eq!(status, 200);
    let watch = Arc::new(Watch { values: Mutex::new(vec![secret.clone()]), ..Watch::default() });
    // Apart: files take longer to look at than some processes live.
    let at_processes = {
        let watch = watch.clone();
        thread::spawn(move || {
            while !watch.is_over.load(Ordering::Relaxed) {
                watch.look_at_processes();
            }
        })
    };
    let at_files = {
        let (watch, dir) = (watch.clone(), server.outside().to_owned());
        thread::spawn(move || {
            while !watch.is_over.load(Ordering::Relaxed) {
                watch.look_at_files(&dir);
            }
        })
    };
    let env = json!({ "KEY": { "secret": "canary" }, "KEY_FILE": { "secret": "canary", "file": true } });
    let mut careless = Vec::new();
    for number in 0..agents {
        let adapter = json!({ "type": "process", "command": CARELESS, "env": env });
        let body = json!({ "name": format!("careless-{number}"), "adapter": adapter, "retry": { "delays_s": [], "jitter": 0 } });
        careless.push(server.agent(&body).await);
    }
    let (began, mut runs) = (Instant::now(), 0);
    while began.elapsed() < period {
        for agent in &careless {
            server.post(&format!("/agents/{agent}/resume"), &json!({})).await;
        }
        let mut woken = Vec::new();
        for agent in &careless {
            woken.push(server.wake(agent, json!({})).await);
        }
        for wakeup in woken {
            let run = server.running(&wakeup).await;
            let pid = run["process"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
            if let Some(token) = pid.and_then(|pid| variable(pid, "WAKEFUL_TOKEN")) {
                watch.values.lock().unwrap().push(token);
            }
            let over = server.finished(&id(&run)).await;
            assert_eq!((&over["exit_code"], &over["error"]), (&json!(0), &json!("bad ***")), "{over:#}");
            assert!(!over.to_string().contains(&secret));
            assert!(!server.stdout(&id(&run)).await.contains(&secret[..16]));
            runs += 1;
        }
    }
    nothing_is_left(&server).await;
    // Once more when all has been written, packed logs too.
    watch.is_over.store(true, Ordering::Relaxed);
    for watching in [at_processes, at_files] {
        watching.join().unwrap();
    }
    watch.look_at_files(server.outside());
    let found = watch.found.lock().unwrap().clone();
    assert!(found.is_empty(), "seen in: {found:?}");
    let own = watch.in_own_environment.load(Ordering::Relaxed);
    assert!(own > 0, "it was not even seen where it is: the watch is blind");
    let tokens = watch.values.lock().unwrap().len() - 1;
    assert!(tokens > 0, "no token was caught to look for");
    assert!(server.log().contains(" DEBUG "), "nothing was logged at a finer level");
    server.assert_sound().await;
    Ok(format!(
        "{runs} runs, a secret and {tokens} tokens looked for {} times in command lines, files and logs: 0 finds; \
         seen {own} times in the environment of the runs' own processes",
        watch.looks.load(Ordering::Relaxed)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_a_file_or_on_a_command_line_is_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), "xx canary-4711 xx").unwrap();
        let watch = Watch { values: Mutex::new(vec!["canary-4711".into()]), ..Watch::default() };
        watch.look_at_files(dir.path());
        assert_eq!(watch.found.lock().unwrap().len(), 1);
        let own = fs::read("/proc/self/cmdline").unwrap();
        let word = String::from_utf8_lossy(own.split(|byte| *byte == 0).next().unwrap()).into_owned();
        let watch = Watch { values: Mutex::new(vec![word]), ..Watch::default() };
        watch.look_at_processes();
        assert!(watch.found.lock().unwrap().iter().any(|place| place.contains(&std::process::id().to_string())));
    }
}
