//! The console as a person uses it: a real server with real agents, in a real browser. The name of a test says what it shows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails loudly, in its helpers too")]

mod access;
mod accessibility;
mod browser;
mod fields;
mod first_run;
mod forms;
mod hostile;
mod images;
mod keyboard;
mod live;
mod log;
mod pages;
mod views;

use wakeful_test_server as support;
