//! Starvation: urgent wakes keep arriving faster than they can be worked off; one that nobody hurries runs all the same.

use std::time::Duration;

use crate::stage::Stage;

const URGENT: usize = 10_000;
const LANES: usize = 10;
/// A run takes longer than it takes for its lane to fill again.
const RUN: Duration = Duration::from_secs(30);
/// In an hour and a quarter all of them have come.
const BETWEEN: Duration = Duration::from_millis(450);

#[test]
fn ten_thousand_urgent_wakes_do_not_keep_one_of_priority_0_from_its_hour() {
    let mut stage = Stage::new();
    let company = stage.company("busy", 5);
    let agent = stage.agent(company, "worker", 1);
    let tasks: Vec<_> = (0..LANES).map(|_| stage.task(company)).collect();
    let since = stage.now;
    let patient = stage.draft(agent, None, 0);
    let patient_id = patient.id;
    stage.accept(vec![patient]);
    let (mut arrived, mut passed_it, mut live, mut started_after) = (0, 0, None, None);
    while arrived < URGENT {
        let batch: Vec<_> = (0..LANES).map(|lane| stage.draft(agent, Some(tasks[lane]), 80)).collect();
        arrived += batch.len();
        stage.accept(batch);
        if let Some((run, until)) = live.take() {
            if until <= stage.now {
                stage.succeed(&run);
            } else {
                live = Some((run, until));
            }
        }
        for claimed in stage.dispatch(1) {
            let is_it = claimed.wakeups.iter().any(|wakeup| wakeup.id == patient_id);
            if is_it {
                started_after = Some(stage.now.since(since));
            } else if started_after.is_none() {
                passed_it += claimed.wakeups.len();
            }
            live = Some((claimed.run, stage.now + RUN));
        }
        stage.pass(BETWEEN * LANES as u32);
    }
    stage.assert_sound();
    let waited = started_after.expect("it has never run");
    assert!(waited <= Duration::from_secs(3_600), "it waited for {waited:?}");
    assert!(passed_it > 5_000, "only {passed_it} urgent ones went before it: nothing was in its way");
}
