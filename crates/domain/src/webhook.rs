//! A webhook: where others tell Wakeful what happens. How a caller proves who it is, and what is wrong with one; what
//! is done with what was told is the store's business.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex;
use crate::hmac::hmac_sha256;
use crate::id::{AgentId, CompanyId, ReceiptId, TaskId, WakeupId, WebhookId};
use crate::signature::{key_of, verify};
use crate::time::Timestamp;

/// Larger bodies are refused.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// What is kept of what was told: more than can come within the time in which a signature is good.
pub const RECEIPTS_MAX: i64 = 5_000;
/// Of so many the body is kept, to be told once more.
pub const BODIES_MAX: i64 = 200;
/// Of one company; more are refused.
pub const PER_COMPANY_MAX: i64 = 1_000;
const NAME_BYTES_MAX: usize = 100;

/// How a caller proves that it knows the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Standard Webhooks: an HMAC over id, time and body; good for five minutes.
    Standard,
    /// `X-Hub-Signature-256`: an HMAC over the body. It says no time.
    Github,
    /// `Authorization: Bearer <secret>`.
    Bearer,
}

/// Where others tell Wakeful what happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    pub id: WebhookId,
    pub company: CompanyId,
    pub name: String,
    pub scheme: Scheme,
    /// Who is woken for whatever is told.
    pub agent: Option<AgentId>,
    pub task: Option<TaskId>,
    pub received: i64,
    pub refused: i64,
    pub last_received_at: Option<Timestamp>,
    pub last_refused_at: Option<Timestamp>,
    /// Until then the secret before works, too.
    pub old_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Webhook {
    /// What is wrong with it: the field, and what to do.
    pub fn problem(&self) -> Option<(String, String)> {
        if self.name.trim().is_empty() || self.name.len() > NAME_BYTES_MAX || self.name.chars().any(char::is_control) {
            return Some(("name".into(), format!("must have 1 to {NAME_BYTES_MAX} bytes, without control characters")));
        }
        let is_lost = self.task.is_some() && self.agent.is_none();
        is_lost.then(|| ("target.agent".into(), "must be given with a task: who is woken about it".into()))
    }
}

/// What became of something that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptStatus {
    /// It has woken somebody, or waits in a window.
    Accepted,
    /// It had been told before.
    Duplicate,
    /// Nobody waited for it.
    Ignored,
    /// Whom it was to wake cannot be woken.
    Skipped,
}

/// Something that was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    pub id: ReceiptId,
    pub company: CompanyId,
    pub webhook: WebhookId,
    pub status: ReceiptStatus,
    pub event: Option<String>,
    pub matched: i64,
    pub wakeup: Option<WakeupId>,
    pub repeats: Option<ReceiptId>,
    pub bytes: i64,
    pub has_data: bool,
    pub at: Timestamp,
}

/// What a caller has sent to prove itself: headers as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Proof<'a> {
    pub id: &'a str,
    pub timestamp: &'a str,
    pub signature: &'a str,
    pub hub_signature: &'a str,
    pub bearer: &'a str,
}

/// Whether a caller knows the secret. Takes as long for a wrong proof as for a right one.
pub fn is_genuine(scheme: Scheme, secret: &str, proof: &Proof<'_>, body: &[u8], now: Timestamp) -> bool {
    match scheme {
        Scheme::Standard => match proof.timestamp.parse() {
            Ok(at_s) if !proof.id.is_empty() => verify(&key_of(secret), proof.id, at_s, body, proof.signature, now),
            Ok(_) | Err(_) => false,
        },
        Scheme::Github => {
            let expected = format!("sha256={}", hex::of(&hmac_sha256(secret.as_bytes(), &[body])));
            is_same(&expected, proof.hub_signature)
        }
        Scheme::Bearer => is_same(secret, proof.bearer),
    }
}

/// Compares digests, every byte of them, so that neither length nor content shows in the time it takes.
fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (Sha256::digest(one.as_bytes()), Sha256::digest(other.as_bytes()));
    one.iter().zip(other.iter()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{secret_text, sign};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn check(scheme: Scheme, secret: &str, proof: Proof<'_>, expected: bool) {
        assert_eq!(is_genuine(scheme, secret, &proof, b"body", NOW), expected, "{scheme:?} {proof:?}");
    }

    #[test]
    fn only_who_knows_the_secret_is_genuine() {
        let secret = secret_text(b"key");
        let signature = sign(b"key", "m1", 1_000_000, b"body");
        let good = Proof { id: "m1", timestamp: "1000000", signature: &signature, ..Proof::default() };
        check(Scheme::Standard, &secret, good, true);
        check(Scheme::Standard, &secret, Proof { id: "m2", ..good }, false);
        check(Scheme::Standard, &secret, Proof { id: "", ..good }, false);
        check(Scheme::Standard, &secret, Proof { timestamp: "soon", ..good }, false);
        check(Scheme::Standard, &secret_text(b"other"), good, false);
        let old = sign(b"key", "m1", 999_000, b"body");
        check(Scheme::Standard, &secret, Proof { timestamp: "999000", signature: &old, ..good }, false);

        let hub = format!("sha256={}", hex::of(&hmac_sha256(b"s", &[b"body"])));
        check(Scheme::Github, "s", Proof { hub_signature: &hub, ..Proof::default() }, true);
        check(Scheme::Github, "t", Proof { hub_signature: &hub, ..Proof::default() }, false);
        check(Scheme::Github, "s", Proof { hub_signature: &hub[..70], ..Proof::default() }, false);
        check(Scheme::Bearer, "token", Proof { bearer: "token", ..Proof::default() }, true);
        for wrong in ["", "tokem", "token ", "toke"] {
            check(Scheme::Bearer, "token", Proof { bearer: wrong, ..Proof::default() }, false);
        }
    }
}
