//! Spans of time that pages look back over, as their addresses name them.

use jiff::{SignedDuration, Timestamp};

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// What can be chosen: how the address names it, and how people do.
pub const SPANS: &[(&str, &str)] =
    &[("1h", "last hour"), ("24h", "last day"), ("7d", "last week"), ("30d", "last 30 days")];

/// The length of a span of so many hours or days: `24h`, `7d`.
pub fn length(span: &str) -> Option<SignedDuration> {
    let unit = if span.ends_with('h') { HOUR_S } else { DAY_S };
    let number: i64 = span.strip_suffix(['h', 'd'])?.parse().ok()?;
    // A year is more than any page looks back over.
    (1..=366 * 24).contains(&number).then(|| SignedDuration::from_secs(number * unit))
}

/// When a span that ends now began, as the API takes it; a time stays as it is, and what is neither is empty.
pub fn begin(span: &str, now: Timestamp) -> String {
    if span.parse::<Timestamp>().is_ok() {
        return span.to_owned();
    }
    let begun = length(span).and_then(|length| now.checked_sub(length).ok());
    begun.map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_begins_before_now() {
        let now = "2026-11-22T05:00:00Z".parse().unwrap();
        let check = |span, expected: &str| assert_eq!(begin(span, now), expected);
        check("1h", "2026-11-22T04:00:00Z");
        check("7d", "2026-11-15T05:00:00Z");
        check("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z");
        check("", "");
        check("d", "");
        check("-1h", "");
        check("99999999999999999999d", "");
        check("é", "");
    }
}
