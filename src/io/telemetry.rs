//! Logs, to standard error.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging with a filter such as `info` or `coalmine=debug`; JSON lines, or lines for people. A second call does nothing.
///
/// # Errors
/// If the filter cannot be read.
pub fn start(filter: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log filter `{filter}`: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for terminals; a file or a log collector would keep the escapes.
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stderr().is_terminal();
    let builder = builder.with_ansi(!plain);
    // Somebody else's subscriber is as good.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
    Ok(())
}
