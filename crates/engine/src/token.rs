//! Tokens: 256 random bits behind a prefix that secret scanners know. Only their hash is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use wakeful_domain::hex;

/// Whose token it is; part of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    Admin,
    Company,
    Agent,
    Run,
    /// A link that begins a session of the console.
    Link,
}

impl TokenKind {
    /// Whether a text is written as a token of this kind.
    pub fn is_of(self, token: &str) -> bool {
        token.starts_with(self.prefix())
    }

    fn prefix(self) -> &'static str {
        match self {
            TokenKind::Admin => "wkf_admin_",
            TokenKind::Company => "wkf_company_",
            TokenKind::Agent => "wkf_agent_",
            TokenKind::Run => "wkf_run_",
            TokenKind::Link => "wkf_link_",
        }
    }
}

/// A new token.
pub fn mint(kind: TokenKind) -> Result<String, getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(of_secret(kind, &secret))
}

/// The token of these 256 bits, which nobody else may be able to guess.
pub fn of_secret(kind: TokenKind, secret: &[u8; 32]) -> String {
    format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(secret))
}

/// What is kept of a token: its SHA-256 in hexadecimal. The token has 256 random bits, so a slow
/// hash would protect nothing.
pub fn hash_of(token: &str) -> String {
    hex::of(&Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_show_their_kind() {
        let (one, two) = (mint(TokenKind::Run).unwrap(), mint(TokenKind::Run).unwrap());
        assert!(one.starts_with("wkf_run_") && one != two);
        assert_eq!(hash_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
