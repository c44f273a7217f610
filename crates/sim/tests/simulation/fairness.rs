//! Fairness: a company with very many waiting wakes has no claim to the host; another's single wake gets the next place.

use crate::stage::Stage;

const WAITING: usize = 100_000;
const AGENTS: usize = 10;
const TASKS: usize = 20;
const HOST: usize = 4;
const ROUNDS: usize = 20;

#[test]
fn a_hundred_thousand_waiting_wakes_of_one_company_cost_another_at_most_one_place() {
    let mut stage = Stage::new();
    let large = stage.company("large", 50);
    let small = stage.company("small", 5);
    let agents: Vec<_> = (0..AGENTS).map(|number| stage.agent(large, &format!("worker-{number}"), 20)).collect();
    let tasks: Vec<_> = (0..TASKS).map(|_| stage.task(large)).collect();
    let single = stage.agent(small, "single", 1);
    for place in 0..WAITING / 1_000 {
        let (agent, task) = (agents[place % AGENTS], tasks[place % TASKS]);
        let wakes = (0..1_000).map(|_| stage.draft(agent, Some(task), 100)).collect();
        stage.accept(wakes);
    }
    let mut live = stage.dispatch(HOST);
    assert_eq!(live.len(), HOST, "the large company may have all places while nobody else wants one");
    for round in 0..ROUNDS {
        let wake = stage.draft(single, None, 0);
        let wakeup = wake.id;
        stage.accept(vec![wake]);
        assert!(stage.dispatch(0).is_empty());
        let ended = live.remove(0);
        stage.succeed(&ended.run);
        let started = stage.dispatch(1);
        assert_eq!(started.len(), 1);
        let got: Vec<_> = started[0].wakeups.iter().map(|wakeup| wakeup.id).collect();
        assert_eq!(got, [wakeup], "round {round}: the next place belongs to who has none");
        stage.succeed(&started[0].run);
        live.extend(stage.dispatch(1));
        assert_eq!(live.len(), HOST, "round {round}");
    }
    stage.assert_sound();
}
