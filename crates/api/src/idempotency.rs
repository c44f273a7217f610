//! What tells two requests under one idempotency key apart.

use sha2::{Digest, Sha256};
use wakeful_domain::actor::ActorType;
use wakeful_domain::hex;
use wakeful_store::ops::request_keys::RequestKey;

use crate::access::Principal;

/// SHA-256 over the parts, in hexadecimal.
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::of(&hash.finalize())
}

/// The key of a request to `route` with this body, if it has one. Agents have keys of their own each: in many bodies it is
/// the caller who is meant without being named.
pub fn request_key(key: Option<String>, caller: &Principal, route: &str, body: &[u8]) -> Option<RequestKey> {
    let actor = caller.actor();
    let scoped = |key: String| match actor.kind {
        ActorType::Agent => format!("{}:{key}", actor.id),
        ActorType::User | ActorType::System => key,
    };
    key.map(|key| RequestKey { request_hash: fingerprint(&[route.as_bytes(), body]), key: scoped(key) })
}
