//! Small pieces that many pages show: states, times, amounts. Each is HTML with what it is given escaped.

use std::borrow::Borrow;
use std::fmt::{self, Display};

use askama::Template;
use askama::filters::HtmlSafe;

use crate::assets;

/// A state: colour, icon and word, never colour alone.
#[derive(Debug, Clone, Template)]
#[template(ext = "html", source = r#"<span class="state s-{{ kind }}">{{ Icon(kind) }}{{ word }}</span>"#)]
pub struct Chip<'a> {
    /// One of the states that the style and the icons know.
    kind: &'static str,
    word: &'a str,
}

impl HtmlSafe for Chip<'_> {}

/// The state of a run, a wakeup, a slot or anything else that the API names; what is not known is shown in its own word.
pub fn chip(status: &str) -> Chip<'_> {
    Chip { kind: kind_of(status), word: word_of(status) }
}

/// How a state is drawn.
pub fn kind_of(status: &str) -> &'static str {
    match status {
        "starting" | "running" | "claimed" | "in_progress" | "sending" | "asked" => "running",
        "succeeded" | "completed" | "done" | "fired" | "delivered" | "resolved" | "healthy" | "released" => "succeeded",
        "failed" | "permanent_failure" | "error" | "critical" => "failed",
        "timed_out" => "timed-out",
        "cancelled" | "terminated" | "closed" | "ended" => "cancelled",
        "lost" | "unknown" => "lost",
        "skipped" | "coalesced" | "avoided" => "skipped",
        "missed" | "expired" | "stale" => "missed",
        "retrying" | "high" => "retrying",
        "paused" | "draining" => "paused",
        "scheduled" | "not_due" | "planned" | "todo" => "scheduled",
        "queued" | "backlog" => "queued",
        "pending" | "waiting" | "blocked" | "medium" => "waiting",
        "needs_human" | "pending_approval" | "open" | "in_review" | "acknowledged" => "needs-human",
        "active" | "healthy_idle" => "active",
        _ => "idle",
    }
}

fn word_of(status: &str) -> &str {
    match status {
        "in_progress" => "in progress",
        "in_review" => "in review",
        "timed_out" => "timed out",
        "pending" => "waiting",
        "pending_approval" => "needs approval",
        word => word,
    }
}

/// A picture of the sprite.
#[derive(Debug, Clone, Copy)]
pub struct Icon<'a>(pub &'a str);

impl Display for Icon<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r##"<svg class="i" aria-hidden="true"><use href="{}#{}"/></svg>"##, assets::url("icons.svg"), self.0)
    }
}

/// A picture by its name.
pub fn icon(name: &str) -> Icon<'_> {
    Icon(name)
}

/// Names of pictures are the console's own words.
impl HtmlSafe for Icon<'_> {}

/// A point in time, which the page's script shows relative to now and in the viewer's zone.
#[derive(Debug, Clone, Template)]
#[template(ext = "html", source = r#"<time data-{{ shown }} datetime="{{ at }}">{{ at }}</time>"#)]
pub struct When<'a> {
    at: &'a str,
    shown: &'static str,
}

impl HtmlSafe for When<'_> {}

/// "2 min ago", "in 3 h".
pub fn ago(at: &str) -> When<'_> {
    When { at, shown: "ago" }
}

/// "until 14:20".
pub fn until(at: &str) -> When<'_> {
    When { at, shown: "until" }
}

/// "14:20:05", with the date if it is another day.
pub fn clock(at: &str) -> When<'_> {
    When { at, shown: "clock" }
}

/// "14:20" or, at midnight, "Nov 22": a round time.
pub fn tick(at: &str) -> When<'_> {
    When { at, shown: "tick" }
}

/// How long it has been going on: "1 min 12 s".
pub fn since(at: &str) -> When<'_> {
    When { at, shown: "since" }
}

/// Micro-dollars as dollars; cents where they are worth it.
pub fn money(micros: impl Borrow<i64>) -> String {
    let micros = *micros.borrow();
    let dollars = micros as f64 / 1_000_000.0;
    match micros.unsigned_abs() {
        0 => "$0".into(),
        // What a few tokens cost: shorter it would be nothing.
        1..100 => format!("${dollars:.6}"),
        100..10_000 => format!("${dollars:.4}"),
        10_000..10_000_000 => format!("${dollars:.2}"),
        _ => format!("${dollars:.0}"),
    }
}

/// A count, short from a thousand on: 12.3k, 4.5M.
pub fn count(number: impl Borrow<i64>) -> String {
    let number = *number.borrow();
    let size = number.unsigned_abs();
    let scaled = |unit: f64, word: &str| {
        let value = number as f64 / unit;
        if value.abs() < 10.0 { format!("{value:.1}{word}") } else { format!("{value:.0}{word}") }
    };
    match size {
        0..1_000 => number.to_string(),
        1_000..999_500 => scaled(1e3, "k"),
        999_500..999_500_000 => scaled(1e6, "M"),
        _ => scaled(1e9, "G"),
    }
}

/// Bytes: 512 B, 4.2 MB.
pub fn bytes(number: impl Borrow<i64>) -> String {
    let number = *number.borrow();
    match number {
        ..1_000 => format!("{number} B"),
        _ => format!("{}B", count(number).replace('k', " k").replace('M', " M").replace('G', " G")),
    }
}

/// A length of time: 350 ms, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h.
pub fn duration(millis: impl Borrow<i64>) -> String {
    let millis = *millis.borrow();
    let seconds = millis / 1_000;
    let two = |big: i64, big_word: &str, small: i64, small_word: &str| match small {
        0 => format!("{big} {big_word}"),
        _ => format!("{big} {big_word} {small} {small_word}"),
    };
    match seconds {
        ..1 => format!("{millis} ms"),
        1..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// The end of an id, enough to tell it from its neighbours.
pub fn short(id: &str) -> &str {
    id.char_indices().rev().nth(7).map_or(id, |(place, _)| &id[place..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_escaped() {
        let chip = chip("<b>").to_string();
        assert!(chip.contains("&#60;b&#62;") && !chip.contains("<b>"), "{chip}");
        assert!(!ago("\"><script>").to_string().contains("<script>"));
    }

    #[test]
    fn amounts_are_short() {
        let check = |shown: String, expected: &str| assert_eq!(shown, expected);
        check(money(0), "$0");
        check(money(42), "$0.000042");
        check(money(420), "$0.0004");
        check(money(1_230_000), "$1.23");
        check(money(123_400_000), "$123");
        check(count(999), "999");
        check(count(1_250), "1.2k");
        check(count(45_000), "45k");
        check(count(999_999), "1.0M");
        check(bytes(512), "512 B");
        check(bytes(4_200_000), "4.2 MB");
        check(duration(350), "350 ms");
        check(duration(72_000), "1 min 12 s");
        check(duration(7_200_000), "2 h");
        check(duration(270_000_000), "3 d 3 h");
        check(short("run_01m80tmn6pevjtt1x2br3d4sr5").into(), "br3d4sr5");
        check(short("é").into(), "é");
    }
}
