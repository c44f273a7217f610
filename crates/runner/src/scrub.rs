//! Keeps the values of secrets out of texts: each is replaced, as it is, as JSON writes it, and line
//! by line if it has several. What is shorter than [`VALUE_BYTES_MIN`] is left alone.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use serde_json::Value;
use wakeful_domain::secret::VALUE_BYTES_MIN;

/// What stands in the place of a secret.
pub const MASK: &str = "***";
/// A line of a value that has several lines counts by itself from this length on.
const LINE_BYTES_MIN: usize = 8;

/// The texts to look for, longest first.
pub fn patterns(values: &[String]) -> Vec<String> {
    let mut patterns = BTreeSet::new();
    let mut add = |text: &str| {
        patterns.insert(text.to_owned());
        let quoted = Value::from(text).to_string();
        patterns.insert(quoted[1..quoted.len() - 1].to_owned());
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

/// Replaces secrets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Scrubber {
    /// `None` if there is nothing to look for.
    finder: Option<AhoCorasick>,
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
        // It fails only for more text than memory holds; then a finder for the longest one is no help either.
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let finder = AhoCorasick::builder().kind(kind).match_kind(MatchKind::LeftmostLongest).build(&patterns).ok();
        Scrubber { finder }
    }

    /// The text without the secrets.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.finder {
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
        if let Cow::Owned(scrubbed) = self.text(text) {
            *text = scrubbed;
        }
    }

    /// Takes the secrets out of every text in a document, names included.
    pub fn json(&self, document: &mut Value) {
        if self.finder.is_none() {
            return;
        }
        match document {
            Value::String(text) => self.scrub(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(fields) => {
                if fields.keys().any(|name| matches!(self.text(name), Cow::Owned(_))) {
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
        let scrubber = Scrubber::new(&["pa\"ss".into(), "first line of it\nsecond\n".into(), "abc".into()]);
        let check = |text: &str, expected: &str| assert_eq!(scrubber.text(text), expected);
        check("nothing here", "nothing here");
        check(r#"x pa"ss y pa\"ss"#, "x *** y ***");
        check("first line of it\nsecond\n", "***");
        check("first line of it and", "*** and");
        check("second", "second");
        check("abc", "abc");
        assert_eq!(Scrubber::default().text("any"), "any");
    }

    #[test]
    fn documents_are_scrubbed_whole() {
        let mut document = json!({"a": ["hunter2", {"hunter2": "my hunter2!"}], "n": 1});
        Scrubber::new(&["hunter2".into()]).json(&mut document);
        assert_eq!(document, json!({"a": ["***", {"***": "my ***!"}], "n": 1}));
    }

    #[test]
    fn the_longest_secret_wins() {
        let scrubber = Scrubber::new(&["token".into(), "token-and-more".into()]);
        assert_eq!(scrubber.text("token-and-more token"), "*** ***");
        assert!(!format!("{scrubber:?}").contains("token"));
    }
}
