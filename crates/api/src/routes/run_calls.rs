//! What an agent calls back while it works, with its run's token: inbox, acknowledgement,
//! checkpoint, progress, end. Every write carries the fence of the run; what comes too late is
//! kept as an event of the run, and refused with 409 `fenced`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::{MessageId, RunId, kind};
use wakeful_domain::mail::Message as Mail;
use wakeful_domain::outcome::End;
use wakeful_domain::run::Run;
use wakeful_domain::usage::Usage;
use wakeful_domain::wakeup::Wakeup;
use wakeful_engine::clock;
use wakeful_runner::adapters::check_report;
use wakeful_store::ops::inbox::AcknowledgeRequest;
use wakeful_store::ops::messages::{Message, ReadRequest};
use wakeful_store::ops::{checkpoints, inbox, mail, messages, runs};

use super::runs::{view, visible};
use crate::access::{Permission, Principal};
use crate::body::{Body, Document};
use crate::errors::ProblemDocument;
use crate::parameters::{PathId, id_in};
use crate::wire::{
    AckRequest, AckView, FinishReport, InboxMessage, InboxView, MessageView, ProgressRequest, Refused, RunView,
    WakeupView,
};
use crate::{Api, Problem};

/// Larger checkpoints are refused.
const CHECKPOINT_BYTES_MAX: usize = 256 * 1024;
/// Longer progress messages are refused.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(show_inbox))
        .routes(routes!(acknowledge))
        .routes(routes!(put_checkpoint, get_checkpoint))
        .routes(routes!(progress))
        .routes(routes!(finish))
}

/// The run, if the caller speaks for it: the run itself, or a person who may stop it. A run that
/// has ended is refused, and what it brought is kept.
async fn speaking(api: &Api, principal: &Principal, id: RunId, what: &str, brought: &Value) -> Result<Run, Problem> {
    let run = match principal {
        Principal::Run(own) if own.id == id => (**own).clone(),
        Principal::Run(_) | Principal::Agent { .. } => {
            return Err(Problem::forbidden("this token speaks for another run"));
        }
        Principal::Admin | Principal::Company { .. } => {
            principal.require(Permission::Manage)?;
            visible(api, principal, id).await?
        }
    };
    if run.status.is_live() {
        return Ok(run);
    }
    keep_late(api, &run, what, brought).await?;
    Err(fenced(&run))
}

fn fenced(run: &Run) -> Problem {
    wakeful_store::Refusal::conflict(
        "fenced",
        format!("the run is {} and takes no more writes; what came is kept among its events", run.status),
        json!({ "status": run.status, "fence": run.fence }),
    )
    .into()
}

async fn keep_late(api: &Api, run: &Run, what: &str, brought: &Value) -> Result<(), Problem> {
    let told = format!("{what} came after the end and was not applied");
    api.engine
        .write("run.note_late", (clock::now(), run.id, told, brought.clone()), |tx, (now, run, told, brought)| {
            Box::pin(runs::note_late(tx, *now, *run, told, brought))
        })
        .await?;
    Ok(())
}

/// Shows what came while the run is live.
#[utoipa::path(get, path = "/runs/{id}/inbox", tag = "inside a run", params(("id" = String, Path)),
    responses((status = 200, body = InboxView)))]
async fn show_inbox(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
) -> Result<Json<InboxView>, Problem> {
    principal.require(Permission::Read)?;
    visible(&api, &principal, id).await?;
    let read = api.engine.db().read("inbox.of_run", id, |tx, id| {
        Box::pin(async move {
            let run = runs::get(tx, *id).await?;
            let mail = mail::unread_of_run(tx, &run).await?;
            Ok((inbox::of_run(tx, *id).await?, messages::unread(tx, *id).await?, mail))
        })
    });
    let (wakeups, nudges, mut mail): (Vec<Wakeup>, Vec<Message>, Vec<Mail>) = read.await?;
    if let Some(own) = principal.agent() {
        // Letters of others are nobody's to read.
        mail.retain(|letter| mail::is_party(letter, &own.to_string()));
    }
    let wakeups = wakeups.into_iter().map(|wakeup| WakeupView::new(wakeup, None)).collect();
    let nudges = nudges.into_iter().map(MessageView::from).map(InboxMessage::Nudge);
    let mail = mail.into_iter().map(|message| InboxMessage::Mail(Box::new(message.into())));
    Ok(Json(InboxView { wakeups, messages: nudges.chain(mail).collect() }))
}

/// Takes over wakeups that came while the run is live, which share its end, and notes that messages were read.
#[utoipa::path(post, path = "/runs/{id}/inbox/ack", tag = "inside a run", params(("id" = String, Path)), request_body = AckRequest,
    responses((status = 200, body = AckView), (status = 409, body = ProblemDocument)))]
async fn acknowledge(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    body: Body<AckRequest>,
) -> Result<Json<AckView>, Problem> {
    let AckRequest { wakeups, messages } = body.value;
    let brought = json!({ "wakeups": wakeups, "messages": messages });
    let run = speaking(&api, &principal, id, "an acknowledgement", &brought).await?;
    let wakeups = wakeups.iter().map(|text| id_in("wakeups", text)).collect::<Result<_, _>>()?;
    // Nudges of Wakeful are no mail: they are events of the run.
    let (mail, messages): (Vec<_>, Vec<_>) = messages.into_iter().partition(|id| id.parse::<MessageId>().is_ok());
    let mail = mail.iter().filter_map(|id| id.parse().ok()).collect();
    let request = AcknowledgeRequest { now: clock::now(), run: run.id, fence: run.fence, wakeups, messages: mail };
    let answer = api.engine.acknowledge(request).await?;
    let unknown = match messages.is_empty() {
        true => Vec::new(),
        false => {
            let (now, messages) = (clock::now(), messages.clone());
            api.engine.mark_read(ReadRequest { now, run: run.id, fence: run.fence, messages }).await?
        }
    };
    let read = messages.into_iter().filter(|id| !unknown.contains(id));
    let refused = answer.refused.iter().map(|(id, reason)| Refused { id: id.to_string(), reason: (*reason).into() });
    let unmarked = answer.unread.iter().map(|(id, reason)| Refused { id: id.to_string(), reason: (*reason).into() });
    let unread = unknown.iter().map(|id| Refused { id: id.clone(), reason: "not_found".into() });
    Ok(Json(AckView {
        acknowledged: answer
            .acknowledged
            .iter()
            .map(ToString::to_string)
            .chain(answer.read.iter().map(ToString::to_string))
            .chain(read)
            .collect(),
        refused: refused.chain(unmarked).chain(unread).collect(),
    }))
}

/// Notes down what the next run of the lane is given.
#[utoipa::path(put, path = "/runs/{id}/checkpoint", tag = "inside a run", params(("id" = String, Path)), request_body = Value,
    responses((status = 200, body = Value), (status = 409, body = ProblemDocument), (status = 413, body = ProblemDocument)))]
async fn put_checkpoint(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    body: Document,
) -> Result<Json<Value>, Problem> {
    if body.bytes.len() > CHECKPOINT_BYTES_MAX {
        let detail = format!("the checkpoint is larger than {CHECKPOINT_BYTES_MAX} bytes (256 KiB)");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    let run = speaking(&api, &principal, id, "a checkpoint", &body.value).await?;
    api.engine
        .write(
            "checkpoint.put",
            (clock::now(), run.id, run.fence, body.value.clone()),
            |tx, (now, run, fence, note)| Box::pin(checkpoints::put(tx, *now, *run, *fence, note)),
        )
        .await?;
    Ok(Json(body.value))
}

/// Shows what the run noted down; null if nothing.
#[utoipa::path(get, path = "/runs/{id}/checkpoint", tag = "inside a run", params(("id" = String, Path)),
    responses((status = 200, body = Value)))]
async fn get_checkpoint(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
) -> Result<Json<Value>, Problem> {
    principal.require(Permission::Read)?;
    visible(&api, &principal, id).await?;
    let found = api.engine.db().read("checkpoint.of_run", id, |tx, id| Box::pin(checkpoints::of_run(tx, *id))).await?;
    Ok(Json(found.unwrap_or(Value::Null)))
}

/// Reports how far the run is.
#[utoipa::path(post, path = "/runs/{id}/progress", tag = "inside a run", params(("id" = String, Path)), request_body = ProgressRequest,
    responses((status = 200, body = RunView), (status = 409, body = ProblemDocument)))]
async fn progress(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    body: Body<ProgressRequest>,
) -> Result<Json<RunView>, Problem> {
    let report = body.value;
    if report.message.as_ref().is_some_and(|message| message.len() > MESSAGE_BYTES_MAX) {
        return Err(Problem::invalid("message", format!("is longer than {MESSAGE_BYTES_MAX} bytes; put it into data")));
    }
    if let Some(problem) = report.usage.as_ref().and_then(Usage::problem) {
        return Err(Problem::invalid("usage", problem));
    }
    let run = speaking(&api, &principal, id, "a progress report", &json!({ "message": report.message })).await?;
    let progress = runs::Progress {
        now: clock::now(),
        run: run.id,
        fence: run.fence,
        message: report.message,
        usage: report.usage,
        data: report.data,
    };
    let run = api.engine.progress(progress).await?;
    view(&api, run).await
}

/// Reports how the run ended. A run whose process Wakeful watches ends when that process is gone;
/// its report is kept until then, as if it had been written to `WAKEFUL_RESULT_FILE`.
#[utoipa::path(post, path = "/runs/{id}/finish", tag = "inside a run", params(("id" = String, Path)), request_body = FinishReport,
    responses((status = 200, body = RunView), (status = 409, body = ProblemDocument)))]
async fn finish(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    body: Body<FinishReport>,
) -> Result<Json<RunView>, Problem> {
    let report = body.value;
    if report.outcome == End::Lost {
        return Err(Problem::invalid("outcome", "must be succeeded, failed, cancelled or timed_out"));
    }
    let mut brought = serde_json::to_value(&report).unwrap_or(Value::Null);
    if let Some(fields) = brought.as_object_mut() {
        fields.remove("fence");
    }
    check_report(&brought.to_string()).map_err(|problem| Problem::invalid("body", problem))?;
    let run = speaking(&api, &principal, id, "a result", &brought).await?;
    if report.fence != run.fence {
        keep_late(&api, &run, "a result with an old fence", &brought).await?;
        return Err(fenced(&run));
    }
    if run.adapter == "http" {
        let run = api.engine.finish_service(&run, &brought).await?;
        return view(&api, run).await;
    }
    api.engine.keep_report(&run, &brought).await.map_err(|error| {
        let detail = format!("the report could not be kept: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "report_not_kept", detail)
    })?;
    view(&api, run).await
}
