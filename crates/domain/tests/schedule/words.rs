//! Schedules in words.

use serde_json::{Value, json};
use wakeful_domain::schedule::{Trigger, describe, next_words, until_words};

use super::{at, zone};

#[test]
fn triggers_in_words() {
    let check = |trigger: Value, expected: &str| {
        let trigger: Trigger = serde_json::from_value(trigger).unwrap();
        assert_eq!(describe(&trigger, &zone("Europe/Paris")), expected, "{trigger:?}");
    };
    let pattern =
        |pattern: &str, expected: &str| check(json!({ "cron": pattern }), &format!("{expected}, Europe/Paris"));
    pattern("0 9 * * MON-FRI", "every weekday at 09:00");
    pattern("0 9 * * *", "every day at 09:00");
    pattern("@daily", "every day at 00:00");
    pattern("@hourly", "every hour");
    pattern("@weekly", "every Sunday at 00:00");
    pattern("@monthly", "on day 1 of every month at 00:00");
    pattern("@yearly", "on day 1 of January at 00:00");
    pattern("* * * * *", "every minute");
    pattern("*/5 * * * *", "every 5 min");
    pattern("*/30 * * * * *", "every 30 s");
    pattern("* * * * * *", "every second");
    pattern("15 * * * *", "every hour at :15");
    pattern("0 */2 * * *", "every 2 h");
    pattern("10 */2 * * *", "every 2 h at :10");
    pattern("*/5 * * * 1-5", "every 5 min, every weekday");
    pattern("30 8,17 * * SAT,SUN", "every Saturday and Sunday at 08:30 and 17:30");
    pattern("0 9 * * MON,WED,SUN", "every Monday, Wednesday and Sunday at 09:00");
    pattern("5 30 9 * * *", "every day at 09:30:05");
    pattern("0 9 1,15 * *", "on day 1 and day 15 of every month at 09:00");
    pattern("0 9 L * *", "on the last day of every month at 09:00");
    pattern("0 9 * * MON#2", "on the second Monday of every month at 09:00");
    pattern("0 9 * 3,10 5L", "on the last Friday of March and October at 09:00");
    pattern("0 9 * 12 *", "every day in December at 09:00");
    pattern("*/5 9-17 * * 1-5", "every 5 min from 09:00 to 17:55, every weekday");
    pattern("0 9-17 * * *", "every hour from 09:00 to 17:00");
    // No short words for these.
    pattern("*/7 * * * *", "cron `*/7 * * * *`");
    pattern("0 0 13 * FRI", "cron `0 0 13 * FRI`");
    pattern("0 9 */2 * *", "cron `0 9 */2 * *`");
    pattern("*/5 9,17 * * *", "cron `*/5 9,17 * * *`");
    check(json!({ "cron": "0 9 * * *", "time_zone": "Asia/Tokyo" }), "every day at 09:00, Asia/Tokyo");
    check(json!({ "every": "5m" }), "every 5 min");
    check(json!({ "every": "2h30m" }), "every 2 h 30 min");
    check(json!({ "every": "1h" }), "every hour");
    check(json!({ "at": "2026-12-24T18:00:00Z" }), "once, Thu 24 Dec 2026 19:00 CET");
}

#[test]
fn times_to_come_in_words() {
    let now = at("2026-11-21T07:00:00Z");
    assert_eq!(until_words(now, at("2026-11-23T08:00:00Z")), "in 2 d 1 h");
    assert_eq!(until_words(now, at("2026-11-21T07:00:00.400Z")), "now");
    assert_eq!(until_words(now, at("2026-11-21T06:57:00Z")), "3 min ago");
    let paris = zone("Europe/Paris");
    assert_eq!(next_words(now, at("2026-11-23T08:00:00Z"), &paris), "Mon 23 Nov 09:00 CET, in 2 d 1 h");
    assert_eq!(next_words(now, at("2027-07-01T07:00:00Z"), &paris), "Thu 1 Jul 2027 09:00 CEST, in 222 d");
}
