//! Whom a comment wakes: the task's assignee and the agents that it mentions, never its author. Each comment is a wakeup
//! of its own, so that none is lost in a batch.

use serde_json::{Map, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::comment::Comment;
use wakeful_domain::id::{AgentId, CompanyId, IdSource, TaskId};
use wakeful_domain::mention::{mentions, readings};
use wakeful_domain::task::Task;
use wakeful_domain::wakeup::Source;

use crate::ops::origin::Origin;
use crate::ops::wake::{Wake, accept_held};
use crate::ops::{agents, assignments, mail, tasks};
use crate::{Error, Refusal, Tx};

/// Longer texts are cut in a wakeup; the comment has them whole.
const BODY_BYTES_MAX: usize = 4_096;
/// How far the beginning of a comment stands in the reason.
const HEADLINE_CHARS_MAX: usize = 120;

/// The agents that a text mentions, each once.
pub(crate) async fn mentioned(tx: &mut Tx, company: CompanyId, text: &str) -> Result<Vec<AgentId>, Error> {
    let mut found = Vec::new();
    for mention in mentions(text) {
        for name in readings(mention) {
            if let Some(agent) = agents::by_name(tx, company, name).await? {
                if !found.contains(&agent.id) {
                    found.push(agent.id);
                }
                break;
            }
        }
    }
    Ok(found)
}

/// Keeps others from the task and from all whom a comment on it wakes; gives those it mentions.
pub(crate) async fn lock(tx: &mut Tx, task: TaskId, text: &str) -> Result<Vec<AgentId>, Refusal> {
    let company = tasks::get(tx, task).await?.company;
    let mentioned = mentioned(tx, company, text).await?;
    assignments::lock(tx, task, &[], &mentioned).await?;
    Ok(mentioned)
}

/// Wakes those whom a comment concerns. The caller has locked them.
pub(crate) async fn wake(
    tx: &mut Tx,
    origin: &Origin,
    task: &Task,
    comment: &Comment,
    mentioned: &[AgentId],
) -> Result<(), Refusal> {
    // Another source than that of a change in the same transaction.
    let mut ids = IdSource::new(origin.id_seed.wrapping_add(1));
    let by = mail::name_of(tx, &comment.actor).await?;
    let line = headline(&comment.body);
    let author = |agent: AgentId| comment.actor == Actor::agent(agent);
    if let Some(assignee) = task.assignee.filter(|agent| !author(*agent)) {
        let reason = format!("{by} commented on {}: {line}", task.key);
        let wake = assignments::about(origin, &mut ids, task, assignee, Source::Comment, reason, payload(comment, &by));
        accept_held(tx, &wake).await?;
    }
    for agent in mentioned.iter().copied().filter(|agent| !author(*agent) && task.assignee != Some(*agent)) {
        let reason = format!("{by} mentioned you in a comment on {}: {line}", task.key);
        let wake = assignments::about(origin, &mut ids, task, agent, Source::Comment, reason, payload(comment, &by));
        accept_held(tx, &Wake { trigger_detail: Some("mention".into()), ..wake }).await?;
    }
    Ok(())
}

fn headline(body: &str) -> &str {
    let line = body.trim().lines().next().unwrap_or_default();
    line.char_indices().nth(HEADLINE_CHARS_MAX).map_or(line, |(end, _)| &line[..end])
}

fn payload(comment: &Comment, by: &str) -> Map<String, serde_json::Value> {
    let cut = comment.body.floor_char_boundary(BODY_BYTES_MAX);
    let payload = object!({
        "comment_id": comment.id,
        "comment": {
            "id": comment.id,
            "actor": comment.actor,
            "by": by,
            "run": comment.run,
            "body": comment.body[..cut],
            "body_is_cut": cut < comment.body.len(),
        },
    });
    payload.as_object().cloned().unwrap_or_default()
}
