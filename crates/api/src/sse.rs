//! Server-sent events: a company's events and a run's log, resumed exactly behind the last id
//! that the client has seen. New rows are read from the store; the hint only says when to look.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use wakeful_domain::id::{CompanyId, EventId, RunId};
use wakeful_store::ops::events::{self, Cursor};
use wakeful_store::ops::retention::events::Found;
use wakeful_store::ops::{retention, runs};

use crate::routes::whole_records;
use crate::wire::EventView;
use crate::{Api, Problem};

/// A comment is sent this often, so that dead connections are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Another node may have written without a hint to us.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Rows read at a time.
const PAGE: i64 = 200;
/// There are fewer first words of types.
const WORDS_MAX: usize = 20;
/// Bytes of log read at a time.
const LOG_BYTES: usize = 256 * 1024;

/// Whether the client asks for a stream.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.trim().starts_with("text/event-stream"))
}

/// The `Last-Event-ID` header, if there is one.
pub fn last_event_id<T: FromStr>(headers: &HeaderMap) -> Result<Option<T>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| Problem::invalid("Last-Event-ID", "is not an id that this stream gave"))
}

fn respond<S>(api: &Api, stream: S) -> Response
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let open = api.http.stream();
    let stream = stream.inspect(move |_| {
        // It lives as long as the stream.
        let _ = &open;
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// The events of a company behind `cursor`, for as long as the client listens; only those that are wanted.
pub fn company(api: &Api, company: CompanyId, cursor: Cursor, wanted: Wanted) -> Response {
    let begin = (api.clone(), cursor, api.engine.event_watch(), wanted);
    let pages = stream::unfold(begin, move |(api, cursor, mut hints, wanted)| async move {
        loop {
            // Armed before the look: what is written in between is a new hint.
            hints.borrow_and_update();
            let read = api
                .engine
                .db()
                .read("event.after", (company, cursor), |tx, (company, cursor)| {
                    Box::pin(retention::events::after(tx, *company, *cursor, PAGE))
                })
                .await;
            match read {
                Ok(Found { gap, events }) if gap.is_some() || !events.is_empty() => {
                    let last = events.last().map(|event| event.id).or(gap).map_or(cursor, Cursor::from);
                    let passed = events.last().filter(|last| !wanted.takes(last)).map(|last| show_place(last.id));
                    let taken = events.into_iter().filter(|event| wanted.takes(event)).map(show);
                    let shown = gap.map(show_gap).into_iter().chain(taken).chain(passed).map(Ok);
                    return Some((stream::iter(shown.collect::<Vec<_>>()), (api, last, hints, wanted)));
                }
                Ok(_) => {}
                // The client comes again with the last id it has seen.
                Err(_) => return None,
            }
            tokio::select! {
                () = api.engine.stopping() => return None,
                changed = hints.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    });
    respond(api, pages.flatten())
}

/// Which events a reader wants: those whose types begin with one of these words; all, if there is none.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Vec<String>);

impl Wanted {
    /// Reads `run,wakeup`.
    pub fn read(text: Option<&str>) -> Result<Wanted, Problem> {
        let Some(text) = text else { return Ok(Wanted::default()) };
        let words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
        let is_word =
            |word: &String| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        match words.len() <= WORDS_MAX && words.iter().all(is_word) {
            true => Ok(Wanted(words)),
            false => Err(Problem::invalid(
                "types",
                format!("must be at most {WORDS_MAX} first words of types, as in run,wakeup"),
            )),
        }
    }

    /// Whether this one is wanted.
    pub fn takes(&self, event: &events::Event) -> bool {
        let first = event.kind.split('.').next().unwrap_or_default();
        self.0.is_empty() || self.0.iter().any(|word| word == first)
    }
}

/// Events that were passed over: the client's place moves on, and it is told nothing.
fn show_place(id: EventId) -> Event {
    Event::default().id(id.to_string())
}

/// What lies between the reader's cursor and this event is gone.
fn show_gap(id: EventId) -> Event {
    let data = serde_json::json!({ "type": "gap", "goes_on_after": id });
    Event::default().id(id.to_string()).event("gap").data(data.to_string())
}

fn show(event: events::Event) -> Event {
    let id = event.id.to_string();
    let kind = event.kind.clone();
    let shown = EventView::from(event);
    let data = serde_json::to_string(&shown).unwrap_or_default();
    Event::default().id(id).event(kind).data(data)
}

/// The log of a run behind `offset`, until the run is over.
pub fn log(api: &Api, run: RunId, offset: u64) -> Response {
    let watch = api.engine.log_watch(run);
    let chunks = stream::unfold(Some((api.clone(), offset, watch)), move |state| async move {
        let (api, offset, mut watch) = state?;
        loop {
            if let Some(watch) = &mut watch {
                watch.borrow_and_update();
            }
            // Asked first: a run that is over adds nothing to what is read below.
            let is_over = match api.engine.db().read("run.get", run, |tx, run| Box::pin(runs::get(tx, *run))).await {
                Ok(run) => !run.status.is_live(),
                Err(_) => return None,
            };
            let dir = api.engine.run_dir(run);
            let read = tokio::task::spawn_blocking(move || whole_records(dir, offset, LOG_BYTES)).await;
            let Ok(Ok((bytes, _))) = read else { return None };
            if !bytes.is_empty() {
                let next = offset + bytes.len() as u64;
                return Some((stream::iter(records(&bytes, offset)), Some((api, next, watch))));
            }
            if is_over {
                let end = Event::default().event("end").id(offset.to_string()).data("{}");
                return Some((stream::iter(vec![Ok(end)]), None));
            }
            wait(&api, watch.as_mut()).await?;
        }
    });
    respond(api, chunks.flatten())
}

/// Waits for more; `None` when the server stops.
async fn wait(api: &Api, watch: Option<&mut wakeful_engine::LogWatch>) -> Option<()> {
    let grown = async {
        match watch {
            // The task that follows the run is gone: the next look finds the run over.
            Some(watch) => match watch.changed().await {
                Ok(()) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            None => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    };
    tokio::select! {
        () = api.engine.stopping() => None,
        () = grown => Some(()),
        () = tokio::time::sleep(LOOK_EVERY) => Some(()),
    }
}

fn records(bytes: &[u8], offset: u64) -> Vec<Result<Event, Infallible>> {
    let mut end = offset;
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| {
            end += line.len() as u64;
            let text = String::from_utf8_lossy(line);
            Ok(Event::default().event("log").id(end.to_string()).data(text.trim_end()))
        })
        .collect()
}
