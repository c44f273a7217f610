//! Subscriptions: what happens wakes whoever asked for it, once each, whatever way it ends.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::{AgentId, SubscriptionId, TaskId};
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::Run;
use wakeful_domain::subscription::{EndReason, EventName, Filter, PER_AGENT_MAX, Source, Subscription};
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_domain::wakeup::{Source as WakeSource, Wakeup, WakeupStatus};
use wakeful_store::Refusal;
use wakeful_store::ops::dispatch::dispatch;
use wakeful_store::ops::request_keys::RequestKey;
use wakeful_store::ops::subscriptions::declare::{Declaration, Declared, declare};
use wakeful_store::ops::{agents, subscriptions};

use crate::wishes::{cancelled, timed_out};
use crate::world::{World, conflict, on_both, seconds};

pub fn filter(value: Json) -> Filter {
    serde_json::from_value(value).unwrap()
}

impl World {
    /// A subscription of the agent's own lane to what a source is usually waited for.
    pub fn draft_subscription(&self, agent: AgentId, source: Source) -> Subscription {
        Subscription {
            id: self.id(),
            company: self.company,
            agent,
            task: None,
            on: vec![source.default_event()],
            source,
            filter: Filter::default(),
            once: false,
            debounce: None,
            timeout: None,
            include_result: true,
            payload: Map::new(),
            key: None,
            created_by: Actor::user("tester"),
            by_run: None,
            matches: 0,
            wakeups: 0,
            last_match_at: None,
            window: None,
            timeout_at: None,
            created_at: self.now(),
            updated_at: self.now(),
            ended_at: None,
            end_reason: None,
        }
    }

    pub async fn try_subscribe(&self, subscription: Subscription) -> Result<Declared, Refusal> {
        let declaration = Declaration { subscription, by_run: None, request_key: None };
        self.db.write("subscribe", declaration, |tx, declaration| Box::pin(declare(tx, declaration))).await
    }

    /// A subscription after a change to the draft.
    pub async fn subscribe_with(
        &self,
        agent: AgentId,
        source: Source,
        change: impl FnOnce(&mut Subscription),
    ) -> Subscription {
        let mut subscription = self.draft_subscription(agent, source);
        change(&mut subscription);
        self.try_subscribe(subscription).await.unwrap().subscription
    }

    pub async fn subscribe(&self, agent: AgentId, source: Source) -> Subscription {
        self.subscribe_with(agent, source, |_| {}).await
    }

    pub async fn subscription(&self, id: SubscriptionId) -> Subscription {
        self.db.read("subscription", id, |tx, id| Box::pin(subscriptions::get(tx, *id))).await.unwrap()
    }

    /// What a subscription has woken its agent with, oldest first.
    pub async fn woken(&self, agent: AgentId) -> Vec<Wakeup> {
        let mut told = self.wakeups_of(agent).await;
        told.retain(|wakeup| wakeup.source == WakeSource::Subscription);
        told
    }

    /// What is due, and nothing claimed.
    pub async fn dispatch_at_rest(&self) -> usize {
        let looked = self.db.write("dispatch", (self.now(), Vec::new()), |tx, told| Box::pin(dispatch(tx, told))).await;
        looked.unwrap().woken
    }

    /// A live run of an agent, on a task if there is one.
    pub async fn run_of(&self, agent: AgentId, task: Option<TaskId>) -> Run {
        self.wake_with(agent, |wake| wake.task = task).await;
        self.claim().await.run
    }

    /// A task below another.
    pub async fn child_task(&self, parent: TaskId, title: &str) -> TaskId {
        self.insert_task(Task { parent: Some(parent), ..self.draft_task(title) }).await
    }
}

fn events(told: &[Wakeup]) -> Vec<&str> {
    told.iter().map(|wakeup| wakeup.payload["event"].as_str().unwrap_or("none")).collect()
}

#[test]
fn the_end_of_a_run_wakes_whoever_waits_for_it() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let parent = world.task("parent").await;
        let (task, other) = (world.child_task(parent, "child").await, world.child_task(parent, "other").await);
        let run = world.run_of(bob, Some(task)).await;
        let waits = world
            .subscribe_with(ann, Source::Run(run.id), |wanted| {
                wanted.payload = json!({ "note": "mine" }).as_object().cloned().unwrap();
            })
            .await;
        let outcome =
            Outcome { summary: Some("all done".into()), result: Some(json!({ "n": 1 })), ..Outcome::succeeded() };
        world.finish(&run, outcome).await;
        let [told] = &world.woken(ann).await[..] else { panic!("one wakeup") };
        assert_eq!((told.task, told.priority, told.status), (None, 65, WakeupStatus::Pending));
        assert_eq!(told.trigger_detail.as_deref(), Some("run.finished"));
        assert_eq!(told.reason.as_deref(), Some(&*format!("{} of T-2 (bob) succeeded: all done", run.id)));
        assert_eq!(told.cause_id.as_deref(), Some(&*run.id.to_string()));
        assert_eq!(told.depth, 1, "it goes on in the chain of the run");
        let payload = &told.payload;
        assert_eq!((&payload["note"], &payload["timeout"]), (&json!("mine"), &json!(false)));
        assert_eq!(payload["source"], json!({ "run": run.id }));
        assert_eq!(payload["subscription"]["id"], json!(waits.id));
        let child = &payload["finished_child"];
        assert_eq!((&child["task"], &child["run"], &child["agent"]), (&json!(task), &json!(run.id), &json!(bob)));
        assert_eq!((&child["status"], &child["summary"]), (&json!("succeeded"), &json!("all done")));
        assert_eq!((&child["result"], &child["error"]), (&json!({ "n": 1 }), &Json::Null));
        assert_eq!(child["usage"]["input_tokens"], 0);
        assert_eq!(payload["siblings"][0]["task"], json!(other));
        assert_eq!(payload["siblings_total"], 1);
        let waits = world.subscription(waits.id).await;
        assert_eq!((waits.end_reason, waits.matches), (Some(EndReason::SourceOver), 1), "a run ends once");
    });
}

#[test]
fn every_way_in_which_a_run_can_end_is_told() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let ends = [
            ("succeeded", Outcome::succeeded()),
            ("failed", Outcome::failed("killed", "killed by signal 9")),
            ("cancelled", cancelled()),
            ("timed_out", timed_out()),
            ("lost", Outcome::ended(End::Lost, "lost", "its process is gone")),
        ];
        for (status, outcome) in ends {
            let run = world.run_of(bob, None).await;
            world.subscribe(ann, Source::Run(run.id)).await;
            world.finish(&run, outcome).await;
            let told = world.woken(ann).await;
            let last = told.last().unwrap();
            assert_eq!(last.payload["finished_child"]["status"], status);
            assert_eq!(last.payload["finished_child"]["error"].is_null(), status == "succeeded");
            world.pass(seconds(4 * 3_600));
            world.agent_event(bob, AgentEvent::Pause).await.unwrap();
            world.agent_event(bob, AgentEvent::Resume).await.unwrap();
            while let Some(claimed) = world.claim_any().await {
                world.succeed(&claimed.run).await;
            }
        }
        assert_eq!(world.woken(ann).await.len(), 5);
    });
}

#[test]
fn only_what_was_asked_for_and_is_let_through_is_told() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let of = |on: EventName, let_through: Json| {
            move |wanted: &mut Subscription| {
                wanted.on = vec![on];
                wanted.filter = filter(let_through);
            }
        };
        let agent = Source::Agent(bob);
        world.subscribe_with(ann, agent.clone(), of(EventName::RunFailed, json!({}))).await;
        world.subscribe_with(ann, agent.clone(), of(EventName::RunFinished, json!({ "status": "succeeded" }))).await;
        world
            .subscribe_with(
                ann,
                agent.clone(),
                of(EventName::RunFinished, json!({ "task": null, "status": ["failed", "lost"] })),
            )
            .await;
        world
            .subscribe_with(
                ann,
                agent.clone(),
                of(EventName::RunFinished, json!({ "retried": false, "error_code": "nope" })),
            )
            .await;
        let run = world.run_of(bob, None).await;
        world.succeed(&run).await;
        assert_eq!(events(&world.woken(ann).await), ["run.finished"]);
        world.pass(seconds(1));
        let run = world.run_of(bob, None).await;
        world.fail(&run, "command_not_found").await;
        let told = world.woken(ann).await;
        let mut names = events(&told)[1..].to_vec();
        names.sort_unstable();
        assert_eq!(names, ["run.failed", "run.finished"]);
        assert_eq!(told[1].payload["data"]["retried"], false);
    });
}

#[test]
fn results_are_left_out_where_they_are_not_wanted() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let run = world.run_of(bob, None).await;
        world.subscribe_with(ann, Source::Run(run.id), |wanted| wanted.include_result = false).await;
        world.subscribe(ann, Source::Agent(bob)).await;
        let result = json!("x".repeat(100_000));
        world.finish(&run, Outcome { summary: Some("s".into()), result: Some(result), ..Outcome::succeeded() }).await;
        let told = world.woken(ann).await;
        let by_source = |kind: &str| told.iter().find(|one| one.payload["source"].get(kind).is_some()).unwrap();
        let without = &by_source("run").payload["finished_child"];
        assert!(without.get("result").is_none() && without.get("summary").is_none(), "{without}");
        let with = &by_source("agent").payload["finished_child"];
        assert_eq!((&with["result"], &with["result_omitted_bytes"]), (&Json::Null, &json!(100_002)), "it is bounded");
    });
}

#[test]
fn a_task_tells_its_status_its_comments_and_its_end() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task("t").await;
        world
            .subscribe_with(ann, Source::Task(task), |wanted| {
                wanted.on = vec![EventName::TaskStatusChanged, EventName::TaskCommented, EventName::TaskClosed];
            })
            .await;
        world.set_status(task, TaskStatus::InReview).await;
        world.pass(seconds(1));
        world.comment(task, "looks good").await;
        world.pass(seconds(1));
        world.set_status(task, TaskStatus::Done).await;
        let told = world.woken(ann).await;
        assert_eq!(events(&told), ["task.status_changed", "task.commented", "task.closed"]);
        assert_eq!(told[0].payload["data"]["from"], "todo");
        assert_eq!(told[1].payload["data"]["body"], "looks good");
        assert_eq!(told[1].context["comment_ids"].as_array().map(Vec::len), Some(1));
        assert_eq!(told[2].payload["finished_child"]["status"], "done");
        assert_eq!(told[2].reason.as_deref(), Some("T-1 \"t\" is done"));
        // The claim of its assignee takes it up: a change of status like any other.
        let task = world.task_of("u", bob, &[]).await.id;
        world.subscribe_with(ann, Source::Task(task), |wanted| wanted.on = vec![EventName::TaskStatusChanged]).await;
        world.agent_event(ann, AgentEvent::Pause).await.unwrap();
        world.claim().await;
        assert_eq!(world.woken(ann).await.last().unwrap().payload["data"]["status"], "in_progress");
    });
}

#[test]
fn children_at_any_depth_are_told_about_and_the_last_one_says_so() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let top = world.task("top").await;
        let one = world.child_task(top, "one").await;
        let deep = world.child_task(world.child_task(top, "two").await, "deep").await;
        let two = world.get_task(deep).await.parent.unwrap();
        world.subscribe_with(ann, Source::Children(top), |wanted| wanted.on = vec![EventName::AnyClosed]).await;
        world.subscribe_with(ann, Source::Children(top), |wanted| wanted.once = true).await;
        for (task, status) in [(deep, TaskStatus::Done), (one, TaskStatus::Cancelled), (two, TaskStatus::Done)] {
            world.set_status(task, status).await;
            world.pass(seconds(1));
        }
        let told = world.woken(ann).await;
        let mut names = events(&told);
        names.sort_unstable();
        let any = "children.any_closed";
        assert_eq!(names, ["children.all_closed", any, any, any]);
        // Opened again and closed again: what was for once has fired.
        world.set_status(one, TaskStatus::Todo).await;
        world.set_status(one, TaskStatus::Done).await;
        assert_eq!(world.woken(ann).await.len(), 5);
    });
}

#[test]
fn runs_on_tasks_below_are_told_to_whoever_waits_for_the_children() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let top = world.task("top").await;
        let deep = world.child_task(world.child_task(top, "two").await, "deep").await;
        world.subscribe_with(ann, Source::Children(top), |wanted| wanted.on = vec![EventName::RunFinished]).await;
        let run = world.run_of(bob, Some(deep)).await;
        world.fail(&run, "agent_error").await;
        let [told] = &world.woken(ann).await[..] else { panic!("one wakeup") };
        assert_eq!(told.payload["finished_child"]["task"], json!(deep));
        assert_eq!(told.payload["data"]["retried"], true);
    });
}

#[test]
fn one_of_many_children_finished_is_not_told_for_the_others() {
    // Five registered one after another, all finish: five rows, each with its own child.
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let mut runs = Vec::new();
        for n in 0..5 {
            let run = world.run_of(world.agent(&format!("w{n}")).await, None).await;
            world.subscribe(ann, Source::Run(run.id)).await;
            runs.push(run);
        }
        for run in &runs {
            world.succeed(run).await;
            world.pass(seconds(1));
        }
        let told: Vec<Json> =
            world.woken(ann).await.iter().map(|one| one.payload["finished_child"]["run"].clone()).collect();
        assert_eq!(told, runs.iter().map(|run| json!(run.id)).collect::<Vec<_>>());
    });
}

#[test]
fn matches_while_the_subscriber_is_busy_make_one_follow_up_in_order() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let busy = world.run_of(ann, None).await;
        world.subscribe(ann, Source::Agent(bob)).await;
        let mut ended = Vec::new();
        for _ in 0..4 {
            let run = world.run_of(bob, None).await;
            world.pass(seconds(1));
            ended.push(world.succeed(&run).await.id);
        }
        world.succeed(&busy).await;
        let follow_up = world.claim().await;
        let told: Vec<Json> =
            follow_up.wakeups.iter().map(|one| one.payload["finished_child"]["run"].clone()).collect();
        assert_eq!(told, ended.iter().map(|run| json!(run)).collect::<Vec<_>>());
        assert!(world.claim_any().await.is_none());
    });
}

#[test]
fn an_agents_state_is_told_and_its_end_to_all_who_wait_for_anything_of_it() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        world.subscribe_with(ann, Source::Agent(bob), |wanted| wanted.on = vec![EventName::AgentStateChanged]).await;
        let of_runs = world.subscribe(ann, Source::Agent(bob)).await;
        world.agent_event(bob, AgentEvent::Pause).await.unwrap();
        assert_eq!(events(&world.woken(ann).await), ["agent.state_changed"]);
        world.pass(seconds(1));
        world.agent_event(bob, AgentEvent::Terminate).await.unwrap();
        let told = world.woken(ann).await;
        let mut names = events(&told)[1..].to_vec();
        names.sort_unstable();
        assert_eq!(names, ["agent.state_changed", "source.over"]);
        assert_eq!(world.subscription(of_runs.id).await.end_reason, Some(EndReason::SourceOver));
    });
}

#[test]
fn a_killed_child_is_told_even_if_its_agent_is_terminated_first() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let run = world.run_of(bob, None).await;
        world.subscribe(ann, Source::Run(run.id)).await;
        world.agent_event(bob, AgentEvent::Terminate).await.unwrap();
        world.finish(&run, cancelled()).await;
        let [told] = &world.woken(ann).await[..] else { panic!("one wakeup") };
        assert_eq!(told.payload["finished_child"]["status"], "cancelled");
    });
}

#[test]
fn subscribers_that_cannot_run_wait_or_are_passed_over() {
    on_both(async |world| {
        let (ann, cid, bob) = (world.agent("ann").await, world.agent("cid").await, world.agent("bob").await);
        world.subscribe(ann, Source::Agent(bob)).await;
        world.subscribe(cid, Source::Agent(bob)).await;
        world.agent_event(ann, AgentEvent::Pause).await.unwrap();
        world.agent_event(cid, AgentEvent::Terminate).await.unwrap();
        let run = world.run_of(bob, None).await;
        world.succeed(&run).await;
        assert_eq!(world.woken(ann).await[0].status, WakeupStatus::Pending);
        let skipped = &world.woken(cid).await[0];
        assert_eq!(
            (skipped.status, skipped.status_reason.as_deref()),
            (WakeupStatus::Skipped, Some("agent_terminated"))
        );
    });
}

#[test]
fn a_deleted_subscriber_leaves_no_subscription_and_disturbs_nobody() {
    on_both(async |world| {
        let (ann, cid, bob) = (world.agent("ann").await, world.agent("cid").await, world.agent("bob").await);
        world.subscribe_with(ann, Source::Agent(bob), |wanted| wanted.debounce = Some(seconds(5))).await;
        world.subscribe(cid, Source::Agent(bob)).await;
        let run = world.run_of(bob, None).await;
        world.succeed(&run).await;
        let arguments = (world.now(), ann);
        world.db.write("delete", arguments, |tx, (now, id)| Box::pin(agents::delete(tx, *now, *id))).await.unwrap();
        let mine = format!("select count(*) from subscriptions where agent_id = '{ann}'");
        assert_eq!(world.number(&mine).await, 0);
        assert_eq!(world.number("select count(*) from subscription_matches").await, 0);
        let run = world.run_of(bob, None).await;
        world.succeed(&run).await;
        assert_eq!((world.woken(ann).await.len(), world.woken(cid).await.len()), (0, 2));
    });
}

#[test]
fn a_removed_subscription_wakes_nobody_and_the_others_go_on() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let gone = world.subscribe(ann, Source::Agent(bob)).await;
        let stays = world.subscribe(ann, Source::Agent(bob)).await;
        world.db.write("rm", gone.id, |tx, id| Box::pin(subscriptions::remove(tx, *id))).await.unwrap();
        let run = world.run_of(bob, None).await;
        world.succeed(&run).await;
        let told = world.woken(ann).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].payload["subscription"]["id"], json!(stays.id));
        // Deleted and made again, it fires again.
        world.subscribe(ann, Source::Agent(bob)).await;
        let run = world.run_of(bob, None).await;
        world.succeed(&run).await;
        assert_eq!(world.woken(ann).await.len(), 3);
    });
}

#[test]
fn what_a_run_does_on_its_own_lane_does_not_wake_that_lane() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task = world.task("t").await;
        for agent in [ann, bob] {
            world.subscribe_with(agent, Source::Agent(ann), |_| {}).await;
        }
        world.subscribe_with(ann, Source::Agent(ann), |wanted| wanted.task = Some(task)).await;
        let run = world.run_of(ann, None).await;
        world.succeed(&run).await;
        let told: BTreeMap<_, _> =
            world.woken(ann).await.into_iter().map(|one| (one.task, (one.status, one.status_reason))).collect();
        assert_eq!(told.get(&None), None, "its own doing is no news to a lane");
        assert_eq!(told[&Some(task)].0, WakeupStatus::Pending, "another lane of the same agent");
        assert_eq!(world.woken(bob).await[0].status, WakeupStatus::Pending);
    });
}

#[test]
fn ones_own_comment_is_not_the_answer_that_is_waited_for() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let task = world.task("question").await;
        let waits = world
            .subscribe_with(ann, Source::Task(task), |wanted| {
                wanted.on = vec![EventName::TaskCommented];
                (wanted.once, wanted.debounce) = (true, Some(seconds(5)));
                wanted.timeout = Some(seconds(3_600));
            })
            .await;
        let run = world.run_of(ann, None).await;
        world.comment_from(world.as_agent(ann, Some(&run)), task, "may I?", false).await;
        assert_eq!(world.subscription(waits.id).await.matches, 0);
        world.comment(task, "you may").await;
        world.comment_from(world.as_agent(ann, Some(&run)), task, "thanks", false).await;
        world.pass(seconds(6));
        assert_eq!(world.dispatch_at_rest().await, 1);
        let told = world.woken(ann).await;
        assert_eq!((told.len(), told[0].status), (1, WakeupStatus::Pending));
        assert_eq!(told[0].payload["count"], 1);
        world.assert_sound().await;
    });
}

#[test]
fn what_is_nested_as_deep_as_can_be_is_told_and_holds_nobody_up() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let task =
            world.insert_task(Task { parent: Some(world.task("whole").await), ..world.draft_task("part") }).await;
        world
            .subscribe_with(ann, Source::Task(task), |wanted| {
                (wanted.on, wanted.debounce) = (vec![EventName::RunFinished], Some(seconds(1)));
            })
            .await;
        let run = world.run_of(bob, Some(task)).await;
        let deep = (0..126).fold(json!(1), |inner, _| json!([inner]));
        world.finish(&run, Outcome { result: Some(deep), ..Outcome::succeeded() }).await;
        world.pass(seconds(2));
        world.dispatch_at_rest().await;
        assert_eq!(world.claim().await.wakeups[0].agent, ann);
        world.assert_sound().await;
    });
}

#[test]
fn agents_that_wait_for_each_other_are_stopped_by_the_loop_guard() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        world.subscribe(ann, Source::Agent(bob)).await;
        world.subscribe(bob, Source::Agent(ann)).await;
        world.wake(ann).await;
        let mut runs = 0;
        while let Some(claimed) = world.claim_any().await {
            world.succeed(&claimed.run).await;
            world.pass(seconds(1));
            runs += 1;
            assert!(runs < 100, "it never ends");
        }
        let told = [world.woken(ann).await, world.woken(bob).await].concat();
        assert!(told.iter().any(|one| one.status_reason.as_deref() == Some("loop_limit")), "{runs}");
    });
}

#[test]
fn a_key_is_one_subscription_and_what_it_has_matched_stays() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let keyed = |once: bool| {
            let mut wanted = world.draft_subscription(ann, Source::Agent(bob));
            (wanted.key, wanted.once, wanted.debounce) = (Some("k".into()), once, Some(seconds(10)));
            wanted
        };
        let first = world.try_subscribe(keyed(false)).await.unwrap();
        let run = world.run_of(bob, None).await;
        world.succeed(&run).await;
        let again = world.try_subscribe(keyed(true)).await.unwrap();
        assert_eq!((first.is_new, again.is_new), (true, false));
        assert_eq!((again.subscription.id, again.subscription.matches), (first.subscription.id, 1));
        world.pass(seconds(10));
        assert_eq!(world.dispatch_at_rest().await, 1);
        assert_eq!(world.woken(ann).await[0].payload["count"], 1, "what had matched was told");
        // It was for once and has fired: the same key is a new one.
        let third = world.try_subscribe(keyed(false)).await.unwrap();
        assert!(third.is_new && third.subscription.id != first.subscription.id);
        // Another agent's key is its own.
        let other = Subscription { agent: bob, ..keyed(false) };
        assert!(world.try_subscribe(other).await.unwrap().is_new);
    });
}

#[test]
fn a_request_that_replaced_one_and_is_sent_again_finds_it() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let declaration = |request: &str| {
            let mut subscription = world.draft_subscription(ann, Source::Topic("t".into()));
            subscription.key = Some("k".into());
            let request_key = Some(RequestKey { key: request.into(), request_hash: "h".into() });
            Declaration { subscription, by_run: None, request_key }
        };
        let mut made = Vec::new();
        for request in ["first", "second", "second", "first"] {
            let declared =
                world.db.write("subscribe", declaration(request), |tx, wanted| Box::pin(declare(tx, wanted)));
            made.push(declared.await.unwrap().subscription.id);
        }
        made.dedup();
        assert_eq!(made.len(), 1);
    });
}

#[test]
fn three_declarations_of_one_key_and_three_events_are_three_wakeups() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        for _ in 0..3 {
            world.subscribe_with(ann, Source::Agent(bob), |wanted| wanted.key = Some("k".into())).await;
            let run = world.run_of(bob, None).await;
            world.succeed(&run).await;
            world.pass(seconds(1));
        }
        assert_eq!(world.woken(ann).await.len(), 3);
        assert_eq!(world.number("select count(*) from subscriptions").await, 1);
    });
}

#[test]
fn whatever_a_subscription_names_must_be_in_its_company() {
    on_both(async |world| {
        let other = world.company("other", 5).await;
        let stranger = world.agent_with("stranger", |agent| agent.company = other).await;
        let foreign = world.insert_task(Task { company: other, ..world.draft_task("x") }).await;
        let ann = world.agent("ann").await;
        let run = world.run_of(stranger, None).await;
        let field = async |wanted: Subscription| match world.try_subscribe(wanted).await {
            Err(Refusal::Invalid { field, .. }) => field,
            answer => panic!("{answer:?}"),
        };
        let of = |source| world.draft_subscription(ann, source);
        assert_eq!(field(of(Source::Run(run.id))).await, "source.run");
        assert_eq!(field(of(Source::Task(foreign))).await, "source.task");
        assert_eq!(field(of(Source::Children(foreign))).await, "source.children");
        assert_eq!(field(of(Source::Agent(stranger))).await, "source.agent");
        assert_eq!(field(Subscription { agent: stranger, ..of(Source::Topic("t".into())) }).await, "agent");
        assert_eq!(field(Subscription { task: Some(foreign), ..of(Source::Topic("t".into())) }).await, "task");
        world.agent_event(ann, AgentEvent::Terminate).await.unwrap();
        assert_eq!(conflict(world.try_subscribe(of(Source::Topic("t".into()))).await), "agent_terminated");
    });
}

#[test]
fn an_agent_has_a_bounded_number_of_open_subscriptions() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let source = Source::Topic("t".into());
        world.subscribe(ann, source.clone()).await;
        let copy = format!(
            "insert into subscriptions (id, company_id, agent_id, task_id, source, events, filter, filter_hash, once,
              include_result, payload, created_by_type, created_by_id, matches, wakeups, window_bytes, created_at, updated_at)
            with recursive n (i) as (select 1 union all select i + 1 from n where i < {})
            select 'sub_' || substr('00000000000000000000000000', length(cast(i as text)) + 1) || i, company_id, agent_id, task_id, source, events, filter, filter_hash, once,
              include_result, payload, created_by_type, created_by_id, 0, 0, 0, 1, 1
            from n, subscriptions",
            PER_AGENT_MAX - 1
        );
        world.sql(&copy).await.unwrap();
        world.sql(&format!("update companies set open_subscriptions = {PER_AGENT_MAX}")).await.unwrap();
        let one_more = world.try_subscribe(world.draft_subscription(ann, source.clone())).await;
        assert_eq!(conflict(one_more), "too_many_subscriptions");
        world.sql("update companies set open_subscriptions = 200000").await.unwrap();
        let bob = world.agent("bob").await;
        assert_eq!(
            conflict(world.try_subscribe(world.draft_subscription(bob, source)).await),
            "too_many_subscriptions"
        );
        world.sql(&format!("update companies set open_subscriptions = {PER_AGENT_MAX}")).await.unwrap();
    });
}
