//! The company's event stream: told with what happened, in order, and never missed or repeated by a cursor.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join, join_all};
use wakeful_domain::id::CompanyId;
use wakeful_store::Refusal;
use wakeful_store::ops::events::{self, Cursor, Event};

use crate::world::{World, on_both, seconds};

async fn after(world: &World, company: CompanyId, cursor: Cursor, limit: i64) -> Vec<Event> {
    let arguments = (company, cursor, limit);
    let read = world.db.read("events", arguments, |tx, (company, cursor, limit)| {
        Box::pin(events::after(tx, *company, *cursor, *limit))
    });
    read.await.unwrap()
}

/// The kinds of all events up to `last`. On PostgreSQL rows show once no older transaction is open.
async fn kinds_up_to(world: &World, last: &str, count: usize) -> Vec<String> {
    let wait = async {
        loop {
            let kinds: Vec<_> = after(world, world.company, Cursor::default(), 1_000)
                .await
                .into_iter()
                .map(|event| event.kind)
                .collect();
            if kinds.iter().filter(|kind| *kind == last).count() >= count {
                return kinds;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(seconds(20), wait).await.expect("the events come")
}

#[test]
fn the_life_of_a_wakeup_is_told_in_order() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.wake(agent).await;
        world.fail(&world.claim().await.run, "killed").await;
        world.pass(seconds(120));
        world.tick().await;
        world.succeed(&world.claim().await.run).await;
        let kinds = kinds_up_to(world, "run.finished", 2).await;
        let expected = [
            "agent.status",
            "wakeup.accepted",
            "wakeup.claimed",
            "run.starting",
            "wakeup.retry_scheduled",
            "run.finished",
            "wakeup.claimed",
            "run.starting",
            "wakeup.completed",
            "run.finished",
        ];
        assert_eq!(kinds, expected);
    });
}

#[test]
fn a_refused_operation_tells_nothing() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let wakeup = world.wake(agent).await;
        world.claim().await;
        world.cancel(wakeup).await.unwrap_err();
        world.task("the last").await;
        let kinds = kinds_up_to(world, "task.created", 1).await;
        assert!(!kinds.iter().any(|kind| kind == "wakeup.cancelled"), "{kinds:?}");
    });
}

const WRITERS: usize = 8;
const EVENTS_EACH: usize = 40;

/// Several events in one transaction, now and then rolled back; tells what was committed.
async fn write_many(world: &World, writer: usize) -> Vec<String> {
    let mut committed = Vec::new();
    for n in 0..EVENTS_EACH {
        let fails = n % 7 == 3;
        let subject = format!("{writer}-{n}");
        let arguments = (world.now(), world.company, subject.clone(), fails);
        let written = world.db.write("append", arguments, |tx, (now, company, subject, fails)| {
            Box::pin(async move {
                for part in ["x", "y"] {
                    let subject = format!("{subject}{part}");
                    events::append(tx, *company, *now, "test", &subject, &serde_json::json!({})).await?;
                }
                if *fails { Err(Refusal::invalid("x", "no")) } else { Ok(()) }
            })
        });
        assert_eq!(written.await.is_err(), fails);
        if !fails {
            committed.extend([format!("{subject}x"), format!("{subject}y")]);
        }
    }
    committed
}

#[test]
fn a_reader_with_a_cursor_misses_and_repeats_nothing_while_others_write() {
    on_both(async |world| {
        let total = AtomicUsize::new(usize::MAX);
        let read = async {
            let mut seen: Vec<String> = Vec::new();
            let mut cursor = Cursor::default();
            while seen.len() < total.load(Ordering::SeqCst) {
                for event in after(world, world.company, cursor, 7).await {
                    assert!(Cursor::from(event.id) > cursor, "the cursor rises");
                    cursor = Cursor::from(event.id);
                    seen.push(event.subject);
                }
                tokio::task::yield_now().await;
            }
            seen
        };
        let write = async {
            let written = join_all((0..WRITERS).map(|writer| write_many(world, writer))).await.concat();
            total.store(written.len(), Ordering::SeqCst);
            written
        };
        // What counts the events of all companies for `/metrics` reads by the same rule.
        let count = async {
            let (mut counted, mut cursor) = (0, Cursor::default());
            while counted < total.load(Ordering::SeqCst) {
                let read = world.db.read("fates", cursor, |tx, cursor| Box::pin(events::fates_after(tx, *cursor, 7)));
                for told in read.await.unwrap() {
                    assert!(told.cursor > cursor, "the cursor rises");
                    cursor = told.cursor;
                    counted += usize::from(told.kind == "test");
                }
                tokio::task::yield_now().await;
            }
            counted
        };
        let all = join(join(read, count), write);
        let ((mut seen, counted), mut written) = tokio::time::timeout(seconds(60), all).await.unwrap();
        assert_eq!(counted, written.len());
        assert!(after(world, world.company, Cursor::default(), 1).await.len() == 1);
        seen.sort();
        written.sort();
        assert_eq!(seen, written);
    });
}

#[test]
fn a_reader_that_starts_at_the_end_sees_only_what_comes_later() {
    on_both(async |world| {
        world.task("before").await;
        kinds_up_to(world, "task.created", 1).await;
        let company = world.company;
        let end = world.db.read("last", company, |tx, id| Box::pin(events::last(tx, *id))).await.unwrap();
        assert!(after(world, company, end, 10).await.is_empty());
        let task = world.task("after").await;
        kinds_up_to(world, "task.created", 2).await;
        let later = after(world, company, end, 10).await;
        assert_eq!(later.iter().map(|event| event.subject.clone()).collect::<Vec<_>>(), [task.to_string()]);
        let other = world.company("other", 5).await;
        assert!(after(world, other, Cursor::default(), 10).await.is_empty(), "streams are apart");
    });
}
