//! Mail: whom it wakes, when it is read, and its limits.

use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::{AgentId, MessageId, TaskId};
use wakeful_domain::mail::{Message, MessageKind, UNREAD_MAX};
use wakeful_domain::run::Run;
use wakeful_domain::task::TaskStatus;
use wakeful_domain::wakeup::{Source, WakeupStatus};
use wakeful_store::Refusal;
use wakeful_store::ops::inbox::{self, AcknowledgeRequest, Acknowledgement};
use wakeful_store::ops::mail::{self, MailFilter, NewMessage};
use wakeful_store::ops::notifications;
use wakeful_store::ops::origin::Origin;

use crate::assignments::assert_invalid;
use crate::wishes::{batch, cancelled};
use crate::world::{World, conflict, on_both, seconds};

impl World {
    pub fn letter(&self, to: AgentId) -> NewMessage {
        NewMessage {
            id: self.id(),
            company: self.company,
            to: Some(to),
            subject: "The door".into(),
            body: "is it red?".into(),
            thread: None,
            kind: MessageKind::Note,
            task: None,
        }
    }

    pub async fn send(&self, origin: Origin, new: NewMessage) -> Result<Message, Refusal> {
        self.db.write("send", (origin, new), |tx, (origin, new)| Box::pin(mail::send(tx, origin, new))).await
    }

    async fn write_to(&self, to: AgentId) -> Message {
        self.send(self.origin(), self.letter(to)).await.unwrap()
    }

    async fn message(&self, id: MessageId) -> Message {
        self.db.read("message", id, |tx, id| Box::pin(mail::get(tx, *id))).await.unwrap()
    }

    async fn unread(&self, run: &Run) -> Vec<MessageId> {
        let found = self.db.read("unread", run.clone(), |tx, run| Box::pin(mail::unread_of_run(tx, run))).await;
        found.unwrap().into_iter().map(|message| message.id).collect()
    }

    async fn read_in(&self, run: &Run, messages: &[MessageId]) -> Acknowledgement {
        let (messages, wakeups) = (messages.to_vec(), vec![]);
        let request = AcknowledgeRequest { now: self.now(), run: run.id, fence: run.fence, wakeups, messages };
        self.db.write("ack", request, |tx, request| Box::pin(inbox::acknowledge(tx, request))).await.unwrap()
    }
}

#[test]
fn mail_wakes_its_reader_and_is_read_when_the_run_succeeds() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let first = world.write_to(ann).await;
        world.pass(seconds(1));
        let second = world.write_to(ann).await;
        let claimed = world.claim().await;
        assert_eq!(batch(&claimed), [first.wakeup.unwrap(), second.wakeup.unwrap()], "each is a wakeup of its own");
        let told = &claimed.wakeups[0];
        assert_eq!((told.source, told.priority), (Source::Message, 70));
        assert_eq!(told.reason.as_deref(), Some("tester wrote to you: The door"));
        assert_eq!(told.payload["message"]["body"], "is it red?");
        assert_eq!(world.unread(&claimed.run).await, [first.id, second.id]);
        world.fail(&claimed.run, "exit_nonzero").await;
        assert_eq!(world.message(first.id).await.acked_at, None, "a run that failed has read nothing");
        world.pass(seconds(121));
        world.tick().await;
        let run = world.claim().await.run;
        world.succeed(&run).await;
        for id in [first.id, second.id] {
            let message = world.message(id).await;
            assert_eq!((message.acked_at, message.acked_by), (Some(world.now()), Some(run.id)));
        }
    });
}

#[test]
fn a_message_and_its_wakeup_are_acknowledged_together_and_share_the_runs_end() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        world.wake(ann).await;
        let run = world.claim().await.run;
        let by_mail = world.write_to(ann).await;
        world.pass(seconds(1));
        let by_wakeup = world.write_to(ann).await;
        assert_eq!(world.unread(&run).await, [by_mail.id, by_wakeup.id]);
        for _ in 0..2 {
            assert_eq!(world.read_in(&run, &[by_mail.id]).await.read, [by_mail.id], "twice is once");
        }
        world.acknowledge(&run, &[by_wakeup.wakeup.unwrap()]).await;
        for message in [&by_mail, &by_wakeup] {
            assert_eq!(world.message(message.id).await.acked_by, Some(run.id));
            assert_eq!(world.status(message.wakeup.unwrap()).await, WakeupStatus::Claimed);
        }
        assert!(world.unread(&run).await.is_empty());
        world.fail(&run, "exit_nonzero").await;
        for message in [&by_mail, &by_wakeup] {
            assert_eq!(world.message(message.id).await.acked_at, None, "it is read by whoever succeeds");
            assert_eq!(world.status(message.wakeup.unwrap()).await, WakeupStatus::Pending);
        }
    });
}

#[test]
fn mail_comes_on_the_lane_of_its_task_and_what_nothing_brings_any_more_in_any_run() {
    on_both(async |world| {
        let ann = world.agent_with("ann", |agent| agent.max_concurrent_runs = 2).await;
        let task = world.task("Paint").await;
        let about = async |task: TaskId| {
            world.send(world.origin(), NewMessage { task: Some(task), ..world.letter(ann) }).await.unwrap()
        };
        let message = about(task).await;
        assert_eq!(world.wakeup(message.wakeup.unwrap()).await.task, Some(task));
        world.wake(ann).await;
        let runs = world.claim_some(2).await;
        let of = |task| &runs.iter().find(|claimed| claimed.run.task == task).unwrap().run;
        assert!(world.unread(of(None)).await.is_empty(), "the other run has it");
        assert_eq!(world.unread(of(Some(task))).await, [message.id]);
        assert_eq!(world.read_in(of(None), &[message.id]).await.unread, [(message.id, "other_lane")]);
        world.finish(of(Some(task)), cancelled()).await;
        assert_eq!(world.unread(of(None)).await, [message.id], "its wakeup is over, unread");
        world.set_status(task, TaskStatus::Done).await;
        let late = about(task).await;
        assert_eq!(world.wakeup(late.wakeup.unwrap()).await.status_reason.as_deref(), Some("task_closed"));
        assert_eq!(world.read_in(of(None), &[message.id, late.id]).await.read, [message.id, late.id]);
    });
}

#[test]
fn a_message_to_a_busy_or_paused_agent_waits_for_it() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        world.agent_event(ann, AgentEvent::Pause).await.unwrap();
        let message = world.write_to(ann).await;
        assert!(world.claim_any().await.is_none());
        world.agent_event(ann, AgentEvent::Resume).await.unwrap();
        assert_eq!(batch(&world.claim().await), [message.wakeup.unwrap()]);
    });
}

#[test]
fn who_has_too_much_to_read_gets_no_more_until_it_is_read() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        for _ in 0..UNREAD_MAX {
            world.write_to(ann).await;
        }
        match world.send(world.origin(), world.letter(ann)).await {
            Err(Refusal::TooMany { code, .. }) => assert_eq!(code, "mailbox_full"),
            other => panic!("not refused: {other:?}"),
        }
        world.write_to(bob).await;
        let run = world.claim_some(2).await.into_iter().find(|claimed| claimed.run.agent == ann).unwrap().run;
        world.succeed(&run).await;
        world.write_to(ann).await;
    });
}

#[test]
fn what_makes_no_sense_is_refused_by_its_field() {
    on_both(async |world| {
        let (ann, gone) = (world.agent("ann").await, world.agent("gone").await);
        world.agent_event(gone, AgentEvent::Terminate).await.unwrap();
        let other = world.company("other", 5).await;
        let foreign = world.agent_with("x", |agent| agent.company = other).await;
        for to in [gone, foreign, world.id()] {
            assert_invalid(world.send(world.origin(), world.letter(to)).await, "to");
        }
        assert_invalid(world.send(world.as_agent(ann, None), world.letter(ann)).await, "to");
        let unknown = NewMessage { task: Some(world.id()), ..world.letter(ann) };
        assert_invalid(world.send(world.origin(), unknown).await, "task");
        let bob = world.agent("bob").await;
        let secret = world.write_to(bob).await;
        let intruding = NewMessage { thread: Some(secret.id), ..world.letter(bob) };
        assert_invalid(world.send(world.as_agent(ann, None), intruding).await, "thread");
        let answer = NewMessage { to: None, thread: Some(secret.id), ..world.letter(ann) };
        assert_eq!(world.send(world.as_agent(bob, None), answer).await.unwrap().thread, secret.id);
    });
}

#[test]
fn a_nudge_is_for_a_live_run_wakes_nobody_and_ends_with_it() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let nudge = || NewMessage { kind: MessageKind::Nudge, ..world.letter(ann) };
        assert_eq!(conflict(world.send(world.origin(), nudge()).await), "no_live_run");
        world.wake(ann).await;
        let run = world.claim().await.run;
        let (first, second) = (world.send(world.origin(), nudge()).await, world.send(world.origin(), nudge()).await);
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!((first.wakeup, world.unread(&run).await), (None, vec![first.id, second.id]));
        world.read_in(&run, &[first.id]).await;
        world.succeed(&run).await;
        assert!(world.message(second.id).await.lapsed_at.is_some() && world.claim_any().await.is_none());
    });
}

impl World {
    async fn acknowledge_outside(&self, id: MessageId) -> Message {
        let arguments = (self.now(), id);
        let write = self.db.write("ack", arguments, |tx, (now, id)| Box::pin(mail::acknowledge_outside(tx, *now, *id)));
        write.await.unwrap()
    }
}

#[test]
fn what_somebody_else_has_acknowledged_meanwhile_is_not_tried_again() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let (read, unread) = (world.write_to(ann).await, world.write_to(ann).await);
        let run = world.claim().await.run;
        world.acknowledge_outside(read.id).await;
        world.fail(&run, "network").await;
        let fate = async |message: &Message| world.wakeup(message.wakeup.unwrap()).await;
        let called_off = fate(&read).await;
        assert_eq!(called_off.status, WakeupStatus::Cancelled);
        assert_eq!(called_off.status_reason.as_deref(), Some("acknowledged"));
        assert_eq!(fate(&unread).await.status, WakeupStatus::Pending);
    });
}

#[test]
fn mail_to_people_is_a_notification_and_whoever_acknowledges_from_outside_calls_the_wakeup_off() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let letter = NewMessage { to: None, ..world.letter(ann) };
        let sent = world.send(world.as_agent(ann, None), letter).await.unwrap();
        let company = world.company;
        let told =
            world.db.read("told", company, |tx, company| Box::pin(notifications::list(tx, *company, true, None, 10)));
        let told = told.await.unwrap().items;
        assert_eq!((told.len(), told[0].notice.title.as_str()), (1, "ann: The door"));
        assert!(world.acknowledge_outside(sent.id).await.acked_at.is_some());
        let to_ann = world.write_to(ann).await;
        assert!(world.acknowledge_outside(to_ann.id).await.acked_at.is_some());
        let wakeup = world.wakeup(to_ann.wakeup.unwrap()).await;
        assert_eq!((wakeup.status, wakeup.status_reason.as_deref()), (WakeupStatus::Cancelled, Some("acknowledged")));
        assert!(world.claim_any().await.is_none());
        let filter = MailFilter {
            company,
            party: Some(ann),
            to: None,
            from: None,
            thread: None,
            task: None,
            only_unread: false,
        };
        let page = world.db.read("list", filter, |tx, filter| Box::pin(mail::list(tx, filter, None, 50))).await;
        assert_eq!(page.unwrap().items.len(), 2, "what it has sent and what it was sent");
    });
}
