//! Every reader against recorded streams that were cut, mixed up and damaged: it never panics, its memory
//! stays bounded, and it always comes to a conclusion that can be stored.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use wakeful_domain::outcome::{End, Outcome, SessionState};

use super::testing::{CWD, all_recorded, exit, killed};
use super::{Adapter, Conclusion, Stream, session};
use crate::scrub::Scrubber;

/// What may be put into a line.
const PARTS: &[&str] = &[
    "\\ud800",
    "\\udc00\\ud83d",
    "\u{2028}",
    "\u{0}",
    "\u{1b}]0;title\u{7}",
    "\u{fffd}",
    "1e999",
    "99999999999999999999999999",
    "-1",
    "{",
    "}",
    "\"",
    "\\",
    "null",
    "[[[[",
    "{\"type\":\"result\"",
];
/// Whole lines that come in between.
const LINES: &[&str] = &[
    "",
    "plain words",
    "{\"type\":\"never_heard_of\",\"x\":1}",
    "{\"type\":7}",
    "{\"type\":\"result\"}",
    "{\"type\":\"result\",\"subtype\":7,\"is_error\":\"yes\",\"modelUsage\":{\"m\":{\"inputTokens\":9223372036854775807,\"outputTokens\":-5}},\"total_cost_usd\":1e300}",
    "{\"type\":\"assistant\",\"message\":{\"id\":\"m\",\"content\":\"text\",\"usage\":{\"input_tokens\":9223372036854775807}}}",
    "{\"type\":\"assistant\",\"message\":{\"id\":\"n\",\"content\":[null,[],{\"type\":\"tool_use\"}],\"usage\":[]}}",
    "{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"tool_result\",\"content\":[7,[{\"text\":[]}],{\"type\":{}}]}]}}",
    "{\"type\":\"item.completed\",\"item\":{\"type\":\"mcp_tool_call\",\"id\":[],\"exit_code\":1e300,\"result\":[\"x\"]}}",
    "{\"type\":\"tool_result\",\"tool_id\":{},\"output\":{\"a\":[1e999]},\"status\":7}",
    "{\"type\":\"tool_call\",\"subtype\":\"completed\",\"tool_call\":{\"x\":{\"result\":{\"success\":[]}}}}",
    "{\"type\":\"tool_use\",\"part\":{\"state\":{\"error\":[null],\"metadata\":[]}}}",
    "{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":1e300}}",
    "{\"type\":\"turn.failed\",\"error\":7}",
    "{\"type\":\"step_finish\",\"part\":{\"tokens\":{\"input\":1e18,\"cache\":3},\"cost\":1e300}}",
    "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"--option\"}",
    "{\"sessionID\":{\"a\":[]}}",
    "[1,2,3]",
    "null",
];

/// How a stream is damaged.
#[derive(Debug, Clone)]
enum Damage {
    Cut(Index, Index),
    Insert(Index, Index, usize),
    Between(Index, usize),
    Twice(Index),
    Swap(Index, Index),
    Join(Index),
    Nested(Index, usize),
    Flood(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        (index(), index()).prop_map(|(line, at)| Damage::Cut(line, at)),
        (index(), index(), 0..PARTS.len()).prop_map(|(line, at, part)| Damage::Insert(line, at, part)),
        (index(), 0..LINES.len()).prop_map(|(line, other)| Damage::Between(line, other)),
        index().prop_map(Damage::Twice),
        (index(), index()).prop_map(|(left, right)| Damage::Swap(left, right)),
        index().prop_map(Damage::Join),
        (index(), index()).prop_map(|(line, at)| Damage::Flood(line, at)),
        (index(), 1..5_000usize).prop_map(|(line, depth)| Damage::Nested(line, depth)),
    ]
}

fn boundary(text: &str, at: &Index) -> usize {
    let mut at = at.index(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn apply(lines: &mut Vec<String>, damage: &Damage) {
    if lines.is_empty() {
        lines.push(String::new());
    }
    let count = lines.len();
    let place = |index: &Index| index.index(count);
    match damage {
        Damage::Cut(line, at) => {
            let line = place(line);
            let at = boundary(&lines[line], at);
            lines[line].truncate(at);
        }
        Damage::Insert(line, at, part) => {
            let line = place(line);
            let at = boundary(&lines[line], at);
            lines[line].insert_str(at, PARTS[*part]);
        }
        Damage::Between(line, other) => lines.insert(place(line), LINES[*other].to_owned()),
        Damage::Twice(line) => lines.push(lines[place(line)].clone()),
        Damage::Swap(left, right) => lines.swap(place(left), place(right)),
        Damage::Join(line) => {
            let line = place(line);
            let next = lines.remove(line);
            match lines.get_mut(line) {
                Some(following) => following.insert_str(0, &next),
                None => lines.push(next),
            }
        }
        // Into a text, for that is where much can stand.
        Damage::Flood(line, at) => {
            let line = place(line);
            let quotes: Vec<usize> = lines[line].match_indices('"').map(|(at, _)| at).collect();
            if !quotes.is_empty() {
                let at = quotes[at.index(quotes.len())] + 1;
                lines[line].insert_str(at, &"wörds ".repeat(20_000));
            }
        }
        Damage::Nested(line, depth) => lines.insert(place(line), "{\"type\":[".repeat(*depth)),
    }
}

fn config_of(name: &str) -> Value {
    match name {
        "cli" => json!({
            "type": "cli",
            "command": "x",
            "events": "json_lines",
            "usage": "sum",
            "fields": {"session_id": "/session_id", "text": "/message", "tool": "/tool_name", "error": "/error",
                "input_tokens": "/usage/input_tokens", "cost_dollars": "/total_cost_usd"},
            "success": {"/type": "result"},
            "failure": {"/is_error": true},
        }),
        _ => json!({"type": name}),
    }
}

/// What the store takes, whatever was read.
fn assert_storable(outcome: &Outcome) {
    assert_eq!(outcome.end == End::Succeeded, outcome.error_code.is_none(), "{outcome:?}");
    assert_eq!(outcome.usage.as_ref().and_then(wakeful_domain::usage::Usage::problem), None, "{outcome:?}");
    assert!(outcome.cost_micros.is_none_or(|cost| (0..=wakeful_domain::usage::USAGE_MAX).contains(&cost)));
    assert!(outcome.model.as_ref().is_none_or(|model| model.chars().count() <= 201));
    assert!(outcome.summary.as_ref().is_none_or(|text| text.len() <= 16 * 1024));
    assert!(outcome.error.as_ref().is_none_or(|text| text.chars().count() <= 2_400), "{outcome:?}");
}

fn check(adapter: Adapter, config: &Value, before: Option<&SessionState>, lines: &[String], on_stderr: bool) {
    let mut reader = adapter.reader(config, before, std::path::Path::new(CWD));
    let stream = if on_stderr { Stream::Stderr } else { Stream::Stdout };
    for line in lines {
        for signal in reader.line(stream, line) {
            // What a tool returned is a part of its line, and cut once the secrets are out of it.
            let is_result = signal.kind == "tool_result";
            assert!(!is_result || signal.message.len() <= line.len() * 2, "{signal:?}");
            let signal = signal.kept(&Scrubber::default());
            assert!(signal.message.len() <= 4_096, "{signal:?}");
            assert!(is_result || signal.message.chars().count() <= 501, "{signal:?}");
            assert!(signal.data.to_string().len() <= 8 * 1024, "{signal:?}");
        }
        let _ = (reader.has_ended(), reader.is_in_tool(), reader.inputs_taken());
    }
    assert_storable(&reader.so_far());
    for exit in [exit(0), exit(1), killed(9)] {
        match reader.conclude(&exit) {
            Conclusion::Done(outcome) => assert_storable(&outcome),
            Conclusion::SessionUnknown { error } => assert!(before.is_some(), "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_streams_are_judged(
        which in any::<Index>(),
        damages in prop::collection::vec(damage(), 0..12),
        resumes in any::<bool>(),
        on_stderr in prop::bool::weighted(0.1),
    ) {
        let before = session::state("11111111-2222-4333-8444-555555555555", CWD, serde_json::Map::new());
        let before = resumes.then_some(&before);
        for (name, recorded) in [
            ("claude", "claude"), ("codex", "codex"), ("gemini", "gemini"),
            ("opencode", "opencode"), ("cursor", "cursor"), ("cli", "claude"), ("process", "claude"),
        ] {
            let streams = all_recorded(recorded);
            let mut lines: Vec<String> = which.get(&streams).lines().map(str::to_owned).collect();
            damages.iter().for_each(|damage| apply(&mut lines, damage));
            let (_, adapter) = Adapter::ALL.iter().find(|(known, _)| *known == name).unwrap();
            check(*adapter, &config_of(name), before, &lines, on_stderr);
        }
    }
}

#[test]
fn a_stream_cut_anywhere_has_an_end_that_is_named() {
    for (name, adapter) in
        Adapter::ALL.iter().filter(|(name, _)| ["claude", "codex", "gemini", "opencode"].contains(name))
    {
        let recorded = super::testing::fixture(&format!("{name}/success.jsonl"));
        let whole: Vec<&str> = recorded.lines().collect();
        for end in 0..recorded.len() {
            let Some(text) = recorded.get(..end) else { continue };
            let mut reader = adapter.reader(&config_of(name), None, std::path::Path::new(CWD));
            text.lines().for_each(|line| drop(reader.line(Stream::Stdout, line)));
            let Conclusion::Done(outcome) = reader.conclude(&exit(0)) else { panic!("nothing was resumed") };
            let is_whole = text.lines().count() == whole.len() && text.lines().last() == whole.last().copied();
            let expected: &[Option<&str>] = if is_whole { &[None] } else { &[Some("no_result"), Some("bad_output")] };
            assert!(expected.contains(&outcome.error_code.as_deref()), "{name} at {end}: {outcome:?}");
        }
    }
}
