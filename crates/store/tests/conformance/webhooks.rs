//! Webhooks: what is told is entered once and wakes once; what is kept of it is bounded.

use futures_util::future::{join, join_all};
use serde_json::{Map, json};
use wakeful_domain::agent::AgentEvent;
use wakeful_domain::id::{AgentId, WebhookId};
use wakeful_domain::subscription::{EndReason, Source};
use wakeful_domain::webhook::{BODIES_MAX, RECEIPTS_MAX, Receipt, ReceiptStatus, Scheme, Webhook};
use wakeful_store::Refusal;
use wakeful_store::ops::receipts::{self, Received, Told, receive};
use wakeful_store::ops::secrets::Sealed;
use wakeful_store::ops::webhooks;

use crate::world::{World, conflict, on_both, seconds};

impl World {
    fn draft_webhook(&self, name: &str, agent: Option<AgentId>) -> Webhook {
        Webhook {
            id: self.id(),
            company: self.company,
            name: name.into(),
            scheme: Scheme::Bearer,
            agent,
            task: None,
            received: 0,
            refused: 0,
            last_received_at: None,
            last_refused_at: None,
            old_until: None,
            created_at: self.now(),
            updated_at: self.now(),
        }
    }

    async fn try_webhook(&self, webhook: Webhook) -> Result<Webhook, Refusal> {
        let arguments = (webhook, sealed("first"));
        self.db
            .write("webhook", arguments, |tx, (webhook, secret)| Box::pin(webhooks::insert(tx, webhook, secret)))
            .await
    }

    async fn webhook(&self, name: &str, agent: Option<AgentId>) -> WebhookId {
        self.try_webhook(self.draft_webhook(name, agent)).await.unwrap().id
    }

    fn telling(&self, webhook: WebhookId, key: Option<&str>) -> Told {
        Told {
            now: self.now(),
            id: self.id(),
            id_seed: self.origin().id_seed,
            webhook,
            delivery_key: key.map(str::to_owned),
            event: Some("push".into()),
            data: Map::from_iter([("event".into(), json!("push"))]),
            bytes: 2,
            replay_of: None,
        }
    }

    async fn take_in(&self, told: Told) -> Received {
        self.db.write("receive", told, |tx, told| Box::pin(receive(tx, told))).await.unwrap()
    }

    async fn receipt(&self, webhook: WebhookId, key: Option<&str>) -> Receipt {
        match self.take_in(self.telling(webhook, key)).await {
            Received::Kept(receipt) => receipt,
            Received::TooMany(wait) => panic!("too many, for {wait:?}"),
        }
    }

    async fn remove_webhook(&self, id: WebhookId) {
        let arguments = (self.now(), id);
        self.db.write("rm", arguments, |tx, (now, id)| Box::pin(webhooks::remove(tx, *now, *id))).await.unwrap();
    }
}

fn sealed(text: &str) -> Sealed {
    Sealed { text: text.into(), key_id: "k".into() }
}

#[test]
fn what_is_told_is_accepted_once_ignored_or_skipped() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        let hook = world.webhook("ci", Some(ann)).await;
        world.subscribe(bob, Source::Webhook(hook)).await;
        let first = world.receipt(hook, Some("d1")).await;
        assert_eq!((first.status, first.matched, first.wakeup.is_some()), (ReceiptStatus::Accepted, 1, true));
        let again = world.receipt(hook, Some("d1")).await;
        assert_eq!((again.status, again.repeats, again.has_data), (ReceiptStatus::Duplicate, Some(first.id), false));
        assert_eq!((world.wakeups_of(ann).await.len(), world.wakeups_of(bob).await.len()), (1, 1));
        let quiet = world.webhook("quiet", None).await;
        assert_eq!(world.receipt(quiet, None).await.status, ReceiptStatus::Ignored);
        let lone = world.webhook("lone", Some(ann)).await;
        world.agent_event(ann, AgentEvent::Terminate).await.unwrap();
        assert_eq!(world.receipt(lone, None).await.status, ReceiptStatus::Skipped);
        assert_eq!(world.receipt(hook, None).await.status, ReceiptStatus::Accepted, "the subscriber is there");
        let taken = world.try_webhook(world.draft_webhook("ci", None)).await;
        assert_eq!(conflict(taken), "webhook_exists");
    });
}

#[test]
fn the_same_delivery_at_the_same_moment_wakes_once() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        let hook = world.webhook("ci", Some(ann)).await;
        for round in 0..10 {
            let key = format!("d{round}");
            let receipts = join_all((0..5).map(|_| world.receipt(hook, Some(&key)))).await;
            let accepted = receipts.iter().filter(|one| one.status == ReceiptStatus::Accepted).count();
            assert_eq!(accepted, 1, "{receipts:?}");
            world.pass(seconds(1));
        }
        assert_eq!(world.wakeups_of(ann).await.len(), 10);
    });
}

#[test]
fn a_flood_waits_and_what_is_kept_is_bounded() {
    on_both(async |world| {
        let hook = world.webhook("ci", None).await;
        let mut kept = 0;
        while let Received::Kept(_) = world.take_in(world.telling(hook, None)).await {
            kept += 1;
        }
        assert_eq!(kept, 101, "a hundred beside the one that is due");
        world.pass(seconds(1));
        for _ in 0..10 {
            world.receipt(hook, None).await;
        }
        assert!(matches!(world.take_in(world.telling(hook, None)).await, Received::TooMany(_)));
        let many = format!(
            "insert into webhook_receipts (id, company_id, webhook_id, status, matched, bytes, data, at)
            with recursive n (i) as (select 1 union all select i + 1 from n where i < {RECEIPTS_MAX})
            select 'rcp_' || substr('00000000000000000000000000', length(cast(i as text)) + 1) || i, '', '{hook}', 'ignored', 0, 2, '{{}}', 1 from n"
        );
        world.sql(&many).await.unwrap();
        for _ in 0..BODIES_MAX + 5 {
            world.pass(seconds(1));
            world.receipt(hook, None).await;
        }
        let count = |what: &str| format!("select count({what}) from webhook_receipts");
        // One goes with each that comes; what was put there by hand had its data.
        assert!(world.number(&count("*")).await <= RECEIPTS_MAX + 1);
        let newest = format!(
            "select count(data) from (select data from webhook_receipts where webhook_id = '{hook}' order by id desc limit {}) as newest",
            BODIES_MAX + 5
        );
        assert_eq!(world.number(&newest).await, BODIES_MAX);
        world.remove_webhook(hook).await;
        assert_eq!(world.number(&count("*")).await, 0);
    });
}

#[test]
fn secrets_overlap_for_as_long_as_was_said() {
    on_both(async |world| {
        let hook = world.webhook("ci", None).await;
        let rotate = async |secret: &str, overlap: u64| {
            let arguments = (world.now(), hook, world.now() + seconds(overlap), sealed(secret));
            let rotated = world.db.write("rotate", arguments, |tx, (now, id, until, secret)| {
                Box::pin(webhooks::rotate(tx, *now, *id, *until, secret))
            });
            rotated.await.unwrap();
        };
        let working = async || {
            let arguments = (world.now(), hook);
            let found =
                world.db.read("secrets", arguments, |tx, (now, id)| Box::pin(webhooks::secrets(tx, *now, *id))).await;
            found.unwrap().unwrap().sealed.into_iter().map(|one| one.text).collect::<Vec<_>>()
        };
        assert_eq!(working().await, ["first"]);
        rotate("second", 60).await;
        assert_eq!(working().await, ["second", "first"]);
        world.pass(seconds(60));
        assert_eq!(working().await, ["second"]);
        rotate("third", 60).await;
        rotate("fourth", 60).await;
        assert_eq!(working().await, ["fourth", "third"], "one before, not all of them");
    });
}

#[test]
fn refused_callers_are_counted_but_not_each_of_a_flood() {
    on_both(async |world| {
        let hook = world.webhook("ci", None).await;
        for _ in 0..50 {
            let arguments = (world.now(), hook);
            let noted =
                world.db.write("refused", arguments, |tx, (now, id)| Box::pin(webhooks::note_refused(tx, *now, *id)));
            noted.await.unwrap();
        }
        assert_eq!(world.number("select refused from webhooks").await, 1);
        assert_eq!(world.number("select count(*) from webhook_receipts").await, 0);
    });
}

#[test]
fn whoever_waits_for_a_webhook_that_is_removed_is_told() {
    on_both(async |world| {
        let ann = world.agent("ann").await;
        for _ in 0..10 {
            let hook = world.webhook("ci", None).await;
            let first = world.subscribe(ann, Source::Webhook(hook)).await;
            let late = world.try_subscribe(world.draft_subscription(ann, Source::Webhook(hook)));
            let (late, ()) = join(late, world.remove_webhook(hook)).await;
            let mut waiting = vec![first];
            match late {
                Ok(declared) => waiting.push(declared.subscription),
                Err(Refusal::Invalid { field, .. }) => assert_eq!(field, "source.webhook"),
                Err(refusal) => panic!("{refusal}"),
            }
            for one in waiting {
                assert_eq!(world.subscription(one.id).await.end_reason, Some(EndReason::SourceOver));
            }
        }
    });
}

#[test]
fn what_is_no_longer_kept_cannot_be_told_once_more() {
    on_both(async |world| {
        let hook = world.webhook("ci", None).await;
        let receipt = world.receipt(hook, None).await;
        let contents =
            async || world.db.read("contents", receipt.id, |tx, id| Box::pin(receipts::contents(tx, *id))).await;
        assert_eq!(contents().await.unwrap()["event"], "push");
        world.sql("update webhook_receipts set data = null").await.unwrap();
        assert_eq!(conflict(contents().await), "body_gone");
    });
}
