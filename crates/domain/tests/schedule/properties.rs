//! What holds for every pattern, zone and time.

use std::time::Duration;

use proptest::prelude::*;
use wakeful_domain::schedule::trigger::{last, next_counting};
use wakeful_domain::schedule::{CatchUp, Cron, Jitter, Schedule, Trigger, Verdict, count, due, next, next_slot};
use wakeful_domain::time::Timestamp;

use super::due::schedule;
use super::{at, slots, zone};

const ZONES: &[&str] = &[
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Pacific/Apia",
];

fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let value = move || low..=high;
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => value().prop_map(|value| value.to_string()),
        2 => (value(), value()).prop_map(|(from, to)| format!("{from}-{to}")),
        2 => (1..=high).prop_map(|step| format!("*/{step}")),
        1 => (value(), value(), 1..=high).prop_map(|(one, from, step)| format!("{one},{from}/{step}")),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    let seconds = prop_oneof![4 => Just(String::new()), 1 => field(0, 59).prop_map(|field| field + " ")];
    let days = prop_oneof![4 => field(1, 31), 1 => Just("L".to_owned())];
    let weekdays = prop_oneof![4 => field(0, 6), 1 => Just("MON#2".to_owned()), 1 => Just("5L".to_owned())];
    (seconds, field(0, 59), field(0, 23), days, field(1, 12), weekdays).prop_map(
        |(second, minute, hour, day, month, weekday)| format!("{second}{minute} {hour} {day} {month} {weekday}"),
    )
}

fn trigger() -> impl Strategy<Value = Trigger> {
    prop_oneof![
        4 => pattern().prop_map(|pattern| Trigger::Cron { cron: pattern.parse::<Cron>().unwrap(), time_zone: None }),
        1 => (1_u64..200_000).prop_map(|seconds| Trigger::Every(Duration::from_secs(seconds))),
    ]
}

/// Seconds of 2015 to 2035, and microseconds into them.
fn instant() -> impl Strategy<Value = Timestamp> {
    (1_420_070_400_000_000_i64..2_082_758_400_000_000).prop_map(Timestamp::from_micros)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Never in the past, never further than the first: asked from anywhere before a slot and after
    /// the one before it, the answer is that slot.
    #[test]
    fn the_next_slot_is_the_first(trigger in trigger(), name in proptest::sample::select(ZONES), after in instant()) {
        let (zone, anchor) = (zone(name), at("2015-01-01T00:00:00Z"));
        let mut steps = 0;
        let Some(first) = next_counting(&trigger, &zone, anchor, after, &mut steps) else { return Ok(()) };
        prop_assert!(first > after && steps < 2_000);
        let halfway = Timestamp::from_micros(after.as_micros() + (first.as_micros() - after.as_micros()) / 2);
        for between in [first - Duration::from_micros(1), halfway] {
            prop_assert_eq!(next(&trigger, &zone, anchor, between), Some(first));
        }
        prop_assert_eq!(count(&trigger, &zone, anchor, after, first), 1);
    }

    /// Counting is walking; and a range in two parts is the range.
    #[test]
    fn counting_is_walking(trigger in trigger(), name in proptest::sample::select(ZONES), after in instant(), hours in 0_u64..200, share in 0.0..1.0) {
        let (zone, anchor) = (zone(name), Timestamp::from_millis(0));
        let length = Duration::from_secs(hours * 360);
        let until = after + length;
        let walked = slots(&trigger, &zone, after, until);
        prop_assert_eq!(count(&trigger, &zone, anchor, after, until), walked.len() as u64);
        let middle = after + length.mul_f64(share);
        let parts = count(&trigger, &zone, anchor, after, middle) + count(&trigger, &zone, anchor, middle, until);
        prop_assert_eq!(parts, walked.len() as u64);
        let (newest, all) = last(&trigger, &zone, anchor, (after, until), 5);
        prop_assert_eq!((newest.as_slice(), all), (&walked[walked.len().saturating_sub(5)..], walked.len() as u64));
    }

    /// However the ticks fall, every slot gets exactly one row, and nothing fires before its time.
    #[test]
    fn every_slot_has_exactly_one_row(
        trigger in trigger(),
        name in proptest::sample::select(ZONES),
        catch_up in proptest::sample::select(vec![CatchUp::Skip, CatchUp::Latest, CatchUp::All]),
        jitter in 0_u64..120,
        start in instant(),
        pauses in proptest::collection::vec(prop_oneof![0_u64..5, 0_u64..400, 0_u64..20_000], 1..12),
    ) {
        let zone = zone(name);
        let jitter = Jitter::up_to(Duration::from_secs(jitter));
        let mut schedule = Schedule { catch_up, jitter, created_at: start, ..schedule(trigger.clone()) };
        let offset = jitter.offset(schedule.id);
        let (mut now, mut rows, mut counted) = (start, Vec::new(), 0);
        for pause in pauses {
            now = now + Duration::from_secs(pause);
            let due = due(&schedule, &zone, schedule.settled_until(), now);
            let fires = due.slots.iter().filter_map(|slot| match slot.verdict {
                Verdict::Fire { at, .. } => Some((slot.slot, at)),
                Verdict::Missed(_) | Verdict::Skipped(_) => None,
            });
            for (slot, fires_at) in fires {
                prop_assert!(fires_at >= slot + offset);
            }
            counted += due.slots.iter().map(|slot| slot.count).sum::<u64>();
            schedule.last_slot = due.last_slot().or(schedule.last_slot);
            let settled = schedule.settled_until();
            if let Some(next) = next_slot(&schedule, &zone, settled) {
                prop_assert!(next.fires_at > now);
                let first = wakeful_domain::schedule::next(&trigger, &zone, schedule.anchor(), settled);
                prop_assert_eq!(first, Some(next.slot));
            }
            rows.extend(due.slots);
        }
        prop_assert!(rows.windows(2).all(|pair| pair[0].last < pair[1].slot));
        let expected = count(&trigger, &zone, schedule.anchor(), start, now - offset);
        prop_assert_eq!(counted, expected);
    }

    /// Whatever is written as a pattern is read or refused; what is read is read again.
    #[test]
    fn no_text_is_too_strange(text in "[0-9*,/#LW?@ A-Za-zé-]{0,40}") {
        if let Ok(cron) = text.parse::<Cron>() {
            prop_assert_eq!(cron.as_str().parse::<Cron>().unwrap(), cron);
        }
    }
}
