//! Asks gates and actions of the company's own: programs under a shim, services over HTTP. The store
//! says what is to be asked and takes the answer; here it is only carried there and back. A slow one
//! holds up nobody else, and the dispatcher never waits for any.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinSet;
use wakeful_domain::schedule::Whom;
use wakeful_domain::time::Timestamp;
use wakeful_runner::ask::{self, Question as Program, ask, sweep_asked};
use wakeful_runner::http::{Call, call};
use wakeful_store::Refusal;
use wakeful_store::ops::questions::{self, Answered, Part, Question};

use crate::clock;
use crate::engine::Engine;
use crate::meters::Meter;

/// Asked at once.
const AT_ONCE_MAX: usize = 32;
/// After an error of the store.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// Nothing is asked, and nobody nudges.
const IDLE: Duration = Duration::from_secs(5 * 60);

impl Engine {
    /// Where programs that are asked something work.
    pub(crate) fn asked_dir(&self) -> PathBuf {
        self.config().data_dir.join("asked")
    }
}

/// Ends what an earlier server had asked, before anything is asked.
pub(crate) async fn sweep(engine: &Engine) {
    if let Err(error) = sweep_asked(&engine.asked_dir()).await {
        tracing::error!("what an earlier server had asked could not be ended: {error}");
    }
}

/// Asks until the engine stops.
pub(crate) async fn run(engine: &Engine) {
    if engine.config().is_in_safe_mode {
        return engine.stopping().await;
    }
    // Dropped with this task: what is still being asked then is swept and asked again by the next server.
    let mut asking = JoinSet::new();
    loop {
        let free = AT_ONCE_MAX - asking.len();
        let next = match look(engine, free).await {
            Ok((questions, next)) => {
                for question in questions {
                    let engine = engine.clone();
                    asking.spawn(async move { carry(&engine, question).await });
                }
                next
            }
            Err(refusal) => {
                tracing::error!("what is to be asked could not be read: {refusal}");
                PAUSE_AFTER_ERROR
            }
        };
        let has_room = asking.len() < AT_ONCE_MAX;
        tokio::select! {
            () = engine.stopping() => return,
            Some(ended) = asking.join_next() => {
                if let Err(error) = ended {
                    tracing::error!("asking ended in a panic: {error}");
                }
            }
            () = engine.inner.nudge.asking(), if has_room => {}
            () = tokio::time::sleep(next), if has_room => {}
        }
    }
}

/// Takes what may be asked now; and how long it is until there may be more.
async fn look(engine: &Engine, free: usize) -> Result<(Vec<Question>, Duration), Refusal> {
    let now = clock::now();
    let mut claimed = Vec::new();
    if free > 0 && next_at(engine).await?.is_some_and(|at| at <= now) {
        let most = i64::try_from(free).unwrap_or(i64::MAX);
        claimed = engine
            .db()
            .write("questions.claim", (now, most), |tx, (now, most)| Box::pin(questions::claim(tx, *now, *most)))
            .await?;
    }
    // What stands in line behind one that is being asked comes when that one is answered.
    let wait = next_at(engine).await?.map_or(IDLE, |at| at.since(clock::now()).min(IDLE));
    Ok((claimed, wait.max(Duration::from_millis(50))))
}

async fn next_at(engine: &Engine) -> Result<Option<Timestamp>, Refusal> {
    let read = engine
        .db()
        .read("questions.next", clock::now(), |tx, now| Box::pin(async { Ok(questions::next_at(tx, *now).await?) }));
    read.await
}

async fn carry(engine: &Engine, question: Question) {
    let begun = clock::monotonic();
    let answer = asked(engine, &question).await;
    let answered = Answered {
        schedule: question.schedule,
        slot: question.slot,
        until: question.until,
        part: question.part,
        answer,
        took: begun.elapsed(),
    };
    engine.inner.meters.count(Meter::Questions);
    let settled = engine
        .write("questions.answer", (clock::now(), answered), |tx, (now, answered)| {
            Box::pin(questions::answer(tx, *now, answered))
        })
        .await;
    match settled {
        Ok(fired) => engine.after_firing(&fired),
        // It is asked again once its time is over.
        Err(refusal) => tracing::error!("an answer about {} could not be kept: {refusal}", question.schedule),
    }
}

async fn asked(engine: &Engine, question: &Question) -> Result<Vec<u8>, String> {
    let part = match question.part {
        Part::Gate => "gate",
        Part::Action => "action",
    };
    // What the receiver of a repeated request knows it by; a program gets a directory of its own each time.
    let id = format!("{part}-{}-{}", question.schedule, question.slot.as_micros());
    match &question.whom {
        None => Ok(Vec::new()),
        Some(Whom::Command(command)) => {
            let program = Program {
                id: &format!("{id}-{}", question.until.as_micros()),
                command,
                input: format!("{}\n", question.body),
                env: engine.config().environment.clone(),
                below: &engine.asked_dir(),
                timeout: question.timeout,
            };
            ask(&engine.inner.shims, program).await.map_err(|error| error.to_string())
        }
        Some(Whom::Url(url)) => {
            let body = question.body.to_string();
            let key = engine.signing_key(question.schedule);
            let request = Call {
                url,
                method: "POST",
                headers: &[],
                body: body.as_bytes(),
                id: &id,
                at: clock::now(),
                key: key.as_slice(),
                timeout: question.timeout,
            };
            let answer = call(&engine.config().guard, &request).await.map_err(|error| error.to_string())?;
            match answer.status {
                200..=299 if answer.is_cut || answer.body.len() > ask::ANSWER_BYTES_MAX => {
                    Err(ask::AskError::TooLong.to_string())
                }
                200..=299 => Ok(answer.body),
                status => Err(format!("it answered with status {status}")),
            }
        }
    }
}
