//! Notifications on their way through channels: entered once with what they tell, sent by one node at a time, tried
//! again over hours at a bounded pace.

use futures_util::future::join_all;
use serde_json::{Value, json};
use wakeful_domain::actor::Actor;
use wakeful_domain::channel::{Channel, State};
use wakeful_domain::delivery::{Answer, Delivery, DeliveryStatus};
use wakeful_domain::escalation::{Escalation, EscalationKind, Severity};
use wakeful_domain::id::{ChannelId, DeliveryId, EscalationId, NotificationId};
use wakeful_domain::notification::{Level, Notice, Notification, NotificationKind};
use wakeful_store::Refusal;
use wakeful_store::ops::deliveries::{self, AttemptEnd, Claimed, Look};
use wakeful_store::ops::escalations::{self, Raise};
use wakeful_store::ops::{channels, notifications, schedules};

use crate::world::{World, conflict, on_both, seconds};

impl World {
    fn draft_channel(&self, name: &str, filter: Value) -> Channel {
        Channel {
            id: self.id(),
            company: self.company,
            name: name.into(),
            target: serde_json::from_value(json!({ "webhook": { "url": "https://a.example" } })).unwrap(),
            filter: serde_json::from_value(filter).unwrap(),
            state: State::Enabled,
            state_reason: None,
            paced_until: self.now(),
            created_at: self.now(),
            updated_at: self.now(),
        }
    }

    async fn insert_channel(&self, channel: Channel) -> Result<Channel, Refusal> {
        self.db.write("channel", channel, |tx, channel| Box::pin(channels::insert(tx, channel))).await
    }

    pub async fn channel(&self, name: &str, filter: Value) -> ChannelId {
        self.insert_channel(self.draft_channel(name, filter)).await.unwrap().id
    }

    async fn set_channel(&self, id: ChannelId, state: State) -> Channel {
        let arguments = (self.now(), id, state);
        let write = self.db.write("channel.change", arguments, |tx, (now, id, state)| {
            Box::pin(async move {
                let changed = Channel { state: *state, ..channels::get(tx, *id).await? };
                channels::change(tx, *now, &changed).await
            })
        });
        write.await.unwrap()
    }

    /// Something that people are told of.
    pub async fn raise(&self, key: &str, severity: Severity, subject: &str) -> Escalation {
        let raise = Raise {
            id: self.id(),
            now: self.now(),
            company: self.company,
            kind: EscalationKind::Request,
            severity,
            key: key.into(),
            subject: subject.into(),
            title: format!("about {key}"),
            detail: "words".into(),
            actor: Actor::user("tester"),
        };
        self.db.write("raise", raise, |tx, raise| Box::pin(escalations::raise(tx, raise))).await.unwrap()
    }

    pub async fn tell(&self, key: &str) -> Notification {
        self.raise(key, Severity::Medium, "somebody").await;
        self.told().await.remove(0)
    }

    /// The inbox, newest first.
    pub async fn told(&self) -> Vec<Notification> {
        let read = self
            .db
            .read("told", self.company, |tx, company| Box::pin(notifications::list(tx, *company, false, None, 200)));
        read.await.unwrap().items
    }

    async fn deliveries_of(&self, notification: NotificationId) -> Vec<Delivery> {
        let read = self.db.read("deliveries", notification, |tx, id| Box::pin(deliveries::of_notification(tx, *id)));
        read.await.unwrap()
    }

    /// The names of the channels that a notification goes through.
    pub async fn through(&self, notification: NotificationId) -> Vec<ChannelId> {
        self.deliveries_of(notification).await.iter().map(|delivery| delivery.channel).collect()
    }

    async fn delivery(&self, id: DeliveryId) -> Delivery {
        self.db.read("delivery", id, |tx, id| Box::pin(deliveries::get(tx, *id))).await.unwrap()
    }

    pub async fn look_at(&self, limit: i64) -> Look {
        let arguments = (self.now(), limit);
        let write = self.db.write("look", arguments, |tx, (now, limit)| Box::pin(deliveries::look(tx, *now, *limit)));
        write.await.unwrap()
    }

    pub async fn due(&self) -> Vec<Claimed> {
        self.look_at(16).await.claimed
    }

    pub async fn end(&self, claimed: &Claimed, answer: Answer) -> bool {
        let end = AttemptEnd {
            now: self.now(),
            delivery: claimed.delivery.id,
            attempt: claimed.delivery.attempts,
            answer,
            duration_ms: 5,
            draw: 0.5,
            escalation: self.id(),
        };
        self.db.write("end", end, |tx, end| Box::pin(deliveries::end_attempt(tx, end))).await.unwrap()
    }

    async fn retry_delivery(&self, id: DeliveryId) -> Result<Delivery, Refusal> {
        let arguments = (self.now(), id);
        self.db.write("retry", arguments, |tx, (now, id)| Box::pin(deliveries::retry(tx, *now, *id))).await
    }

    pub async fn incidents(&self) -> Vec<Escalation> {
        let read = self.db.read("escalations", self.company, |tx, company| {
            Box::pin(escalations::list(tx, *company, None, None, 200))
        });
        let mut found = read.await.unwrap().items;
        found.retain(|escalation| escalation.kind == EscalationKind::DeliveryFailing);
        found
    }

    pub async fn acknowledge_escalation(&self, id: EscalationId) {
        let arguments = (self.now(), id);
        let write = self
            .db
            .write("ack", arguments, |tx, (now, id)| Box::pin(escalations::acknowledge(tx, *now, *id, "tester")));
        write.await.unwrap();
    }
}

pub fn deferred() -> Answer {
    Answer::deferred("status 503")
}

pub fn accepted() -> Answer {
    Answer::Accepted("status 200".into())
}

#[test]
fn a_notification_is_entered_once_for_each_channel_that_lets_it_through() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let all = world.channel("all", json!({})).await;
        let loud = world.channel("loud", json!({ "min_level": "critical" })).await;
        let of_agent = world.channel("agent", json!({ "agents": [agent] })).await;
        world.channel("actions", json!({ "kinds": ["action"] })).await;
        let off = world.channel("off", json!({})).await;
        world.set_channel(off, State::Disabled).await;
        let other = Channel { company: world.company("other", 5).await, ..world.draft_channel("all", json!({})) };
        world.insert_channel(other).await.unwrap();

        let told = world.tell("quiet").await;
        assert_eq!((told.notice.kind, told.notice.level), (NotificationKind::Escalation, Level::Warning));
        assert_eq!(world.through(told.id).await, [all]);
        world.raise("loud", Severity::High, &agent.to_string()).await;
        let told = world.told().await.remove(0);
        assert_eq!((told.notice.level, told.notice.agent), (Level::Critical, Some(agent)));
        assert_eq!(world.through(told.id).await, [all, loud, of_agent]);
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.raise("of a run", Severity::Low, &run.id.to_string()).await;
        let told = world.told().await.remove(0);
        assert_eq!((told.notice.run, told.notice.agent), (Some(run.id), Some(agent)));
        assert_eq!(world.through(told.id).await, [all, of_agent]);
        world.raise("loud", Severity::High, &agent.to_string()).await;
        assert_eq!(world.told().await.len(), 3, "what is open is counted and told nobody again");
    });
}

#[test]
fn what_a_clock_that_was_ahead_has_put_off_is_sent_when_it_is_set_back() {
    on_both(async |world| {
        world.channel("ops", json!({})).await;
        let start = world.now();
        world.pass(seconds(365 * 86_400));
        world.tell("far ahead").await;
        let claimed = world.due().await.remove(0);
        assert!(world.end(&claimed, deferred()).await);
        world.set_time(start + seconds(60));
        assert!(world.due().await.is_empty());
        let rewind = world.db.write("rewind", world.now(), |tx, now| Box::pin(schedules::rewind(tx, *now)));
        rewind.await.unwrap();
        let again = world.due().await.remove(0);
        assert_eq!(again.delivery.id, claimed.delivery.id);
        assert!(world.end(&again, accepted()).await);
        assert_eq!(world.delivery(again.delivery.id).await.status, DeliveryStatus::Delivered);
    });
}

#[test]
fn a_name_is_had_by_one_channel_of_a_company() {
    on_both(async |world| {
        let first = world.channel("ops", json!({})).await;
        assert_eq!(conflict(world.insert_channel(world.draft_channel("ops", json!({}))).await), "channel_exists");
        let renamed = Channel { name: "on-call".into(), ..world.draft_channel("x", json!({})) };
        let renamed = Channel { id: first, ..renamed };
        let write = world.db.write("change", (world.now(), renamed), |tx, (now, channel)| {
            Box::pin(channels::change(tx, *now, channel))
        });
        assert_eq!(write.await.unwrap().name, "on-call");
        world.channel("ops", json!({})).await;
    });
}

#[test]
fn an_attempt_is_made_by_one_node_and_the_next_of_its_channel_only_after_it() {
    on_both(async |world| {
        let channel = world.channel("ops", json!({})).await;
        let (first, second) = (world.tell("one").await, world.tell("two").await);
        let looks = join_all((0..8).map(|_| world.due())).await;
        let claimed: Vec<Claimed> = looks.into_iter().flatten().collect();
        assert_eq!(claimed.len(), 1, "one of many nodes makes it");
        assert_eq!((claimed[0].notification.id, claimed[0].channel.id), (first.id, channel));
        assert_eq!(claimed[0].delivery.status, DeliveryStatus::Sending);
        world.pass(seconds(20));
        assert!(world.due().await.is_empty(), "they come in their order");
        assert!(world.end(&claimed[0], accepted()).await);
        assert!(!world.end(&claimed[0], accepted()).await, "what comes twice counts once");
        let next = world.due().await.remove(0);
        assert_eq!(next.notification.id, second.id);
        world.end(&next, accepted()).await;
        let done = world.delivery(next.delivery.id).await;
        assert_eq!((done.status, done.finished_at, done.due_at), (DeliveryStatus::Delivered, Some(world.now()), None));
        assert_eq!((done.log.len(), done.log[0].ok, done.log[0].detail.as_str()), (1, true, "status 200"));
        assert_eq!(world.look_at(16).await.next_at, Some(first.at + seconds(4 * 3_600)), "only the reminder is left");
    });
}

#[test]
fn a_channel_that_hangs_holds_up_no_other() {
    on_both(async |world| {
        let (slow, quick) = (world.channel("slow", json!({})).await, world.channel("quick", json!({})).await);
        world.tell("one").await;
        world.tell("two").await;
        let begun = world.due().await;
        assert_eq!(begun.iter().map(|claimed| claimed.channel.id).collect::<Vec<_>>(), [slow, quick]);
        world.end(&begun[1], accepted()).await;
        let next = world.due().await;
        assert_eq!((next.len(), next[0].channel.id), (1, quick));
    });
}

#[test]
fn what_a_node_has_begun_and_not_ended_is_made_again_and_its_late_end_changes_nothing() {
    on_both(async |world| {
        world.channel("ops", json!({})).await;
        world.tell("one").await;
        let lost = world.due().await.remove(0);
        let given_up_at = world.look_at(16).await.next_at.unwrap();
        assert!(given_up_at > world.now() + seconds(15));
        world.set_time(given_up_at);
        let again = world.due().await.remove(0);
        assert_eq!((again.delivery.id, again.delivery.attempts), (lost.delivery.id, 2));
        assert!(again.delivery.log[0].detail.contains("is not known"), "{:?}", again.delivery.log);
        assert!(!world.end(&lost, Answer::Refused("late".into())).await);
        assert!(world.end(&again, accepted()).await);

        world.tell("two").await;
        let stopped = world.due().await.remove(0);
        let arguments = (world.now(), stopped.delivery.id, stopped.delivery.attempts);
        let write = world.db.write("release", arguments, |tx, (now, id, attempt)| {
            Box::pin(deliveries::release(tx, *now, *id, *attempt))
        });
        write.await.unwrap();
        let again = world.due().await.remove(0);
        assert_eq!((again.delivery.id, again.delivery.attempts), (stopped.delivery.id, 1), "a stop costs no attempt");
    });
}

#[test]
fn an_attempt_is_tried_again_over_hours_and_then_given_up() {
    on_both(async |world| {
        world.channel("ops", json!({})).await;
        let raised = world.raise("one", Severity::Medium, "somebody").await;
        // No reminder comes in between.
        world.acknowledge_escalation(raised.id).await;
        let (told, start) = (world.told().await.remove(0), world.now());
        let mut delays = Vec::new();
        for attempt in 1..=8 {
            let claimed = world.due().await.remove(0);
            assert_eq!((claimed.delivery.attempts, claimed.notification.id), (attempt, told.id));
            world.end(&claimed, deferred()).await;
            let delivery = world.delivery(claimed.delivery.id).await;
            assert_eq!(delivery.log.len(), usize::try_from(attempt).unwrap());
            let Some(due_at) = delivery.due_at else { break };
            assert_eq!(delivery.status, DeliveryStatus::Pending);
            delays.push(due_at.since(world.now()).as_secs());
            world.set_time(due_at);
        }
        assert_eq!(delays, [30, 120, 600, 1_800, 7_200, 14_400, 28_800]);
        assert!(world.now().since(start) > seconds(14 * 3_600));
        let failed = world.deliveries_of(told.id).await.remove(0);
        assert_eq!((failed.status, failed.attempts), (DeliveryStatus::Failed, 8));

        let again = world.retry_delivery(failed.id).await.unwrap();
        assert_eq!((again.status, again.attempts, again.log.len()), (DeliveryStatus::Pending, 0, 8));
        assert_eq!(conflict(world.retry_delivery(failed.id).await), "delivery_not_over");
        let claimed = world.due().await.remove(0);
        world.end(&claimed, Answer::Deferred { detail: "busy".into(), retry_after: Some(seconds(3_600)) }).await;
        let delivery = world.delivery(failed.id).await;
        assert_eq!(delivery.due_at, Some(world.now() + seconds(3_600)), "a receiver may ask for more time");
    });
}

#[test]
fn what_no_time_mends_fails_at_once() {
    on_both(async |world| {
        world.channel("ops", json!({})).await;
        let told = world.tell("one").await;
        let claimed = world.due().await.remove(0);
        world.end(&claimed, Answer::Refused("status 404".into())).await;
        let failed = world.deliveries_of(told.id).await.remove(0);
        assert_eq!((failed.status, failed.attempts, failed.due_at), (DeliveryStatus::Failed, 1, None));
        assert_eq!(world.told().await.last().unwrap(), &told, "the notification is as it was");
    });
}

#[test]
fn a_flood_is_sent_at_a_pace_and_nothing_of_it_is_lost() {
    on_both(async |world| {
        world.channel("ops", json!({})).await;
        for number in 0..30 {
            world.tell(&format!("number {number}")).await;
        }
        let (start, mut sent) = (world.now(), Vec::new());
        while sent.len() < 30 {
            for claimed in world.due().await {
                world.end(&claimed, accepted()).await;
                sent.push((claimed.notification.notice.title.clone(), world.now()));
            }
            let next_at = world.look_at(0).await.next_at.unwrap();
            let due = world.number("select coalesce(min(due_at), 0) from channels").await;
            let due = wakeful_domain::time::Timestamp::from_micros(due);
            assert!(next_at > world.now());
            world.set_time(world.now().max(due));
        }
        let order: Vec<_> = (0..30).map(|number| format!("about number {number}")).collect();
        assert_eq!(sent.iter().map(|(title, _)| title.clone()).collect::<Vec<_>>(), order);
        let within = sent.iter().filter(|(_, at)| at.since(start) < seconds(60)).count();
        assert!((10..=20).contains(&within), "{within} in the first minute");
    });
}

#[test]
fn disabling_or_removing_a_channel_cancels_what_waits_for_it() {
    on_both(async |world| {
        let channel = world.channel("ops", json!({})).await;
        let (first, second) = (world.tell("one").await, world.tell("two").await);
        let claimed = world.due().await.remove(0);
        world.set_channel(channel, State::Disabled).await;
        assert_eq!(world.deliveries_of(second.id).await[0].status, DeliveryStatus::Cancelled);
        assert_eq!(world.through(world.tell("three").await.id).await, []);
        // What is on its way may arrive, and is not tried again if it does not.
        world.end(&claimed, deferred()).await;
        world.pass(seconds(60));
        assert!(world.due().await.is_empty());
        let called_off = world.deliveries_of(first.id).await.remove(0);
        assert_eq!(called_off.status, DeliveryStatus::Cancelled);
        assert_eq!(conflict(world.retry_delivery(called_off.id).await), "channel_off");
        world.set_channel(channel, State::Enabled).await;
        world.retry_delivery(called_off.id).await.unwrap();
        let arguments = (world.now(), channel);
        let write = world.db.write("remove", arguments, |tx, (now, id)| Box::pin(channels::remove(tx, *now, *id)));
        write.await.unwrap();
        assert_eq!(world.delivery(called_off.id).await.status, DeliveryStatus::Cancelled);
        assert!(world.incidents().await.is_empty(), "what is off is not the matter with anybody");
    });
}

#[test]
fn a_test_goes_through_its_channel_alone_and_once() {
    on_both(async |world| {
        let (channel, _) =
            (world.channel("ops", json!({ "min_level": "critical" })).await, world.channel("b", json!({})).await);
        let notice = Notice {
            company: world.company,
            kind: NotificationKind::Test,
            level: Level::Info,
            cause: None,
            title: "a test".into(),
            text: "of a channel".into(),
            metadata: json!({}),
            agent: None,
            run: None,
            schedule: None,
        };
        let arguments = (world.now(), world.id(), notice, channel);
        let write = world.db.write("test", arguments, |tx, (now, id, notice, channel)| {
            Box::pin(notifications::test(tx, *now, *id, notice, *channel))
        });
        let delivery = write.await.unwrap();
        let due = world.due().await;
        assert_eq!((due.len(), due[0].delivery.id), (1, delivery.id));
        world.end(&due[0], deferred()).await;
        assert_eq!(world.delivery(delivery.id).await.status, DeliveryStatus::Failed);
        assert!(world.incidents().await.is_empty());
    });
}
