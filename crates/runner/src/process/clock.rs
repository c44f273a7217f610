//! The clock of the shim: a process of its own, whose inputs are real pipes and real signals.
//! It is not for the server, which takes `now` as an argument.

use std::time::Instant;

use wakeful_domain::time::Timestamp;

/// The wall clock, for what is written down.
#[expect(clippy::disallowed_methods, reason = "the shim is its own process and has no caller to take the time from")]
pub(super) fn now() -> Timestamp {
    Timestamp::from(jiff::Timestamp::now())
}

/// The monotonic clock, for deadlines.
#[expect(clippy::disallowed_methods, reason = "the shim is its own process and has no caller to take the time from")]
pub(super) fn monotonic() -> Instant {
    Instant::now()
}
