//! Sends what people are told through the channels of their companies: looks, makes the attempts that are due, and
//! sleeps until the next one is or something happens. The hint is armed before the look. Nothing here holds up a run:
//! each attempt is a task of its own, and a channel that hangs has one at a time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wakeful_domain::channel::Channel;
use wakeful_domain::delivery::{Answer, Delivery};
use wakeful_domain::id::ChannelId;
use wakeful_domain::notification::{Level, Notice, NotificationKind};
use wakeful_runner::delivery::{Means, Parcel, Secrets, send};
use wakeful_store::Refusal;
use wakeful_store::ops::deliveries::{self, AttemptEnd, Claimed, Look};
use wakeful_store::ops::notifications;

use crate::clock;
use crate::engine::Engine;
use crate::secrets::open_secret;

/// Attempts made at once. A file descriptor or a process each, and no more than one a channel.
const ATTEMPTS_MAX: usize = 16;
/// Between two looks at least: a busy server has events all the time.
const PAUSE: Duration = Duration::from_millis(50);
/// After an error of the store.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// Without any hint it is looked again after this: a safety net, and bounds a jump of the clock.
const SWEEP: Duration = Duration::from_secs(5 * 60);
/// An end that cannot be noted is noted again so often; then the lease lapses and the attempt is made again.
const NOTES_MAX: usize = 5;

/// Delivers until the engine stops.
pub(crate) async fn run(engine: &Engine) {
    if engine.config().is_in_safe_mode {
        return engine.stopping().await;
    }
    let room = Arc::new(Semaphore::new(ATTEMPTS_MAX));
    let mut events = engine.event_watch();
    loop {
        events.mark_unchanged();
        let sleep = look(engine, &room).await;
        tokio::select! {
            biased;
            () = engine.stopping() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        tokio::select! {
            biased;
            () = engine.stopping() => return,
            // The sender lives as long as the engine.
            _ = events.changed() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Begins what is due; gives how long nothing else is.
async fn look(engine: &Engine, room: &Arc<Semaphore>) -> Duration {
    let mut permits = Vec::new();
    while let Ok(permit) = Arc::clone(room).try_acquire_owned() {
        permits.push(permit);
    }
    let arguments = (clock::now(), i64::try_from(permits.len()).unwrap_or(0));
    let looked = engine
        .db()
        .write("delivery.look", arguments, |tx, (now, limit)| Box::pin(deliveries::look(tx, *now, *limit)))
        .await;
    let Look { claimed, reminded, next_at } = match looked {
        Ok(look) => look,
        Err(refusal) => {
            tracing::error!("the store could not be asked what is to be delivered; it is asked again: {refusal}");
            return PAUSE_AFTER_ERROR;
        }
    };
    if reminded > 0 {
        engine.inner.nudge.told();
    }
    for (claimed, permit) in claimed.into_iter().zip(permits) {
        let own = engine.clone();
        engine.spawn(async move { attempt(&own, claimed, permit).await });
    }
    next_at.map_or(SWEEP, |at| at.since(clock::now()).min(SWEEP))
}

/// Makes one attempt and notes what came of it. A stop breaks it off and puts it back.
async fn attempt(engine: &Engine, claimed: Claimed, permit: OwnedSemaphorePermit) {
    let began = clock::monotonic();
    let answer = tokio::select! {
        biased;
        answer = sent(engine, &claimed) => answer,
        () = engine.stopping() => return release(engine, &claimed.delivery).await,
    };
    let took = clock::monotonic().saturating_duration_since(began);
    // Before the end is noted, which is the hint that there is room.
    drop(permit);
    let end = AttemptEnd {
        now: clock::now(),
        delivery: claimed.delivery.id,
        attempt: claimed.delivery.attempts,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        draw: engine.draw(),
        escalation: engine.new_id(),
        answer,
    };
    for _ in 0..NOTES_MAX {
        let noted =
            engine.write("delivery.end", end.clone(), |tx, end| Box::pin(deliveries::end_attempt(tx, end))).await;
        match noted {
            Ok(_) => return,
            Err(refusal) => {
                tracing::error!(delivery.id = %end.delivery, "the end of an attempt to deliver {} could not be noted: {refusal}", end.delivery);
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

async fn release(engine: &Engine, delivery: &Delivery) {
    let arguments = (clock::now(), delivery.id, delivery.attempts);
    let released = engine
        .db()
        .write("delivery.release", arguments, |tx, (now, id, attempt)| {
            Box::pin(deliveries::release(tx, *now, *id, *attempt))
        })
        .await;
    if let Err(refusal) = released {
        tracing::warn!(delivery.id = %delivery.id, "the delivery {} is made again when its lease lapses: {refusal}", delivery.id);
    }
}

async fn sent(engine: &Engine, claimed: &Claimed) -> Answer {
    let Claimed { delivery, channel, notification } = claimed;
    let secrets = match secrets_of(engine, channel).await {
        Ok(secrets) => secrets,
        Err(answer) => return answer,
    };
    let asked = engine.asked_dir();
    let means = Means {
        guard: &engine.config().guard,
        shims: &engine.inner.shims,
        environment: &engine.config().environment,
        asked: &asked,
    };
    let key = engine.signing_key(channel.id);
    let parcel = Parcel {
        delivery: delivery.id,
        attempt: delivery.attempts,
        at: clock::now(),
        notification,
        channel,
        secrets: &secrets,
        key: key.as_slice(),
    };
    send(&means, &parcel).await
}

/// The values that the channel needs. One that is missing is missing until somebody sets it.
async fn secrets_of(engine: &Engine, channel: &Channel) -> Result<Secrets, Answer> {
    let mut secrets = Secrets::default();
    for (field, reference) in channel.target.secrets() {
        let opened = open_secret(engine, channel.company, &field, &reference.secret).await;
        let value = opened.map_err(|refused| {
            let told = refused.error.unwrap_or_default();
            match refused.error_code.as_deref() {
                Some("secret_missing" | "secret_unreadable") => Answer::Refused(told),
                _ => Answer::deferred(told),
            }
        })?;
        secrets.0.insert(reference.secret.clone(), value.to_string());
    }
    Ok(secrets)
}

impl Engine {
    /// Sends a notification through one channel alone, to see whether it arrives.
    pub async fn test_channel(&self, channel: &Channel) -> Result<Delivery, Refusal> {
        let notice = Notice {
            company: channel.company,
            kind: NotificationKind::Test,
            level: Level::Info,
            cause: None,
            title: format!("a test of the channel `{}`", channel.name),
            text: "Somebody tries out whether what Wakeful tells arrives here. It does.".into(),
            metadata: json!({ "channel": channel.id }),
            agent: None,
            run: None,
            schedule: None,
        };
        let arguments = (clock::now(), self.new_id(), notice, channel.id);
        self.write("channel.test", arguments, |tx, (now, id, notice, channel): &(_, _, _, ChannelId)| {
            Box::pin(notifications::test(tx, *now, *id, notice, *channel))
        })
        .await
    }
}
