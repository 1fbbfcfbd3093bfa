//! Stub.

use std::process::ExitCode;

/// Stub.
#[derive(clap::Args, Debug)]
pub(super) struct Serve {}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}
