//! What tells two requests under one idempotency key apart.

use sha2::{Digest, Sha256};
use wakeful_domain::hex;
use wakeful_store::ops::request_keys::RequestKey;

/// SHA-256 over the parts, in hexadecimal.
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::of(&hash.finalize())
}

/// The key of a request to `route` with this body, if it has one.
pub fn request_key(key: Option<String>, route: &str, body: &[u8]) -> Option<RequestKey> {
    key.map(|key| RequestKey { request_hash: fingerprint(&[route.as_bytes(), body]), key })
}
