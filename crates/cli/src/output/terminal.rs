//! What agents wrote, made safe for a terminal: colours stay, whatever else would steer the
//! terminal (its cursor, title, clipboard, what it types back) is shown and not obeyed.

use std::borrow::Cow;

/// A colour sequence is not longer.
const COLOUR_CHARS_MAX: usize = 32;

/// The text for a terminal; with `colours`, sequences that only colour are kept.
pub fn safe(text: &str, colours: bool) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(start) = rest.find(is_steering) {
        shown.push_str(&rest[..start]);
        rest = &rest[start..];
        match colour(rest) {
            Some(sequence) => {
                if colours {
                    shown.push_str(sequence);
                }
                rest = &rest[sequence.len()..];
            }
            None if rest.starts_with("\r\n") => rest = &rest[1..],
            None => {
                let mut characters = rest.chars();
                shown.push(characters.next().map_or('\u{fffd}', picture));
                rest = characters.as_str();
            }
        }
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Whether a terminal may take the character for more than itself: control characters, and those that
/// turn the direction of what follows.
fn is_steering(character: char) -> bool {
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || character.is_control() && character != '\n' && character != '\t'
}

/// The colour sequence that the text begins with: `ESC [`, digits and separators, `m`.
fn colour(text: &str) -> Option<&str> {
    let body = text.strip_prefix("\x1b[")?;
    let length =
        body.bytes().take(COLOUR_CHARS_MAX).take_while(|byte| byte.is_ascii_digit() || b";:".contains(byte)).count();
    (body.as_bytes().get(length) == Some(&b'm')).then(|| &text[..2 + length + 1])
}

/// What is shown in the place of a character that steers.
fn picture(character: char) -> char {
    match u32::from(character) {
        code @ 0..=0x1f => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
        0x7f => '\u{2421}',
        _ => '\u{fffd}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_colours_stay() {
        let check = |text: &str, expected: &str| assert_eq!(safe(text, true), expected, "{text:?}");
        check("plain\ttext\nöß €", "plain\ttext\nöß €");
        check("\x1b[1;31mred\x1b[0m \x1b[38:2:1:2:3mx\x1b[m", "\x1b[1;31mred\x1b[0m \x1b[38:2:1:2:3mx\x1b[m");
        check("\x1b]0;title\x07", "␛]0;title␇");
        check("\x1b]52;c;ZWNobw==\x07", "␛]52;c;ZWNobw==␇");
        check("\x1b[2J\x1b[6n\x1b[?1049h", "␛[2J␛[6n␛[?1049h");
        check("\x1b[31", "␛[31");
        check("a\rb\r\nc\u{8}\u{7f}\0", "a␍b\nc␈␡␀");
        check("\u{9b}2J\u{202e}txt", "\u{fffd}2J\u{fffd}txt");
        assert_eq!(safe("\x1b[31mred\x1b[0m", false), "red");
    }
}
