//! What is old goes, in bites that hold nobody up: a page of old rows is read with what keeps each, and those that
//! nothing keeps are removed in a transaction of their own, which asks once more.
//!
//! Invariant: nothing live, pending or claimed goes, nothing that something kept refers to, no task and no comment; and
//! every named invariant holds after each bite.

pub mod events;
pub mod kinds;
pub mod logs;

use wakeful_domain::id::RunId;
use wakeful_domain::run::Run;
use wakeful_domain::time::Timestamp;

use crate::ops::runs;
use crate::{Refusal, Tx};

/// Rows removed in one transaction: a few milliseconds of the writer.
pub const BITE: usize = 50;
/// Old rows looked at in one read.
pub const PAGE: i64 = 500;

const PIN: &str = "update runs set pinned_at = coalesce(pinned_at, $2) where id = $1";
const UNPIN: &str = "update runs set pinned_at = null where id = $1";

/// Keeps a run whatever its age, or lets it go with the others again.
pub async fn pin(tx: &mut Tx, now: Timestamp, id: RunId, is_pinned: bool) -> Result<Run, Refusal> {
    match is_pinned {
        true => tx.execute(PIN, &[id.into(), now.into()]).await?,
        false => tx.execute(UNPIN, &[id.into()]).await?,
    };
    runs::get(tx, id).await
}
