//! Stub.

use std::process::ExitCode;

/// Stub.
#[derive(clap::Args, Debug)]
pub(super) struct Check {}

impl Check {
    pub(super) fn run(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}
