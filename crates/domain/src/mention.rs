//! Mentions: `@agent-name` in what somebody says. What stands in code, in an e-mail address or in a web address is none.

use crate::agent::NAME_CHARS_MAX;

/// Names that are looked up in one text; further ones wake nobody.
pub const MENTIONS_MAX: usize = 50;

/// The names that a text mentions, in order, each once. Whether an agent is called so is not known here: a name may
/// end in the full stop of its sentence, see [`readings`].
pub fn mentions(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for prose in prose_of(text) {
        for (at, _) in prose.match_indices('@') {
            if prose[..at].chars().next_back().is_some_and(joins) {
                continue;
            }
            let rest = &prose[at + 1..];
            let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
            let (name, behind) = rest.split_at(end);
            let is_address = behind.starts_with(['@', '/']);
            let is_name = !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX + TRAILING_MAX;
            if is_name && !is_address && !found.contains(&name) {
                found.push(name);
            }
            if found.len() == MENTIONS_MAX {
                return found;
            }
        }
    }
    found
}

/// Punctuation behind a name that is not taken for a part of it, at most.
const TRAILING_MAX: usize = 3;

/// What a mention may mean, the longest first: `@ann.` is the agent `ann.` if there is one, else `ann`.
pub fn readings(name: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(name);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.strip_suffix(['.', '-', '_']).filter(|shorter| !shorter.is_empty());
        Some(this)
    })
    .take(TRAILING_MAX + 1)
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// What before an `@` makes it a part of something longer: an e-mail address, a path.
fn joins(c: char) -> bool {
    is_of_name(c) || matches!(c, '+' | '/' | '@' | ':' | '=' | '&' | '%')
}

/// The text without its code: fenced blocks, and spans between equally many back-ticks within a paragraph.
fn prose_of(text: &str) -> Vec<&str> {
    let mut prose = Vec::new();
    let mut fence: Option<(char, usize)> = None;
    let mut from = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let mark = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'));
        let length = mark.map_or(0, |mark| trimmed.chars().take_while(|c| *c == mark).count());
        match (fence, mark) {
            (None, Some(mark)) if length >= 3 && !trimmed[length..].contains(mark) => {
                spans(&text[from..at], &mut prose);
                fence = Some((mark, length));
            }
            (Some((open, opened)), Some(mark))
                if mark == open && length >= opened && trimmed[length..].trim().is_empty() =>
            {
                fence = None;
                from = at + line.len();
            }
            (None, _) if line.trim().is_empty() => {
                spans(&text[from..at], &mut prose);
                from = at;
            }
            (None | Some(_), _) => {}
        }
        at += line.len();
    }
    if fence.is_none() {
        spans(&text[from..], &mut prose);
    }
    prose
}

/// What of a paragraph is not between back-ticks.
fn spans<'a>(mut paragraph: &'a str, prose: &mut Vec<&'a str>) {
    while let Some(start) = paragraph.find('`') {
        let length = paragraph[start..].bytes().take_while(|byte| *byte == b'`').count();
        let ticks = &paragraph[start..start + length];
        let inside = &paragraph[start + length..];
        let is_close =
            |at: &usize| !inside[at + length..].starts_with('`') && (*at == 0 || inside.as_bytes()[at - 1] != b'`');
        match inside.match_indices(ticks).map(|(at, _)| at).find(is_close) {
            Some(close) => {
                prose.push(&paragraph[..start]);
                paragraph = &inside[close + length..];
            }
            None => {
                prose.push(&paragraph[..start]);
                paragraph = inside;
            }
        }
    }
    prose.push(paragraph);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(mentions(text), expected, "{text}");
    }

    #[test]
    fn names_are_found_wherever_they_stand_in_prose() {
        check("@ann please look, and @bob-2, @c_d and (@é.ü): @ann again", &["ann", "bob-2", "c_d", "é.ü"]);
        check("**@ann**\n> @bob\n- @卡尔", &["ann", "bob", "卡尔"]);
        check("@", &[]);
        check("@ ann", &[]);
        check("ask @ann.", &["ann."]);
    }

    #[test]
    fn addresses_and_code_are_no_mentions() {
        check("write to a@b or ann+x@example.org", &[]);
        check("https://example.org/@ann and @ann@example.org and @types/node", &[]);
        check("`@ann` and ``x ` @bob`` but @carl", &["carl"]);
        check("```\n@ann\n```\n@bob", &["bob"]);
        check("~~~ sh\n@ann\n~~~\n", &[]);
        check("an ` alone @ann", &["ann"]);
        check("an ` alone\n\n@ann ` here", &["ann"]);
        check("```\nnever closed @ann", &[]);
    }

    #[test]
    fn mentions_are_bounded() {
        let many: String = (0..200).map(|n| format!("@a{n} ")).collect();
        assert_eq!(mentions(&many).len(), MENTIONS_MAX);
        check(&format!("@{}", "x".repeat(10_000)), &[]);
    }

    #[test]
    fn a_full_stop_may_belong_to_the_name_or_not() {
        assert_eq!(readings("ann.").collect::<Vec<_>>(), ["ann.", "ann"]);
        assert_eq!(readings("a...").collect::<Vec<_>>(), ["a...", "a..", "a.", "a"]);
        assert_eq!(readings("...").collect::<Vec<_>>(), ["...", "..", "."]);
    }
}
