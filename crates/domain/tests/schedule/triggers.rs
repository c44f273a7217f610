//! Triggers as they are written, and periods.

use std::time::Duration;

use serde_json::{Value, json};
use wakeful_domain::schedule::trigger::{last, write_duration};
use wakeful_domain::schedule::{Trigger, TriggerText, count, next};
use wakeful_domain::time::{Timestamp, parse_duration};

use super::{at, zone};

fn read(trigger: Value) -> Result<Trigger, wakeful_domain::schedule::TriggerError> {
    Trigger::try_from(serde_json::from_value::<TriggerText>(trigger).unwrap())
}

#[test]
fn triggers_survive_being_written() {
    for trigger in [
        json!({ "cron": "0 9 * * MON-FRI" }),
        json!({ "cron": "@daily", "time_zone": "Europe/Paris" }),
        json!({ "every": "2h30m" }),
        json!({ "at": "2026-12-24T18:00:00.000Z" }),
    ] {
        let parsed: Trigger = serde_json::from_value(trigger.clone()).unwrap();
        assert_eq!(serde_json::to_value(&parsed).unwrap(), trigger);
    }
    let spaced: Trigger = serde_json::from_value(json!({ "cron": "  0  9 * *   * " })).unwrap();
    assert_eq!(serde_json::to_value(spaced).unwrap(), json!({ "cron": "0 9 * * *" }));
}

#[test]
fn a_mistake_names_its_field() {
    let check = |trigger: Value, expected: &str| {
        let message = read(trigger.clone()).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
        let through_serde = serde_json::from_value::<Trigger>(trigger).unwrap_err().to_string();
        assert_eq!(through_serde, message);
    };
    check(json!({ "cron": "0 0 32 * *" }), "cron: field 3 (day of month), character 5: `32` is not between 1 and 31");
    check(
        json!({ "cron": "0 0 * * *", "time_zone": "Mars" }),
        "time_zone: `Mars` is not a time zone: write its IANA name",
    );
    check(json!({ "every": "5m", "time_zone": "UTC" }), "time_zone: goes with `cron` only");
    check(json!({ "every": "500ms" }), "every: must be between 1s and 3653d");
    check(json!({ "every": "5 minutes" }), "every: `5 minutes` is not a duration");
    check(json!({ "at": "tomorrow" }), "at: `tomorrow` is not a time");
    check(json!({}), "trigger: needs exactly one of `cron`, `every` and `at`");
    check(json!({ "cron": "* * * * *", "every": "5m" }), "trigger: needs exactly one");
    check(json!({ "every": "5m", "at": "2026-12-24T18:00:00Z" }), "trigger: needs exactly one");
    assert!(serde_json::from_value::<Trigger>(json!({ "evry": "5m" })).unwrap_err().to_string().contains("evry"));
}

#[test]
fn what_never_comes_is_refused() {
    let now = at("2026-11-21T00:00:00Z");
    let problem = |trigger: Value| read(trigger).unwrap().problem(&zone("UTC"), now, now);
    for (trigger, field) in [
        (json!({ "cron": "0 0 30 2 *" }), "cron"),
        (json!({ "cron": "0 0 31 4,6,9,11 *" }), "cron"),
        (json!({ "cron": "* * */31 2 MON#1", "time_zone": "Asia/Tokyo" }), "cron"),
        (json!({ "at": "2026-11-20T00:00:00Z" }), "at"),
    ] {
        let problem = problem(trigger.clone());
        // The first of February can be a first Monday.
        if trigger["time_zone"] == "Asia/Tokyo" {
            assert_eq!(problem, None);
            continue;
        }
        let problem = problem.unwrap();
        assert!(problem.never_matches && problem.field == field, "{problem}");
    }
    for trigger in [json!({ "cron": "0 0 29 2 *" }), json!({ "cron": "0 0 * 2 MON#5" }), json!({ "every": "1s" })] {
        assert_eq!(problem(trigger), None);
    }
}

#[test]
fn a_period_counts_from_its_anchor_and_does_not_drift() {
    let anchor = at("2026-11-21T00:00:00.250Z");
    let (every, utc) = (Trigger::Every(Duration::from_secs(300)), zone("UTC"));
    let check = |after: &str, expected: &str| assert_eq!(next(&every, &utc, anchor, at(after)), Some(at(expected)));
    check("2026-11-21T00:00:00.250Z", "2026-11-21T00:05:00.250Z");
    check("2026-11-21T00:04:59Z", "2026-11-21T00:05:00.250Z");
    check("2026-11-21T00:05:00.249Z", "2026-11-21T00:05:00.250Z");
    check("2126-11-21T00:05:00.250Z", "2126-11-21T00:10:00.250Z");
    // Nothing before the anchor, which is a slot itself.
    check("2020-01-01T00:00:00Z", "2026-11-21T00:00:00.250Z");
    let hour = (anchor, anchor + Duration::from_secs(3_600));
    assert_eq!(count(&every, &utc, anchor, hour.0, hour.1), 12);
    assert_eq!(last(&every, &utc, anchor, hour, 2).0, [at("2026-11-21T00:55:00.250Z"), at("2026-11-21T01:00:00.250Z")]);
    assert_eq!(every.period(&utc, anchor, anchor), Some(Duration::from_secs(300)));
    assert_eq!(next(&every, &utc, anchor, Timestamp::from_micros(i64::MAX)), None);
    assert_eq!(next(&every, &utc, anchor, Timestamp::from_micros(i64::MIN)), Some(anchor));
}

#[test]
fn one_point_in_time_comes_once() {
    let (once, utc) = (Trigger::At(at("2026-12-24T18:00:00Z")), zone("UTC"));
    let anchor = at("2026-11-21T00:00:00Z");
    assert_eq!(next(&once, &utc, anchor, anchor), Some(at("2026-12-24T18:00:00Z")));
    assert_eq!(next(&once, &utc, anchor, at("2026-12-24T18:00:00Z")), None);
    assert_eq!(count(&once, &utc, anchor, anchor, at("2027-01-01T00:00:00Z")), 1);
}

#[test]
fn durations_are_written_as_they_are_read() {
    for text in ["90s", "5m", "2h30m", "1d", "250ms", "0s", "1d1h1m1s1ms"] {
        let duration = parse_duration(text).unwrap();
        assert_eq!(parse_duration(&write_duration(duration)).unwrap(), duration);
    }
    assert_eq!(write_duration(Duration::from_secs(9_000)), "2h30m");
}
