//! The shim.

use std::process::ExitCode;

/// Runs the shim.
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
