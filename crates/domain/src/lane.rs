//! A lane: the pair (agent, task) or (agent, no task). It holds pending wakeups and at most one live run.

/// At most this many wakeups go into one batch; the rest make the next run.
pub const BATCH_WAKEUPS_MAX: i64 = 1_000;
/// At most this many bytes of payload and context go into one batch (the first wakeup always goes).
pub const BATCH_BYTES_MAX: i64 = 8 * 1024 * 1024;
