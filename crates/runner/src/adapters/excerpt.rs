//! Excerpts of what an agent wrote: bounded, cut between characters, and saying that they were cut.

use std::collections::VecDeque;

/// A line kept for a sentence of explanation is cut here: error messages are read, not scrolled.
const LINE_CHARS_MAX: usize = 300;

/// The first `chars_max` characters, with an ellipsis in place of the rest.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A name as a CLI gives it, of a model or a tool: what is longer is none.
pub(super) fn name(text: &str) -> String {
    const NAME_CHARS_MAX: usize = 200;
    cut(text, NAME_CHARS_MAX)
}

/// The longest beginning of `text` that has at most `bytes_max` bytes, the ellipsis included.
pub(super) fn cut_bytes(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// The beginning and the end of `text` in at most `bytes_max` bytes; a line in between says how much is left out.
pub(super) fn head_and_tail(text: &str, bytes_max: usize) -> String {
    /// Of that line.
    const MARK_BYTES_MAX: usize = 64;
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let room = bytes_max.saturating_sub(MARK_BYTES_MAX);
    // What it is about stands at the beginning, what came of it at the end.
    let (head, tail) = (room - room / 3, room / 3);
    let (head, tail) = (text.floor_char_boundary(head), text.ceil_char_boundary(text.len() - tail));
    format!("{}\n[… {} bytes left out …]\n{}", &text[..head], tail - head, &text[tail..])
}

/// The last lines that were not blank.
#[derive(Debug, Default)]
pub(super) struct LastLines(VecDeque<String>);

impl LastLines {
    /// More lines than this say no more about why a process ended.
    const LINES_MAX: usize = 20;

    pub(super) fn push(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        if self.0.len() == Self::LINES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(cut(line, LINE_CHARS_MAX));
    }

    pub(super) fn last(&self) -> Option<&str> {
        self.0.back().map(String::as_str)
    }

    /// Newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &str> {
        self.0.iter().rev().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_cut_between_characters() {
        assert_eq!(cut("häuser", 6), "häuser");
        assert_eq!(cut("häuser", 2), "hä…");
        assert_eq!(cut_bytes("häuser", 7), "häuser");
        assert_eq!(cut_bytes("häuser", 5), "h…");
        assert_eq!(cut_bytes("ab", 1), "…");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut lines = LastLines::default();
        (0..50).for_each(|n| lines.push(&format!("line {n} ")));
        lines.push("  ");
        assert_eq!(lines.last(), Some("line 49"));
        assert_eq!(lines.newest_first().count(), LastLines::LINES_MAX);
    }
}
