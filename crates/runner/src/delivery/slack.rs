//! Slack: an incoming webhook that takes `{"text": …}`. Its three characters with a meaning are escaped, and the text
//! is cut to what Slack shows.

use serde_json::json;
use wakeful_domain::channel::Slack;
use wakeful_domain::delivery::Answer;
use wakeful_domain::notification::{Level, Notice};

use super::{Means, Parcel, webhook};

/// Slack recommends no more for one message.
const TEXT_CHARS_MAX: usize = 4_000;

pub(super) async fn send(means: &Means<'_>, parcel: &Parcel<'_>, target: &Slack) -> Answer {
    let body = json!({ "text": text(&parcel.notification.notice) }).to_string();
    webhook::post(means, parcel, parcel.secrets.value(&target.url), &[], &body).await
}

fn text(notice: &Notice) -> String {
    let mark = match notice.level {
        Level::Info => "",
        Level::Warning => ":warning: ",
        Level::Critical => ":rotating_light: ",
    };
    let title = escaped(&notice.title, TEXT_CHARS_MAX / 2);
    let start = format!("{mark}*{title}*");
    if notice.text.is_empty() || notice.text == notice.title {
        return start;
    }
    let room = TEXT_CHARS_MAX.saturating_sub(start.chars().count() + 1);
    format!("{start}\n{}", escaped(&notice.text, room))
}

/// The text with `&`, `<` and `>` as Slack takes them, never cut within one of them.
fn escaped(text: &str, chars_max: usize) -> String {
    let mut found = String::new();
    let mut length = 0;
    let mut own = [0; 4];
    for letter in text.chars() {
        let piece: &str = match letter {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            other => other.encode_utf8(&mut own),
        };
        length += piece.chars().count();
        // Room for the sign that there was more.
        if length >= chars_max {
            found.push('…');
            break;
        }
        found.push_str(piece);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_to_slack_is_escaped_and_cut_whole() {
        assert_eq!(escaped("a <!channel> & b", 100), "a &lt;!channel&gt; &amp; b");
        assert_eq!(escaped("ab&c", 4), "ab…");
        assert_eq!(escaped("größe", 100), "größe");
        assert!(escaped(&"&".repeat(10_000), TEXT_CHARS_MAX).chars().count() <= TEXT_CHARS_MAX);
    }
}
