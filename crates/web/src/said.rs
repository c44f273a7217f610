//! Sentences of the server, as pages show them: commands as code, times by the reader's clock, ids as links. All of it is
//! text that somebody may have written a part of, so each piece is escaped and only what is plainly an id becomes a link.

use std::fmt::{self, Display, Formatter};

use askama::filters::{Html, HtmlSafe, escape};

use crate::pieces::{clock, short};
use crate::seen::page_of;

/// A sentence with what is in it marked up.
#[derive(Debug, Clone)]
pub struct Said<'a> {
    text: &'a str,
    /// The slug of the company whose pages are linked.
    company: &'a str,
}

/// Each piece is escaped where it is written.
impl HtmlSafe for Said<'_> {}

/// What the server says, for a page of a company.
pub fn said<'a>(text: &'a str, company: &'a str) -> Said<'a> {
    Said { text, company }
}

impl Display for Said<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.text;
        // Between a pair of backticks is what somebody may type; one alone is a character like others.
        while let Some((before, code, behind)) = code_in(rest) {
            self.plain(f, before)?;
            write!(f, "<code>{}</code>", escaped(code)?)?;
            rest = behind;
        }
        self.plain(f, rest)
    }
}

fn escaped(text: &str) -> Result<impl Display, fmt::Error> {
    escape(text, Html).map_err(|_| fmt::Error)
}

fn code_in(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, behind) = rest.split_once('`')?;
    // Empty code is shown as it was written.
    (!code.is_empty()).then_some((before, code, behind))
}

impl Said<'_> {
    /// Text without code: words one by one, since ids and times are words.
    fn plain(&self, f: &mut Formatter<'_>, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(from) = rest.find(is_of_word) {
            let (between, tail) = rest.split_at(from);
            let to = tail.find(|c| !is_of_word(c)).unwrap_or(tail.len());
            let (word, behind) = tail.split_at(to);
            write!(f, "{}", escaped(between)?)?;
            self.word(f, word)?;
            rest = behind;
        }
        write!(f, "{}", escaped(rest)?)
    }

    fn word(&self, f: &mut Formatter<'_>, word: &str) -> fmt::Result {
        // The end of a sentence is no part of its last word.
        let core = word.trim_end_matches(['.', ':', '-']);
        let end = &word[core.len()..];
        match page_of(core).filter(|_| is_id(core)) {
            Some(page) => {
                let kind = core.split('_').next().unwrap_or_default();
                write!(f, "<a class=\"mono\" href=\"/c/{}/{page}\" title=\"{core}\">", escaped(self.company)?)?;
                write!(f, "{kind}_…{}</a>", short(core))?;
            }
            None if is_time(core) => write!(f, "{}", clock(core))?,
            None => write!(f, "{}", escaped(core)?)?,
        }
        f.write_str(end)
    }
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.')
}

/// Letters of ids, behind the three that name the kind.
const ID_CHARS: usize = 26;

fn is_id(word: &str) -> bool {
    let is_of_id = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    word.split_once('_').is_some_and(|(_, key)| key.len() == ID_CHARS && key.chars().all(is_of_id))
}

/// Whether a word is a time as the API writes it: `2026-11-22T08:38:01.076Z`.
fn is_time(word: &str) -> bool {
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let shaped: String = word.chars().map(shape).collect();
    let whole = shaped.strip_suffix('Z').unwrap_or_default();
    let (seconds, part) = whole.split_once('.').unwrap_or((whole, ""));
    seconds == "0000-00-00T00:00:00" && part.chars().all(|c| c == '0') && part.len() <= 9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(said(text, "acme").to_string(), expected, "{text}");
    }

    #[test]
    fn code_times_and_ids_are_marked_up() {
        check("`wakeful agent resume ann` lets it start.", "<code>wakeful agent resume ann</code> lets it start.");
        check(
            "by 2026-11-22T08:38:01.076Z; then",
            "by <time data-clock datetime=\"2026-11-22T08:38:01.076Z\">2026-11-22T08:38:01.076Z</time>; then",
        );
        check(
            "held by run_01m80tmn6pevjtt1x2br3d4sr5.",
            "held by <a class=\"mono\" href=\"/c/acme/runs/run_01m80tmn6pevjtt1x2br3d4sr5\" \
             title=\"run_01m80tmn6pevjtt1x2br3d4sr5\">run_…br3d4sr5</a>.",
        );
        check(
            "tried at 2026-11-22T08:38:01Z.",
            "tried at <time data-clock datetime=\"2026-11-22T08:38:01Z\">2026-11-22T08:38:01Z</time>.",
        );
    }

    #[test]
    fn what_is_only_like_them_stays_as_it_is() {
        check("a ` b", "a ` b");
        check("``", "``");
        check(
            "2026-11-22T08:38Z run_1 bud_01m80tmn6pevjtt1x2br3d4sr5 é…",
            "2026-11-22T08:38Z run_1 bud_01m80tmn6pevjtt1x2br3d4sr5 é…",
        );
        check(
            "RUN_01M80TMN6PEVJTT1X2BR3D4SR5 run_é1m80tmn6pevjtt1x2br3d4sr5",
            "RUN_01M80TMN6PEVJTT1X2BR3D4SR5 run_é1m80tmn6pevjtt1x2br3d4sr5",
        );
        check("", "");
    }

    #[test]
    fn what_somebody_wrote_is_never_html() {
        let evil = "<script>alert(1)</script>";
        for text in [
            evil.to_owned(),
            format!("`{evil}`"),
            format!("`a` {evil} `{evil}` \"'&"),
            format!("run_01m80tmn6pevjtt1x2br3d4sr5{evil}"),
            format!("2026-11-22T08:38:01Z\"{evil}"),
        ] {
            let shown = said(&text, "acme").to_string();
            assert!(!shown.contains("<script") && !shown.contains("</script"), "{shown}");
        }
        let shown = said("x", "\"><b>").to_string();
        assert!(!shown.contains("<b>"));
    }
}
