//! How a run happens: the shim that owns its processes, the log it leaves, and the adapters that
//! know how each kind of agent is started and how its output is read. And where: directories made with git.
//! And how a notification is sent through a channel. What comes back from a run is scrubbed of the secrets it was given.
//!
//! It is not: the decision to start a run, its place in the database, or what follows from its end.
//!
//! Invariants kept here: nothing that we did not start is ever signalled; a run is over only when
//! its process tree is proven empty; the log of a run is gapless, or says where its gap is.

pub mod adapters;
pub mod ask;
pub mod delivery;
pub mod http;
pub mod process;
pub mod scrub;
pub mod workspace;
