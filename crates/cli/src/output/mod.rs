//! Everything that is printed: data on standard output, messages on standard error. With `--json`
//! one document, or one a line; without it, text for people. Colours only on a terminal.
#![expect(clippy::print_stderr, reason = "this is where messages are printed")]

mod terminal;

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::Value;

use crate::arguments::Global;
use crate::environment;
use crate::failure::Failure;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub is_json: bool,
    colour: bool,
}

impl Output {
    /// As the options and the terminal allow.
    pub fn new(global: &Global) -> Output {
        Output { is_json: global.json, colour: !global.no_color && !global.json && environment::allows_colour() }
    }

    /// A document with `--json`, else the text.
    pub fn show(&self, document: &Value, text: impl FnOnce() -> String) {
        match self.is_json {
            true => line(&serde_json::to_string_pretty(document).unwrap_or_default()),
            false => line(&self.seen(text().trim_end_matches('\n'))),
        }
    }

    /// One line of a stream.
    pub fn stream(&self, document: &Value, text: impl FnOnce() -> String) {
        match self.is_json {
            true => line(&document.to_string()),
            false => line(&self.seen(&text())),
        }
    }

    /// Text as it is, for a program; safe, for a terminal.
    pub fn raw(&self, text: &str) {
        written(io::stdout().lock().write_all(self.seen(text).as_bytes()));
    }

    /// What agents wrote may steer a terminal.
    fn seen<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match environment::prints_to_a_terminal() {
            true => terminal::safe(text, self.colour),
            false => Cow::Borrowed(text),
        }
    }

    /// A status, green, red or plain.
    pub fn status(&self, status: &str) -> String {
        let colour = match status {
            "succeeded" | "completed" | "active" | "ok" => "32",
            "failed" | "lost" | "timed_out" | "terminated" | "failing" => "31",
            "running" | "starting" | "claimed" => "36",
            "paused" | "cancelled" | "skipped" | "expired" | "warning" => "33",
            _ => return status.to_owned(),
        };
        self.paint(colour, status)
    }

    /// Text in an ANSI colour, if colours are allowed.
    pub fn paint(&self, colour: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// A table without frames. Nothing is wrapped: ids are there to be copied.
    pub fn table(&self, head: &[&str], rows: Vec<Vec<String>>) -> String {
        let head: Vec<String> = head.iter().map(|name| name.to_uppercase()).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| rows.iter().chain([&head]).filter_map(|row| row.get(column)).map(|cell| width(cell)).max())
            .map(Option::unwrap_or_default)
            .collect();
        let padded = |(cell, wanted): (&String, &usize)| format!("{cell}{}", " ".repeat(wanted - width(cell)));
        let line = |row: &Vec<String>| row.iter().zip(&widths).map(padded).collect::<Vec<_>>().join("  ");
        [&head].into_iter().chain(&rows).map(|row| line(row).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

/// Characters that are seen: all but those of colours.
fn width(cell: &str) -> usize {
    let mut parts = cell.split("\x1b[");
    let plain = parts.next().map_or(0, |first| first.chars().count());
    plain + parts.filter_map(|part| part.split_once('m')).map(|(_, seen)| seen.chars().count()).sum::<usize>()
}

/// Prints a failure: what happened, and what to do.
pub fn report(failure: &Failure) {
    eprintln!("error: {}", terminal::safe(&failure.message, false));
    if let Some(hint) = &failure.hint {
        eprintln!("hint: {hint}");
    }
}

/// A message for a person.
pub fn message(text: &str) {
    eprintln!("{text}");
}

/// A line on standard output.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()));
}

/// A reader that has gone away (`| head`) ends the command quietly.
fn written(result: io::Result<()>) {
    if let Err(error) = result {
        let code = if error.kind() == io::ErrorKind::BrokenPipe { 0 } else { 1 };
        std::process::exit(code);
    }
}

/// A field of a document as text; nothing for null.
pub fn text(document: &Value, pointer: &str) -> String {
    match document.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A point in time without its fraction, as people read it.
pub fn time(document: &Value, pointer: &str) -> String {
    let at = text(document, pointer);
    match at.split_once('.') {
        Some((seconds, _)) => format!("{}Z", seconds.replace('T', " ")),
        None => at,
    }
}

/// The items of a list.
pub fn items(document: &Value) -> &[Value] {
    items_of(document, "items")
}

/// A list within a document.
pub fn items_of<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Text cut to a width, on one line.
pub fn short(text: &str, chars_max: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_coloured() {
        let output = Output { is_json: false, colour: true };
        let rows = vec![
            vec!["größe".into(), output.status("failed"), "x".into()],
            vec!["b".into(), "new".into(), String::new()],
        ];
        let expected = "NAME   STATUS  WHY\ngröße  \x1b[31mfailed\x1b[0m  x\nb      new";
        assert_eq!(output.table(&["name", "status", "why"], rows), expected);
    }
}
