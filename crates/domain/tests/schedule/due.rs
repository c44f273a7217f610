//! What is due: catching up, staleness, active hours, limits; no slot twice and none left out.

use std::time::Duration;

use wakeful_domain::active_hours::{ActiveHours, ClockTime};
use wakeful_domain::id::{Id, IdSource};
use wakeful_domain::schedule::due::{CATCH_UP_MAX, CATCH_UP_SPREAD, CATCH_UP_STAGGER, SLOTS_MAX};
use wakeful_domain::schedule::target::Target;
use wakeful_domain::schedule::{
    Action, CatchUp, Due, Jitter, MissedReason, Next, Overlap, OverlapVerdict, Schedule, SkippedReason, Standing,
    State, Trigger, Verdict, due, next_slot, plan,
};
use wakeful_domain::time::Timestamp;

use super::{at, cron, zone};

pub const START: &str = "2026-11-21T00:00:00Z";

pub fn schedule(trigger: Trigger) -> Schedule {
    let created_at = at(START);
    let mut ids = IdSource::new(3);
    Schedule {
        id: ids.next(created_at),
        company: ids.next(created_at),
        name: "morning".into(),
        trigger,
        target: Target::Action(Action { name: "daily-summary".into(), agent: None, config: None }),
        gate: None,
        active_hours: None,
        jitter: Jitter::NONE,
        overlap: Overlap::default(),
        catch_up: CatchUp::default(),
        stale_after: None,
        starts_at: None,
        ends_at: None,
        max_fires: None,
        fires: 0,
        standing: Standing::default(),
        state: State::Active,
        next_slot_at: None,
        last_slot: None,
        created_at,
        updated_at: created_at,
    }
}

fn every(seconds: u64) -> Schedule {
    schedule(Trigger::Every(Duration::from_secs(seconds)))
}

fn after(seconds: u64) -> Timestamp {
    at(START) + Duration::from_secs(seconds)
}

fn come(schedule: &Schedule, now: Timestamp) -> Due {
    due(schedule, &zone("UTC"), schedule.settled_until(), now)
}

/// What comes after that, once it is noted.
fn next_after(schedule: &Schedule, now: Timestamp) -> Option<Next> {
    let due = come(schedule, now);
    let last_slot = due.last_slot().or(schedule.last_slot);
    let noted = Schedule { last_slot, fires: schedule.fires + due.fires(), ..schedule.clone() };
    next_slot(&noted, &zone("UTC"), noted.settled_until())
}

/// The verdicts, each as one letter: fire, late, missed, skipped.
fn letters(due: &Due) -> String {
    let letter = |verdict: Verdict| match verdict {
        Verdict::Fire { is_late: false, .. } => 'f',
        Verdict::Fire { is_late: true, .. } => 'l',
        Verdict::Missed(MissedReason::Stale) => 's',
        Verdict::Missed(MissedReason::OverCap) => 'o',
        Verdict::Missed(_) => 'm',
        Verdict::Skipped(_) => '-',
    };
    due.slots.iter().map(|slot| letter(slot.verdict)).collect()
}

#[test]
fn a_slot_fires_when_it_comes_and_the_next_is_known() {
    let five_minutes = every(300);
    let before = come(&five_minutes, after(299));
    assert!(before.slots.is_empty());
    assert_eq!(next_after(&five_minutes, after(299)).unwrap().slot, after(300));
    let now = come(&five_minutes, after(300));
    assert_eq!(now.slots[0].verdict, Verdict::Fire { at: after(300), is_late: false });
    assert_eq!(
        (now.last_slot(), next_after(&five_minutes, after(300)).unwrap().slot, now.fires()),
        (Some(after(300)), after(600), 1)
    );
    // The same again has nothing to add; nor has a clock that goes back.
    let noted = Schedule { last_slot: Some(after(300)), ..five_minutes };
    for now in [after(300), after(10)] {
        let again = come(&noted, now);
        assert_eq!((again.slots.len(), next_after(&noted, now).unwrap().slot), (0, after(600)));
    }
}

#[test]
fn a_tick_that_is_a_little_late_loses_nothing() {
    let each_second = every(1);
    assert_eq!(letters(&come(&each_second, after(4))), "ffff");
    for policy in [CatchUp::Skip, CatchUp::Latest, CatchUp::All] {
        let schedule = Schedule { catch_up: policy, ..every(1) };
        assert_eq!(letters(&come(&schedule, after(11))), "f".repeat(11));
    }
    // Later than that is a downtime: one of them fires for all.
    assert_eq!(letters(&come(&each_second, after(12))), format!("{}f", "m".repeat(11)));
}

#[test]
fn eight_hours_of_downtime_under_each_policy() {
    let with = |catch_up| Schedule { catch_up, ..every(1_800) };
    let now = after(8 * 3_600 + 60);
    let skipped = come(&with(CatchUp::Skip), now);
    assert_eq!(letters(&skipped), "m".repeat(16));
    assert_eq!(skipped.slots[0].verdict, Verdict::Missed(MissedReason::Downtime));
    assert_eq!(letters(&come(&with(CatchUp::Latest), now)), format!("{}l", "m".repeat(15)));
    let all = come(&with(CatchUp::All), now);
    assert_eq!(letters(&all), "l".repeat(16));
    // They begin soon, and not at once.
    let times: Vec<Timestamp> = all
        .slots
        .iter()
        .filter_map(|slot| match slot.verdict {
            Verdict::Fire { at, .. } => Some(at),
            Verdict::Missed(_) | Verdict::Skipped(_) => None,
        })
        .collect();
    assert!(times[0] >= now && times[0] < now + CATCH_UP_SPREAD);
    assert!(times.windows(2).all(|pair| pair[0] + CATCH_UP_STAGGER == pair[1]));
    for policy in [CatchUp::Skip, CatchUp::Latest, CatchUp::All] {
        assert_eq!(next_after(&with(policy), now).unwrap().slot, after(8 * 3_600 + 1_800));
    }
    // A slot that has just come fires under `skip` too.
    assert_eq!(letters(&come(&with(CatchUp::Skip), after(8 * 3_600 + 1))), format!("{}f", "m".repeat(15)));
}

#[test]
fn all_has_a_cap_and_the_newest_count() {
    let minutely = Schedule { catch_up: CatchUp::All, ..every(60) };
    let due = come(&minutely, after(100 * 60 + 30));
    assert_eq!(letters(&due), format!("{}{}", "o".repeat(75), "l".repeat(CATCH_UP_MAX)));
}

#[test]
fn a_stale_slot_is_missed_whatever_the_policy() {
    for (policy, expected) in [(CatchUp::Latest, "ssssssml"), (CatchUp::All, "ssssssll"), (CatchUp::Skip, "ssssssmm")] {
        let schedule = Schedule { catch_up: policy, stale_after: Some(Duration::from_secs(3_600)), ..every(1_800) };
        assert_eq!(letters(&come(&schedule, after(4 * 3_600 + 60))), expected);
    }
    let stale = Schedule { stale_after: Some(Duration::from_secs(60)), ..every(1_800) };
    assert_eq!(letters(&come(&stale, after(4 * 3_600 + 61))), "s".repeat(8));
}

#[test]
fn a_long_downtime_leaves_no_hole_and_no_mountain_of_rows() {
    let year = 365 * 86_400;
    for trigger in [Trigger::Every(Duration::from_secs(1)), cron("* * * * * *"), cron("* * 0-22 * * *")] {
        let (schedule, paris) = (schedule(trigger.clone()), zone("Europe/Paris"));
        let due = due(&schedule, &paris, schedule.settled_until(), after(year));
        assert_eq!(due.slots.len(), SLOTS_MAX + 1);
        assert_eq!(letters(&due), format!("{}f", "m".repeat(SLOTS_MAX)));
        let counted: u64 = due.slots.iter().map(|slot| slot.count).sum();
        let expected = wakeful_domain::schedule::count(&trigger, &paris, at(START), at(START), after(year));
        assert_eq!(counted, expected);
        assert_eq!(due.slots[0].slot, after(1));
        let follows = wakeful_domain::schedule::next(&trigger, &paris, at(START), due.slots[0].last);
        assert_eq!(follows, Some(due.slots[1].slot));
        assert!(due.last_slot().unwrap() <= after(year));
    }
}

#[test]
fn outside_of_its_active_hours_a_slot_is_skipped_and_nothing_is_caught_up_with() {
    let time = |text: &str| ClockTime::try_from(text.to_owned()).unwrap();
    let hours = ActiveHours { from: time("09:00"), to: time("18:00"), days: None };
    let hourly = Schedule { active_hours: Some(hours), ..schedule(cron("0 * * * *")) };
    let night = come(&hourly, after(5 * 3_600));
    assert_eq!(letters(&night), "-".repeat(5));
    assert_eq!(night.slots[0].verdict, Verdict::Skipped(SkippedReason::OutsideActiveHours));
    // The newest within the hours fires, at night not before they begin again.
    let late = come(&hourly, after(20 * 3_600 + 60));
    assert_eq!(letters(&late), "--------mmmmmmmml---");
    let Verdict::Fire { at: fires_at, .. } = late.slots[16].verdict else { panic!("{late:?}") };
    assert!(fires_at >= at("2026-11-22T09:00:00Z") && fires_at < at("2026-11-22T09:00:30Z"));
    let planned = plan(&hourly, &zone("UTC"), (at(START), after(86_400)), 100);
    assert_eq!(planned.iter().filter(|(_, skipped)| skipped.is_none()).count(), 9);
}

#[test]
fn the_beginning_the_end_and_the_number_are_kept() {
    let bounded = Schedule { starts_at: Some(after(3_600)), ends_at: Some(after(7_200)), ..every(600) };
    assert_eq!(next_slot(&bounded, &zone("UTC"), after(0)).unwrap().slot, after(3_600));
    let all_of_it = Schedule { catch_up: CatchUp::All, ..bounded.clone() };
    let all = come(&all_of_it, after(86_400));
    assert_eq!((letters(&all), next_after(&all_of_it, after(86_400))), ("l".repeat(7), None));
    assert_eq!(next_after(&bounded, after(7_000)).unwrap().slot, after(7_200));
    let thrice = Schedule { max_fires: Some(5), fires: 2, catch_up: CatchUp::All, ..every(600) };
    let due = come(&thrice, after(86_400));
    assert_eq!((due.fires(), next_after(&thrice, after(86_400))), (3, None));
    let done = Schedule { max_fires: Some(5), fires: 5, ..every(600) };
    assert_eq!(come(&done, after(86_400)), Due::default());
    let once = Schedule { max_fires: Some(1), ..every(600) };
    assert_eq!(next_after(&once, after(600)), None);
    assert_eq!(
        plan(&Schedule { max_fires: Some(5), ..every(600) }, &zone("UTC"), (after(0), after(86_400)), 100).len(),
        5
    );
}

#[test]
fn what_is_not_active_has_no_slots() {
    for state in [State::Paused { note: None }, State::Disabled { reason: "ten failures".into() }] {
        let schedule = Schedule { state, ..every(600) };
        assert_eq!(come(&schedule, after(86_400)), Due::default());
        assert_eq!(next_slot(&schedule, &zone("UTC"), after(0)), None);
    }
}

#[test]
fn jitter_moves_the_firing_and_not_the_slot() {
    let schedule = Schedule { jitter: Jitter::up_to(Duration::from_secs(60)), ..every(300) };
    let offset = schedule.jitter.offset(schedule.id);
    assert!(!offset.is_zero());
    let next = next_slot(&schedule, &zone("UTC"), after(0)).unwrap();
    assert_eq!((next.slot, next.fires_at), (after(300), after(300) + offset));
    // Between the nominal time and the firing the slot is still to come.
    let between = come(&schedule, next.fires_at - Duration::from_micros(1));
    assert_eq!((between.slots.len(), next_after(&schedule, next.fires_at - Duration::from_micros(1))), (0, Some(next)));
    let due = come(&schedule, next.fires_at);
    assert_eq!(due.slots[0].slot, after(300));
    assert_eq!(due.slots[0].verdict, Verdict::Fire { at: next.fires_at, is_late: false });
}

#[test]
fn ten_thousand_schedules_catch_up_evenly() {
    let mut seconds = [0; 30];
    let mut ids = IdSource::new(9);
    let now = after(8 * 3_600 + 60);
    for _ in 0..10_000 {
        let schedule = Schedule { id: ids.next(now), ..every(1_800) };
        let Verdict::Fire { at, .. } = come(&schedule, now).slots.last().unwrap().verdict else { panic!() };
        seconds[at.since(now).as_secs() as usize] += 1;
    }
    assert!(seconds.iter().all(|count| (230..450).contains(count)), "{seconds:?}");
}

#[test]
fn overlaps_are_decided_by_what_is_live() {
    for (_, policy) in Overlap::ALL {
        assert_eq!(policy.verdict(false), OverlapVerdict::Fire);
    }
    assert_eq!(Overlap::default().verdict(true), OverlapVerdict::Coalesce);
    assert_eq!(Overlap::CancelRunning.verdict(true), OverlapVerdict::CancelAndFire);
}

#[test]
fn schedules_are_checked() {
    let field = |schedule: Schedule| schedule.problem().map(|(field, _)| field);
    assert_eq!(field(every(60)), None);
    assert_eq!(field(Schedule { name: " ".into(), ..every(60) }).as_deref(), Some("name"));
    assert_eq!(field(Schedule { max_fires: Some(0), ..every(60) }).as_deref(), Some("max_fires"));
    let backwards = Schedule { starts_at: Some(after(9)), ends_at: Some(after(8)), ..every(60) };
    assert_eq!(field(backwards).as_deref(), Some("ends_at"));
    let state: State = serde_json::from_str(r#"{"state": "paused", "note": "holiday"}"#).unwrap();
    assert_eq!((state.as_str(), state.note()), ("paused", Some("holiday")));
    assert_eq!(State::from_parts("paused", Some("holiday".into())), Some(state));
    let id: Id<wakeful_domain::id::kind::Schedule> = every(1).id;
    assert!(id.to_string().starts_with("sch_"));
}
