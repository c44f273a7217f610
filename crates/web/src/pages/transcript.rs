//! What a run's agent said and did, as its transcript shows it: each tool call with what it returned beneath it, long
//! texts folded. All of it is text from strangers, and is shown as that.

use std::collections::BTreeMap;

use askama::Template;
use askama::filters::HtmlSafe;

use crate::seen::{Run, RunEvent};

/// Longer texts are folded, by characters and by lines.
const FOLDED_CHARS: usize = 600;
const FOLDED_LINES: usize = 12;
/// What is seen of a folded text.
const HEAD_CHARS: usize = 160;
/// Types of events that tell what an agent says and does; the others are about the run itself.
const TOLD: &[&str] = &[
    "session",
    "message",
    "tool",
    "tool_result",
    "error",
    "rate_limit",
    "steered",
    "progress",
    "finished",
    "stopping",
];

/// One thing that was said or done.
#[derive(Debug)]
pub struct Entry<'a> {
    pub event: &'a RunEvent,
    /// What a tool call returned.
    pub result: Option<&'a RunEvent>,
    /// Whether a tool call is one that may still return something.
    pub is_awaited: bool,
}

/// The entries of a page of events; `is_last` if nothing comes behind them.
pub fn entries<'a>(run: &Run, events: &'a [RunEvent], is_last: bool) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = Vec::new();
    // An id may come again when the agent is started once more: its latest call without a result is meant.
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events.iter().filter(|event| TOLD.contains(&event.r#type.as_str())) {
        let id = event.data["id"].as_str();
        match (event.r#type.as_str(), id) {
            ("tool", Some(id)) => {
                calls.insert(id, entries.len());
            }
            ("tool_result", Some(id)) => {
                if let Some(place) = calls.remove(id) {
                    entries[place].result = Some(event);
                    continue;
                }
            }
            _ => {}
        }
        entries.push(Entry { event, result: None, is_awaited: false });
    }
    // An agent speaks again once its tools have returned. Of a described CLI no results are known.
    if run.is_live() && is_last && run.adapter != "cli" {
        let open = entries.iter_mut().rev().take_while(|entry| entry.event.r#type != "message");
        let open = open.filter(|entry| entry.event.r#type == "tool" && entry.result.is_none());
        open.for_each(|entry| entry.is_awaited = true);
    }
    entries
}

impl Entry<'_> {
    /// How it is drawn.
    pub fn class(&self) -> &'static str {
        match (self.event.level.as_str(), self.event.r#type.as_str()) {
            ("error", _) => "error",
            (_, "message") => "message",
            (_, "tool" | "tool_result") => "tool",
            (_, "session") => "session",
            _ => "note",
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match self.event.r#type.as_str() {
            "tool" => self.event.data["name"].as_str().unwrap_or("tool"),
            // Its call is on the page before.
            "tool_result" => "result",
            kind => kind,
        }
    }

    /// The result to be shown with it: that of the call, or the event itself if it is one whose call is not here.
    pub fn returned(&self) -> Option<Returned<'_>> {
        let own = (self.event.r#type == "tool_result").then_some(self.event);
        self.result.or(own).map(Returned)
    }
}

/// What a tool returned.
#[derive(Debug)]
pub struct Returned<'a>(&'a RunEvent);

impl Returned<'_> {
    pub fn seq(&self) -> i64 {
        self.0.seq
    }

    pub fn at(&self) -> &str {
        &self.0.at
    }

    pub fn text(&self) -> &str {
        &self.0.message
    }

    pub fn is_failed(&self) -> bool {
        self.0.data["failed"] == true
    }

    /// How it ended, as a state.
    pub fn word(&self) -> &'static str {
        if self.is_failed() { "failed" } else { "done" }
    }

    /// The exit status, where it says something.
    pub fn exit_code(&self) -> Option<i64> {
        self.0.data["exit_code"].as_i64().filter(|code| *code != 0)
    }
}

/// A text, folded if it is long.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r#"{% if let Some(head) = head %}<details class="text"><summary>{{ head }}</summary>{{ text }}</details>{% else %}<div class="text">{{ text }}</div>{% endif %}"#
)]
pub struct Folded {
    text: String,
    head: Option<String>,
}

impl HtmlSafe for Folded {}

/// A text as it can be shown, folded if it is long.
pub fn folded(text: &str) -> Folded {
    let text = visible(text);
    let head = is_long(&text).then(|| text.chars().take(HEAD_CHARS).collect::<String>() + " …");
    Folded { text, head }
}

/// Whether a text is folded.
pub fn is_long(text: &str) -> bool {
    text.chars().nth(FOLDED_CHARS).is_some() || text.lines().nth(FOLDED_LINES).is_some()
}

/// The text without colours, and with a name in place of each character that could not be seen or would turn the text
/// around it, as the viewer of logs has it.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' | '\t' => shown.push(c),
            '\r' if rest.starts_with('\n') => {}
            '\u{1b}' if rest.starts_with('[') => match rest[1..].find(|c: char| !matches!(c, ' '..='?')) {
                Some(end) if rest[1 + end..].starts_with(|c: char| matches!(c, '@'..='~')) => rest = &rest[end + 2..],
                _ => shown.push_str(&name(c)),
            },
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => shown.push_str(&name(c)),
            c if c.is_control() => shown.push_str(&name(c)),
            c => shown.push(c),
        }
    }
    shown
}

fn name(c: char) -> String {
    format!("⟦U+{:04X}⟧", u32::from(c))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pages::rendered::a_run;

    fn event(seq: i64, kind: &str, data: Value) -> RunEvent {
        let (at, level) = ("2026-11-22T05:00:00.000Z".into(), "info".into());
        RunEvent { seq, at, r#type: kind.into(), level, message: String::new(), data }
    }

    /// The number of each entry, that of its result, and a sign if one is awaited.
    fn paired(adapter: &str, status: &str, events: &[RunEvent], is_last: bool) -> Vec<String> {
        let run: Run = serde_json::from_value(a_run(adapter, status)).unwrap();
        let told = |entry: &Entry<'_>| {
            let result = entry.result.map(|result| format!("<{}", result.seq)).unwrap_or_default();
            format!("{}{result}{}", entry.event.seq, if entry.is_awaited { "?" } else { "" })
        };
        entries(&run, events, is_last).iter().map(told).collect()
    }

    #[test]
    fn each_call_has_its_result() {
        let call = |seq, id: &str| event(seq, "tool", json!({"id": id, "name": "Bash"}));
        let result = |seq, id: &str| event(seq, "tool_result", json!({"id": id, "failed": false}));
        let message = |seq| event(seq, "message", Value::Null);
        let nameless = |seq| event(seq, "tool", json!({"id": null}));
        let check = |events: &[RunEvent], expected: &[&str]| {
            assert_eq!(paired("claude", "running", events, true), expected);
        };
        check(&[call(1, "a"), call(2, "b"), result(3, "b"), result(4, "a"), message(5)], &["1<4", "2<3", "5"]);
        check(&[call(1, "a"), result(2, "a"), call(3, "a"), result(4, "a")], &["1<2", "3<4"]);
        check(&[call(1, "a"), message(2), call(3, "a"), call(4, "b"), result(5, "b")], &["1", "2", "3?", "4<5"]);
        check(&[result(1, "a"), call(2, "b"), result(3, "b"), result(4, "b")], &["1", "2<3", "4"]);
        check(&[event(1, "tool_result", json!(null)), event(2, "running", Value::Null), nameless(3)], &["1", "3?"]);
        let open = [message(1), call(2, "a")];
        assert_eq!(paired("claude", "succeeded", &open, true), ["1", "2"]);
        assert_eq!(paired("claude", "running", &open, false), ["1", "2"]);
        assert_eq!(paired("cli", "running", &open, true), ["1", "2"]);
    }

    #[test]
    fn what_is_long_is_folded() {
        assert!(is_long(&"x".repeat(601)) && is_long(&"x\n".repeat(13)));
        assert!(!is_long(&"x".repeat(600)) && !is_long(&"x\n".repeat(12)));
        let html = folded(&format!("<b>{}", "\n".repeat(20))).to_string();
        assert!(html.starts_with("<details class=\"text\"><summary>&#60;b&#62;") && !html.contains("<b>"), "{html}");
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        let check = |text: &str, expected: &str| assert_eq!(visible(text), expected);
        check("a\tb\r\nc", "a\tb\nc");
        check("\u{1b}[31mred\u{1b}[0m \u{1b}[2J\u{1b}[?25l.", "red .");
        check("\u{1b}]0;title\u{7} \u{1b}[1;\u{1b}[", "⟦U+001B⟧]0;title⟦U+0007⟧ ⟦U+001B⟧[1;⟦U+001B⟧[");
        check("left \u{202e}thgir\u{0}\r", "left ⟦U+202E⟧thgir⟦U+0000⟧⟦U+000D⟧");
        check("\u{1b}[é \u{1b}", "⟦U+001B⟧[é ⟦U+001B⟧");
    }
}
