//! Five hundred lives, in four tests so that all cores have something to do. More: `cargo xtask sim --seeds 20000`.

use wakeful_sim::{Place, STEPS_DEFAULT, live, live_by_schedules};

fn check(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        if let Err(failed) = live(seed, STEPS_DEFAULT, Place::Memory) {
            panic!("{failed}");
        }
    }
}

#[test]
fn the_first_quarter_of_the_seeds_keeps_every_invariant() {
    check(0..125);
}

#[test]
fn the_second_quarter_of_the_seeds_keeps_every_invariant() {
    check(125..250);
}

#[test]
fn the_third_quarter_of_the_seeds_keeps_every_invariant() {
    check(250..375);
}

#[test]
fn the_fourth_quarter_of_the_seeds_keeps_every_invariant() {
    check(375..500);
}

/// Lives of schedules: more steps, since a change of clocks or a long downtime is rare.
fn check_schedules(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        match live_by_schedules(seed, 300, Place::Memory) {
            Ok(lived) => assert!(lived.crashes > 0, "seed {seed}"),
            Err(failed) => panic!("{failed}"),
        }
    }
}

#[test]
fn every_slot_has_its_row_once_over_crashes_and_clocks_that_are_set() {
    check_schedules(0..20);
}

#[test]
fn no_slot_fires_twice_whoever_crashes() {
    check_schedules(20..40);
}
