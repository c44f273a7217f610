//! What an agent is told: the context document (`WAKEFUL_CONTEXT_FILE`), the environment, and the
//! prompt for agents that read one. On a resumed session the prompt holds only what is new.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json as object};
use wakeful_domain::comment::Comment;
use wakeful_domain::company::Company;
use wakeful_domain::goal::Goal;
use wakeful_domain::outcome::SessionState;
use wakeful_domain::run::{Run, SessionChoice, Workspace, WorktreeUse};
use wakeful_domain::session::{Handover, Start};
use wakeful_domain::task::Task;
use wakeful_domain::wakeup::{Source, Wakeup};

use wakeful_domain::agent::Agent;
use wakeful_store::ops::claim::Claimed;

/// What a run starts with, as it lies beside its log. It holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunContext {
    pub run: Json,
    pub agent: Json,
    pub task: Option<Json>,
    /// Why: from the highest goal down to the task itself, as it was when the run was claimed.
    #[serde(default)]
    pub why: Vec<Json>,
    /// What the task is for: its goal, and those above it.
    #[serde(default)]
    pub goals: Vec<Json>,
    /// Where the task is worked on.
    #[serde(default)]
    pub project: Option<Json>,
    pub wakeups: Vec<Json>,
    /// Every comment that a wakeup of the batch is about, in order.
    #[serde(default)]
    pub comment_ids: Vec<Json>,
    pub checkpoint: Option<Json>,
    pub workspace: Workspace,
    pub session: Option<SessionState>,
    pub session_choice: SessionChoice,
    /// What a fresh session is told about the one before it.
    #[serde(default)]
    pub handover: Option<Handover>,
    /// The agent's adapter configuration at the time of the claim.
    #[serde(skip)]
    pub adapter: Json,
}

/// What was chosen for a run.
#[derive(Debug)]
pub struct Chosen {
    pub workspace: Workspace,
    /// The session to be resumed.
    pub session: Option<SessionState>,
    pub choice: SessionChoice,
    pub handover: Option<Handover>,
    /// The adapter's configuration, with what the task lays over it.
    pub adapter: Json,
}

impl RunContext {
    /// The context of a claimed run.
    pub fn new(claimed: &Claimed, chosen: Chosen) -> Self {
        let Claimed { run, agent, company, task, comments, wakeups, checkpoint, goals, project, .. } = claimed;
        let goal = |goal: &Goal| object!({ "id": goal.id, "title": goal.title, "description": goal.description });
        Self {
            run: run_json(run, company),
            agent: object!({ "id": agent.id, "name": agent.name, "title": agent.title }),
            task: task.as_ref().map(|task| task_json(task, comments)),
            comment_ids: comment_ids(wakeups),
            why: why(claimed),
            goals: goals.iter().map(goal).collect(),
            project: project.as_ref().map(|project| object!({ "id": project.id, "name": project.name })),
            wakeups: wakeups.iter().map(wakeup_json).collect(),
            checkpoint: checkpoint.clone(),
            workspace: chosen.workspace,
            session: chosen.session,
            session_choice: chosen.choice,
            handover: chosen.handover,
            adapter: chosen.adapter,
        }
    }
}

impl RunContext {
    /// The session to be resumed does not exist any more: the run starts once more without one.
    pub fn forget_session(&mut self) {
        self.session = None;
        self.session_choice =
            SessionChoice { choice: Start::Fresh, reason: "the session to be resumed does not exist any more".into() };
    }
}

fn run_json(run: &Run, company: &Company) -> Json {
    object!({
        "id": run.id,
        "company": company.id,
        "company_slug": company.slug,
        "fence": run.fence,
        "created_at": run.created_at,
    })
}

fn task_json(task: &Task, comments: &[Comment]) -> Json {
    let comment = |comment: &Comment| {
        object!({
            "id": comment.id,
            "actor": comment.actor,
            "run": comment.run,
            "body": comment.body,
            "created_at": comment.created_at,
        })
    };
    object!({
        "id": task.id,
        "key": task.key,
        "title": task.title,
        "description": task.description,
        "status": task.status,
        "priority": task.priority,
        "assignee": task.assignee,
        "parent": task.parent,
        "labels": task.labels,
        "due_at": task.due_at,
        // What was said since the lane's last run began.
        "comments": comments.iter().map(comment).collect::<Vec<_>>(),
    })
}

/// The chain goal → … → task, the highest first.
fn why(claimed: &Claimed) -> Vec<Json> {
    let goals = claimed.goals.iter().rev();
    let goals = goals.map(|goal| object!({ "kind": "goal", "id": goal.id, "title": goal.title }));
    let tasks = claimed.ancestors.iter().rev().chain(&claimed.task);
    let tasks = tasks.map(|task| object!({ "kind": "task", "id": task.id, "key": task.key, "title": task.title }));
    goals.chain(tasks).collect()
}

fn comment_ids(wakeups: &[Wakeup]) -> Vec<Json> {
    let named = wakeups.iter().filter_map(|wakeup| wakeup.context.get("comment_ids")).filter_map(Json::as_array);
    let mut ids: Vec<Json> = Vec::new();
    for id in named.flatten() {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    ids
}

fn wakeup_json(wakeup: &Wakeup) -> Json {
    object!({
        "id": wakeup.id,
        "source": wakeup.source,
        "reason": wakeup.reason,
        "trigger_detail": wakeup.trigger_detail,
        "priority": wakeup.priority,
        "count": wakeup.count,
        "lead": wakeup.lead,
        "attempt": wakeup.attempt,
        "actor": wakeup.actor,
        "requested_at": wakeup.requested_at,
        "payload": wakeup.payload,
        "context": wakeup.context,
    })
}

/// The variables that tell a run what it is. `WAKEFUL_CONTEXT_FILE` and `WAKEFUL_RESULT_FILE` come on top.
pub fn variables(claimed: &Claimed, url: &str, token: &str) -> Vec<(String, String)> {
    let lead = claimed.wakeups.iter().find(|wakeup| wakeup.lead).or(claimed.wakeups.first());
    let mut variables = vec![
        ("WAKEFUL_URL", url.to_owned()),
        ("WAKEFUL_TOKEN", token.to_owned()),
        ("WAKEFUL_COMPANY", claimed.company.id.to_string()),
        ("WAKEFUL_AGENT", claimed.agent.id.to_string()),
        ("WAKEFUL_AGENT_NAME", claimed.agent.name.clone()),
        ("WAKEFUL_RUN", claimed.run.id.to_string()),
        ("WAKEFUL_TASK", claimed.run.task.map(|task| task.to_string()).unwrap_or_default()),
    ];
    if let Some(lead) = lead {
        variables.push(("WAKEFUL_REASON", lead.reason.clone().unwrap_or_default()));
        variables.push(("WAKEFUL_SOURCE", lead.source.as_str().to_owned()));
    }
    // No variable can hold a NUL; the context file has the text as it was.
    variables.into_iter().map(|(name, value)| (name.to_owned(), value.replace('\0', " "))).collect()
}

/// What an agent that reads a prompt is told.
pub fn prompt(agent: &Agent, context: &RunContext) -> String {
    let resumes = context.session.is_some();
    let mut text = String::new();
    // Writing to a String cannot fail.
    if !resumes {
        let title = agent.title.as_ref().map(|title| format!(", {title}")).unwrap_or_default();
        write!(text, "You are {}{title}, an agent run by Wakeful. Nobody watches: decide, do the work, and end with a short account of the outcome.\n\n", agent.name).ok();
    }
    if let Some(task) = &context.task {
        writeln!(text, "Task {} ({}): {}", text_of(task, "key"), text_of(task, "id"), text_of(task, "title")).ok();
        if let Some(description) = task.get("description").and_then(Json::as_str).filter(|_| !resumes) {
            writeln!(text, "{description}").ok();
        }
        write_why(&mut text, context, resumes);
        write_comments(&mut text, task);
        text.push('\n');
    }
    write_goal(&mut text, context);
    if let Some(worktree) = context.workspace.worktree.as_ref().filter(|_| !resumes) {
        write_worktree(&mut text, worktree);
    }
    if let Some(note) = context.handover.as_ref().filter(|_| !resumes) {
        writeln!(text, "{}", note.text()).ok();
    }
    match context.wakeups.len() {
        1 => text.push_str("You were woken because:\n"),
        count => {
            writeln!(text, "You were woken by {count} things, oldest first:").ok();
        }
    }
    for wakeup in &context.wakeups {
        write_wakeup(&mut text, wakeup);
    }
    if let Some(checkpoint) = context.checkpoint.as_ref().filter(|_| !resumes) {
        write!(text, "\nAn earlier run of yours left this checkpoint:\n{checkpoint}\n").ok();
    }
    if !resumes {
        text.push_str(
            "\nThe command `wakeful` is on your PATH: `wakeful inbox` shows what came while you work, \
             `wakeful checkpoint '<json>'` leaves a note for your next run, `wakeful comment '<text>'` says something about \
             the task, `wakeful ask '<question>'` asks a person, `wakeful done -m '<summary>'` reports the outcome \
             (`--failed '<reason>'` if there is none). `wakeful skill` says more.\n",
        );
    }
    text
}

/// What the task is a part of and what it is for.
fn write_why(text: &mut String, context: &RunContext, resumes: bool) {
    let above = context.why.iter().filter(|one| text_of(one, "kind") == "task").rev().skip(1);
    for task in above.filter(|_| !resumes) {
        writeln!(text, "It is a part of {}: {}", text_of(task, "key"), text_of(task, "title")).ok();
    }
    for goal in context.goals.iter().filter(|_| !resumes) {
        writeln!(text, "It serves the goal: {}", text_of(goal, "title")).ok();
    }
}

/// What is to be done about a goal that the agent was asked to break down.
fn write_goal(text: &mut String, context: &RunContext) {
    let is_asked = context.wakeups.iter().any(|wakeup| text_of(wakeup, "source") == Source::Goal.as_str());
    let Some(goal) = context.goals.first().filter(|_| is_asked) else { return };
    let id = text_of(goal, "id");
    writeln!(text, "Goal {id}: {}", text_of(goal, "title")).ok();
    match text_of(goal, "description") {
        "" => {}
        description => {
            writeln!(text, "{description}").ok();
        }
    }
    for above in context.goals.iter().skip(1) {
        writeln!(text, "It serves the goal: {}", text_of(above, "title")).ok();
    }
    write!(
        text,
        "Break it down into tasks, each small enough for one agent: `wakeful task add TITLE --goal {id} --assignee AGENT \
         --description '<what is to be true when it is done>'`; `--blocked-by T-12` for what must come first. \
         `wakeful agent ls` names the agents, `wakeful task ls` what is there already. Do not do the tasks yourself.\n\n"
    )
    .ok();
}

/// Longer comments are cut in the prompt; the context file has them whole.
const COMMENT_BYTES_MAX: usize = 4_096;

fn write_comments(text: &mut String, task: &Json) {
    let comments = task.get("comments").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    if comments.is_empty() {
        return;
    }
    text.push_str("\nSaid about it since you last worked on it:\n");
    for comment in comments {
        let who = comment.pointer("/actor/id").and_then(Json::as_str).unwrap_or_default();
        let body = text_of(comment, "body");
        let cut = body.floor_char_boundary(COMMENT_BYTES_MAX);
        let more = if cut < body.len() { " […]" } else { "" };
        writeln!(text, "- {who}: {}{more}", body[..cut].replace('\n', "\n  ")).ok();
    }
}

fn write_worktree(text: &mut String, worktree: &WorktreeUse) {
    let from = worktree.base.branch.as_deref().unwrap_or(&worktree.base.commit);
    write!(
        text,
        "You work in a git worktree of your own, on branch {} (from {from}). Commit what is to last; when the task is \
         closed the worktree goes once all is merged or pushed.\n\n",
        worktree.branch
    )
    .ok();
}

fn write_wakeup(text: &mut String, wakeup: &Json) {
    let reason = match text_of(wakeup, "reason") {
        "" => "no reason was given",
        reason => reason,
    };
    write!(text, "- [{}] {reason}", text_of(wakeup, "source")).ok();
    if let Some(attempt) = wakeup.get("attempt").and_then(Json::as_i64).filter(|attempt| *attempt > 1) {
        write!(text, " (attempt {attempt})").ok();
    }
    // The text of a comment stands with the task.
    let mut payload = wakeup.get("payload").and_then(Json::as_object).cloned().unwrap_or_default();
    payload.retain(|key, value| key != "comment" || value.get("id").is_none());
    if !payload.is_empty() {
        write!(text, "\n  {}", Json::Object(payload)).ok();
    }
    text.push('\n');
}

fn text_of<'a>(object: &'a Json, key: &str) -> &'a str {
    object.get(key).and_then(Json::as_str).unwrap_or_default()
}
