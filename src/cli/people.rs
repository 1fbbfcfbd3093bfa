//! Stub.

use std::process::ExitCode;

/// Stub: the verbs that talk to a running Coalmine.
#[derive(clap::Subcommand, Debug)]
pub(super) enum People {
    /// Show where every release stands.
    Status,
}

impl People {
    pub(super) fn run(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}
