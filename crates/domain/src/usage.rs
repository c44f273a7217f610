//! What a run consumed: tokens and money, as its adapter reported them.

use serde::{Deserialize, Serialize};

/// No run uses more than this, of tokens or of micro-dollars: sums of a billion runs still fit.
pub const USAGE_MAX: i64 = 1_000_000_000;

/// Tokens by kind. `input_tokens` never counts what was read from or written to a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_tokens: i64,
}

impl Usage {
    fn counts(&self) -> [i64; 4] {
        [self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_write_tokens]
    }

    /// All tokens together.
    pub fn total(&self) -> i64 {
        self.counts().into_iter().fold(0, i64::saturating_add)
    }

    /// What is wrong with figures that were reported, if anything.
    pub fn problem(&self) -> Option<String> {
        let is_possible = self.counts().iter().all(|count| (0..=USAGE_MAX).contains(count));
        (!is_possible).then(|| format!("counts of tokens must be at least 0 and at most {USAGE_MAX}"))
    }

    /// The sum of both, kind by kind.
    pub fn plus(&self, other: &Usage) -> Usage {
        Usage {
            input_tokens: self.input_tokens + other.input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            cache_read_tokens: self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens: self.cache_write_tokens + other.cache_write_tokens,
        }
    }
}
