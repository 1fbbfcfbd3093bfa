//! The data plane: one thread per core, each with its own listener, pools and tallies. Nothing on the path of a request is
//! shared but read-only data.
//!
//! A request's life, with every edge on which it can fail and the status that edge becomes ([`serve`] is this chart as code):
//!
//! ```text
//! accept ── too many connections: closed                                          connections
//!   │       TLS handshake fails or takes too long: closed
//!   │       HTTP/2 by ALPN or by its preface, else HTTP/1.1; no head in time: closed
//!   ▼
//! check ─── doubtful bytes, Host, target: 400 + close; head too large: 431        io/checked, strict
//!   ▼
//! find ──── no table yet: 503; no route: 404; this caller has too much: 429       serve
//!   ▼
//! pick ──── sticky hash, random draw, or pin                                      serve
//!   ▼
//! place ─── backend's places and queue full: 503 + Retry-After                    admission
//!   ▼
//! endpoint  no address: 502                                                       endpoints
//!   ▼
//! send ──── no connection: 502 ─────────────┐                                     forward
//!   │       broken before an answer: 502 ───┤ before the first byte: stable
//!   │       no head in time: 504 ───────────┤ answers instead, if the route's
//!   │       5xx, gRPC status ───────────────┘ `fallback` says so and the body
//!   │                                         can be had again
//!   │       caller's body bad: 400, slow: 408, large: 413, gone: nobody to tell
//!   ▼
//! answer ── small ones are read whole, for the ticket's prediction                answer
//!   │       101: bytes both ways from here on, within limits                      tunnel
//!   │       a copy for the shadow, if there is one                                shadow
//!   ▼
//! body ──── streams; the backend falls silent or breaks off: cut off              body
//!   │       the caller does not read: cut off                                     flow
//!   ▼
//! observe   once, however it ended                                                observe
//! ```
//!
//! A gRPC caller hears the same as a `grpc-status` in a head without a body.

mod admission;
mod answer;
mod body;
mod connections;
mod data_thread;
mod endpoints;
mod error;
pub mod events;
mod flow;
mod forward;
mod headers;
mod observe;
mod predict;
mod serve;
mod shadow;
mod strict;
mod thread;
mod tunnel;
mod upload;
mod used;

pub use admission::{Callers, Gates};
pub use data_thread::DataThread;
pub use headers::HeaderPolicy;

use std::time::Duration;

/// What the data threads need to know that no route says.
#[derive(Clone, Copy, Debug)]
pub struct ProxySettings {
    /// A request's head must be there after so long.
    pub header_read: Duration,
    /// A kept HTTP/1.1 connection may be idle for so long.
    pub keep_alive: Duration,
    /// A TLS handshake may take so long.
    pub handshake: Duration,
    /// An HTTP/2 connection without requests is kept for so long.
    pub http2_idle: Duration,
    /// A caller that does not read is waited for so long.
    pub write_stall: Duration,
    /// Most connections of callers, over all threads.
    pub connections_max: u64,
    /// Most connections that have changed their protocol, over all threads.
    pub tunnels_max: u64,
    /// Most shadow copies under way, per thread.
    pub shadows_max: usize,
    /// How long an idle connection to a backend is kept.
    pub backend_idle: Duration,
    /// Still accepting for so long after the drain began.
    pub lame_duck: Duration,
    /// What is in flight may take so long after that.
    pub drain_limit: Duration,
    /// Which fields are added to requests.
    pub headers: HeaderPolicy,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
            handshake: Duration::from_secs(10),
            http2_idle: Duration::from_secs(300),
            write_stall: Duration::from_secs(60),
            connections_max: 10_000,
            tunnels_max: 1_000,
            shadows_max: 64,
            backend_idle: Duration::from_secs(4),
            lame_duck: Duration::from_secs(5),
            drain_limit: Duration::from_secs(30),
            headers: HeaderPolicy::default(),
        }
    }
}
