//! A case: a fault, what must hold, and how it ended. Not here: the faults themselves (`cases`).

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

/// How much of a fault is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Seconds: part of `cargo xtask test`.
    Small,
    /// Minutes: what the table shows.
    Full,
}

impl Scale {
    pub fn of<T>(self, small: T, full: T) -> T {
        match self {
            Scale::Small => small,
            Scale::Full => full,
        }
    }
}

/// What was measured, in one line; or why nothing could be.
pub type Measured = Result<String, Skipped>;

/// The machine cannot do this; the reason names what it lacks.
#[derive(Debug)]
pub struct Skipped(pub &'static str);

type Running = Pin<Box<dyn Future<Output = Measured>>>;

/// A fault and what must hold.
pub struct Case {
    pub name: &'static str,
    /// Of the list of faults that the suite answers.
    pub rows: &'static str,
    pub provoked: &'static str,
    pub must_hold: &'static str,
    pub run: fn(Scale, u64) -> Running,
}

/// How a case ended.
#[derive(Debug)]
pub enum End {
    Held(String),
    Broken(String),
    Skipped(&'static str),
}

/// A case and how it ended.
pub struct Told {
    pub case: &'static Case,
    pub end: End,
    pub took: Duration,
}

impl Case {
    /// Makes the fault; a case that takes too long is broken, since nothing may hang.
    pub async fn held(&'static self, scale: Scale, seed: u64) -> Told {
        let began = Instant::now();
        let patience = scale.of(Duration::from_secs(120), Duration::from_secs(900));
        let end = end_of((self.run)(scale, seed), patience).await;
        Told { case: self, end, took: began.elapsed() }
    }
}

async fn end_of(running: Running, patience: Duration) -> End {
    match timeout(patience, AssertUnwindSafe(running).catch_unwind()).await {
        Ok(Ok(Ok(measured))) => End::Held(measured),
        Ok(Ok(Err(Skipped(reason)))) => End::Skipped(reason),
        Ok(Err(panic)) => End::Broken(words_of(panic.as_ref())),
        Err(_) => End::Broken(format!("it was not over within {patience:?}")),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn end(running: impl Future<Output = Measured> + 'static) -> End {
        end_of(Box::pin(running), Duration::from_millis(20)).await
    }

    #[tokio::test]
    async fn a_broken_rule_breaks_the_case_and_says_what_was_found() {
        assert!(matches!(end(async { panic!("2 left") }).await, End::Broken(words) if words == "2 left"));
        assert!(matches!(end(async { Err(Skipped("no disk")) }).await, End::Skipped("no disk")));
        assert!(matches!(end(async { Ok("all".into()) }).await, End::Held(words) if words == "all"));
        assert!(matches!(end(std::future::pending()).await, End::Broken(words) if words.contains("not over")));
    }
}
