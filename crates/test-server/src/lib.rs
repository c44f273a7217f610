//! A server of one's own: the real binary in a process of its own, driven over HTTP and the command
//! line as people and programs do. Not shipped: the end-to-end tests and the fault suite use it.
//! What does not work here fails loudly: there is nobody to hand an error to.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what cannot go on fails loudly, with the server's log")]

mod client;
mod server;
pub mod service;
pub mod smtp;
pub mod sse;

pub use client::{Client, answer};
pub use server::*;
