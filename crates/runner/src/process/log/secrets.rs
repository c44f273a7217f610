//! Takes the values of secrets out of a stream of output, wherever it was cut by reads. What may still become a
//! secret is held back, at most the longest one; never is the first half of one let go because the second takes its time.

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};

use crate::scrub::{MASK, VALUE_BYTES_MIN, patterns};

/// What to look for; shared by the streams of a launch.
#[derive(Debug)]
pub struct Secrets {
    finder: AhoCorasick,
    /// Sorted, so that those that begin alike stand together.
    patterns: Vec<Vec<u8>>,
    /// Which bytes a secret begins with.
    first: [bool; 256],
    longest: usize,
}

/// One stream between two reads.
#[derive(Debug, Default)]
pub struct Scrub {
    /// The beginning of what may be a secret.
    held: Vec<u8>,
}

impl Secrets {
    /// For these values, as they are, as JSON writes them, and line by line; `None` if there is nothing to look for.
    pub fn new(values: &[String]) -> Result<Option<Secrets>, BuildError> {
        let mut patterns: Vec<Vec<u8>> = patterns(values).into_iter().map(String::into_bytes).collect();
        patterns.sort();
        let Some(longest) = patterns.iter().map(Vec::len).max() else { return Ok(None) };
        let mut first = [false; 256];
        patterns.iter().for_each(|pattern| first[usize::from(pattern[0])] = true);
        // Not as a table of all transitions: that is a kilobyte for each byte of a secret.
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let finder = AhoCorasick::builder().kind(kind).match_kind(MatchKind::LeftmostLongest).build(&patterns)?;
        Ok(Some(Secrets { finder, patterns, first, longest }))
    }

    /// Where, from `from` on, the end of `bytes` may be the beginning of a longer secret.
    fn pending(&self, bytes: &[u8], from: usize) -> usize {
        let from = from.max((bytes.len() + 1).saturating_sub(self.longest));
        let may_begin = |at: &usize| {
            let rest = &bytes[*at..];
            if !self.first[usize::from(rest[0])] {
                return false;
            }
            // The first pattern that is longer than the rest and sorts after it begins with it, if any does.
            let next = self.patterns.partition_point(|pattern| pattern.as_slice() <= rest);
            self.patterns.get(next).is_some_and(|pattern| pattern.starts_with(rest))
        };
        (from..bytes.len()).find(may_begin).unwrap_or(bytes.len())
    }
}

impl Scrub {
    /// Takes what was read and hands on what is certain of it.
    pub fn push(&mut self, secrets: &Secrets, bytes: &[u8], mut emit: impl FnMut(&[u8])) {
        let joined;
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            self.held.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.held);
            &joined
        };
        let mut at = 0;
        let mut pending = secrets.pending(bytes, 0);
        // Of two secrets that overlap, the one that begins first counts, also if it is not whole yet.
        for found in secrets.finder.find_iter(bytes) {
            if found.start() >= pending {
                break;
            }
            emit(&bytes[at..found.start()]);
            emit(MASK.as_bytes());
            at = found.end();
            if at > pending {
                pending = secrets.pending(bytes, at);
            }
        }
        emit(&bytes[at..pending]);
        self.held.extend_from_slice(&bytes[pending..]);
    }

    /// Hands on what is held, at the end of the stream: the beginning of a secret only if it tells nothing of it.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        emit(if held.len() < VALUE_BYTES_MIN { &held } else { MASK.as_bytes() });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrubbed(values: &[&str], chunks: &[&[u8]]) -> String {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let secrets = Secrets::new(&values).unwrap().unwrap();
        let (mut scrub, mut out) = (Scrub::default(), Vec::new());
        for chunk in chunks {
            scrub.push(&secrets, chunk, |bytes| out.extend_from_slice(bytes));
        }
        scrub.finish(|bytes| out.extend_from_slice(bytes));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_secret_is_found_across_reads_in_every_form() {
        let check = |values: &[&str], text: &str, expected: &str| {
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(scrubbed(values, &bytes), expected, "{text:?} byte by byte");
            assert_eq!(scrubbed(values, &[text.as_bytes()]), expected, "{text:?} at once");
        };
        check(&["hunter2"], "my hunter2, hunter", "my ***, ***");
        check(&["hunter2"], "a hun", "a hun");
        check(&["hunter2"], "hunthunter2hunter22", "hunt******2");
        check(&["token", "token-and-more"], "token-and-mor token-and-more", "***-and-mor ***");
        check(&["abcdef", "cdefgh12"], "abcdefgh12", "***gh12");
        check(&["abcdefX", "cdef"], "abcdefY abcdefX", "ab***Y ***");
        check(&["pa\"ss\n"], "pa\"ss\n pa\\\"ss\\n", "*** ***");
        check(
            &["-----BEGIN\nfirst line\nsecond\n"],
            "first line\nsecond\n-----BEGIN\nfirst line\nsecond\n",
            "***\nsecond\n***",
        );
        check(&["abc", "four"], "abc four", "abc ***");
    }

    #[test]
    fn what_is_too_short_is_not_looked_for() {
        assert!(Secrets::new(&["abc".into(), String::new()]).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_and_no_secret(
            values in prop::collection::vec("[ab\n\"]{4,12}", 1..4),
            text in "[ab\n\"c]{0,200}",
            cuts in prop::collection::vec(0..200_usize, 0..20),
        ) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut rest = text.as_bytes();
            for pair in std::iter::once(0).chain(cuts.iter().copied()).collect::<Vec<_>>().windows(2) {
                let (chunk, after) = rest.split_at(pair[1] - pair[0]);
                chunks.push(chunk);
                rest = after;
            }
            chunks.push(rest);
            let whole = scrubbed(&values, &[text.as_bytes()]);
            prop_assert_eq!(&scrubbed(&values, &chunks), &whole);
            for value in values {
                prop_assert!(!whole.contains(value), "{:?} in {:?}", value, whole);
            }
        }
    }
}
