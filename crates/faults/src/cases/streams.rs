//! What agents write that is no text, no JSON, or no sense; and work that fails whoever does it.

use std::fs;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use wakeful_test_server::sse::follow;
use wakeful_test_server::{Server, clean, id, printed, program};

use super::server;
use crate::fakes::{assert_ended, begins, cli_agent, succeeds};
use crate::logs::{numbering_problem, records, stdout_of};
use crate::waiting::{ended, nothing_is_left};
use crate::{Case, Measured, Scale};

pub const STRANGE_BYTES: Case = Case {
    name: "strange_bytes",
    rows: "14",
    provoked: "invalid UTF-8, NUL, ANSI and OSC escapes, U+2028, lone surrogates in JSON, and random bytes",
    must_hold: "every byte is kept and given back as it was, every answer is JSON, a follower gets the same, a terminal is not steered, the adapter goes on",
    run: |scale, seed| Box::pin(strange_bytes(scale, seed)),
};

pub const BROKEN_STREAMS: Case = Case {
    name: "broken_streams",
    rows: "15",
    provoked: "event streams of Claude Code and Codex that are cut, torn, mixed, doubled, of unknown types and with huge numbers",
    must_hold: "each run ends, no success without a result that can be read, the raw stream is kept",
    run: |scale, seed| Box::pin(broken_streams(scale, seed)),
};

pub const POISON: Case = Case {
    name: "poison",
    rows: "19",
    provoked: "an agent that crashes every time; agents whose configuration cannot work",
    must_hold: "its lane is shut after 5 failures and a person is told, what cannot work is a dead letter at once, others flow",
    run: |scale, seed| Box::pin(poison(scale, seed)),
};

const STRANGE: &[&[u8]] = &[
    b"plain\n",
    b"\xff\xfe\xfa\n",
    b"cut \xe2\x82\n",
    b"over \xc0\xaf long\n",
    b"nul \0 in\0side\n",
    b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;http://a.example\x1b\\link\x1b]8;;\x1b\\\n",
    b"\x1b[2J\x1b[H\x1bc\x1bP+q\x1b\\\n",
    b"carriage\rreturn\r\n",
    b"separators \xe2\x80\xa8 and \xe2\x80\xa9 and \xc2\x85\n",
    b"\xed\xa0\x80 a surrogate\n",
    b"\xef\xbb\xbfbom \xf0\x9f\x98\x80\n",
    b"{\"a\":\"\\ud800\"}\n",
    b"\n\n",
    b"no end",
];

async fn strange_bytes(scale: Scale, seed: u64) -> Measured {
    let mut rng = Rng::with_seed(seed);
    let mut bytes: Vec<u8> = STRANGE.concat();
    bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(scale.of(300_000, 20_000_000)));
    let server = server(5, &[]).await;
    let file = server.outside().join("bytes");
    fs::write(&file, &bytes).unwrap();
    let agent = server.process_agent("strange", &format!("cat {}", file.display())).await;
    let run = id(&server.run_of(&agent, json!({})).await);
    let records = records(&server, &run).await;
    assert_eq!(numbering_problem(&records), None);
    assert!(
        stdout_of(&records).strip_suffix(b"\n").unwrap_or(&[]) == bytes.strip_suffix(b"\n").unwrap_or(&bytes)
            || stdout_of(&records) == bytes,
        "bytes were changed"
    );
    let encoded = records.iter().filter(|record| record["base64"].is_string()).count();
    assert!(encoded > 0 && encoded < records.len());
    let mut stream = follow(&server, &format!("/runs/{run}/log"), None).await;
    for record in &records {
        assert_eq!(stream.next().await.unwrap().data, *record, "a follower gets something else");
    }
    if scale == Scale::Small {
        let text = server.request(Method::GET, &format!("/runs/{run}/log/text")).send().await.unwrap();
        assert!(text.bytes().await.unwrap().starts_with(&bytes), "the text is not what was written");
    }
    let controls = controls_on_a_terminal(&server).await;
    let script = format!(
        "{}printf '%s\\n' '{}'\nprintf '\\377\\000{{\"type\":\\n'\n{}",
        begins(),
        r#"{"type":"assistant","message":{"id":"m","content":[{"type":"text","text":"\ud800 \u0000 \u2028"}]}}"#,
        succeeds()
    );
    let agent = cli_agent(&server, "surrogate", "claude", &script, json!({})).await;
    assert_ended(&server.run_of(&agent, json!({})).await, "succeeded", "");
    server.assert_sound().await;
    Ok(format!(
        "{:.1} MB exact in {} records, {encoded} of them base64; the adapter read on; `wakeful run logs` on a terminal: {controls}",
        bytes.len() as f64 / 1e6,
        records.len()
    ))
}

/// What `run logs` shows a person of a log with escapes in it.
async fn controls_on_a_terminal(server: &Server) -> String {
    let agent = server.process_agent("painter", r"printf '\033]0;title\007 \033[2J x\n'").await;
    let run = id(&server.run_of(&agent, json!({})).await);
    let mut command = std::process::Command::new("script");
    clean(&mut command, server.outside()).env("WAKEFUL_DATA_DIR", server.path());
    command.args(["-qec", &format!("{} run logs {run}", program()), "/dev/null"]);
    if !fs::exists("/usr/bin/script").unwrap_or(false) {
        return "not looked at (no `script`)".into();
    }
    let shown = printed(command).await.stdout;
    assert!(shown.contains('x'), "nothing was shown: {shown:?}");
    let count = shown.chars().filter(|c| c.is_control() && !matches!(c, '\n' | '\r')).count();
    assert_eq!(count, 0, "control characters reach the terminal: {shown:?}");
    "no control character passes".into()
}

const CLAUDE: &str = include_str!("../../../runner/tests/fixtures/claude/success.jsonl");
const CODEX: &str = include_str!("../../../runner/tests/fixtures/codex/success.jsonl");

/// Streams that somebody has thought of.
fn known_streams() -> Vec<(&'static str, Vec<u8>)> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (claude, codex) = (lines(CLAUDE), lines(CODEX));
    let mixed: String = claude.iter().zip(&codex).flat_map(|(one, other)| [one, "\n", other, "\n"]).collect();
    let torn: String = claude.iter().map(|line| format!("{}\n{}\n", &line[..40], &line[40..])).collect();
    let huge = r#"{"type":"result","subtype":"success","is_error":false,"result":"x","total_cost_usd":1e400,
        "usage":{"input_tokens":99999999999999999999999999,"output_tokens":-5}}"#
        .replace('\n', "");
    let deep = format!("{}{}\n", "[".repeat(20_000), "]".repeat(20_000));
    let unknown = "{\"type\":\"future\",\"x\":1}\n{\"type\":7}\n{}\n[]\nnull\n\"text\"\n";
    vec![
        ("claude", Vec::new()),
        ("codex", Vec::new()),
        ("claude", mixed.clone().into_bytes()),
        ("codex", mixed.into_bytes()),
        ("claude", torn.into_bytes()),
        ("claude", CLAUDE.repeat(3).into_bytes()),
        ("codex", CODEX.repeat(3).into_bytes()),
        ("claude", CLAUDE.trim_end().as_bytes().to_vec()),
        ("claude", CLAUDE.trim_end().trim_end_matches('}').into()),
        ("codex", CODEX.trim_end().trim_end_matches('}').into()),
        ("claude", format!("{huge}\n").into_bytes()),
        ("claude", format!("{deep}{CLAUDE}").into_bytes()),
        ("codex", format!("{deep}{CODEX}").into_bytes()),
        ("claude", unknown.as_bytes().to_vec()),
        ("codex", unknown.as_bytes().to_vec()),
    ]
}

/// A good stream with something done to it.
fn damaged(rng: &mut Rng) -> (&'static str, Vec<u8>) {
    let (kind, text) = if rng.bool() { ("claude", CLAUDE) } else { ("codex", CODEX) };
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..bytes.len().max(1));
        let end = (at + rng.usize(..200)).min(bytes.len());
        match rng.u8(..6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at.min(end)..end)),
            2 => bytes.splice(at..at, (0..20).map(|_| rng.u8(..)).collect::<Vec<_>>()).for_each(drop),
            3 => bytes.iter_mut().skip(at).take(3).for_each(|byte| *byte ^= rng.u8(1..)),
            4 => bytes.splice(at..at, bytes[at.min(end)..end].to_vec()).for_each(drop),
            _ => bytes.splice(at..at, *b"\n").for_each(drop),
        }
    }
    (kind, bytes)
}

/// Whether a whole event, perhaps behind other text, says that the work is done. A figure or a character in it that
/// JSON does not allow does not make it less whole; a brace that is missing does.
fn holds_a_result(kind: &str, bytes: &[u8]) -> bool {
    let needle = if kind == "claude" { "\"type\":\"result\"" } else { "\"type\":\"turn.completed\"" };
    String::from_utf8_lossy(bytes).split('\n').any(|line| {
        let starts = line.match_indices('{').map(|(at, _)| &line[at..]);
        line.contains(needle) && starts.filter(|rest| rest.contains(needle)).any(is_balanced)
    })
}

/// Whether the braces close at the end of the text and not before.
fn is_balanced(text: &str) -> bool {
    let (mut depth, mut is_in_string, mut is_escaped) = (0_i32, false, false);
    let text = text.trim_end();
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_in_string => is_escaped = true,
            '"' => is_in_string = !is_in_string,
            '{' | '[' if !is_in_string => depth += 1,
            '}' | ']' if !is_in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + c.len_utf8() == text.len();
        }
    }
    false
}

async fn broken_streams(scale: Scale, seed: u64) -> Measured {
    let mut rng = Rng::with_seed(seed);
    let mut streams = known_streams();
    streams.extend(std::iter::repeat_with(|| damaged(&mut rng)).take(scale.of(15, 400)));
    let server = server(10, &[]).await;
    let (mut good, mut codes) = (0, std::collections::BTreeMap::<String, usize>::new());
    for (batch, streams) in (0..).zip(streams.chunks(10)) {
        let judged = (0..)
            .zip(streams)
            .map(|(number, (kind, bytes))| judge(&server, format!("broken-{batch}-{number}"), kind, bytes));
        for code in join_all(judged).await {
            match code {
                None => good += 1,
                Some(code) => *codes.entry(code).or_default() += 1,
            }
        }
    }
    nothing_is_left(&server).await;
    server.assert_sound().await;
    let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{count} `{code}`")).collect();
    Ok(format!(
        "{} streams: {good} with a whole result succeeded, {}; all raw bytes kept",
        streams.len(),
        codes.join(", ")
    ))
}

/// Runs an agent that writes the stream; the code that it failed with, if it did.
async fn judge(server: &Server, name: String, kind: &str, bytes: &[u8]) -> Option<String> {
    let file = server.outside().join(&name);
    fs::write(&file, bytes).unwrap();
    let agent = cli_agent(server, &name, kind, &format!("cat {}", file.display()), json!({})).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    let (over, _) = ended(server, &run, Duration::from_secs(20)).await;
    let kept = stdout_of(&records(server, &run).await);
    assert!(kept == bytes || kept.strip_suffix(b"\n") == Some(bytes), "{name}: the raw stream is not kept");
    match over["status"].as_str() {
        Some("succeeded") => {
            assert!(holds_a_result(kind, bytes), "{name}: a success out of nothing: {over:#}");
            None
        }
        Some("failed") => Some(over["error_code"].as_str().unwrap().to_owned()),
        _ => panic!("{name}: {over:#}"),
    }
}

async fn poison(scale: Scale, _seed: u64) -> Measured {
    let (poisoned, others) = scale.of((2, 4), (10, 40));
    let server = server(10, &[]).await;
    let policy = json!({ "retry": { "delays_s": [0, 0, 0, 0, 0, 0, 0, 0], "jitter": 0 } });
    let mut waiting = Vec::new();
    for number in 0..poisoned {
        let agent = server.process_agent_with(&format!("crashes-{number}"), "kill -SEGV $$", policy.clone()).await;
        waiting.push((server.wake(&agent, json!({})).await, agent));
    }
    let healthy = server.process_agent("healthy", "true").await;
    for _ in 0..others {
        assert_ended(&server.run_of(&healthy, json!({})).await, "succeeded", "");
    }
    for (wakeup, agent) in &waiting {
        let path = format!("/wakeups/{wakeup}");
        server.until(&path, |wakeup| wakeup["waiting"]["reason"] == "circuit_open").await;
        let runs = server.all(&format!("/companies/default/runs?agent={agent}")).await;
        assert_eq!(runs.len(), 5, "its lane is not shut after 5");
        runs.iter().for_each(|run| assert_ended(run, "failed", "killed"));
    }
    let escalations = server.show("/companies/default/escalations").await;
    let told = escalations["items"].as_array().unwrap().iter().filter(|one| one["kind"] == "circuit_open").count();
    assert_eq!(told, poisoned, "{escalations:#}");
    let dead = [
        (json!({ "type": "process", "command": "true", "cwd": "/no/such/directory" }), "working_directory_missing"),
        (json!({ "type": "process", "command": ["no-such-command"] }), "command_not_found"),
        (json!({ "type": "process", "command": "true", "env": { "A": { "secret": "none" } } }), "secret_missing"),
    ];
    for (number, (adapter, code)) in (0..).zip(&dead) {
        let body = json!({ "name": format!("dead-{number}"), "adapter": adapter, "retry": policy["retry"] });
        let wakeup = server.settled(&server.wake(&server.agent(&body).await, json!({})).await).await;
        let found = (&wakeup["status"], &wakeup["attempt"], &wakeup["error_code"]);
        assert_eq!(found, (&json!("failed"), &json!(1), &json!(code)), "{wakeup:#}");
    }
    server.assert_sound().await;
    Ok(format!(
        "{poisoned} poisoned lanes shut after 5 runs each, {told} escalations; {others} of {others} runs of another agent meanwhile; \
         {} of {} impossible configurations dead letters after one attempt",
        dead.len(),
        dead.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_is_not_whole_is_none() {
        let check =
            |text: &str, is_whole: bool| assert_eq!(holds_a_result("claude", text.as_bytes()), is_whole, "{text}");
        check(CLAUDE, true);
        check("text {\"type\":\"result\",\"a\":{\"b\":\"}\"},\"c\":1e400}\n", true);
        check("{\"type\":\"result\",\"a\":{\"b\":1}\n", false);
        check("{\"type\":\"result\"}, more\n", false);
        check("{\"type\":\"assistant\"}\n", false);
        check(&CLAUDE[..CLAUDE.trim_end().len() - 1], false);
    }
}
