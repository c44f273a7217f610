//! The simulator at work: many seeds, the proof that a seed decides everything, and two scenarios with a name.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails loudly, in its helpers too")]

mod fairness;
mod same_bytes;
mod seeds;
mod stage;
mod starvation;
