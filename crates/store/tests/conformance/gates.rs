//! Gates and actions of a company's own on both engines: a slot is asked about once at a time, settled once,
//! and asked again after a crash; what fails is told once.

use std::time::Duration;

use serde_json::{Value, json};
use wakeful_domain::id::{AgentId, ScheduleId};
use wakeful_domain::schedule::{CatchUp, Schedule, SlotStatus, State};
use wakeful_store::ops::firing::Fired;
use wakeful_store::ops::questions::{self, Answered, Part, Question};
use wakeful_store::ops::schedules;

use crate::world::{World, on_both, seconds};

impl World {
    pub async fn gated(&self, agent: AgentId, gate: Value) -> Schedule {
        let target = json!({ "wake": { "agent": agent, "payload": { "n": 1 } } });
        let draft = self.draft_schedule("gated", json!({ "every": "1m" }), target);
        let gate = Some(serde_json::from_value(gate).unwrap());
        self.insert_schedule(Schedule { gate, ..draft }).await.unwrap()
    }

    async fn own_action(&self) -> Schedule {
        let action = json!({ "action": { "name": "mail", "config": { "command": ["mail"], "config": { "box": 1 } } } });
        self.insert_schedule(self.draft_schedule("mail", json!({ "every": "1m" }), action)).await.unwrap()
    }

    pub async fn questions(&self) -> Vec<Question> {
        let claim = self.db.write("claim", self.now(), |tx, now| Box::pin(questions::claim(tx, *now, 10)));
        claim.await.unwrap()
    }

    async fn question(&self) -> Question {
        let mut questions = self.questions().await;
        assert_eq!(questions.len(), 1, "{questions:?}");
        questions.remove(0)
    }

    /// Answers, with the JSON or the error.
    async fn answer(&self, question: &Question, answer: Result<Value, &str>) -> Fired {
        let answered = Answered {
            schedule: question.schedule,
            slot: question.slot,
            until: question.until,
            part: question.part,
            answer: answer.map(|answer| answer.to_string().into_bytes()).map_err(str::to_owned),
            took: Duration::from_millis(20),
        };
        let write = self.db.write("answer", (self.now(), answered), |tx, (now, answered)| {
            Box::pin(questions::answer(tx, *now, answered))
        });
        write.await.unwrap()
    }

    /// Passes a minute, in which the next slot comes.
    pub async fn minute(&self) -> Fired {
        self.pass(seconds(60));
        self.fire().await
    }

    async fn last_slot(&self, id: ScheduleId) -> (SlotStatus, Option<String>) {
        let slot = self.slots(id).await.pop().unwrap();
        (slot.status, slot.reason)
    }

    /// The keys of what people were told about, and whether it still stands.
    async fn standing(&self) -> Vec<(String, bool)> {
        let found = self.escalations().await;
        found.into_iter().map(|told| (told.key, told.resolved_at.is_none())).collect()
    }
}

#[test]
fn of_one_company_four_are_asked_at_once_and_of_another_as_many_beside_them() {
    on_both(async |world| {
        let other = world.company("other", 5).await;
        let gate = || Some(serde_json::from_value(json!({ "command": ["check"] })).unwrap());
        for company in [world.company, other] {
            let agent = world.agent_with(&format!("of {company}"), |agent| agent.company = company).await;
            for number in 0..6 {
                let target = json!({ "wake": { "agent": agent } });
                let draft = world.draft_schedule(&format!("s{number}"), json!({ "every": "1m" }), target);
                world.insert_schedule(Schedule { company, gate: gate(), ..draft }).await.unwrap();
            }
        }
        world.minute().await;
        let asked = world.questions().await;
        let mut of_company = [0, 0];
        for question in &asked {
            let company = world.get_schedule(question.schedule).await.company;
            of_company[usize::from(company == other)] += 1;
        }
        assert_eq!(of_company, [4, 4]);
        assert!(world.questions().await.is_empty());
        world.answer(&asked[0], Ok(json!({ "wake": false }))).await;
        assert_eq!(world.questions().await.len(), 1, "the next one of its company");
    });
}

#[test]
fn a_gate_is_asked_before_an_agent_is_woken() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let schedule = world.gated(agent, json!({ "command": ["check"] })).await;
        let fired = world.minute().await;
        assert_eq!((fired.fires, fired.asked), (0, 1));
        assert_eq!(world.last_slot(schedule.id).await, (SlotStatus::Asked, None));
        assert_eq!(world.number("select count(*) from wakeups").await, 0);
        let question = world.question().await;
        assert_eq!((question.part, &question.body["state"]), (Part::Gate, &Value::Null));
        assert_eq!(question.body["target"]["wake"]["payload"], json!({ "n": 1 }));
        assert!(world.questions().await.is_empty(), "one asks at a time");
        let yes = json!({ "wake": true, "message": "2 new mails", "payload": { "mails": 2 }, "state": { "seen": 7 } });
        assert_eq!(world.answer(&question, Ok(yes)).await.fires, 1);
        let slot = world.slots(schedule.id).await.remove(0);
        assert_eq!(slot.status, SlotStatus::Fired);
        let told = slot.answer.unwrap();
        assert_eq!((&told["gate"]["wake"], &told["gate"]["took_ms"]), (&json!(true), &json!(20)), "{told}");
        let wakeup = world.wakeup(slot.wakeup.unwrap()).await;
        assert_eq!(wakeup.reason.as_deref(), Some("2 new mails"));
        assert_eq!(json!(wakeup.payload), json!({ "n": 1, "mails": 2 }));
        let run = world.claim().await.run;
        world.succeed(&run).await;

        world.minute().await;
        let question = world.question().await;
        assert_eq!(question.body["state"], json!({ "seen": 7 }), "it is given what it gave");
        world.answer(&question, Ok(json!({ "wake": false }))).await;
        assert_eq!(world.last_slot(schedule.id).await, (SlotStatus::Skipped, Some("gate".into())));
        let schedule = world.get_schedule(schedule.id).await;
        assert_eq!((schedule.fires, schedule.standing.wakes_avoided), (1, 1));
        world.minute().await;
        assert_eq!(world.question().await.body["state"], json!({ "seen": 7 }), "silence changes nothing");
        assert_eq!(world.number("select count(*) from wakeups").await, 1);
        world.assert_sound().await;
    });
}

#[test]
fn a_gate_that_fails_counts_as_its_schedule_says_and_people_are_told_once() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let open = world.gated(agent, json!({ "command": ["check"] })).await;
        let key = format!("schedule:{}", open.id);
        for round in 1..=3 {
            world.minute().await;
            world.answer(&world.question().await, Err("it ended with exit code 3")).await;
            let slot = world.slots(open.id).await.pop().unwrap();
            assert_eq!(slot.status, SlotStatus::Fired);
            let run = world.claim().await.run;
            world.succeed(&run).await;
            assert_eq!(slot.answer.unwrap()["gate"]["error"], "it ended with exit code 3");
            let expected = if round < 2 { vec![] } else { vec![(key.clone(), true)] };
            assert_eq!(world.standing().await, expected);
        }
        assert_eq!(world.get_schedule(open.id).await.standing.failures_in_row, 3);
        world.minute().await;
        world.answer(&world.question().await, Ok(json!({ "wake": false }))).await;
        assert_eq!(world.standing().await, [(key, false)]);
        assert_eq!(world.get_schedule(open.id).await.standing.failures_in_row, 0);
        world
            .db
            .write("remove", (world.now(), open.id), |tx, (now, id)| Box::pin(schedules::remove(tx, *now, *id)))
            .await
            .unwrap();

        let closed = world.gated(agent, json!({ "url": "http://x/", "on_failure": "fail_closed" })).await;
        for garbage in [Ok(json!({ "wake": "yes" })), Ok(json!({})), Err("no answer")] {
            world.minute().await;
            world.answer(&world.question().await, garbage).await;
            assert_eq!(world.last_slot(closed.id).await, (SlotStatus::Skipped, Some("gate_failed".into())));
        }
        assert_eq!(world.get_schedule(closed.id).await.standing.wakes_avoided, 0, "a failure avoids nothing");
        world.assert_sound().await;
    });
}

#[test]
fn a_question_is_asked_again_after_a_crash_and_answered_once() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let schedule = world.gated(agent, json!({ "command": ["check"], "timeout": "5s" })).await;
        world.minute().await;
        let lost = world.question().await;
        world.pass(seconds(14));
        assert!(world.questions().await.is_empty(), "whoever asks has its time");
        world.pass(seconds(2));
        let again = world.question().await;
        assert_eq!((again.slot, again.until > lost.until), (lost.slot, true));
        assert_eq!(world.answer(&lost, Ok(json!({ "wake": true }))).await, Fired::default(), "it comes too late");
        assert_eq!(world.answer(&again, Ok(json!({ "wake": true }))).await.fires, 1);
        assert_eq!(world.answer(&again, Ok(json!({ "wake": true }))).await, Fired::default(), "once");
        assert_eq!(world.number("select count(*) from wakeups").await, 1);
        assert_eq!(world.get_schedule(schedule.id).await.fires, 1);
        world.assert_sound().await;
    });
}

#[test]
fn slots_that_come_while_one_is_asked_about_are_counted_on_it() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let schedule = world.gated(agent, json!({ "command": ["check"], "timeout": "5m" })).await;
        world.minute().await;
        let question = world.question().await;
        world.minute().await;
        assert_eq!(world.last_slot(schedule.id).await, (SlotStatus::Coalesced, Some("being_asked".into())));
        world.answer(&question, Ok(json!({ "wake": true }))).await;
        // While what it has started waits or is live, nobody could hear what the gate says.
        world.minute().await;
        assert_eq!(world.last_slot(schedule.id).await.0, SlotStatus::Coalesced);
        let run = world.claim().await.run;
        world.minute().await;
        assert_eq!(world.last_slot(schedule.id).await.0, SlotStatus::Coalesced);
        world.succeed(&run).await;
        world.minute().await;
        assert_eq!(world.last_slot(schedule.id).await.0, SlotStatus::Asked);
        // Each of those that are caught up with is asked about, one after another.
        world.answer(&world.question().await, Ok(json!({ "wake": false }))).await;
        let change = (world.now(), schedule.id);
        let set = world.db.write("all", change, |tx, (now, id)| {
            Box::pin(schedules::change(tx, *now, *id, &(), |(), schedule| {
                schedule.catch_up = CatchUp::All;
                Ok(())
            }))
        });
        set.await.unwrap();
        world.pass(seconds(230));
        world.fire().await;
        world.pass(seconds(600));
        for _ in 0..3 {
            world.answer(&world.question().await, Ok(json!({ "wake": false }))).await;
        }
        assert!(world.questions().await.is_empty());
        assert_eq!(world.get_schedule(schedule.id).await.standing.wakes_avoided, 4);
    });
}

#[test]
fn an_answer_about_a_schedule_that_rests_or_is_gone_wakes_nobody() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let schedule = world.gated(agent, json!({ "command": ["check"] })).await;
        world.minute().await;
        let question = world.question().await;
        let pause = world.db.write("pause", (world.now(), schedule.id), |tx, (now, id)| {
            Box::pin(schedules::change(tx, *now, *id, &(), |(), schedule| {
                schedule.state = State::Paused { note: None };
                Ok(())
            }))
        });
        pause.await.unwrap();
        world.answer(&question, Ok(json!({ "wake": true }))).await;
        assert_eq!(world.last_slot(schedule.id).await, (SlotStatus::Skipped, Some("not_active".into())));
        world
            .db
            .write("remove", (world.now(), schedule.id), |tx, (now, id)| Box::pin(schedules::remove(tx, *now, *id)))
            .await
            .unwrap();
        assert_eq!(world.answer(&question, Ok(json!({ "wake": true }))).await, Fired::default());
        assert_eq!(world.number("select count(*) from wakeups").await, 0);
    });
}

#[test]
fn a_gate_that_is_taken_away_holds_up_nothing() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let schedule = world.gated(agent, json!({ "command": ["check"] })).await;
        world.minute().await;
        let change = world.db.write("change", (world.now(), schedule.id), |tx, (now, id)| {
            Box::pin(schedules::change(tx, *now, *id, &(), |(), schedule| {
                schedule.gate = None;
                Ok(())
            }))
        });
        change.await.unwrap();
        let question = world.question().await;
        assert_eq!(question.whom, None);
        assert_eq!(world.answer(&question, Err("nobody")).await.fires, 1);
    });
}

#[test]
fn an_action_of_ones_own_is_quiet_unless_it_has_something_new_to_say() {
    on_both(async |world| {
        let schedule = world.own_action().await;
        world.minute().await;
        let question = world.question().await;
        assert_eq!((question.part, &question.body["config"]), (Part::Action, &json!({ "box": 1 })));
        world.answer(&question, Ok(json!({ "notify": false, "state": [1] }))).await;
        assert_eq!(world.last_slot(schedule.id).await.0, SlotStatus::Fired);
        assert!(world.texts().await.is_empty());

        let loud = json!({ "notify": true, "message": "the disk is full", "metadata": { "free": 0 } });
        for _ in 0..2 {
            world.minute().await;
            let question = world.question().await;
            assert_eq!(question.body["state"], json!([1]));
            world.answer(&question, Ok(loud.clone())).await;
        }
        assert_eq!(world.texts().await, ["the disk is full"], "the same text is told once a day");
        world.pass(seconds(86_400));
        world.fire().await;
        world.answer(&world.question().await, Ok(loud)).await;
        assert_eq!(world.texts().await.len(), 2);

        world.minute().await;
        world.answer(&world.question().await, Ok(json!({ "notify": true }))).await;
        let (status, reason) = world.last_slot(schedule.id).await;
        assert_eq!(status, SlotStatus::Failed);
        assert!(reason.unwrap().contains("without a `message`"));
        world.assert_sound().await;
    });
}
