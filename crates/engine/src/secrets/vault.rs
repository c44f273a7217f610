//! Seals and opens values: XChaCha20-Poly1305 under the master key, with a random nonce, bound to
//! the place they are kept in, so that one cannot be put in another's place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use wakeful_domain::id::CompanyId;
use wakeful_store::ops::secrets::Sealed;
use zeroize::Zeroizing;

use super::master_key::MasterKey;

const NONCE_BYTES: usize = 24;

/// Opens what it has sealed.
#[derive(Debug, Clone)]
pub struct Vault {
    key: MasterKey,
}

/// Why a value could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("it was sealed under master key {sealed_under}, and this server has {own}")]
    OtherKey { sealed_under: String, own: String },
    #[error("it is damaged, or stands in another's place")]
    Damaged,
    #[error("the system has no randomness to give")]
    NoRandomness,
}

/// What a company's secret is bound to.
pub fn place_of(company: CompanyId, name: &str) -> String {
    format!("secret {company} {name}")
}

impl Vault {
    pub fn new(key: MasterKey) -> Vault {
        Vault { key }
    }

    /// The key that values are sealed under.
    pub fn key(&self) -> &MasterKey {
        &self.key
    }

    /// Seals a value for its place.
    pub fn seal(&self, place: &str, value: &str) -> Result<Sealed, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| VaultError::NoRandomness)?;
        let payload = Payload { msg: value.as_bytes(), aad: place.as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Damaged)?;
        let text = STANDARD.encode([nonce.as_slice(), &sealed].concat());
        Ok(Sealed { text, key_id: self.key.id() })
    }

    /// Seals a company's secret.
    pub fn seal_secret(&self, company: CompanyId, name: &str, value: &str) -> Result<Sealed, VaultError> {
        self.seal(&place_of(company, name), value)
    }

    /// Opens a value that was sealed for this place.
    pub fn open(&self, place: &str, sealed: &Sealed) -> Result<Zeroizing<String>, VaultError> {
        if sealed.key_id != self.key.id() {
            return Err(VaultError::OtherKey { sealed_under: sealed.key_id.clone(), own: self.key.id() });
        }
        let bytes = STANDARD.decode(&sealed.text).map_err(|_| VaultError::Damaged)?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Damaged)?;
        let payload = Payload { msg: text, aad: place.as_bytes() };
        let opened = self.cipher().decrypt(&XNonce::from(*nonce), payload).map_err(|_| VaultError::Damaged)?;
        String::from_utf8(opened).map(Zeroizing::new).map_err(|_| VaultError::Damaged)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.key.bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(MasterKey::generate().unwrap())
    }

    #[test]
    fn what_is_sealed_is_opened_only_in_its_place_and_by_its_key() {
        let vault = vault();
        let sealed = vault.seal("here", "hunter2").unwrap();
        assert!(!sealed.text.contains("hunter2"));
        assert_eq!(vault.open("here", &sealed).unwrap().as_str(), "hunter2");
        assert_eq!(vault.open("there", &sealed), Err(VaultError::Damaged));
        assert!(matches!(super::tests::vault().open("here", &sealed), Err(VaultError::OtherKey { .. })));
        assert_ne!(vault.seal("here", "hunter2").unwrap(), sealed, "a nonce is used once");
    }

    #[test]
    fn every_damage_is_noticed() {
        let vault = vault();
        let sealed = vault.seal("here", "hunter2").unwrap();
        let bytes = STANDARD.decode(&sealed.text).unwrap();
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            let damaged = Sealed { text: STANDARD.encode(damaged), ..sealed.clone() };
            assert_eq!(vault.open("here", &damaged), Err(VaultError::Damaged));
        }
        for text in ["", "%%", "AAAA"] {
            assert_eq!(vault.open("here", &Sealed { text: text.into(), ..sealed.clone() }), Err(VaultError::Damaged));
        }
    }
}
