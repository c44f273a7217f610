//! HMAC-SHA-256 over several parts, for derived keys and for signatures.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const BLOCK_BYTES: usize = 64;

/// The code of the parts, one after another, under a key of any length.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // RFC 2104: a longer key is hashed, a shorter one filled up with zeroes.
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn published_cases_hold() {
        // RFC 4231, cases 2 and 6.
        let check = |key: &[u8], text: &str, expected: &str| {
            let (first, second) = text.split_at(5);
            assert_eq!(hex::of(&hmac_sha256(key, &[first.as_bytes(), second.as_bytes()])), expected);
        };
        check(
            b"Jefe",
            "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check(
            &[0xaa; 131],
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        );
    }
}
