//! What is old goes and what something keeps stays, on both engines; every invariant holds after each bite.

use wakeful_domain::id::{RunId, WakeupId};
use wakeful_domain::run::Run;
use wakeful_domain::subscription::Source;
use wakeful_domain::task::WakeParent;
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::events::{self as stream, Cursor};
use wakeful_store::ops::request_keys::{self, RequestKey};
use wakeful_store::ops::restore::{self, Fence};
use wakeful_store::ops::retention::events::Found;
use wakeful_store::ops::retention::kinds::{self, Key, Kind, Look};
use wakeful_store::ops::retention::{BITE, events, logs, pin};
use wakeful_store::ops::run_events::NewRunEvent;
use wakeful_store::ops::{mail, run_events, runs};

use crate::world::{World, on_both, seconds};

const DAY: u64 = 86_400;

impl World {
    /// When it was so many days ago.
    fn days_ago(&self, count: u64) -> Timestamp {
        Timestamp::from_micros(self.now().as_micros() - i64::try_from(count * DAY * 1_000_000).unwrap())
    }

    async fn old_rows(&self, kind: Kind, cut: Timestamp, after: Option<Key>) -> Look {
        let arguments = (kind, cut, after);
        let look = self
            .db
            .read("look", arguments, |tx, (kind, cut, after)| Box::pin(kinds::look(tx, *kind, *cut, after.as_ref())));
        look.await.unwrap()
    }

    /// What keeps the rows of a kind that were made before `cut`, and how many nothing keeps.
    async fn kept(&self, kind: Kind, cut: Timestamp) -> (usize, Vec<(String, u64)>) {
        let (mut free, mut kept, mut after) = (0, std::collections::BTreeMap::new(), None);
        loop {
            let look = self.old_rows(kind, cut, after).await;
            free += look.free.len();
            look.kept.into_iter().for_each(|(reason, count)| *kept.entry(reason).or_default() += count);
            after = look.next;
            if after.is_none() {
                return (free, kept.into_iter().collect());
            }
        }
    }

    /// Removes all of a kind that nothing keeps, bite by bite, and checks the invariants after each.
    async fn collect(&self, kind: Kind, cut: Timestamp) -> u64 {
        let (mut removed, mut after) = (0, None);
        loop {
            let look = self.old_rows(kind, cut, after).await;
            for bite in look.free.chunks(BITE) {
                loop {
                    let arguments = (kind, cut, bite.to_vec());
                    let done = self.db.write("remove", arguments, |tx, (kind, cut, bite)| {
                        Box::pin(kinds::remove(tx, *kind, *cut, bite))
                    });
                    let done = done.await.unwrap();
                    removed += done.rows;
                    self.assert_sound().await;
                    if !done.is_partial {
                        break;
                    }
                }
            }
            after = look.next;
            if after.is_none() {
                return removed;
            }
        }
    }

    async fn collect_all(&self, cut: Timestamp) {
        for kind in Kind::ALL {
            self.collect(*kind, cut).await;
        }
    }

    /// A run that has succeeded, and its wakeup.
    async fn done(&self, name: &str) -> (Run, WakeupId) {
        let agent = self.agent(name).await;
        let wakeup = self.wake(agent).await;
        (self.succeed(&self.claim().await.run).await, wakeup)
    }

    async fn pin(&self, run: RunId, is_pinned: bool) {
        let arguments = (self.now(), run, is_pinned);
        let pin = self.db.write("pin", arguments, |tx, (now, run, is)| Box::pin(pin(tx, *now, *run, *is)));
        pin.await.unwrap();
    }

    async fn has_run(&self, run: RunId) -> bool {
        self.db.read("run", run, |tx, run| Box::pin(runs::get(tx, *run))).await.is_ok()
    }

    /// What a reader finds, once all is told. On PostgreSQL rows show once no older transaction is open, of any database.
    async fn found_behind(&self, cursor: Cursor) -> Found {
        let told = async {
            while self.number("select count(*) from events where not ({committed})").await > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(seconds(20), told).await.expect("the events come");
        let arguments = (self.company, cursor);
        let read = self
            .db
            .read("after", arguments, |tx, (company, cursor)| Box::pin(events::after(tx, *company, *cursor, 200)));
        read.await.unwrap()
    }

    async fn has_wakeup(&self, id: WakeupId) -> bool {
        self.number(&format!("select count(*) from wakeups where id = '{id}'")).await == 1
    }
}

#[test]
fn an_old_run_goes_with_its_events_and_its_wakeups_and_a_young_one_stays() {
    on_both(async |world| {
        let (old, old_wakeup) = world.done("old").await;
        world.pass(seconds(10 * DAY));
        let (young, young_wakeup) = world.done("young").await;
        let cut = world.days_ago(5);
        assert_eq!(world.kept(Kind::Runs, cut).await, (1, vec![]));
        assert_eq!(world.kept(Kind::Wakeups, cut).await, (0, vec![("run".to_owned(), 1)]));
        world.collect_all(cut).await;
        assert!(!world.has_run(old.id).await && !world.has_wakeup(old_wakeup).await);
        assert!(world.has_run(young.id).await && world.has_wakeup(young_wakeup).await);
        for table in ["run_events", "batches"] {
            let left = world.number(&format!("select count(*) from {table} where run_id = '{}'", old.id)).await;
            assert_eq!(left, 0, "{table}");
        }
        assert_eq!(world.number("select count(*) from removed_runs").await, 1, "its directory is still to go");
        let found = world.db.read("removed", (), |tx, ()| Box::pin(logs::removed(tx, None))).await.unwrap();
        assert_eq!(found, [old.id]);
        world.db.write("forget", found, |tx, runs| Box::pin(logs::forget(tx, runs))).await.unwrap();
        assert_eq!(world.number("select count(*) from removed_runs").await, 0);
    });
}

#[test]
fn what_is_live_or_waits_or_is_pinned_never_goes() {
    on_both(async |world| {
        let live_agent = world.agent("live").await;
        let live_wakeup = world.wake(live_agent).await;
        let live = world.claim().await.run;
        let behind = world.wake(live_agent).await;
        let (pinned, pinned_wakeup) = world.done("pinned").await;
        world.pin(pinned.id, true).await;
        let again = world.agent("again").await;
        let tried_again = world.wake(again).await;
        let failed = world.fail(&world.claim().await.run, "killed").await;
        world.pass(seconds(1_000 * DAY));
        let cut = world.days_ago(1);
        let reasons = [("live", 1), ("pinned", 1), ("wakeup", 1)].map(|(reason, count)| (reason.to_owned(), count));
        assert_eq!(world.kept(Kind::Runs, cut).await, (0, reasons.to_vec()));
        world.collect_all(cut).await;
        for run in [live.id, pinned.id, failed.id] {
            assert!(world.has_run(run).await);
        }
        for wakeup in [live_wakeup, behind, pinned_wakeup, tried_again] {
            assert!(world.has_wakeup(wakeup).await);
        }
        world.pin(pinned.id, false).await;
        world.collect_all(cut).await;
        assert!(!world.has_run(pinned.id).await && !world.has_wakeup(pinned_wakeup).await);
    });
}

#[test]
fn a_run_with_very_many_events_goes_in_bites_and_has_no_gap_in_between() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        for _ in 0..12 {
            let arguments = (world.now(), run.id);
            let many = world.db.write("events", arguments, |tx, (now, run)| {
                Box::pin(async move {
                    for number in 0..100 {
                        let event = NewRunEvent::plain("note", format!("{number}"), serde_json::json!({}));
                        run_events::append(tx, *run, *now, &event).await?;
                    }
                    Ok(())
                })
            });
            many.await.unwrap();
        }
        world.succeed(&run).await;
        world.pass(seconds(10 * DAY));
        let cut = world.days_ago(5);
        let look = world.old_rows(Kind::Runs, cut, None).await;
        let arguments = (cut, look.free);
        let bite = world
            .db
            .write("bite", arguments, |tx, (cut, keys)| Box::pin(kinds::remove(tx, Kind::Runs, *cut, keys)))
            .await
            .unwrap();
        assert!(bite.is_partial && bite.rows == 0 && world.has_run(run.id).await);
        world.assert_sound().await;
        assert_eq!(world.collect(Kind::Runs, cut).await, 1);
        assert_eq!(world.number("select count(*) from run_events").await, 0);
    });
}

#[test]
fn an_idempotency_key_outlives_its_horizon_and_no_longer() {
    on_both(async |world| {
        let key = RequestKey { key: "k".into(), request_hash: "h".into() };
        let arguments = (world.now(), world.company, key);
        let keep = world.db.write("keep", arguments, |tx, (now, company, key)| {
            Box::pin(request_keys::keep(tx, *now, Some(*company), key, "it"))
        });
        keep.await.unwrap();
        world.pass(seconds(2 * DAY));
        assert_eq!(world.collect(Kind::Keys, world.days_ago(3)).await, 0);
        assert_eq!(world.collect(Kind::Keys, world.days_ago(1)).await, 1);
    });
}

#[test]
fn the_newest_are_counted_from_the_end() {
    on_both(async |world| {
        let mut made = Vec::new();
        for number in 0..4 {
            world.pass(seconds(60));
            made.push(world.done(&format!("a{number}")).await.0);
        }
        let beyond = async |kind, number: u64| {
            let read = world
                .db
                .read("beyond", (kind, number), |tx, (kind, number)| Box::pin(kinds::beyond(tx, *kind, *number)));
            read.await.unwrap()
        };
        assert_eq!(beyond(Kind::Runs, 4).await, None);
        assert_eq!(beyond(Kind::Runs, 1).await, Some(made[2].created_at));
        assert_eq!(beyond(Kind::Mail, 0).await, None);
    });
}

#[test]
fn a_reader_behind_events_that_are_gone_is_told_of_the_gap_once() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        let seen: Cursor = world.found_behind(Cursor::default()).await.events[0].id.into();
        for _ in 0..3 {
            world.wake(agent).await;
        }
        world.pass(seconds(40 * DAY));
        world.wake(agent).await;
        let cut = world.days_ago(30);
        // A clock that was wrong for a moment holds nothing up.
        world
            .sql(&format!("update events set at = {} where seq = (select min(seq) from events)", i64::MAX / 4))
            .await
            .unwrap();
        let arguments = (world.now(), cut);
        let count = world.db.read("count", arguments, |tx, (now, cut)| Box::pin(events::count(tx, *now, *cut)));
        let (count, oldest_kept) = count.await.unwrap();
        let remove = async || {
            let remove = world.db.write("remove", arguments, |tx, (now, cut)| Box::pin(events::remove(tx, *now, *cut)));
            remove.await.unwrap()
        };
        assert!(count > 3 && oldest_kept == Some(world.now()));
        assert_eq!((remove().await, remove().await), (count, 0));
        let found = world.found_behind(seen).await;
        let gap: Cursor = found.gap.expect("a gap").into();
        assert!(gap > seen && found.events.iter().all(|event| event.at > cut && Cursor::from(event.id) > gap));
        assert!(world.found_behind(gap).await.gap.is_none(), "told once");
        assert!(world.found_behind(Cursor::default()).await.gap.is_none(), "who asks for what is there misses nothing");
        let kept = world
            .db
            .read("all", world.company, |tx, company| Box::pin(stream::after(tx, *company, Cursor::default(), 200)));
        assert_eq!(kept.await.unwrap().len(), found.events.len());
    });
}

#[test]
fn a_reader_whose_store_was_replaced_is_told_of_the_gap_and_goes_on() {
    on_both(async |world| {
        world.wake(world.agent("a").await).await;
        // As a store that has come further would have numbered them.
        world.sql("update events set seq = seq + 1000000").await.unwrap();
        let ahead: Cursor = world.found_behind(Cursor::default()).await.events.last().unwrap().id.into();
        world.sql("update events set seq = seq - 1000000").await.unwrap();
        let found = world.found_behind(ahead).await;
        let gap: Cursor = found.gap.expect("a gap").into();
        assert!(gap < ahead && found.events.is_empty());
        world.wake(world.agent("b").await).await;
        let found = world.found_behind(gap).await;
        assert!(found.gap.is_none() && found.events.iter().any(|event| event.kind == "wakeup.accepted"));
    });
}

#[test]
fn bodies_of_logs_go_before_their_runs_and_pinned_ones_stay() {
    on_both(async |world| {
        let (old, _) = world.done("old").await;
        let (pinned, _) = world.done("pinned").await;
        world.pin(pinned.id, true).await;
        world.pass(seconds(40 * DAY));
        let (young, _) = world.done("young").await;
        let cut = world.days_ago(30);
        let find = async || world.db.read("old", cut, |tx, cut| Box::pin(logs::old(tx, *cut, None))).await.unwrap();
        assert_eq!(find().await, [old.id]);
        let arguments = (world.now(), vec![old.id, pinned.id, young.id]);
        let marked = world.db.write("mark", arguments, |tx, (now, runs)| Box::pin(logs::mark(tx, *now, &runs[..2])));
        assert_eq!(marked.await.unwrap(), [old.id]);
        assert!(find().await.is_empty());
        assert_eq!(world.get_run(old.id).await.log_removed_at, Some(world.now()));
        assert_eq!(world.get_run(pinned.id).await.log_removed_at, None);
        // Until its file is gone too it is named, and as a log, not as a directory of a run that is gone.
        let left = async || world.db.read("left", (), |tx, ()| Box::pin(logs::left(tx, None))).await.unwrap();
        assert_eq!(left().await, [old.id]);
        let removed = world.db.read("removed", (), |tx, ()| Box::pin(logs::removed(tx, None)));
        assert!(removed.await.unwrap().is_empty());
        let forget = world.db.write("forget", vec![old.id], |tx, runs| Box::pin(logs::forget(tx, runs)));
        forget.await.unwrap();
        assert!(left().await.is_empty());
    });
}

#[test]
fn mail_that_was_read_slots_notifications_and_subscriptions_go_and_what_waits_of_them_stays() {
    on_both(async |world| {
        let (ann, bob) = (world.agent("ann").await, world.agent("bob").await);
        // Bob's mail stays unread.
        let unread = world.send(world.origin(), world.letter(bob)).await.unwrap();
        let read = world.send(world.origin(), world.letter(ann)).await.unwrap();
        let arguments = (world.now(), read.id);
        let acknowledge =
            world.db.write("ack", arguments, |tx, (now, id)| Box::pin(mail::acknowledge_outside(tx, *now, *id)));
        acknowledge.await.unwrap();
        let ended = world.subscribe(ann, Source::Topic("over".into())).await;
        world
            .sql(&format!(
                "update subscriptions set ended_at = {}, end_reason = 'removed' where id = '{}'",
                world.now().as_micros(),
                ended.id
            ))
            .await
            .unwrap();
        world.sql("update companies set open_subscriptions = 0").await.unwrap();
        let open = world.subscribe(ann, Source::Topic("goes on".into())).await;
        world.tell("something").await;
        let target = serde_json::json!({ "wake": { "agent": ann } });
        let schedule = world
            .insert_schedule(world.draft_schedule("hourly", serde_json::json!({ "every": "1h" }), target))
            .await
            .unwrap();
        for _ in 0..3 {
            world.pass(seconds(3_600));
            world.fire().await;
        }
        assert_eq!(world.slots(schedule.id).await.len(), 3);
        world.pass(seconds(100 * DAY));
        let cut = world.days_ago(90);
        let reasons = |list: &[(&str, u64)]| {
            list.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect::<Vec<_>>()
        };
        assert_eq!(world.kept(Kind::Mail, cut).await, (1, reasons(&[("unread", 1)])));
        assert_eq!(world.kept(Kind::Subscriptions, cut).await, (1, reasons(&[("live", 1)])));
        assert_eq!(world.kept(Kind::Notifications, cut).await, (1, vec![]));
        assert_eq!(world.kept(Kind::Receipts, cut).await, (0, vec![]));
        // Its wakeup waits, and counts the fires after it.
        let (_, kept) = world.kept(Kind::Slots, cut).await;
        assert_eq!(kept.iter().map(|(_, count)| count).sum::<u64>(), 3, "{kept:?}");
        for wakeup in world.wakeups_of(ann).await {
            if wakeup.status == wakeful_domain::wakeup::WakeupStatus::Pending {
                world.cancel(wakeup.id).await.unwrap();
            }
        }
        world.pass(seconds(100 * DAY));
        let cut = world.days_ago(90);
        world.collect_all(cut).await;
        assert_eq!(world.slots(schedule.id).await.len(), 1, "the newest stays");
        assert_eq!(world.number("select count(*) from messages").await, 1);
        assert_eq!(world.number(&format!("select count(*) from messages where id = '{}'", unread.id)).await, 1);
        assert_eq!(world.number(&format!("select count(*) from subscriptions where id = '{}'", open.id)).await, 1);
        assert_eq!(world.number("select count(*) from subscriptions").await, 1);
        assert_eq!(world.told().await.len(), 0);
        // The schedule goes on, and nothing fires a second time.
        world.fire().await;
        world.assert_sound().await;
    });
}

#[test]
fn a_wake_that_is_kept_for_an_assignee_outlives_the_wakeup_that_it_stands_for() {
    on_both(async |world| {
        let (ann, bob, carl) = (world.agent("ann").await, world.agent("bob").await, world.agent("carl").await);
        let parent = world.parent_of(Some(ann)).await;
        world.child_of(parent, bob, WakeParent::Each).await;
        world.succeed(&world.claim_of(bob).await).await;
        assert_eq!(world.heard(ann).await.len(), 1);
        world.assign(parent, None).await;
        world.pass(seconds(200 * DAY));
        world.collect_all(world.days_ago(100)).await;
        assert_eq!(world.heard(ann).await.len(), 0, "it was called off, and is old");
        world.assign(parent, Some(carl)).await;
        assert_eq!(world.heard(carl).await.len(), 1);
    });
}

#[test]
fn a_restored_store_knows_only_the_numbers_of_the_events_that_are_gone() {
    on_both(async |world| {
        world.done("old").await;
        world.pass(seconds(40 * DAY));
        let arguments = (world.now(), world.days_ago(30));
        let remove = world.db.write("remove", arguments, |tx, (now, cut)| Box::pin(events::remove(tx, *now, *cut)));
        assert!(remove.await.unwrap() > 0);
        let fence = Fence { now: world.now(), id_seed: 3, taken_at: None, replaced: None };
        world.db.write("fence", fence, |tx, fence| Box::pin(restore::fence(tx, fence))).await.unwrap();
        // As in another cluster, whose transactions have smaller numbers than any before.
        let last =
            world.db.read("last", world.company, |tx, company| Box::pin(stream::last(tx, *company))).await.unwrap();
        assert_eq!(
            world
                .number("select count(*) from meta where key = 'events_removed' and value not like '%\"txid\":0%'")
                .await,
            0
        );
        world.done("new").await;
        assert!(world.found_behind(last).await.gap.is_none());
    });
}
