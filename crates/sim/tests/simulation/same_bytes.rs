//! What a replay rests on: the same seed writes the same bytes, wherever the store is.

use wakeful_sim::{Place, STEPS_DEFAULT, live, live_by_schedules};

fn trace(seed: u64, place: Place<'_>) -> String {
    match live(seed, STEPS_DEFAULT, place) {
        Ok(lived) => lived.trace,
        Err(failed) => panic!("{failed}"),
    }
}

#[test]
fn the_same_seed_writes_the_same_bytes_twice() {
    for seed in 1_000..1_010 {
        assert_eq!(trace(seed, Place::Memory), trace(seed, Place::Memory), "seed {seed}");
    }
    assert_ne!(trace(1_000, Place::Memory), trace(1_001, Place::Memory));
}

#[test]
fn a_store_in_a_file_writes_the_same_bytes_as_one_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 2_000..2_004 {
        let path = folder.path().join(format!("{seed}.db"));
        assert_eq!(trace(seed, Place::File(&path)), trace(seed, Place::Memory), "seed {seed}");
    }
}

#[test]
fn a_life_of_schedules_writes_the_same_bytes_twice() {
    for seed in 3_000..3_004 {
        let trace = || live_by_schedules(seed, 100, Place::Memory).map(|lived| lived.trace).unwrap();
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}
