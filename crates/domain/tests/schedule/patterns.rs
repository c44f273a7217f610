//! Cron patterns: what ordinary ones mean, by cases that others have published, how mistakes are told,
//! and that no pattern makes a search long.

use wakeful_domain::schedule::trigger::next_counting;
use wakeful_domain::schedule::{Cron, next};
use wakeful_domain::time::Timestamp;

use super::{at, cron, slots, zone};

fn first(pattern: &str, after: &str) -> String {
    let slot = next(&cron(pattern), &zone("UTC"), Timestamp::from_millis(0), at(after));
    slot.map_or("never".into(), |slot| slot.to_string().replace(".000Z", "Z"))
}

#[test]
fn cases_that_others_have_published() {
    // The behaviour that the tests of robfig/cron (spec_test.go, TestNext) lay down, in universal time.
    let check = |after: &str, pattern: &str, expected: &str| assert_eq!(first(pattern, after), expected, "{pattern}");
    check("2012-07-09T14:45:00Z", "0 0/15 * * * *", "2012-07-09T15:00:00Z");
    check("2012-07-09T14:59:59Z", "0 0/15 * * * *", "2012-07-09T15:00:00Z");
    check("2012-07-09T15:45:00Z", "0 20-35/15 * * * *", "2012-07-09T16:20:00Z");
    check("2012-07-09T23:46:00Z", "0 */15 * * * *", "2012-07-10T00:00:00Z");
    check("2012-07-09T23:35:51Z", "15/35 20-35/15 * * * *", "2012-07-10T00:20:15Z");
    check("2012-07-09T23:35:51Z", "15/35 20-35/15 1/2 * * *", "2012-07-10T01:20:15Z");
    check("2012-07-09T23:35:51Z", "15/35 20-35/15 10-12 * * *", "2012-07-10T10:20:15Z");
    check("2012-07-09T23:35:51Z", "15/35 20-35/15 1/2 */2 * *", "2012-07-11T01:20:15Z");
    check("2012-07-09T23:35:51Z", "15/35 20-35/15 * 9-20 JUL *", "2012-07-10T00:20:15Z");
    check("2012-07-09T23:35:00Z", "0 0 0 9 Apr-Oct *", "2012-08-09T00:00:00Z");
    check("2012-07-09T23:35:00Z", "0 0 0 */5 Apr,Aug,Oct Mon", "2012-08-06T00:00:00Z");
    check("2012-07-09T23:35:00Z", "0 0 0 */5 Oct Mon", "2012-10-01T00:00:00Z");
    check("2012-07-09T23:35:00Z", "0 0 0 * Feb Mon", "2013-02-04T00:00:00Z");
    check("2012-07-09T23:35:00Z", "0 0 0 * Feb Mon/2", "2013-02-01T00:00:00Z");
    check("2012-12-31T23:59:45Z", "0 * * * * *", "2013-01-01T00:00:00Z");
    check("2012-07-09T23:35:00Z", "0 0 0 29 Feb *", "2016-02-29T00:00:00Z");
    check("2012-07-09T23:35:00Z", "0 0 0 30 Feb *", "never");
    check("2012-07-09T23:35:00Z", "0 0 0 31 Apr *", "never");
    // Its TestActivation: day of month and day of week, either or both.
    let fires = |on: &str, pattern: &str| {
        first(pattern, (at(on) - std::time::Duration::from_secs(1)).to_string().as_str()) == on
    };
    for (on, pattern, expected) in [
        ("2012-07-15T00:00:00Z", "0 * * 1,15 * SUN", true),
        ("2012-06-15T00:00:00Z", "0 * * 1,15 * SUN", true),
        ("2012-08-01T00:00:00Z", "0 * * 1,15 * SUN", true),
        ("2012-07-15T00:00:00Z", "0 * * * * MON", false),
        ("2012-07-15T00:00:00Z", "0 * * */10 * SUN", false),
        ("2012-07-09T00:00:00Z", "0 * * 1,15 * *", false),
        ("2012-07-15T00:00:00Z", "0 * * */2 * SUN", true),
        ("2012-07-08T00:00:00Z", "@weekly", true),
        ("2012-07-08T00:00:00Z", "@monthly", false),
        ("2012-07-01T00:00:00Z", "@monthly", true),
    ] {
        assert_eq!(fires(on, pattern), expected, "{pattern} on {on}");
    }
    // The examples of crontab(5), as vixie cron has it.
    check("2026-11-20T00:00:00Z", "5 0 * * *", "2026-11-20T00:05:00Z");
    check("2026-11-20T00:00:00Z", "15 14 1 * *", "2026-12-01T14:15:00Z");
    check("2026-11-20T23:00:00Z", "0 22 * * 1-5", "2026-11-23T22:00:00Z");
    check("2026-11-20T23:00:00Z", "23 0-23/2 * * *", "2026-11-21T00:23:00Z");
    check("2026-11-21T04:05:00Z", "5 4 * * sun", "2026-11-22T04:05:00Z");
    check("2026-11-21T00:00:00Z", "30 4 1,15 * 5", "2026-11-27T04:30:00Z");
    check("2026-11-28T00:00:00Z", "30 4 1,15 * 5", "2026-12-01T04:30:00Z");
}

#[test]
fn days_of_all_kinds() {
    let check = |pattern: &str, expected: &[&str]| {
        let found = slots(&cron(pattern), &zone("UTC"), at("2026-11-21T00:00:00Z"), at("2032-12-31T00:00:00Z"));
        let days: Vec<String> =
            found.iter().take(expected.len()).map(|slot| slot.to_string()[..10].to_owned()).collect();
        assert_eq!(days, expected, "{pattern}");
    };
    check("0 9 L * *", &["2026-11-30", "2026-12-31", "2027-01-31", "2027-02-28"]);
    check("0 9 L 2 *", &["2027-02-28", "2028-02-29"]);
    check("0 9 15,L * *", &["2026-11-30", "2026-12-15", "2026-12-31"]);
    check("0 9 * * MON#2", &["2026-12-14", "2027-01-11"]);
    check("0 9 * * MON#5", &["2026-11-30", "2027-03-29"]);
    check("0 9 * * 5L", &["2026-11-27", "2026-12-25"]);
    check("0 9 * * FRIL,MON#1", &["2026-11-27", "2026-12-07", "2026-12-25"]);
    check("0 9 * * FRI#L", &["2026-11-27", "2026-12-25"]);
    check("0 9 * * FRI-MON", &["2026-11-21", "2026-11-22", "2026-11-23", "2026-11-27"]);
    check("0 9 * * 6-7", &["2026-11-21", "2026-11-22", "2026-11-28"]);
    check("0 9 * * 7", &["2026-11-22", "2026-11-29"]);
    check("0 9 * * 0-7", &["2026-11-21", "2026-11-22", "2026-11-23"]);
    check("0 9 * * 7-2", &["2026-11-22", "2026-11-23", "2026-11-24", "2026-11-29"]);
    check("0 9 1 NOV-FEB *", &["2026-12-01", "2027-01-01", "2027-02-01", "2027-11-01"]);
    check("0 9 29 2 *", &["2028-02-29", "2032-02-29"]);
    check("0 9 13 * FRI", &["2026-11-27", "2026-12-04", "2026-12-11", "2026-12-13"]);
    check("@yearly", &["2027-01-01", "2028-01-01"]);
}

#[test]
fn a_mistake_is_told_with_its_field_its_character_and_the_remedy() {
    let check = |pattern: &str, expected: &str| {
        assert_eq!(pattern.parse::<Cron>().unwrap_err().to_string(), expected, "{pattern}");
    };
    check("0 0 32 * *", "field 3 (day of month), character 5: `32` is not between 1 and 31");
    check("60 0 1 * *", "field 1 (minute), character 1: `60` is not between 0 and 59");
    check(
        "0 9  *  *  1-5,MUN",
        "field 5 (day of week), character 16: `MUN` is not known: write a number between 0 and 7, or a name from SUN to SAT",
    );
    check("0 9 * 13 *", "field 4 (month), character 7: `13` is not between 1 and 12");
    check(
        "0 0 0 9 FOO *",
        "field 5 (month), character 9: `FOO` is not known: write a number between 1 and 12, or a name from JAN to DEC",
    );
    check(
        "0 9 * * MON#6",
        "field 5 (day of week), character 13: `6` is not between 1 and 5: the second Monday is MON#2",
    );
    check("0 9 * * L", "field 5 (day of week), character 9: `L` needs its day: the last Friday is 5L, Saturday is 6");
    check("0 9 ? * MON", "field 3 (day of month), character 5: `?` is not known: write `*` for any");
    check(
        "0 9 W * *",
        "field 3 (day of month), character 5: `W` is not known: the nearest working day is not supported; name the days, as MON-FRI",
    );
    check(
        "*/90 * * * *",
        "field 1 (minute), character 3: a step of 90 does not fit into an hour: at most 60; `{\"every\": …}` goes over it",
    );
    check("*/0 * * * *", "field 1 (minute), character 3: `0` is not a step: write a number from 1 to 60");
    check("1-/5 * * * *", "field 1 (minute), character 3: a value between 0 and 59 is missing");
    check("1,,5 * * * *", "field 1 (minute), character 3: a value is missing: a list is written `1,15`");
    check("* * *", "has 3 fields: write 5 (minute, hour, day of month, month, day of week), or 6 with seconds first");
    check("hourly", "has 1 field: write 5 (minute, hour, day of month, month, day of week), as `0 9 * * MON-FRI`");
    check("", "has 0 fields: write 5 (minute, hour, day of month, month, day of week), or 6 with seconds first");
    check("@reboot", "`@reboot` is not known: write @hourly, @daily, @weekly, @monthly or @yearly, or a pattern");
    check(&"1,".repeat(200), "has 400 characters; at most 256 are allowed");
    // Characters are counted as a reader sees them.
    check("é 0 32 * *", "field 1 (minute), character 1: `é` is not known: write a number between 0 and 59");
    let error = "0 0 32 * *".parse::<Cron>().unwrap_err();
    assert_eq!((error.field, error.character), (Some(3), Some(5)));
    for pattern in [
        "-1 * * * *",
        "1--5 * * * *",
        "*-5 * * * *",
        "5* * * * *",
        "1/2/3 * * * *",
        "99999999999 * * * *",
        "* * * * MON#",
        "* * * * #2",
        "* * LL * *",
        "* * * JAN# *",
        "+5 * * * *",
    ] {
        assert!(pattern.parse::<Cron>().is_err(), "{pattern}");
    }
}

#[test]
fn no_pattern_makes_a_search_long() {
    let mut most = 0;
    for zone in ["UTC", "Europe/Paris", "Africa/Casablanca", "Australia/Lord_Howe"].map(zone) {
        for pattern in [
            "0 0 30 2 *",
            "0 0 31 2,4,6,9,11 *",
            "* * 30 2 *",
            "* * * * * *",
            "59 59 23 31 12 *",
            "0 0 */28 2 MON#5",
            "* * * 2 * ",
            "0 0 29 2 *",
            "30 2 */31 2 *",
            "59 59 * 31 4 *",
        ] {
            for after in
                ["1900-01-01T00:00:00Z", "2026-11-21T00:00:00Z", "2096-03-01T00:00:00Z", "9980-01-01T00:00:00Z"]
            {
                let mut steps = 0;
                next_counting(&cron(pattern), &zone, Timestamp::from_millis(0), at(after), &mut steps);
                most = most.max(steps);
            }
        }
    }
    // Months and changes of the clocks in 45 years, each looked at once or twice.
    assert!(most <= 2_000, "{most}");
}

#[test]
fn at_the_ends_of_time_there_is_no_slot_and_no_panic() {
    for pattern in ["* * * * * *", "0 0 1 1 *", "30 2 * * *"] {
        for zone in ["UTC", "Pacific/Apia", "America/Santiago"].map(zone) {
            for micros in
                [i64::MIN, i64::MIN + 1, -62_135_596_800_000_000, 253_402_300_799_000_000, i64::MAX - 1, i64::MAX]
            {
                let after = Timestamp::from_micros(micros);
                let slot = next(&cron(pattern), &zone, Timestamp::from_millis(0), after);
                assert!(slot.is_none_or(|slot| slot > after));
            }
        }
    }
}

#[test]
fn gaps_and_folds_by_hand() {
    let check = |pattern: &str, name: &str, (after, until): (&str, &str), expected: &[&str]| {
        let found = slots(&cron(pattern), &zone(name), at(after), at(until));
        let expected: Vec<Timestamp> = expected.iter().map(|text| at(text)).collect();
        assert_eq!(found, expected, "`{pattern}` in {name}");
    };
    // Paris leaves out 02:00 to 03:00 on 2026-03-29, at 01:00 universal time.
    let spring = ("2026-03-28T22:00:00Z", "2026-03-29T02:30:00Z");
    check("30 2 * * *", "Europe/Paris", spring, &["2026-03-29T01:00:00Z"]);
    check("0,30 2,3 * * *", "Europe/Paris", spring, &["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
    let hourly = ["2026-03-28T22:30:00Z", "2026-03-28T23:30:00Z", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"];
    check("30 * * * *", "Europe/Paris", spring, &[&hourly[..], &["2026-03-29T02:30:00Z"]].concat());
    // It repeats 02:00 to 03:00 on 2026-10-25, again from 01:00 universal time.
    let autumn = ("2026-10-24T23:00:00Z", "2026-10-25T02:30:00Z");
    check("30 2 * * *", "Europe/Paris", autumn, &["2026-10-25T00:30:00Z"]);
    let hourly = ["2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"];
    check("30 * * * *", "Europe/Paris", autumn, &hourly);
    // Asked within the second pass: what the first one fired is not fired again.
    check("15,45 2 * * *", "Europe/Paris", ("2026-10-25T01:00:00Z", "2026-10-25T12:00:00Z"), &[]);
    // Lord Howe leaves out 02:00 to 02:30.
    check(
        "15 2 * * *",
        "Australia/Lord_Howe",
        ("2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z"),
        &["2026-10-03T15:30:00Z"],
    );
    // Santiago leaves out 00:00 to 01:00: the day begins at 01:00.
    check("0 0 * * *", "America/Santiago", ("2026-09-06T03:00:00Z", "2026-09-06T23:00:00Z"), &["2026-09-06T04:00:00Z"]);
    // Apia had no 2011-12-30.
    let december = ("2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z");
    check(
        "0 9 * * *",
        "Pacific/Apia",
        december,
        &["2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"],
    );
    check("0 9 30 12 *", "Pacific/Apia", december, &["2011-12-30T10:00:00Z"]);
}
