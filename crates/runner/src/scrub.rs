//! Keeps the values of secrets out of texts: each is replaced, as it is, as JSON, URLs and Base64
//! write it, and line by line if it has several. What is shorter than [`VALUE_BYTES_MIN`] is left alone.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::Value;
use wakeful_domain::url::percent_encoded;

/// What is shorter would be found by chance in any text. Secrets of the store are longer anyway.
pub const VALUE_BYTES_MIN: usize = 4;
/// What stands in the place of a secret.
pub const MASK: &str = "***";
/// Fewer digits of Base64 would stand by chance in any other.
const BASE64_DIGITS_MIN: usize = 8;
/// A line of a value that has several lines counts by itself from this length on.
const LINE_BYTES_MIN: usize = 8;

/// The texts to look for, longest first.
pub fn patterns(values: &[String]) -> Vec<String> {
    let mut patterns = BTreeSet::new();
    let mut add = |text: &str| {
        patterns.insert(text.to_owned());
        let quoted = Value::from(text).to_string();
        patterns.insert(quoted[1..quoted.len() - 1].to_owned());
        patterns.insert(percent_encoded(text));
        patterns.extend(base64_forms(text.as_bytes()));
    };
    for value in values.iter().filter(|value| value.len() >= VALUE_BYTES_MIN) {
        add(value);
        if value.contains('\n') {
            value.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN).for_each(&mut add);
        }
    }
    let mut patterns: Vec<String> = patterns.into_iter().collect();
    patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
    patterns
}

/// What Base64 makes of it wherever it stands in a longer text, as in `Authorization: Basic`: of the
/// three ways it may lie, the digits that depend on nothing around it.
fn base64_forms(value: &[u8]) -> Vec<String> {
    // By itself, to its end.
    let mut forms = vec![STANDARD.encode(value), URL_SAFE.encode(value)];
    forms.retain(|form| form.len() >= BASE64_DIGITS_MIN);
    for before in 0..3 {
        let padded = [vec![0; before], value.to_vec()].concat();
        let digits = STANDARD_NO_PAD.encode(&padded);
        let (first, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        if end - first.min(end) >= BASE64_DIGITS_MIN {
            let digits = &digits[first..end];
            forms.push(digits.replace('+', "-").replace('/', "_"));
            forms.push(digits.to_owned());
        }
    }
    forms
}

/// Replaces secrets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Scrubber {
    /// `None` if there is nothing to look for.
    finder: Option<AhoCorasick>,
    /// What the secrets are is not known: nothing is let through.
    is_blind: bool,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scrubber({})", self.finder.as_ref().map_or(0, AhoCorasick::patterns_len))
    }
}

impl Scrubber {
    /// For these values.
    pub fn new(values: &[String]) -> Scrubber {
        let patterns = patterns(values);
        if patterns.is_empty() {
            return Scrubber::default();
        }
        // It fails only for more text than memory holds; then nothing is let through.
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let finder = AhoCorasick::builder().kind(kind).match_kind(MatchKind::LeftmostLongest).build(&patterns).ok();
        Scrubber { is_blind: finder.is_none(), finder }
    }

    /// For values that are not known any more: every text is replaced.
    pub fn blind() -> Scrubber {
        Scrubber { finder: None, is_blind: true }
    }

    /// The text without the secrets.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.finder {
            None if self.is_blind && !text.is_empty() => Cow::Borrowed(MASK),
            Some(finder) if finder.is_match(text) => {
                let mut scrubbed = String::with_capacity(text.len());
                finder.replace_all_with(text, &mut scrubbed, |_, _, out| {
                    out.push_str(MASK);
                    true
                });
                Cow::Owned(scrubbed)
            }
            Some(_) | None => Cow::Borrowed(text),
        }
    }

    /// Takes the secrets out of a text in place.
    pub fn scrub(&self, text: &mut String) {
        if self.is_blind || self.finder.is_some() {
            *text = self.text(text).into_owned();
        }
    }

    /// Takes the secrets out of every text in a document, names included.
    pub fn json(&self, document: &mut Value) {
        if self.finder.is_none() && !self.is_blind {
            return;
        }
        match document {
            Value::String(text) => self.scrub(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(fields) => {
                if !self.is_blind && fields.keys().any(|name| matches!(self.text(name), Cow::Owned(_))) {
                    let taken = std::mem::take(fields);
                    fields.extend(taken.into_iter().map(|(name, value)| (self.text(&name).into_owned(), value)));
                }
                fields.values_mut().for_each(|value| self.json(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_replaced_in_every_form_it_comes_in() {
        let scrubber = Scrubber::new(&["long pa\"ss".into(), "first line of it\nsecond\n".into(), "abc".into()]);
        let check = |text: &str, expected: &str| assert_eq!(scrubber.text(text), expected);
        check("nothing here", "nothing here");
        check(r#"x long pa"ss y long pa\"ss"#, "x *** y ***");
        check("first line of it\nsecond\n", "***");
        check("first line of it and", "*** and");
        check("second", "second");
        check("abc", "abc");
        assert_eq!(Scrubber::default().text("any"), "any");
    }

    #[test]
    fn a_value_is_found_in_urls_and_in_base64_wherever_it_lies() {
        let secret = "s3cret/päss";
        let scrubber = Scrubber::new(&[secret.into()]);
        assert_eq!(scrubber.text("https://x/?k=s3cret%2Fp%C3%A4ss&z"), "https://x/?k=***&z");
        for user in ["", "u", "us", "user", "longer-user"] {
            let header = STANDARD_NO_PAD.encode(format!("{user}:{secret}:x"));
            assert!(scrubber.text(&header).contains(MASK), "{header}");
        }
    }

    #[test]
    fn who_does_not_know_the_secrets_lets_nothing_through() {
        let mut document = json!({"summary": "anything", "n": 1});
        Scrubber::blind().json(&mut document);
        assert_eq!(document, json!({"summary": "***", "n": 1}));
    }

    #[test]
    fn documents_are_scrubbed_whole() {
        let mut document = json!({"a": ["hunter22", {"hunter22": "my hunter22!"}], "n": 1});
        Scrubber::new(&["hunter22".into()]).json(&mut document);
        assert_eq!(document, json!({"a": ["***", {"***": "my ***!"}], "n": 1}));
    }

    #[test]
    fn the_longest_secret_wins() {
        let scrubber = Scrubber::new(&["a-token.".into(), "a-token.-and-more".into()]);
        assert_eq!(scrubber.text("a-token.-and-more a-token."), "*** ***");
        assert!(!format!("{scrubber:?}").contains("token"));
    }
}
