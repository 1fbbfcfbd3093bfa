//! What callers' connections may take, and what is added to their requests.

use super::{at_least_one, positive};
use crate::config::fields::{Field, whole, yes_or_no};
use std::time::Duration;

/// Limits of the data listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionSettings {
    /// Most connections of callers at once, over all threads. Default 10,000.
    pub max: u64,
    /// A request's head must be there after so long. Default 10 s.
    pub header_read: Duration,
    /// A kept HTTP/1.1 connection may be idle for so long (under TLS: for `header_read`). Default 75 s.
    pub keep_alive: Duration,
    /// An HTTP/2 connection without requests is kept for so long. Default 5 min.
    pub http2_idle: Duration,
    /// A caller that does not take its answer is waited for so long. Default 60 s.
    pub write_stall: Duration,
    /// Most connections that have changed their protocol (WebSocket), over all threads. Default 1,000.
    pub tunnels: u64,
    /// Most shadow copies under way, per thread. Default 64.
    pub shadows: u64,
    /// An idle connection to a backend is kept for so long. Default 4 s: many model servers close after 5.
    pub backend_idle: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            max: 10_000,
            header_read: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            http2_idle: Duration::from_secs(300),
            write_stall: Duration::from_secs(60),
            tunnels: 1_000,
            shadows: 64,
            backend_idle: Duration::from_secs(4),
        }
    }
}

/// Fields that are added to requests, and whom to believe about those that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderSettings {
    /// Proxies in front of us whose `X-Forwarded-*` count. Default 0: nobody's.
    pub trusted_hops: u64,
    /// `Forwarded` (RFC 7239), too. Default no.
    pub forwarded: bool,
    /// `Via`. Default yes.
    pub via: bool,
    /// `x-request-id` where there is none. Default yes.
    pub request_id: bool,
    /// `traceparent` (W3C) where there is none. Default yes.
    pub trace: bool,
}

impl Default for HeaderSettings {
    fn default() -> Self {
        Self { trusted_hops: 0, forwarded: false, via: true, request_id: true, trace: true }
    }
}

pub(super) fn connections(field: &Field<'_>) -> Option<ConnectionSettings> {
    let map = field.map()?;
    let base = ConnectionSettings::default();
    let settings = ConnectionSettings {
        max: map.or("max", base.max, at_least_one(10_000_000)),
        header_read: map.or("header_read", base.header_read, positive),
        keep_alive: map.or("keep_alive", base.keep_alive, positive),
        http2_idle: map.or("http2_idle", base.http2_idle, positive),
        write_stall: map.or("write_stall", base.write_stall, positive),
        tunnels: map.or("tunnels", base.tunnels, whole(1_000_000)),
        shadows: map.or("shadows", base.shadows, whole(100_000)),
        backend_idle: map.or("backend_idle", base.backend_idle, positive),
    };
    map.done();
    Some(settings)
}

pub(super) fn headers(field: &Field<'_>) -> Option<HeaderSettings> {
    let map = field.map()?;
    let base = HeaderSettings::default();
    let settings = HeaderSettings {
        trusted_hops: map.or("trusted_hops", base.trusted_hops, whole(16)),
        forwarded: map.or("forwarded", base.forwarded, yes_or_no),
        via: map.or("via", base.via, yes_or_no),
        request_id: map.or("request_id", base.request_id, yes_or_no),
        trace: map.or("trace", base.trace, yes_or_no),
    };
    map.done();
    Some(settings)
}
