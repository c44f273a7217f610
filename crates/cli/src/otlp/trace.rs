//! The trace of a run that has ended: `invoke_agent`, below it one `chat` for each answer of the model, below each the
//! `execute_tool` of what it asked for. Names and figures by the conventions for generative AI; what only Wakeful knows
//! begins with `wakeful.`. No prompt, answer, tool argument, tool result or text of an error is ever in here.

use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use wakeful_domain::id::RunId;
use wakeful_domain::run::{Run, RunStatus};
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::usage::Usage;
use wakeful_domain::wakeup::Wakeup;
use wakeful_engine::Course;

use super::attributes::Attributes;
use super::ids::{Part, span_id, trace_id};
use super::steps::{Answered, Call, Tree, tree};

/// Causes of a run that its trace points at.
const LINKS_MAX: usize = 16;
/// Set on a tool call that its agent calls failed.
const TOOL_FAILED: &str = "tool_error";

/// What the spans of a run are made of.
#[derive(Debug)]
pub struct Told {
    pub run: Run,
    pub course: Course,
    pub agent: String,
    pub company: String,
    pub task: Option<Task>,
    pub wakeups: Vec<Wakeup>,
}

/// The whole of a run's trace.
#[derive(Debug)]
pub struct Trace<'a> {
    told: &'a Told,
    from: Timestamp,
    until: Timestamp,
    tree: Tree,
}

impl<'a> Trace<'a> {
    pub fn of(told: &'a Told) -> Trace<'a> {
        let from = told.run.created_at;
        let until = told.run.finished_at.unwrap_or(from).max(from);
        Trace { told, from, until, tree: tree(&told.course, told.run.started_at.unwrap_or(from)) }
    }

    /// How long each answer took, in seconds, with its model.
    pub fn answers(&self) -> impl Iterator<Item = (f64, Option<&str>)> {
        self.tree.answers.iter().map(|answer| {
            let took = answer.until.since(answer.from).as_secs_f64();
            (took, answer.model.as_deref())
        })
    }

    /// The spans, the run's own first.
    pub fn spans(&self) -> Vec<Span> {
        let answers = self.tree.answers.iter().enumerate().map(|(number, answer)| self.chat(number, answer));
        let calls = self.tree.calls.iter().enumerate().map(|(number, call)| self.execute_tool(number, call));
        std::iter::once(self.invoke_agent()).chain(answers).chain(calls).collect()
    }

    fn invoke_agent(&self) -> Span {
        let Told { run, course, agent, company, task, wakeups } = self.told;
        let mut attributes = self.shared("invoke_agent");
        attributes
            .text("gen_ai.agent.id", run.agent.to_string())
            .text_if("gen_ai.request.model", run.model.as_deref())
            .text("wakeful.run.id", run.id.to_string())
            .text("wakeful.run.status", run.status.as_str())
            .text("wakeful.adapter", run.adapter.as_str())
            .text("wakeful.company", company.as_str());
        if run.usage != Usage::default() {
            usage(&mut attributes, &run.usage, true);
        }
        if let Some(cost) = run.cost_micros {
            attributes.number("wakeful.cost_micros", cost);
        }
        if let Some(task) = task {
            attributes.text("wakeful.task.id", task.id.to_string()).text("wakeful.task.key", task.key.as_str());
        }
        if let Some(lead) = wakeups.iter().find(|wakeup| wakeup.lead).or(wakeups.first()) {
            attributes
                .text("wakeful.wakeup.id", lead.id.to_string())
                .text("wakeful.wakeup.source", lead.source.as_str())
                .number("wakeful.wakeup.attempt", lead.attempt)
                .text("wakeful.root.id", lead.root_id.to_string())
                .text_if("wakeful.cause.id", lead.cause_id.as_deref())
                .number("wakeful.depth", lead.depth);
        }
        attributes.number("wakeful.wakeups", i64::try_from(wakeups.len()).unwrap_or(i64::MAX));
        if course.left_out > 0 {
            attributes.number("wakeful.steps_left_out", i64::try_from(course.left_out).unwrap_or(i64::MAX));
        }
        let failure = failure(run);
        attributes.text_if("error.type", failure);
        let links = wakeups.iter().filter_map(cause).take(LINKS_MAX).map(link).collect();
        Span {
            name: format!("invoke_agent {agent}"),
            links,
            ..self.span(Part::Run, None, SpanKind::Internal, (self.from, self.until), attributes, failure)
        }
    }

    fn chat(&self, number: usize, answer: &Answered) -> Span {
        let model = answer.model.as_deref().or(self.told.run.model.as_deref());
        let mut attributes = self.shared("chat");
        attributes.text_if("gen_ai.request.model", self.told.run.model.as_deref().or(model));
        attributes.text_if("gen_ai.response.model", answer.model.as_deref());
        if let Some(used) = &answer.usage {
            usage(&mut attributes, used, answer.output_is_known);
        }
        let parent = answer.within.map_or(Part::Run, Part::Tool);
        let times = (answer.from, answer.until);
        let span = self.span(Part::Answer(number), Some(parent), SpanKind::Client, times, attributes, None);
        Span { name: model.map_or_else(|| "chat".to_owned(), |model| format!("chat {model}")), ..span }
    }

    fn execute_tool(&self, number: usize, call: &Call) -> Span {
        let mut attributes = self.shared("execute_tool");
        attributes.text("gen_ai.tool.name", call.name.as_str()).text_if("gen_ai.tool.call.id", call.id.as_deref());
        // What was not seen to end has ended with the run, as well or badly as that.
        let failure = match (call.is_failed, call.until) {
            (true, _) => Some(TOOL_FAILED),
            (false, None) => failure(&self.told.run),
            (false, Some(_)) => None,
        };
        attributes.text_if("error.type", failure);
        let parent = call.asked_by.map_or(Part::Run, Part::Answer);
        let times = (call.from, call.until.unwrap_or(self.until));
        let span = self.span(Part::Tool(number), Some(parent), SpanKind::Internal, times, attributes, failure);
        Span { name: format!("execute_tool {}", call.name), ..span }
    }

    /// What every span of the run has.
    fn shared(&self, operation: &str) -> Attributes {
        let run = &self.told.run;
        let mut attributes = Attributes::default();
        attributes
            .text("gen_ai.operation.name", operation)
            .text("gen_ai.provider.name", provider(run))
            .text("gen_ai.agent.name", self.told.agent.as_str())
            .text_if("gen_ai.conversation.id", run.session_after.as_deref().or(run.session_before.as_deref()));
        attributes
    }

    fn span(
        &self,
        part: Part,
        parent: Option<Part>,
        kind: SpanKind,
        (from, until): (Timestamp, Timestamp),
        attributes: Attributes,
        failure: Option<&str>,
    ) -> Span {
        let run = self.told.run.id;
        // The clock of the log is the same machine's, but may have been set in between.
        let within = |at: Timestamp| at.clamp(self.from, self.until);
        let status = failure.map(|failure| Status { code: StatusCode::Error.into(), message: failure.to_owned() });
        Span {
            trace_id: trace_id(run),
            span_id: span_id(run, part),
            parent_span_id: parent.map(|parent| span_id(run, parent)).unwrap_or_default(),
            kind: kind.into(),
            start_time_unix_nano: nanos(within(from)),
            end_time_unix_nano: nanos(within(until).max(within(from))),
            attributes: attributes.list(),
            status: Some(status.unwrap_or_default()),
            ..Span::default()
        }
    }
}

/// Nanoseconds since 1970.
pub fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(0).saturating_mul(1_000)
}

/// The class of what went wrong, by the code of the failure; no words of the agent.
fn failure(run: &Run) -> Option<&str> {
    match run.status {
        RunStatus::Starting | RunStatus::Running | RunStatus::Succeeded => None,
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::TimedOut | RunStatus::Lost => {
            Some(run.error_code.as_deref().unwrap_or(run.status.as_str()))
        }
    }
}

/// As the conventions name it where they do; else what the adapter is called.
pub fn provider(run: &Run) -> &str {
    match (run.provider.as_deref(), run.adapter.as_str()) {
        (Some("google"), _) => "gcp.gemini",
        (Some(provider), _) => provider,
        (None, "codex") => "openai",
        (None, adapter) => adapter,
    }
}

/// The input as the conventions count it: with what came from caches and what was written to them.
pub fn input_of(usage: &Usage) -> i64 {
    usage.input_tokens.saturating_add(usage.cache_read_tokens).saturating_add(usage.cache_write_tokens)
}

fn usage(attributes: &mut Attributes, usage: &Usage, output_is_known: bool) {
    attributes
        .number("gen_ai.usage.input_tokens", input_of(usage))
        .number("gen_ai.usage.cache_read.input_tokens", usage.cache_read_tokens)
        .number("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens);
    if output_is_known {
        attributes.number("gen_ai.usage.output_tokens", usage.output_tokens);
    }
}

/// The run that a wakeup comes from.
fn cause(wakeup: &Wakeup) -> Option<RunId> {
    wakeup.cause_id.as_deref()?.parse().ok()
}

fn link(run: RunId) -> Link {
    Link { trace_id: trace_id(run), span_id: span_id(run, Part::Run), ..Link::default() }
}
