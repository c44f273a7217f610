//! Ids of traces and spans, reckoned from the run: sent twice they are the same, and whoever knows a run finds its trace.
//! The trace id is the run's id itself, as the 32 hexadecimal digits of its UUID.

use sha2::{Digest, Sha256};
use wakeful_domain::id::RunId;

/// What a span is of.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    Run,
    /// By their order in the log.
    Answer(usize),
    Tool(usize),
}

/// The trace of a run.
pub fn trace_id(run: RunId) -> Vec<u8> {
    run.uuid().as_bytes().to_vec()
}

/// A span of its trace.
pub fn span_id(run: RunId, part: Part) -> Vec<u8> {
    let part = match part {
        Part::Run => "run".to_owned(),
        Part::Answer(number) => format!("answer {number}"),
        Part::Tool(number) => format!("tool {number}"),
    };
    let sum = Sha256::new().chain_update(run.uuid().as_bytes()).chain_update(part).finalize();
    sum.iter().take(8).copied().collect()
}
