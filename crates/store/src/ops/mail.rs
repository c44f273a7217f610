//! Mail between agents, and to and from people: sent, read, acknowledged. A message wakes its reader; message and
//! wakeup are acknowledged together, and only by the reader's run or by whoever answers for it. What Wakeful says to
//! live runs by itself is [`crate::ops::messages`].

use serde_json::json as object;
use wakeful_domain::actor::{Actor, ActorType};
use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{AgentId, CompanyId, IdSource, MessageId, RunId, TaskId, WakeupId};
use wakeful_domain::mail::{Message, MessageKind, UNREAD_MAX};
use wakeful_domain::notification::{Level, Notice, NotificationKind};
use wakeful_domain::run::Run;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, WakeupStatus};

use crate::ops::filter::{List, Page};
use crate::ops::origin::Origin;
use crate::ops::wake::{Maker, Wake, accept_held};
use crate::ops::{agents, children, events, notifications, ready, tasks, wakeups};
use crate::value::{name, task_key};
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str = "id, company_id, from_type, from_id, from_run, to_agent, subject, body, thread_id, kind, task_id, \
    wakeup_id, created_at, acked_at, acked_by_run, lapsed_at";

fn read(mut row: Row) -> Result<Message, Error> {
    Ok(Message {
        id: row.get()?,
        company: row.get()?,
        from: Actor { kind: row.name()?, id: row.get()? },
        from_run: row.get()?,
        to: row.get()?,
        subject: row.get()?,
        body: row.get()?,
        thread: row.get()?,
        kind: row.name()?,
        task: row.get()?,
        wakeup: row.get()?,
        created_at: row.get()?,
        acked_at: row.get()?,
        acked_by: row.get()?,
        lapsed_at: row.get()?,
    })
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct NewMessage {
    pub id: MessageId,
    pub company: CompanyId,
    /// `None` is for people.
    pub to: Option<AgentId>,
    pub subject: String,
    pub body: String,
    /// A message of the thread that it goes on.
    pub thread: Option<MessageId>,
    pub kind: MessageKind,
    pub task: Option<TaskId>,
}

const INSERT: &str = "
    insert into messages (id, company_id, from_type, from_id, from_run, to_agent, subject, body, thread_id, kind,
      task_id, wakeup_id, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// Sends a message: it wakes the agent it is for, or tells people.
pub async fn send(tx: &mut Tx, origin: &Origin, new: &NewMessage) -> Result<Message, Refusal> {
    ready::lock(tx, new.task.into_iter().collect(), new.to.into_iter().collect()).await?;
    origin.prove(tx).await?;
    check(tx, origin, new).await?;
    if new.to.is_none() {
        // What must be counted once for a company.
        ready::lock_company(tx, new.company).await?;
    }
    refuse_beyond_limit(tx, origin, new).await?;
    let thread = match new.thread {
        Some(earlier) => thread_of(tx, origin, new, earlier).await?,
        None => new.id,
    };
    let mut message = Message {
        id: new.id,
        company: new.company,
        from: origin.actor.clone(),
        from_run: origin.run(),
        to: new.to,
        subject: new.subject.clone(),
        body: new.body.clone(),
        thread,
        kind: new.kind,
        task: new.task,
        wakeup: None,
        created_at: origin.now,
        acked_at: None,
        acked_by: None,
        lapsed_at: None,
    };
    let mut ids = origin.ids();
    message.wakeup = match message.to {
        Some(agent) => wake_reader(tx, origin, &mut ids, &message, agent).await?,
        None => {
            tell_people(tx, origin, &mut ids, &message).await?;
            None
        }
    };
    insert(tx, &message).await?;
    let data = object!({ "from": message.from, "to": message.to, "kind": message.kind, "thread": thread, "task": message.task, "wakeup": message.wakeup });
    events::append(tx, message.company, origin.now, "message.sent", &message.id.to_string(), &data).await?;
    Ok(message)
}

async fn insert(tx: &mut Tx, message: &Message) -> Result<(), Error> {
    let parameters = [
        message.id.into(),
        message.company.into(),
        name(&message.from.kind),
        (&message.from.id).into(),
        message.from_run.into(),
        message.to.into(),
        (&message.subject).into(),
        (&message.body).into(),
        message.thread.into(),
        name(&message.kind),
        message.task.into(),
        message.wakeup.into(),
        message.created_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    Ok(())
}

async fn check(tx: &mut Tx, origin: &Origin, new: &NewMessage) -> Result<(), Refusal> {
    if let Some(to) = new.to {
        match agents::get(tx, to).await {
            Ok(agent) if agent.company == new.company && agent.state != AgentState::Terminated => {}
            Ok(_) | Err(Refusal::NotFound { .. }) => {
                return Err(Refusal::invalid("to", format!("there is no active agent `{to}` in this company")));
            }
            Err(refusal) => return Err(refusal),
        }
        if origin.actor == Actor::agent(to) {
            return Err(Refusal::invalid("to", "is the sender: leave yourself a checkpoint instead"));
        }
    } else if new.kind == MessageKind::Nudge {
        return Err(Refusal::invalid("kind", "a nudge is a word to a live run: people get a note"));
    }
    match new.task {
        Some(task) if tasks::brief(tx, task).await?.is_none_or(|task| task.company != new.company) => {
            Err(Refusal::invalid("task", format!("there is no task `{task}` in this company")))
        }
        Some(_) | None => Ok(()),
    }
}

const UNREAD: &str = "
    select count(*)
    from messages
    where company_id = $1
      and to_agent = $2
      and acked_at is null
      and lapsed_at is null
      and kind <> 'nudge'
      and from_type <> 'system'";
const UNREAD_BY_PEOPLE: &str = "
    select count(*)
    from messages
    where company_id = $1
      and to_agent is null
      and acked_at is null
      and from_type <> 'system'";

async fn refuse_beyond_limit(tx: &mut Tx, origin: &Origin, new: &NewMessage) -> Result<(), Refusal> {
    if new.kind == MessageKind::Nudge || origin.actor.kind == ActorType::System {
        return Ok(());
    }
    let mut row = match new.to {
        Some(to) => tx.query_one(UNREAD, &[new.company.into(), to.into()]).await?,
        None => tx.query_one(UNREAD_BY_PEOPLE, &[new.company.into()]).await?,
    };
    let unread: i64 = row.get()?;
    match unread >= UNREAD_MAX {
        true => Err(Refusal::TooMany {
            code: "mailbox_full",
            detail: format!(
                "{unread} messages wait to be read there ({UNREAD_MAX} at most): wait until they are acknowledged"
            ),
        }),
        false => Ok(()),
    }
}

/// The thread that a message goes on. Agents go on with what they have sent or were sent.
async fn thread_of(tx: &mut Tx, origin: &Origin, new: &NewMessage, earlier: MessageId) -> Result<MessageId, Refusal> {
    let found = find(tx, earlier).await?.filter(|found| found.company == new.company);
    match found.filter(|found| origin.actor.kind != ActorType::Agent || is_party(found, &origin.actor.id)) {
        Some(found) => Ok(found.thread),
        None => Err(Refusal::invalid("thread", format!("there is no message `{earlier}` that you can go on with"))),
    }
}

/// Whether an agent has sent a message or is its reader.
pub fn is_party(message: &Message, agent: &str) -> bool {
    let is_sender = message.from.kind == ActorType::Agent && message.from.id == agent;
    is_sender || message.to.is_some_and(|to| to.to_string() == agent)
}

/// Longer texts are cut in a wakeup; the message has them whole.
const WAKEUP_BODY_BYTES_MAX: usize = 4_096;

async fn wake_reader(
    tx: &mut Tx,
    origin: &Origin,
    ids: &mut IdSource,
    message: &Message,
    agent: AgentId,
) -> Result<Option<WakeupId>, Refusal> {
    if message.kind == MessageKind::Nudge {
        return match children::live_run_on(tx, agent, message.task).await? {
            Some(_) => Ok(None),
            None => Err(Refusal::conflict(
                "no_live_run",
                "a nudge is a word to a live run, and none is live there: send a note, which wakes the agent",
                object!({ "agent": agent, "task": message.task }),
            )),
        };
    }
    let from = name_of(tx, &message.from).await?;
    let cut = message.body.floor_char_boundary(WAKEUP_BODY_BYTES_MAX);
    let payload = object!({ "message": {
        "id": message.id,
        "from": message.from,
        "from_name": from,
        "kind": message.kind,
        "subject": message.subject,
        "body": message.body[..cut],
        "body_is_cut": cut < message.body.len(),
        "thread": message.thread,
    } });
    let wake = Wake {
        id: ids.next(origin.now),
        company: Some(message.company),
        agent,
        task: message.task,
        source: Source::Message,
        trigger_detail: Some(message.kind.as_str().into()),
        reason: Some(format!("{from} wrote to you: {}", message.headline())),
        priority: None,
        payload: payload.as_object().cloned().unwrap_or_default(),
        context: serde_json::Map::new(),
        actor: origin.actor.clone(),
        idempotency_key: None,
        request_hash: None,
        now: origin.now,
        due_at: None,
        expires_at: None,
        max_attempts: None,
        by_run: origin.by_run,
        maker: Maker::Wakeful,
    };
    Ok(Some(accept_held(tx, &wake).await?.wakeup.id))
}

async fn tell_people(tx: &mut Tx, origin: &Origin, ids: &mut IdSource, message: &Message) -> Result<(), Refusal> {
    let from = name_of(tx, &message.from).await?;
    let notice = Notice {
        company: message.company,
        kind: NotificationKind::Message,
        level: if message.kind == MessageKind::Escalation { Level::Warning } else { Level::Info },
        cause: None,
        title: format!("{from}: {}", message.headline()),
        text: message.body.clone(),
        metadata: object!({ "message": message.id, "thread": message.thread, "kind": message.kind, "task": message.task }),
        agent: message.from.id.parse().ok().filter(|_| message.from.kind == ActorType::Agent),
        run: message.from_run,
        schedule: None,
    };
    notifications::notify(tx, origin.now, ids.next(origin.now), notice).await?;
    Ok(())
}

/// Somebody by name: an agent by its own, a person by the name of the token.
pub(crate) async fn name_of(tx: &mut Tx, actor: &Actor) -> Result<String, Refusal> {
    match (actor.kind, actor.id.parse()) {
        (ActorType::Agent, Ok(agent)) => Ok(agents::get(tx, agent).await?.name),
        (ActorType::User | ActorType::System | ActorType::Agent, _) => Ok(actor.id.clone()),
    }
}

/// The message with this id, if there is one.
pub async fn find(tx: &mut Tx, id: MessageId) -> Result<Option<Message>, Error> {
    let sql = format!("select {COLUMNS} from messages where id = $1");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// The message with this id.
pub async fn get(tx: &mut Tx, id: MessageId) -> Result<Message, Refusal> {
    find(tx, id).await?.ok_or_else(|| Refusal::not_found(id))
}

/// What a list of messages is narrowed to.
#[derive(Debug, Clone)]
pub struct MailFilter {
    pub company: CompanyId,
    /// Sent or received by this agent.
    pub party: Option<AgentId>,
    /// `Some(None)`: to people.
    pub to: Option<Option<AgentId>>,
    pub from: Option<String>,
    pub thread: Option<MessageId>,
    pub task: Option<TaskId>,
    pub only_unread: bool,
}

/// A page of messages, newest first.
pub async fn list(
    tx: &mut Tx,
    filter: &MailFilter,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Message>, Refusal> {
    let party = filter.party.map(|agent| agent.to_string());
    let list = List::of(COLUMNS, "messages")
        .and("company_id = $", filter.company)
        .and_if("(to_agent = $ or from_id = $)", party)
        .and_if("to_agent = $", filter.to.flatten())
        .and_when("to_agent is null", filter.to == Some(None))
        .and_if("from_id = $", filter.from.clone())
        .and_if("thread_id = $", filter.thread)
        .and_if("task_id = $", filter.task)
        .and_when("acked_at is null and lapsed_at is null", filter.only_unread);
    Ok(list.page(tx, cursor, limit, read, |message| message.id.to_string()).await?)
}

/// At most this many are shown to a run at once, the oldest first.
const SHOWN_MAX: i64 = 100;
/// What nothing will wake the reader with any more is shown in whichever run it has next.
const UNREAD_OF_LANE: &str = "
    from messages
    where messages.company_id = $1
      and messages.to_agent = $2
      and messages.acked_at is null
      and messages.lapsed_at is null
      and (coalesce(messages.task_id, '') = $3
        or (messages.kind <> 'nudge' and not exists (
          select 1
          from wakeups
          where wakeups.id = messages.wakeup_id
            and wakeups.status in ('pending', 'claimed'))))";

/// The unread mail of a live run: of its lane, its own batch included, and what nothing else brings any more.
pub async fn unread_of_run(tx: &mut Tx, run: &Run) -> Result<Vec<Message>, Refusal> {
    if !run.status.is_live() {
        return Ok(Vec::new());
    }
    let sql = format!("select {COLUMNS} {UNREAD_OF_LANE} order by messages.id limit $4");
    let parameters = [run.company.into(), run.agent.into(), task_key(run.task), SHOWN_MAX.into()];
    Ok(tx.query(&sql, &parameters).await?.into_iter().map(read).collect::<Result<_, _>>()?)
}

/// How much unread mail a live run has.
pub async fn count_unread(tx: &mut Tx, run: &Run) -> Result<i64, Refusal> {
    if !run.status.is_live() {
        return Ok(0);
    }
    let sql = format!("select count(*) {UNREAD_OF_LANE}");
    Ok(tx.query_one(&sql, &[run.company.into(), run.agent.into(), task_key(run.task)]).await?.get()?)
}

const ACKNOWLEDGE: &str = "
    update messages
    set acked_at = $2,
      acked_by_run = $3
    where id = $1
      and acked_at is null
      and lapsed_at is null";

/// Notes that a message was read, once.
async fn mark(tx: &mut Tx, now: Timestamp, message: &Message, run: Option<RunId>) -> Result<(), Error> {
    if tx.execute(ACKNOWLEDGE, &[message.id.into(), now.into(), run.into()]).await? == 0 {
        return Ok(());
    }
    let data = object!({ "run": run, "agent": message.to });
    events::append(tx, message.company, now, "message.acknowledged", &message.id.to_string(), &data).await.map(|_| ())
}

/// A run has read a message; if its wakeup still waits, the run takes it over first.
pub(crate) async fn mark_read_by(tx: &mut Tx, now: Timestamp, message: &Message, run: &Run) -> Result<(), Error> {
    mark(tx, now, message, Some(run.id)).await
}

/// The message that a wakeup brings, if it brings one.
pub(crate) async fn of_wakeup(tx: &mut Tx, wakeup: WakeupId) -> Result<Option<Message>, Error> {
    let sql = format!("select {COLUMNS} from messages where wakeup_id = $1");
    tx.query_first(&sql, &[wakeup.into()]).await?.map(read).transpose()
}

/// Someone who is no run of the reader acknowledges a message: a person, or the agent with its own key. What would
/// wake the reader with it is called off.
pub async fn acknowledge_outside(tx: &mut Tx, now: Timestamp, id: MessageId) -> Result<Message, Refusal> {
    let message = get(tx, id).await?;
    let message = match message.to {
        Some(agent) => {
            ready::lock(tx, message.task.into_iter().collect(), vec![agent]).await?;
            get(tx, id).await?
        }
        None => message,
    };
    mark(tx, now, &message, None).await?;
    if let Some(wakeup) = message.wakeup
        && wakeups::get(tx, wakeup).await?.status == WakeupStatus::Pending
    {
        wakeups::call_off(tx, now, wakeup, "acknowledged").await?;
    }
    get(tx, id).await
}

const READ_OUTSIDE: &str = "
    select 1
    from messages
    where wakeup_id = $1
      and acked_at is not null
      and acked_by_run is null";

/// Whether the message that a wakeup brings was acknowledged by someone who is no run: it needs no further try.
pub(crate) async fn is_read_outside(tx: &mut Tx, wakeup: WakeupId) -> Result<bool, Error> {
    Ok(tx.query_first(READ_OUTSIDE, &[wakeup.into()]).await?.is_some())
}

const READ_BY_BATCH: &str = "
    select id
    from messages
    where company_id = $1
      and to_agent = $2
      and acked_at is null
      and lapsed_at is null
      and wakeup_id in (select wakeup_id from batches where run_id = $3)
    order by id";
const UNREAD_AGAIN: &str = "
    update messages
    set acked_at = null,
      acked_by_run = null
    where acked_by_run = $1
      and wakeup_id in (select wakeup_id from batches where run_id = $1)";
const LAPSE: &str = "
    update messages
    set lapsed_at = $4
    where company_id = $1
      and to_agent = $2
      and coalesce(task_id, '') = $3
      and kind = 'nudge'
      and acked_at is null
      and lapsed_at is null";

/// The end of a run: if it succeeded its mail is read, if not what it has acknowledged is unread again, since its
/// wakeup is not completed either. Nudges end with it.
pub(crate) async fn after_run(tx: &mut Tx, now: Timestamp, run: &Run, has_succeeded: bool) -> Result<(), Refusal> {
    match has_succeeded {
        true => {
            let mut read = Vec::new();
            for mut row in tx.query(READ_BY_BATCH, &[run.company.into(), run.agent.into(), run.id.into()]).await? {
                read.push(row.get()?);
            }
            for id in read {
                let message = get(tx, id).await?;
                mark(tx, now, &message, Some(run.id)).await?;
            }
        }
        false => {
            tx.execute(UNREAD_AGAIN, &[run.id.into()]).await?;
        }
    }
    tx.execute(LAPSE, &[run.company.into(), run.agent.into(), task_key(run.task), now.into()]).await?;
    Ok(())
}
