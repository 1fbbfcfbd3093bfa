//! The only reader of the clock. Everything else takes `now` as an argument.
#![allow(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]

use crate::core::now::Now;
use std::{
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The present on both clocks.
#[must_use]
pub fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono_ms: millis(START.elapsed()), wall_ms: millis(wall) }
}

/// The wall clock alone, in milliseconds since 1970 UTC.
#[must_use]
pub fn wall_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The monotonic clock alone, in microseconds since the process started.
#[must_use]
pub fn mono_us() -> u64 {
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The monotonic clock as the runtime's timers want it.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
