//! Requests to agents that are services: the address is checked after it was resolved and on every
//! redirect, the request is signed, the answer is bounded.

mod call;
mod guard;

pub use call::{ANSWER_BYTES_MAX, Answer, Call, CallError, call, url_problem};
pub use guard::{AddressError, Guard, GuardError};
