//! The master key: 256 random bits that everything secret is sealed under. It is written as 64
//! hexadecimal digits or as Base64; where it comes from is the caller's business.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use wakeful_domain::hex;
use wakeful_domain::hmac::hmac_sha256;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
/// How much of its hash names a key.
const ID_CHARS: usize = 16;

/// The key itself. It is forgotten when dropped, and never shown.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

/// Why a text is no master key. The text is never part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a master key is {KEY_BYTES} bytes, as 64 hexadecimal digits or as Base64; this is {0}")]
pub struct MasterKeyError(&'static str);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id())
    }
}

impl MasterKey {
    /// A new one.
    pub fn generate() -> Result<MasterKey, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(MasterKey(bytes))
    }

    /// Reads a key; space around it does not matter.
    pub fn read(text: &str) -> Result<MasterKey, MasterKeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MasterKeyError("empty"));
        }
        let bytes = match of_hex(text) {
            Some(bytes) => Some(bytes),
            None => [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
                .iter()
                .find_map(|alphabet| alphabet.decode(text).ok()),
        };
        let bytes = Zeroizing::new(bytes.ok_or(MasterKeyError("neither"))?);
        let key: [u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| MasterKeyError("of another length"))?;
        Ok(MasterKey(Zeroizing::new(key)))
    }

    /// As it is written to a file.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::of(self.0.as_slice()))
    }

    /// The name of the key, which says nothing about it.
    pub fn id(&self) -> String {
        let mut id = hex::of(&Sha256::digest(self.0.as_slice()));
        id.truncate(ID_CHARS);
        id
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A key for one purpose. It tells nothing about this one or about those for other purposes.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(hmac_sha256(self.0.as_slice(), &[b"wakeful ", purpose.as_bytes()]))
    }
}

fn of_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    (0..KEY_BYTES).map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_and_never_shown() {
        let key = MasterKey::generate().unwrap();
        let read = MasterKey::read(&format!(" {}\n", *key.to_text())).unwrap();
        assert_eq!(read.bytes(), key.bytes());
        assert_eq!(MasterKey::read(&STANDARD.encode(key.bytes())).unwrap().id(), key.id());
        assert!(!format!("{key:?}").contains(key.to_text().as_str()));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let check = |text: &str, reason: &str| {
            let error = MasterKey::read(text).unwrap_err().to_string();
            assert!(error.ends_with(reason), "{error}");
            assert!(text.is_empty() || !error.contains(text));
        };
        check("", "empty");
        check("päss", "neither");
        check("c2hvcnQ=", "of another length");
    }

    #[test]
    fn keys_for_different_purposes_differ() {
        let key = MasterKey::generate().unwrap();
        assert_ne!(*key.derive("a"), *key.derive("b"));
        assert_eq!(*key.derive("a"), *key.derive("a"));
        assert_ne!(*key.derive("a"), *key.bytes());
    }
}
