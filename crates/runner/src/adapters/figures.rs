//! Tokens and money as the CLIs report them, kept within what a run can have used: a figure that is
//! absurd is held to the limit, one that is none counts as nothing.

use serde_json::Value;
use wakeful_domain::usage::{USAGE_MAX, Usage};

/// A count of tokens.
pub(super) fn tokens(value: &Value) -> i64 {
    match value.as_i64() {
        Some(count) => count.clamp(0, USAGE_MAX),
        // Beyond 64 bits, or written with a fraction.
        None => value.as_f64().and_then(whole).unwrap_or(0).min(USAGE_MAX),
    }
}

/// Both together, kind by kind.
pub(super) fn sum(left: &Usage, right: &Usage) -> Usage {
    let add = |left: i64, right: i64| left.saturating_add(right).clamp(0, USAGE_MAX);
    Usage {
        input_tokens: add(left.input_tokens, right.input_tokens),
        output_tokens: add(left.output_tokens, right.output_tokens),
        cache_read_tokens: add(left.cache_read_tokens, right.cache_read_tokens),
        cache_write_tokens: add(left.cache_write_tokens, right.cache_write_tokens),
    }
}

/// What is left of a total without what was there before; `None` if it was not counted on from it.
pub(super) fn since(total: &Usage, before: &Usage) -> Option<Usage> {
    let less = |total: i64, before: i64| total.checked_sub(before).filter(|left| *left >= 0);
    Some(Usage {
        input_tokens: less(total.input_tokens, before.input_tokens)?,
        output_tokens: less(total.output_tokens, before.output_tokens)?,
        cache_read_tokens: less(total.cache_read_tokens, before.cache_read_tokens)?,
        cache_write_tokens: less(total.cache_write_tokens, before.cache_write_tokens)?,
    })
}

/// Dollars as millionths, rounded; no figure below nothing.
pub(super) fn micros_of_dollars(dollars: f64) -> Option<i64> {
    whole((dollars * 1e6).round()).map(|micros| micros.min(USAGE_MAX))
}

/// The whole part of a number that is not negative; infinity is a very large one.
fn whole(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a float beyond the range becomes its end")]
    (number >= 0.0).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_stay_within_what_a_run_can_use() {
        let check = |text: &str, expected: i64| {
            assert_eq!(tokens(&serde_json::from_str(text).unwrap()), expected, "{text}");
        };
        check("12", 12);
        check("12.9", 12);
        check("-3", 0);
        check("-3.5", 0);
        check("9223372036854775807", USAGE_MAX);
        check("18446744073709551615", USAGE_MAX);
        check("1e300", USAGE_MAX);
        check("\"7\"", 0);
        check("null", 0);
        assert_eq!(micros_of_dollars(0.0065375), Some(6_538));
        assert_eq!(micros_of_dollars(1e300), Some(USAGE_MAX));
        assert_eq!((micros_of_dollars(-1.0), micros_of_dollars(f64::NAN)), (None, None));
        let most = Usage { input_tokens: USAGE_MAX, ..Usage::default() };
        assert_eq!(sum(&most, &most), most);
        assert_eq!(since(&Usage::default(), &most), None);
        assert_eq!(json!(since(&most, &most)), json!(Usage::default()));
    }
}
