//! Five hundred lives, in four tests so that all cores have something to do. More: `cargo xtask sim --seeds 20000`.

use wakeful_sim::{Place, STEPS_DEFAULT, live};

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
