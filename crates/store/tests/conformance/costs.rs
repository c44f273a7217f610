//! What a console shows of a stretch of time: what runs have cost, what was going on; and what a few letters mean.

use serde_json::json;
use wakeful_domain::id::AgentId;
use wakeful_domain::outcome::Outcome;
use wakeful_domain::run::Run;
use wakeful_domain::schedule::{CatchUp, Schedule, SlotStatus};
use wakeful_domain::usage::Usage;
use wakeful_store::ops::costs::{self, Group, Sums, Window};
use wakeful_store::ops::search::{self, Hit};
use wakeful_store::ops::timeline::{self, Timeline};

use crate::world::{START, World, on_both, seconds};

impl World {
    fn window(&self, from: u64, to: u64) -> Window {
        Window { company: self.company, from: START + seconds(from), to: START + seconds(to) }
    }

    async fn total(&self, of: Window) -> Sums {
        let read = self.db.read("total", of, |tx, of| Box::pin(costs::grouped(tx, of, Group::All)));
        read.await.unwrap().into_iter().map(|(_, sums)| sums).next().unwrap_or_default()
    }

    async fn grouped(&self, of: Window, by: Group) -> Vec<(String, i64)> {
        let read = self.db.read("grouped", (of, by), |tx, (of, by)| Box::pin(costs::grouped(tx, of, *by)));
        read.await.unwrap().into_iter().map(|(key, sums)| (key, sums.cost_micros)).collect()
    }

    /// The run of what waits, ended after a while with what it has cost.
    async fn spend(&self, cost_micros: i64) -> Run {
        let run = self.claim().await.run;
        self.pass(seconds(10));
        let usage = Usage { input_tokens: 5, output_tokens: 3, cache_read_tokens: 2, cache_write_tokens: 1 };
        let outcome = Outcome { usage: Some(usage), cost_micros: Some(cost_micros), ..Outcome::succeeded() };
        self.finish(&run, outcome).await
    }

    async fn timeline(&self, from: u64, to: u64) -> Timeline {
        let arguments = (self.company, START + seconds(from), START + seconds(to));
        let read = self
            .db
            .read("timeline", arguments, |tx, (company, from, to)| Box::pin(timeline::of(tx, *company, *from, *to)));
        read.await.unwrap()
    }

    async fn sought(&self, letters: &str) -> Vec<Hit> {
        let arguments = (self.company, letters.to_owned());
        let read = self.db.read("search", arguments, |tx, (company, letters)| {
            Box::pin(async move {
                match search::by_id(tx, *company, letters).await? {
                    Some(hit) => Ok(vec![hit]),
                    None => search::by_name(tx, *company, letters).await,
                }
            })
        });
        read.await.unwrap()
    }

    async fn hourly(&self, name: &str, agent: AgentId) -> String {
        let target = json!({ "wake": { "agent": agent } });
        let draft = self.draft_schedule(name, json!({ "every": "1h" }), target);
        let draft = Schedule { catch_up: CatchUp::Skip, ..draft };
        self.insert_schedule(draft).await.unwrap().id.to_string()
    }
}

#[test]
fn costs_are_those_of_runs_that_ended_in_the_window_by_what_they_fall_under() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task("t").await;
        let schedule = world.hourly("hourly", bob).await;
        world.wake_about(ann, task).await;
        world.spend(700).await;
        world.wake(bob).await;
        world.spend(200).await;
        world.set_time(START + seconds(3_600));
        assert_eq!(world.fire().await.fires, 1);
        world.spend(500).await;
        world.wake(ann).await;
        let live = world.claim().await.run;

        let all = world.window(0, 9_999);
        let sums = world.total(all).await;
        assert_eq!((sums.runs, sums.cost_micros), (3, 1_400), "a live run counts when it ends");
        assert_eq!((sums.input_tokens, sums.output_tokens), (15, 9));
        assert_eq!((sums.cache_read_tokens, sums.cache_write_tokens), (6, 3));
        assert_eq!(world.total(world.window(11, 20)).await.runs, 0, "the end is not included");
        assert_eq!(world.total(world.window(10, 20)).await.cost_micros, 700);
        let by = |agent: AgentId, cost| (agent.to_string(), cost);
        // As expensive as each other: by tokens then.
        assert_eq!(world.grouped(all, Group::Agent).await, [by(bob, 700), by(ann, 700)]);
        assert_eq!(world.grouped(world.window(15, 9_999), Group::Agent).await, [by(bob, 700)]);
        assert_eq!(world.grouped(all, Group::Task).await, [(String::new(), 700), (task.to_string(), 700)]);
        assert_eq!(world.grouped(all, Group::Schedule).await, [(String::new(), 900), (schedule.clone(), 500)]);
        world.succeed(&live).await;
        assert_eq!(world.total(all).await.runs, 4);
    });
}

#[test]
fn a_timeline_has_what_overlaps_the_window_what_was_requested_in_it_and_what_came_of_no_slot() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let early = world.wake(ann).await;
        let long = world.claim().await.run.id;
        world.pass(seconds(100));
        let inside = world.wake(bob).await;
        let short = world.spend(1).await.id;
        let waits = world.wake(ann).await;
        world.pass(seconds(890));
        let late = world.wake(bob).await;
        let after = world.spend(1).await.id;

        let ids = |timeline: &Timeline| timeline.runs.iter().map(|run| run.id).collect::<Vec<_>>();
        let marks = |timeline: &Timeline| timeline.wakeups.iter().map(|wakeup| wakeup.id).collect::<Vec<_>>();
        let found = world.timeline(90, 900).await;
        assert_eq!((ids(&found), marks(&found)), (vec![short, long], vec![waits, inside]));
        assert_eq!(found.runs[0].finished_at, Some(START + seconds(110)));
        assert_eq!((found.wakeups[1].run, found.wakeups[1].claimed_at), (Some(short), Some(START + seconds(100))));
        assert!(!found.is_truncated && found.missed.is_empty());
        let found = world.timeline(120, 900).await;
        assert_eq!((ids(&found), marks(&found)), (vec![long], vec![waits]), "what waits is there wherever it began");
        let found = world.timeline(0, 2_000).await;
        assert_eq!((ids(&found), marks(&found)), (vec![after, short, long], vec![late, waits, inside, early]));

        world.hourly("hourly", bob).await;
        world.set_time(world.now() + seconds(4 * 3_600));
        world.fire().await;
        let found = world.timeline(0, 20_000).await;
        let missed: Vec<_> = found.missed.iter().map(|slot| (slot.name.as_str(), slot.status)).collect();
        assert_eq!(missed, [("hourly", SlotStatus::Missed); 3]);
        assert!(found.missed.is_sorted_by(|one, two| one.slot_at > two.slot_at), "newest first");
    });
}

#[test]
fn a_few_letters_find_names_that_begin_with_them_before_those_that_hold_them() {
    on_both(async |world| {
        let painter = world.agent_with("painter", |agent| agent.title = Some("Fence artist".into())).await;
        let repaint = world.agent("repaint").await;
        let task = world.task("Paint the fence").await;
        let key = world.get_task(task).await.key;
        let schedule = world.hourly("painting", painter).await;
        let other = world.company("other", 5).await;
        world.agent_with("paint-of-others", |agent| agent.company = other).await;
        let ids = async |letters: &str| world.sought(letters).await.into_iter().map(|hit| hit.id).collect::<Vec<_>>();
        assert_eq!(ids("PAINT").await, [painter.to_string(), schedule, task.to_string(), repaint.to_string()]);
        assert_eq!(ids("fence").await, [painter.to_string(), task.to_string()]);
        assert_eq!(ids(&key.to_lowercase()).await[0], task.to_string());
        assert_eq!(ids("%").await, [""; 0]);
        world.wake(painter).await;
        let run = world.claim().await.run.id.to_string();
        let expected = Hit { kind: "run", id: run.clone(), name: "painter".into(), detail: Some("starting".into()) };
        assert_eq!(world.sought(&run).await, [expected]);
        let found = world.sought(&painter.to_string()).await;
        assert_eq!((found[0].kind, found[0].name.as_str()), ("agent", "painter"));
        assert_eq!(ids("run_00000000000000000000000000").await, [""; 0]);
    });
}
