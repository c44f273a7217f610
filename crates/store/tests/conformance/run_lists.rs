//! Lists of runs and wakeups, narrowed to what a person looks for; and what things are called.

use serde_json::json;
use wakeful_domain::id::{RunId, WakeupId};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::run::RunStatus;
use wakeful_domain::wakeup::Source;
use wakeful_store::ops::names;
use wakeful_store::ops::run_lists::{self, RunFilter, StatusFilter};
use wakeful_store::ops::wakeups::{self, WakeupFilter};

use crate::world::{START, World, on_both, seconds};

impl World {
    async fn listed(&self, filter: RunFilter) -> Vec<RunId> {
        let filter = RunFilter { company: Some(self.company), ..filter };
        let page = self.db.read("list", filter, |tx, filter| Box::pin(run_lists::list(tx, filter, None, 200)));
        page.await.unwrap().items.iter().map(|run| run.id).collect()
    }

    async fn said(&self, text: &str) -> Vec<RunId> {
        self.listed(RunFilter { text: Some(text.into()), ..RunFilter::default() }).await
    }

    async fn requested(&self, filter: WakeupFilter) -> Vec<WakeupId> {
        let page = self.db.read("list", filter, |tx, filter| Box::pin(wakeups::list(tx, filter, None, 200)));
        page.await.unwrap().items.iter().map(|wakeup| wakeup.id).collect()
    }
}

#[test]
fn a_list_of_runs_is_narrowed_by_group_source_time_and_text() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let mut runs = Vec::new();
        let outcomes = [
            Outcome { summary: Some("Painted 100% of the_fence".into()), ..Outcome::succeeded() },
            Outcome::failed("agent_error", "No PAINT left"),
        ];
        for (outcome, source) in outcomes.into_iter().zip([Source::Manual, Source::Webhook]) {
            world.wake_with(ann, |wake| (wake.source, wake.max_attempts) = (source, Some(1))).await;
            let run = world.claim().await.run;
            world.finish(&run, outcome).await;
            runs.push(run.id);
            world.pass(seconds(7_200));
        }
        world.wake(ann).await;
        let live = world.claim().await.run.id;
        let (painted, failed) = (runs[0], runs[1]);

        let of = async |status| world.listed(RunFilter { status: Some(status), ..RunFilter::default() }).await;
        assert_eq!(of(StatusFilter::Live).await, [live]);
        assert_eq!(of(StatusFilter::Ended).await, [failed, painted]);
        assert_eq!(of(StatusFilter::One(RunStatus::Failed)).await, [failed]);
        let of = async |source| world.listed(RunFilter { source: Some(source), ..RunFilter::default() }).await;
        assert_eq!((of(Source::Webhook).await, of(Source::Manual).await), (vec![failed], vec![live, painted]));
        assert_eq!(of(Source::Timer).await, []);

        let between = async |since: u64, until: u64| {
            let (since, until) = (Some(START + seconds(since)), Some(START + seconds(until)));
            world.listed(RunFilter { since, until, ..RunFilter::default() }).await
        };
        assert_eq!(between(0, 7_200).await, [painted], "the end is not included");
        assert_eq!(between(1, 14_401).await, [live, failed]);
        assert_eq!(between(14_401, 99_999).await, []);

        assert_eq!(world.said("paint").await, [failed, painted]);
        assert_eq!(world.said("AGENT_error").await, [failed]);
        assert_eq!(world.said("100%").await, [painted]);
        assert_eq!(
            (world.said("100%_").await, world.said("e%fence").await, world.said("\\").await),
            (vec![], vec![], vec![])
        );
        let searched = world.db.read("searched", world.company, |tx, of| Box::pin(run_lists::searched(tx, *of)));
        assert_eq!(searched.await.unwrap(), (3, Some(painted.to_string())));
    });
}

#[test]
fn a_list_of_wakeups_is_narrowed_by_time() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(world.wake(ann).await);
            world.pass(seconds(10));
        }
        let company = Some(world.company);
        let between = async |since: u64, until: u64| {
            let (since, until) = (Some(START + seconds(since)), Some(START + seconds(until)));
            world.requested(WakeupFilter { company, since, until, ..WakeupFilter::default() }).await
        };
        assert_eq!(between(0, 10).await, made[..1]);
        assert_eq!(between(10, 21).await, [made[2], made[1]]);
    });
}

#[test]
fn names_are_told_of_what_the_company_has() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task("Paint").await;
        let wakeup = world.wake_about(ann, task).await;
        let run = world.claim().await.run.id;
        let target = json!({ "wake": { "agent": ann } });
        let schedule = world.draft_schedule("often", json!({ "every": "300d" }), target);
        let schedule = world.insert_schedule(schedule).await.unwrap().id;
        let other = world.company("other", 5).await;
        let stranger = world.agent_with("bob", |agent| agent.company = other).await;
        let key = world.get_task(task).await.key;
        let ids = [
            ann.to_string(),
            task.to_string(),
            wakeup.to_string(),
            run.to_string(),
            schedule.to_string(),
            stranger.to_string(),
            "agt_nothing".into(),
            "nothing".into(),
        ];
        let arguments = (world.company, ids.to_vec());
        let read = world.db.read("names", arguments, |tx, (company, ids)| Box::pin(names::of(tx, *company, ids)));
        let found = read.await.unwrap();
        let expected =
            ["ann".to_owned(), format!("{key} Paint"), format!("ann {key}"), format!("ann {key}"), "often".into()];
        assert_eq!(ids.iter().filter_map(|id| found.get(id)).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
        assert_eq!(found.len(), expected.len());
    });
}
