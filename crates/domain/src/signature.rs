//! Signatures of requests as Standard Webhooks defines them: `v1,` and the Base64 of an
//! HMAC-SHA-256 over id, time and body. The secret is written `whsec_` and Base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hmac::hmac_sha256;
use crate::time::Timestamp;

/// The headers, in the order in which they are signed; the signature itself comes last.
pub const ID_HEADER: &str = "webhook-id";
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
pub const SIGNATURE_HEADER: &str = "webhook-signature";

const PREFIX: &str = "whsec_";
/// Seconds by which the time of a request may differ from the receiver's.
pub const TOLERANCE_S: i64 = 300;

/// A key, written as the standard writes it.
pub fn secret_text(key: &[u8]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(key))
}

/// The key that a text stands for: what follows `whsec_` decoded, any other text as it is.
pub fn key_of(secret: &str) -> Vec<u8> {
    let decoded = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
    decoded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

/// The value of the signature's header.
pub fn sign(key: &[u8], id: &str, at_s: i64, body: &[u8]) -> String {
    format!("v1,{}", STANDARD.encode(code(key, id, at_s, body)))
}

/// Whether one of the signatures of a header, which stand apart by spaces, is right and the time is near.
pub fn verify(key: &[u8], id: &str, at_s: i64, body: &[u8], signatures: &str, now: Timestamp) -> bool {
    let is_near = (now.as_millis() / 1_000).abs_diff(at_s) <= TOLERANCE_S.unsigned_abs();
    let expected = code(key, id, at_s, body);
    let is_right = |signature: &str| {
        let given = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        // Every byte is compared whatever the first ones are.
        given.is_some_and(|given| {
            given.len() == expected.len() && given.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
        })
    };
    is_near && signatures.split(' ').any(is_right)
}

fn code(key: &[u8], id: &str, at_s: i64, body: &[u8]) -> [u8; 32] {
    hmac_sha256(key, &[id.as_bytes(), b".", at_s.to_string().as_bytes(), b".", body])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_example_holds() {
        let key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body), signature);
    }

    #[test]
    fn what_is_old_changed_or_foreign_is_refused() {
        let now = Timestamp::from_millis(1_000_000_000);
        let signature = sign(b"key", "id", 1_000_000, b"body");
        let check = |key: &[u8], id: &str, at_s: i64, body: &[u8], signatures: &str, expected: bool| {
            assert_eq!(verify(key, id, at_s, body, signatures, now), expected, "{signatures}");
        };
        check(b"key", "id", 1_000_000, b"body", &signature, true);
        check(b"key", "id", 1_000_000, b"body", &format!("v1,AAAA v2,x {signature}"), true);
        check(b"other", "id", 1_000_000, b"body", &signature, false);
        check(b"key", "id2", 1_000_000, b"body", &signature, false);
        check(b"key", "id", 1_000_001, b"body", &signature, false);
        check(b"key", "id", 1_000_000, b"bodY", &signature, false);
        check(b"key", "id", 1_000_000, b"body", "", false);
        check(b"key", "id", 999_000, b"body", &sign(b"key", "id", 999_000, b"body"), false);
    }

    #[test]
    fn a_secret_is_read_as_it_is_written() {
        assert_eq!(key_of(&secret_text(b"\x00\x01key")), b"\x00\x01key");
        assert_eq!(key_of("plain"), b"plain");
    }
}
