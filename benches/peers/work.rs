//! The kinds of work, what is measured in each, and what is aimed at.

use super::proxies::Kind;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    /// JSON posts of about 300 bytes each way, kept connections.
    Small,
    /// Posts of 1 MiB.
    Mib,
    /// 100 streams of server-sent events, one each 10 ms.
    Events,
    /// 9,900 kept connections that do nothing.
    Idle,
    /// 2,000 small posts a second.
    Latency,
    /// Small posts over TLS 1.3, kept connections.
    Tls,
    /// TLS connections of one small post, full handshakes.
    Handshake,
    /// HTTP/2 in by prior knowledge, 8 connections of 32 streams; HTTP/1.1 out.
    H2,
    /// gRPC calls, HTTP/2 both ways, 8 connections of 32 streams.
    Grpc,
    /// gRPC server streams, 8 connections of 12, a message each 10 ms.
    GrpcStream,
}

/// What a figure is held against.
pub(super) enum Target {
    /// At most so many times that of this peer.
    Ratio(Kind, f64),
    /// At most so many times the best of these two.
    RatioToBest([Kind; 2], f64),
    /// At most so much.
    Absolute(f64),
}

/// One figure of a kind of work.
pub(super) struct Metric {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) targets: &'static [Target],
}

const fn metric(what: &'static str, unit: &'static str, targets: &'static [Target]) -> Metric {
    Metric { what, unit, targets }
}

impl Work {
    pub(super) const ALL: [Self; 10] = [
        Self::Small,
        Self::Mib,
        Self::Events,
        Self::Idle,
        Self::Latency,
        Self::Tls,
        Self::Handshake,
        Self::H2,
        Self::Grpc,
        Self::GrpcStream,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Mib => "mib",
            Self::Events => "events",
            Self::Idle => "idle",
            Self::Latency => "latency",
            Self::Tls => "tls",
            Self::Handshake => "handshake",
            Self::H2 => "h2",
            Self::Grpc => "grpc",
            Self::GrpcStream => "grpc-stream",
        }
    }

    /// The figures of this work, in the order in which a run gives them.
    pub(super) fn metrics(self) -> &'static [Metric] {
        use Kind::{Envoy, Haproxy, Nginx, Pingora};
        use Target::{Absolute, Ratio, RatioToBest};
        match self {
            Self::Small => {
                const {
                    &[metric(
                        "small JSON post, CPU a request",
                        "us",
                        &[Ratio(Nginx, 1.05), Ratio(Haproxy, 1.10), Ratio(Pingora, 0.55), Ratio(Envoy, 0.38)],
                    )]
                }
            }
            Self::Mib => {
                const { &[metric("1 MiB post, CPU a request", "us", &[Ratio(Haproxy, 0.85), Ratio(Envoy, 0.7)])] }
            }
            Self::Events => {
                const {
                    &[
                        metric("server-sent events, CPU an event", "us", &[Ratio(Nginx, 1.5)]),
                        metric("server-sent events, first byte p50", "us", &[]),
                    ]
                }
            }
            Self::Idle => {
                const {
                    &[
                        metric("memory at rest", "MiB", &[Absolute(10.0)]),
                        metric("memory an idle connection", "KiB", &[Absolute(12.0)]),
                    ]
                }
            }
            Self::Latency => {
                const {
                    &[
                        metric("added at 2,000/s, p50", "us", &[RatioToBest([Nginx, Haproxy], 1.1)]),
                        metric("added at 2,000/s, p99", "us", &[]),
                    ]
                }
            }
            Self::Tls => {
                const { &[metric("TLS 1.3 kept, CPU a request", "us", &[Ratio(Nginx, 0.80), Ratio(Haproxy, 0.90)])] }
            }
            Self::Handshake => {
                const { &[metric("TLS 1.3 new, CPU a connection", "us", &[Ratio(Nginx, 0.48), Ratio(Envoy, 0.75)])] }
            }
            Self::H2 => {
                const { &[metric("HTTP/2 in, CPU a request", "us", &[Ratio(Nginx, 0.50), Ratio(Haproxy, 1.25)])] }
            }
            Self::Grpc => {
                const { &[metric("gRPC call, CPU a call", "us", &[Ratio(Nginx, 0.30), Ratio(Haproxy, 0.85)])] }
            }
            Self::GrpcStream => const { &[metric("gRPC stream, CPU a message", "us", &[Ratio(Nginx, 0.90)])] },
        }
    }

    /// Whether callers speak TLS.
    pub(super) fn tls(self) -> bool {
        matches!(self, Self::Tls | Self::Handshake)
    }

    /// Whether callers speak HTTP/2.
    pub(super) fn h2(self) -> bool {
        matches!(self, Self::H2 | Self::Grpc | Self::GrpcStream)
    }

    /// Whether it is gRPC: HTTP/2 to the backends as well.
    pub(super) fn grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcStream)
    }
}
