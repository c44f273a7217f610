//! What the engines owe every operation: all or nothing, neighbours undisturbed, panics contained, old schemas only.

use std::time::Duration;

use futures_util::future::join_all;
use wakeful_store::ops::meta;
use wakeful_store::{Db, Error, Operation, Refusal, Value};

use crate::world::{Engine, World, on, on_both, seconds};

/// What a write does after it has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Succeed,
    Refuse,
    /// Refuses without having written.
    RefuseAtOnce,
    BreakTheEngine,
    Panic,
}

async fn put(world: &World, key: String, then: Then) -> Result<(), Refusal> {
    let operation: Operation<_, ()> = |tx, (key, then): &(String, Then)| {
        Box::pin(async move {
            if *then == Then::RefuseAtOnce {
                return Err(Refusal::invalid("x", "no"));
            }
            meta::put(tx, key, "here").await?;
            match then {
                Then::Succeed | Then::RefuseAtOnce => Ok(()),
                Then::Refuse => Err(Refusal::invalid("x", "no")),
                Then::BreakTheEngine => Ok(tx.execute("insert into nowhere values (1)", &[]).await.map(|_| ())?),
                Then::Panic => panic!("as the test asked"),
            }
        })
    };
    world.db.write("put", (key, then), operation).await
}

#[test]
fn an_operation_that_fails_after_a_write_leaves_nothing_and_disturbs_no_neighbour() {
    on_both(async |world| {
        let all = [Then::Succeed, Then::Refuse, Then::RefuseAtOnce, Then::BreakTheEngine, Then::Panic];
        let writes = (0..300).map(async |n: usize| {
            // Mostly successes, so that many share a commit with few failures.
            let then = if n.is_multiple_of(4) { all[(n / 4) % all.len()] } else { Then::Succeed };
            (n, then, put(world, format!("k{n}"), then).await)
        });
        for (n, then, answer) in join_all(writes).await {
            let key = format!("k{n}");
            let kept = world.db.read("get", key, |tx, key| Box::pin(meta::get(tx, key))).await.unwrap();
            assert_eq!(
                (answer.is_ok(), kept.is_some()),
                (then == Then::Succeed, then == Then::Succeed),
                "{n} {then:?}"
            );
        }
    });
}

#[test]
fn a_panicking_operation_is_an_error_and_the_next_one_works() {
    on_both(async |world| {
        for round in 0..40 {
            let answer = put(world, "k".into(), Then::Panic).await;
            assert!(matches!(answer, Err(Refusal::Store(Error::Panicked { name: "put" }))), "{answer:?}");
            put(world, format!("good{round}"), Then::Succeed).await.unwrap();
        }
        let read: Operation<(), ()> = |_, ()| Box::pin(async { panic!("as the test asked") });
        assert!(matches!(world.db.read("r", (), read).await, Err(Refusal::Store(Error::Panicked { .. }))));
        assert_eq!(world.number("select count(*) from meta").await, 40);
    });
}

#[test]
fn a_read_cannot_write() {
    on_both(async |world| {
        let write: Operation<(), ()> = |tx, ()| Box::pin(meta::put(tx, "k", "v"));
        assert!(matches!(world.db.read("sly", (), write).await, Err(Refusal::Store(Error::Engine { .. }))));
        assert_eq!(world.number("select count(*) from meta").await, 0);
    });
}

#[test]
fn an_operation_that_waits_for_something_else_is_broken_off() {
    on(Engine::Sqlite, async |world| {
        let wait: Operation<(), ()> = |tx, ()| {
            Box::pin(async {
                meta::put(tx, "k", "v").await?;
                tokio::task::yield_now().await;
                Ok(())
            })
        };
        assert!(matches!(world.db.write("idle", (), wait).await, Err(Refusal::Store(Error::Panicked { .. }))));
        assert_eq!(world.number("select count(*) from meta").await, 0);
    });
}

#[test]
fn a_caller_that_goes_away_does_not_break_the_store() {
    on_both(async |world| {
        for n in 0..20 {
            let write = put(world, format!("k{n}"), Then::Succeed);
            tokio::time::timeout(Duration::ZERO, write).await.ok();
        }
        tokio::time::timeout(seconds(20), put(world, "last".into(), Then::Succeed)).await.unwrap().unwrap();
    });
}

#[test]
fn a_store_that_is_opened_again_is_as_it_was() {
    on_both(async |world| {
        put(world, "k".into(), Then::Succeed).await.unwrap();
        let again = Db::open(&world.location).await.unwrap();
        assert_eq!(again.engine_name(), world.db.engine_name());
        let value = again.read("get", (), |tx, ()| Box::pin(meta::get(tx, "k"))).await.unwrap();
        assert_eq!(value.as_deref(), Some("here"));
    });
}

async fn refused(world: &World, change: &str) -> String {
    world.sql(change).await.unwrap();
    Db::open(&world.location).await.expect_err("it is refused").to_string()
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_says_so() {
    on_both(async |world| {
        let told = refused(world, "insert into schema_migrations (version, checksum) values (99, 'x')").await;
        assert!(told.contains("99") && told.contains("newer"), "{told}");
        world.sql("delete from schema_migrations where version = 99").await.unwrap();
        Db::open(&world.location).await.unwrap();
    });
}

#[test]
fn a_store_of_another_build_is_refused_and_says_so() {
    on_both(async |world| {
        let told = refused(world, "update schema_migrations set checksum = 'x' where version = 1").await;
        assert!(told.contains("migration 1"), "{told}");
    });
}

#[test]
fn numbers_texts_and_nulls_come_back_as_they_went() {
    on_both(async |world| {
        let echo: Operation<(), _> = |tx, ()| {
            Box::pin(async {
                let insert =
                    "insert into tokens (id, hash, name, kind, role, created_at) values ($1, $2, $3, '', '', $4)";
                tx.execute(insert, &["i".into(), "h".into(), "naïve 漢 '$1'".into(), Value::Int(i64::MIN)]).await?;
                let mut row = tx.query_one("select name, created_at, revoked_at from tokens", &[]).await?;
                Ok((row.get::<String>()?, row.get::<i64>()?, row.get::<Option<i64>>()?))
            })
        };
        let echoed = world.db.write("echo", (), echo).await.unwrap();
        assert_eq!(echoed, ("naïve 漢 '$1'".to_owned(), i64::MIN, None));
    });
}

#[test]
fn a_store_without_room_refuses_whole_operations_reads_on_and_takes_them_again_once_there_is_room() {
    // PostgreSQL's disk is not the test's to fill.
    on(Engine::Sqlite, async |world| {
        let pages = async |most: i64| {
            let set = world.db.write("pages", most, |tx, most| {
                Box::pin(
                    async move { Ok(tx.query(&format!("pragma max_page_count = {most}"), &[]).await.map(|_| ())?) },
                )
            });
            set.await.unwrap();
        };
        // No less than there are: not one more fits.
        pages(1).await;
        let large = "x".repeat(200_000);
        let writes = (0..20).map(async |n: usize| {
            let arguments = (format!("k{n}"), large.clone());
            let put = world.db.write("put", arguments, |tx, (key, value)| {
                Box::pin(async move {
                    meta::put(tx, &format!("{key}-small"), "s").await?;
                    meta::put(tx, key, value).await
                })
            });
            put.await
        });
        for refused in join_all(writes).await {
            assert!(matches!(refused, Err(Refusal::Store(Error::Full { .. }))), "{refused:?}");
        }
        let kept = world.number("select count(*) from meta where key like 'k%'").await;
        assert_eq!(kept, 0, "something was half written");
        pages(1_000_000).await;
        put(world, "again".into(), Then::Succeed).await.unwrap();
        assert_eq!(world.number("select count(*) from meta where key = 'again'").await, 1);
    });
}
