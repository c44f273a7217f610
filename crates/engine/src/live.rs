//! A live run as the rest of the engine sees it, and what its task listens to.

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wakeful_domain::run::Run;
use wakeful_runner::scrub::Scrubber;

use crate::course::Course;

/// More texts than this waiting for one agent are refused; they wait in its inbox.
const INPUTS_MAX: usize = 64;

/// Text for an agent while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// The wakeup that it is the text of, or another name.
    pub id: String,
    pub text: String,
}

/// The lines to the task that follows a live run.
#[derive(Debug)]
pub(crate) struct LiveRun {
    /// The reason of a stop, once there is one.
    pub stop: watch::Sender<Option<String>>,
    /// Bytes of the log so far.
    pub log: watch::Sender<u64>,
    pub input: mpsc::Sender<Input>,
    /// Cancelled once the run has ended, whoever ended it.
    pub over: CancellationToken,
    /// Takes out of what the run brings what it was given, once that is known.
    pub scrubber: Option<Scrubber>,
    /// Whether the agent takes texts while it works.
    pub takes_messages: bool,
    /// Whether its silence means nothing now: a tool call runs, or the agent is done and is being ended.
    pub may_be_silent: bool,
    /// Whether the disk has kept its log waiting for long.
    pub has_slow_disk: bool,
    /// What its agent has done, if somebody wants to know.
    pub course: Course,
}

/// What a run's task listens to.
#[derive(Debug)]
pub(crate) struct Lines {
    pub stop: watch::Receiver<Option<String>>,
    pub input: mpsc::Receiver<Input>,
    pub over: CancellationToken,
    /// Whether something is in flight that a stop of the server would lose.
    pub in_flight: watch::Sender<bool>,
}

impl LiveRun {
    /// Both ends.
    pub fn begin(run: &Run) -> (LiveRun, Lines) {
        let stop = watch::Sender::new(run.stop.as_ref().map(|stop| stop.reason.clone()));
        let (input, inputs) = mpsc::channel(INPUTS_MAX);
        let over = CancellationToken::new();
        let lines =
            Lines { stop: stop.subscribe(), input: inputs, over: over.clone(), in_flight: watch::Sender::new(false) };
        let log = watch::Sender::new(0);
        let live = LiveRun {
            stop,
            log,
            input,
            over,
            scrubber: None,
            takes_messages: false,
            may_be_silent: false,
            has_slow_disk: false,
            course: Course::default(),
        };
        (live, lines)
    }
}
