//! The data plane: one thread per core, each with its own listener, pools and tallies. Nothing on the path of a request is
//! shared but read-only data.
//!
//! Start with [`serve`]: it is what a request does, in order.

mod admission;
mod body;
mod connections;
mod error;
mod forward;
mod observe;
mod predict;
mod serve;
mod strict;

pub use admission::Gates;
pub use connections::DataThread;

use std::time::Duration;

/// What the data threads need to know that no route says.
#[derive(Clone, Copy, Debug)]
pub struct ProxySettings {
    /// A request's head must be there after so long, and so long a kept connection may be idle.
    pub header_read: Duration,
    /// A caller that does not read is waited for so long.
    pub write_stall: Duration,
    /// Most connections of callers, over all threads.
    pub connections_max: u64,
    /// How long an idle connection to a backend is kept.
    pub backend_idle: Duration,
    /// Still accepting for so long after the drain began.
    pub lame_duck: Duration,
    /// What is in flight may take so long after that.
    pub drain_limit: Duration,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(60),
            write_stall: Duration::from_secs(60),
            connections_max: 10_000,
            backend_idle: Duration::from_secs(4),
            lame_duck: Duration::from_secs(5),
            drain_limit: Duration::from_secs(30),
        }
    }
}
