//! Server-sent events: a company's events and a run's log, resumed exactly behind the last id
//! that the client has seen. New rows are read from the store; the hint only says when to look. A client whose token
//! is revoked hears no more.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, Method, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use wakeful_domain::id::{CompanyId, EventId, RunId};
use wakeful_store::ops::events::Cursor;
use wakeful_store::ops::runs;

use crate::access::Permission;
use crate::feed::News;
use crate::routes::whole_records;
use crate::{Api, Problem, access};

/// A comment is sent this often, so that dead connections are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Another node may have written without a hint to us.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Whoever listens is asked for their right to this often.
const CHECKED_EVERY: Duration = Duration::from_secs(10);
/// Who has too many streams open tries again after this.
const WAIT: Duration = Duration::from_secs(10);
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

/// Who listens: what they may hear is asked again while they do.
#[derive(Debug)]
pub struct Client(HeaderMap);

impl Client {
    /// The one whose request has these headers.
    pub fn of(headers: &HeaderMap) -> Client {
        Client(headers.clone())
    }

    /// Resolves when they may listen no more: their token was revoked, or their session is over.
    async fn refusal(self, api: Api) {
        loop {
            tokio::time::sleep(CHECKED_EVERY).await;
            let found = access::principal(&api, &Method::GET, &self.0).await;
            let refusal = found.and_then(|principal| principal.require(Permission::Read)).err();
            if refusal.is_some_and(|problem| problem.is_refusal()) {
                return;
            }
        }
    }
}

fn respond<S>(api: &Api, client: Client, stream: S) -> Result<Response, Problem>
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let Some(open) = api.http.stream(access::token_hash(api, &client.0)?) else {
        return Err(Problem::too_many("this token has as many streams open as one may have", WAIT));
    };
    let stream = stream.take_until(Box::pin(client.refusal(api.clone())));
    let stream = stream.inspect(move |_| {
        // It lives as long as the stream.
        let _ = &open;
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// The events of a company behind `cursor`, for as long as the client listens; only those that are wanted.
pub fn company(
    api: &Api,
    client: Client,
    company: CompanyId,
    cursor: Cursor,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let begin = (api.clone(), cursor, api.engine.event_watch(), wanted);
    let pages = stream::unfold(begin, move |(api, cursor, mut hints, wanted)| async move {
        loop {
            // Armed before the look: what is written in between is a new hint.
            let hint = *hints.borrow_and_update();
            // If the store does not answer, the client comes again with the last id it has seen.
            let news = api.feeds.behind(&api, company, cursor, hint).await?;
            if news.gap.is_some() || !news.told.is_empty() {
                let last = news.told.last().map(|told| told.id).or(news.gap).map_or(cursor, Cursor::from);
                let shown = show(&news, &wanted).into_iter().map(Ok).collect::<Vec<_>>();
                return Some((stream::iter(shown), (api, last, hints, wanted)));
            }
            tokio::select! {
                () = api.engine.stopping() => return None,
                changed = hints.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    });
    respond(api, client, pages.flatten())
}

fn show(news: &News, wanted: &Wanted) -> Vec<Event> {
    let taken = news.told.iter().filter(|told| wanted.takes(&told.kind)).map(|told| told.shown.clone());
    let passed = news.told.last().filter(|last| !wanted.takes(&last.kind)).map(|last| show_place(last.id));
    news.gap.map(show_gap).into_iter().chain(taken).chain(passed).collect()
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

    /// Whether events of this type are wanted.
    pub fn takes(&self, kind: &str) -> bool {
        let first = kind.split('.').next().unwrap_or_default();
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

/// The log of a run behind `offset`, until the run is over.
pub fn log(api: &Api, client: Client, run: RunId, offset: u64) -> Result<Response, Problem> {
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
    respond(api, client, chunks.flatten())
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
