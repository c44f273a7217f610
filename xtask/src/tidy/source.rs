//! Rust source as the rules need it: code without what strings and comments say, and comments
//! without the code. Offsets and lines stay those of the file.
//!
//! It is an approximation of a lexer: macros are not expanded, and nothing is parsed.

use std::ops::Range;

/// The same text twice, each time with the rest blanked.
#[derive(Debug)]
pub struct Views {
    pub code: String,
    pub comments: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

pub fn views(text: &str) -> Views {
    let bytes = text.as_bytes();
    let (mut code, mut comments) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = token(bytes, at);
        let end = end.min(bytes.len());
        for byte in &bytes[at..end] {
            let blank = if *byte == b'\n' { b'\n' } else { b' ' };
            code.push(if kind == Kind::Code { *byte } else { blank });
            comments.push(if kind == Kind::Comment { *byte } else { blank });
        }
        at = end;
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Views { code: text(code), comments: text(comments) }
}

/// What starts at `at`, and the offset after it. Code comes byte by byte.
fn token(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    let follows_name = at > 0 && is_name(bytes[at - 1]);
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        return (Kind::Comment, at + length);
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, at + block_comment(rest));
    }
    let literal = match rest[0] {
        b'"' => Some(quoted(rest, b'"')),
        b'\'' => character(rest),
        b'r' | b'b' | b'c' if !follows_name => raw_string(rest),
        _ => None,
    };
    literal.map_or((Kind::Code, at + 1), |length| (Kind::Literal, at + length))
}

/// Block comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a literal that ends with the next `quote` without a backslash before it.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// A character literal; `None` for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    let first = *rest.get(1)?;
    if first == b'\\' {
        return Some(quoted(rest, b'\''));
    }
    let width = match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

/// `r"…"`, `br#"…"#` and their like; `None` for a name that starts with such a letter.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = if matches!(rest[0], b'b' | b'c') { 2 } else { 1 };
    if rest.get(prefix - 1) != Some(&b'r') {
        return None;
    }
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'#'; hashes + 1];
    end[0] = b'"';
    let body = &rest[open + 1..];
    let length = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    Some(open + 1 + length + end.len())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Every name and keyword of a code view, with its offset.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = code.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes[at..].iter().position(|byte| is_name(*byte))?;
        let length = bytes[start..].iter().take_while(|byte| is_name(**byte)).count();
        at = start + length;
        Some((start, &code[start..at]))
    })
}

/// A name that a code view defines: `("fn", "accept")`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition<'a> {
    pub keyword: &'a str,
    pub name: &'a str,
    /// Of the keyword.
    pub offset: usize,
}

/// Every definition with one of the keywords.
pub fn definitions<'a>(code: &'a str, keywords: &[&str]) -> Vec<Definition<'a>> {
    let words: Vec<_> = words(code).collect();
    let pairs = words.windows(2).filter_map(|pair| {
        let [(offset, keyword), (start, name)] = *pair else { return None };
        let is_adjacent = code[offset + keyword.len()..start].trim().is_empty();
        (is_adjacent && keywords.contains(&keyword)).then_some(Definition { keyword, name, offset })
    });
    pairs.collect()
}

/// The body `{…}` of the item that starts at `from`; `None` if it ends with a semicolon.
pub fn body(code: &str, from: usize) -> Option<Range<usize>> {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(at..closing_brace(code, at)),
            _ => {}
        }
    }
    None
}

/// The offset after the brace that closes the one at `open`.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        depth += i32::from(byte == b'{') - i32::from(byte == b'}');
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// A code view without the items that only tests compile.
pub fn outside_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    for (start, attribute) in code.match_indices("#[cfg(test)]") {
        if let Some(body) = body(code, start + attribute.len()) {
            let blank: String = code[start..body.end].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
            kept.replace_range(start..body.end, &blank);
        }
    }
    kept
}

/// The line of an offset, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_no_code() {
        let check = |text: &str, code: &str| {
            let found = views(text).code;
            assert_eq!(found.len(), text.len(), "offsets of {text} moved");
            assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), code, "{text}");
        };
        check(r#"a("fn { \" }", b)"#, "a( , b)");
        check(r###"a(r#"" { "#, br"\", c)"###, "a( , , c)");
        check("a('{', '\\'', '\\\\', '…', b'x')", "a( , , , , b )");
        check("fn a<'a>(b: &'a str, c: &'static str) {}", "fn a<'a>(b: &'a str, c: &'static str) {}");
        check("a /* { /* { */ { */ b // {", "a b");
        check("r#type; bar\"x\"; \"a\n\" b", "r#type; bar ; b");
        check("\"open", "");
    }

    #[test]
    fn comments_are_seen_alone() {
        assert_eq!(views("a \"// no\" // yes").comments.trim(), "// yes");
    }

    #[test]
    fn definitions_are_a_keyword_and_a_name() {
        let code = views("pub const fn a() {} struct B; fn(u8) // fn c\n mod\n d;").code;
        let found = definitions(&code, &["fn", "struct", "mod"]);
        assert_eq!(found.iter().map(|found| found.name).collect::<Vec<_>>(), ["a", "B", "d"]);
    }

    #[test]
    fn bodies_start_after_the_signature() {
        let code = "fn a(b: [u8; 2]) -> C<D> where E: F { g { } } fn h();";
        assert_eq!(&code[body(code, 0).unwrap()], "{ g { } }");
        assert!(body(code, 46).is_none());
    }

    #[test]
    fn test_items_are_taken_out() {
        let check = |code: &str, kept: &str| {
            assert_eq!(outside_tests(code).split_whitespace().collect::<Vec<_>>().join(" "), kept);
        };
        check("a(); #[cfg(test)] mod tests { b(); { } } c();", "a(); c();");
        check("#[cfg(test)] mod tests; c();", "#[cfg(test)] mod tests; c();");
        check("#[cfg(test)] #[path = x] fn d() { e } f", "f");
    }

    #[test]
    fn lines_count_from_one() {
        assert_eq!([0, 1, 2, 3].map(|offset| line_of("a\nb\nc", offset)), [1, 1, 2, 2]);
    }
}
