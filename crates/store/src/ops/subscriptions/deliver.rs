//! What happened, told to those who asked: a wakeup at once, or a match in an open window. All in the transaction of
//! what happened; the id of the wakeup follows from the subscription and the happening, so there is one for both.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::id::{AgentId, CompanyId, IdSource, RunId, SubscriptionId, TaskId};
use wakeful_domain::subscription::{
    EndReason, EventName, SOURCE_OVER, Source, Subscription, WINDOW_BYTES_MAX, WINDOW_MATCHES_MAX, Window, hash_of,
};
use wakeful_domain::time::{Timestamp, say_duration};
use wakeful_domain::wakeup::Source as WakeSource;

use super::{COLUMNS, end, keep, read, told, waiting};
use crate::ops::runs;
use crate::ops::wake::{Maker, Wake, accept_held};
use crate::value::json;
use crate::{Error, Refusal, Tx, Value};

/// Something that happened.
pub(crate) struct Happening {
    pub now: Timestamp,
    /// When it happened, if that was earlier.
    pub at: Timestamp,
    pub company: CompanyId,
    /// What tells it from all others. `None` for what has no name of its own and may come again at the same moment:
    /// then the number of the match does.
    pub key: Option<String>,
    /// The run that did it, or whose end it is.
    pub cause: Option<RunId>,
    /// In words.
    pub what: String,
    /// What filters are about.
    pub data: Map<String, Json>,
    /// What a subscriber is told besides.
    pub detail: Map<String, Json>,
}

/// What a happening is to those who wait for something of one source.
pub(crate) struct Seen {
    pub source: Source,
    /// The most special first.
    pub names: Vec<EventName>,
    /// Whether nothing more can come of the source.
    pub is_last: bool,
}

/// Tells a happening to all whom it concerns, whom the caller has locked. Gives how many it matched.
pub(crate) async fn tell(tx: &mut Tx, happening: &Happening, seen: &[Seen]) -> Result<i64, Refusal> {
    let mut matched = 0;
    for one in seen {
        for mut subscription in concerned(tx, happening, one).await? {
            matched += i64::from(tell_one(tx, &mut subscription, happening, one, false).await?);
        }
    }
    Ok(matched)
}

/// Those whose filter can let the happening through; all of the source if it is the last.
pub(crate) async fn concerned(tx: &mut Tx, happening: &Happening, seen: &Seen) -> Result<Vec<Subscription>, Error> {
    let of_source =
        format!("select {COLUMNS} from subscriptions where company_id = $1 and source = $2 and ended_at is null");
    let mut parameters: Vec<Value<'_>> = vec![happening.company.into(), seen.source.to_string().into()];
    let sql = match seen.is_last {
        true => of_source,
        false => {
            let mut hashes = vec![0];
            hashes.extend(happening.data.iter().map(|(name, value)| hash_of(name, value)).filter(|hash| *hash != 0));
            let hashes = waiting::padded(hashes);
            let places = waiting::placeholders(3, hashes.len());
            parameters.extend(hashes.into_iter().map(Value::Int));
            format!("{of_source} and filter_hash in ({places})")
        }
    };
    let mut found = tx.query(&sql, &parameters).await?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    // Asked to sort them, an engine may go through all of the company by their ids.
    found.sort_unstable_by_key(|one| one.id);
    Ok(found)
}

/// Whether a subscription asks for this, and under which name.
fn asked(subscription: &Subscription, happening: &Happening, seen: &Seen) -> Option<EventName> {
    let name = seen.names.iter().find(|name| subscription.on.contains(name)).copied();
    name.filter(|_| subscription.filter.lets_through(&happening.data))
}

/// Whether a run of the very lane that waits has done it: that is no news to it, and what it waits for may still come.
async fn is_its_own_doing(tx: &mut Tx, subscription: &Subscription, happening: &Happening) -> Result<bool, Error> {
    match happening.cause {
        Some(run) => {
            let run = runs::find(tx, run).await?;
            Ok(run.is_some_and(|run| (run.agent, run.task) == (subscription.agent, subscription.task)))
        }
        None => Ok(false),
    }
}

/// Tells one subscription, if it asked for this. `is_asked_now` if it is told while it is made.
pub(crate) async fn tell_one(
    tx: &mut Tx,
    subscription: &mut Subscription,
    happening: &Happening,
    seen: &Seen,
    is_asked_now: bool,
) -> Result<bool, Refusal> {
    let name = asked(subscription, happening, seen);
    if name.is_none() && !seen.is_last {
        return Ok(false);
    }
    if !seen.is_last && !is_asked_now && is_its_own_doing(tx, subscription, happening).await? {
        return Ok(false);
    }
    let event = name.map_or(SOURCE_OVER, EventName::as_str);
    let matched = described(subscription, happening, seen, event);
    let what = match name {
        Some(_) => happening.what.clone(),
        None => format!("{}; nothing more comes of it", happening.what),
    };
    subscription.matches += 1;
    let key = happening.key.clone().unwrap_or_else(|| format!("match {}", subscription.matches));
    subscription.last_match_at = Some(happening.now);
    subscription.timeout_at = None;
    let waits = subscription.debounce.filter(|_| !seen.is_last);
    if waits.is_some() || subscription.window.is_some() {
        put(tx, subscription, happening, &key, &what, &matched, waits.unwrap_or_default()).await?;
        let is_full = subscription.window.is_some_and(|window| window.bytes >= WINDOW_BYTES_MAX)
            || subscription.matches % WINDOW_MATCHES_MAX == 0;
        if waits.is_none() || is_full {
            close(tx, subscription, happening.now).await?;
        }
    } else {
        let mut payload = matched;
        payload.insert("timeout".into(), false.into());
        let wake = Waking {
            key: &key,
            event,
            what,
            payload,
            cause: happening.cause.map(|run| (run, is_asked_now)),
            now: happening.now,
        };
        wake_up(tx, subscription, wake).await?;
        if subscription.once {
            end(tx, subscription, happening.now, EndReason::Fired).await?;
        }
    }
    if seen.is_last && subscription.ended_at.is_none() {
        end(tx, subscription, happening.now, EndReason::SourceOver).await?;
    }
    keep(tx, subscription).await?;
    Ok(name.is_some())
}

/// What a subscriber reads about one happening.
fn described(subscription: &Subscription, happening: &Happening, seen: &Seen, event: &str) -> Map<String, Json> {
    let mut told = happening.detail.clone();
    if !subscription.include_result
        && let Some(Json::Object(child)) = told.get_mut("finished_child")
    {
        child.remove("summary");
        child.remove("result");
    }
    told.insert("source".into(), object!(seen.source));
    told.insert("event".into(), event.into());
    told.insert("at".into(), object!(happening.at));
    told.insert("data".into(), Json::Object(happening.data.clone()));
    told
}

const PUT: &str = "
    insert into subscription_matches (subscription_id, number, event_key, run_id, what, match)
    values ($1, $2, $3, $4, $5, $6)";

/// Puts a match into the window, which it keeps open.
async fn put(
    tx: &mut Tx,
    subscription: &mut Subscription,
    happening: &Happening,
    key: &str,
    what: &str,
    matched: &Map<String, Json>,
    width: std::time::Duration,
) -> Result<(), Error> {
    let matched = json(matched);
    let bytes = match &matched {
        Value::Text(text) => i64::try_from(text.len()).unwrap_or(i64::MAX),
        Value::Null | Value::Int(_) | Value::Real(_) => 0,
    };
    subscription.window = Some(Window::with(subscription.window, width, bytes, happening.now));
    let parameters =
        [subscription.id.into(), subscription.matches.into(), key.into(), happening.cause.into(), what.into(), matched];
    tx.execute(PUT, &parameters).await?;
    Ok(())
}

const MATCHES: &str = "
    select subscription_matches.number, subscription_matches.run_id, runs.agent_id, coalesce(runs.task_id, ''),
      subscription_matches.what, subscription_matches.match
    from subscription_matches
    left join runs on runs.id = subscription_matches.run_id
    where subscription_matches.subscription_id = $1
    order by subscription_matches.number";
const EMPTY: &str = "delete from subscription_matches where subscription_id = $1";

/// Closes the window of a subscription: all that is in it in one wakeup, in order. The caller keeps it.
pub(super) async fn close(tx: &mut Tx, subscription: &mut Subscription, now: Timestamp) -> Result<(), Refusal> {
    let mut matches: Vec<Map<String, Json>> = Vec::new();
    let (mut first, mut cause, mut whats) = (None, None, Vec::new());
    let mut is_all_own = true;
    for mut row in tx.query(MATCHES, &[subscription.id.into()]).await? {
        let number: i64 = row.get()?;
        first.get_or_insert(number);
        cause = row.get::<Option<RunId>>()?.or(cause);
        let lane: (Option<AgentId>, Option<TaskId>) = (row.get()?, row.task()?);
        is_all_own &= lane == (Some(subscription.agent), subscription.task);
        whats.push(row.get::<String>()?);
        matches.push(row.json()?);
    }
    tx.execute(EMPTY, &[subscription.id.into()]).await?;
    subscription.window = None;
    let Some(what) = whats.last() else { return Ok(()) };
    let event = matches.last().and_then(|last| last.get("event")).and_then(Json::as_str).unwrap_or_default().to_owned();
    let count = matches.len();
    let what = match count {
        1 => what.clone(),
        count => format!("{count} things happened, the last: {what}"),
    };
    let mut payload = Map::new();
    payload.insert("source".into(), object!(subscription.source));
    payload.insert("event".into(), event.clone().into());
    payload.insert("count".into(), count.into());
    payload.insert("matches".into(), object!(matches));
    payload.insert("timeout".into(), false.into());
    let key = format!("window {}", first.unwrap_or_default());
    // What a run did on its own lane does not wake it, but must not keep from it what others did.
    let cause = cause.map(|run| (run, !is_all_own));
    wake_up(tx, subscription, Waking { key: &key, event: &event, what, payload, cause, now }).await?;
    if subscription.once && subscription.ended_at.is_none() {
        end(tx, subscription, now, EndReason::Fired).await?;
    }
    Ok(())
}

/// Says that nothing came in time. The caller keeps the subscription.
pub(super) async fn time_out(tx: &mut Tx, subscription: &mut Subscription, now: Timestamp) -> Result<(), Refusal> {
    let waited = subscription.timeout.map(say_duration).unwrap_or_default();
    let mut payload = Map::new();
    payload.insert("source".into(), object!(subscription.source));
    payload.insert("event".into(), Json::Null);
    payload.insert("at".into(), object!(now));
    payload.insert("timeout".into(), true.into());
    let source = told::words(tx, &subscription.source).await?;
    let key = format!("timeout {}", subscription.timeout_at.unwrap_or(now).as_micros());
    subscription.timeout_at = None;
    let wake = Waking {
        key: &key,
        event: "timeout",
        what: format!("nothing came of {source} within {waited}"),
        payload,
        cause: subscription.by_run.map(|run| (run, true)),
        now,
    };
    wake_up(tx, subscription, wake).await?;
    if subscription.once {
        end(tx, subscription, now, EndReason::TimedOut).await?;
    }
    Ok(())
}

/// What a subscriber is woken with.
struct Waking<'a> {
    /// What tells it from all else that the subscription is told.
    key: &'a str,
    event: &'a str,
    what: String,
    payload: Map<String, Json>,
    /// The run whose chain it goes on, and whether that run asked for it by name.
    cause: Option<(RunId, bool)>,
    now: Timestamp,
}

/// Ids of what follows come from the subscription and the happening: an operation that is run again makes the same.
fn ids_of(subscription: SubscriptionId, key: &str) -> IdSource {
    let mut hasher = DefaultHasher::new();
    (subscription.to_string(), key).hash(&mut hasher);
    IdSource::new(hasher.finish())
}

async fn wake_up(tx: &mut Tx, subscription: &mut Subscription, waking: Waking<'_>) -> Result<(), Refusal> {
    subscription.wakeups += 1;
    let mut payload = subscription.payload.clone();
    payload.extend(waking.payload);
    let asked = object!({ "id": subscription.id, "key": subscription.key, "asked_at": subscription.created_at });
    payload.insert("subscription".into(), asked);
    let wake = Wake {
        id: ids_of(subscription.id, waking.key).next(waking.now),
        company: Some(subscription.company),
        agent: subscription.agent,
        task: subscription.task,
        source: match subscription.source {
            Source::Webhook(_) => WakeSource::Webhook,
            Source::Run(_) | Source::Task(_) | Source::Children(_) | Source::Agent(_) | Source::Topic(_) => {
                WakeSource::Subscription
            }
        },
        trigger_detail: Some(waking.event.to_owned()),
        reason: Some(waking.what),
        priority: None,
        payload,
        context: Map::from_iter([("subscription".into(), object!(subscription.id))]),
        actor: subscription.created_by.clone(),
        idempotency_key: None,
        request_hash: None,
        now: waking.now,
        due_at: None,
        expires_at: None,
        max_attempts: None,
        by_run: None,
        maker: match waking.cause {
            Some((run, is_asked)) => Maker::After { run, is_asked },
            None => Maker::Wakeful,
        },
    };
    accept_held(tx, &wake).await.map(|_| ())
}
