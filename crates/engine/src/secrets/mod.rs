//! Secrets: sealed under the master key, opened when a run starts, and kept out of whatever comes
//! back from it. A value is in memory only: no file, event, error or database row holds one in plain.

mod keep;
mod master_key;
mod resolve;
mod vault;

pub(crate) use keep::{SealedText, keep, scrub_outcome};
pub use master_key::{MasterKey, MasterKeyError};
pub(crate) use resolve::{Resolved, open as open_secret, resolve};
pub use vault::{Vault, VaultError};
