//! Counters of what happens outside routes: connections, refusals, feedback. Plain atomics, shared by whoever counts;
//! `io/metrics` shows them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One counter or gauge.
#[derive(Debug, Default)]
pub struct Meter(AtomicU64);

impl Meter {
    /// Adds one.
    pub fn up(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Takes one away.
    pub fn down(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// Becomes `n`.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Why a request was answered by us, without a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The request is not valid, or doubtful.
    Invalid,
    /// No route catches it.
    NoRoute,
    /// There is no routes file in force yet.
    NoTable,
    /// The body is larger than the route allows.
    TooLarge,
    /// The backend's places and the queue are full.
    Overload,
}

impl Refusal {
    /// Every reason, in the order of their meters.
    pub const ALL: [Self; 5] = [Self::Invalid, Self::NoRoute, Self::NoTable, Self::TooLarge, Self::Overload];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NoRoute => "no_route",
            Self::NoTable => "no_table",
            Self::TooLarge => "too_large",
            Self::Overload => "overload",
        }
    }
}

/// Results of feedback lines, as metric labels.
pub const FEEDBACK_RESULTS: [&str; 11] = [
    "counted",
    "held",
    "duplicate",
    "malformed",
    "forged",
    "expired",
    "unknown_route",
    "unknown_variant",
    "other_release",
    "no_prediction",
    "full",
];

/// Every meter of the process.
#[derive(Debug, Default)]
pub struct Meters {
    /// Connections of callers, now.
    pub connections_open: Meter,
    /// Connections of callers, ever.
    pub connections_accepted: Meter,
    /// Connections closed at once because there were too many.
    pub connections_refused: Meter,
    /// `accept` calls that failed, such as at the descriptor limit.
    pub accept_errors: Meter,
    /// Requests answered by us, by [`Refusal`].
    pub refusals: [Meter; Refusal::ALL.len()],
    /// Requests sent again on a fresh connection.
    pub resends: Meter,
    /// Resends that the budget did not allow.
    pub resends_denied: Meter,
    /// Feedback lines, by [`FEEDBACK_RESULTS`].
    pub feedback: [Meter; FEEDBACK_RESULTS.len()],
    /// Requests that the admin listener turned away for want of rights.
    pub admin_denied: Meter,
    /// Requests that the admin listener turned away because one address sent too many.
    pub admin_limited: Meter,
    /// State documents that could not be written.
    pub store_failures: Meter,
    /// Commits that reached the remote.
    pub git_commits: Meter,
    /// Attempts at a commit that failed.
    pub git_failures: Meter,
    /// Certificates, keys and CAs that changed on disk and were taken.
    pub tls_reloads: Meter,
    /// The same, not taken: the last good ones stayed.
    pub tls_reload_failures: Meter,
    /// Connections of callers that ended before TLS stood.
    pub tls_handshake_failures: Meter,
    /// When the first certificate that callers meet expires, in seconds since 1970; 0 without one.
    pub tls_expiry_callers: Meter,
    /// The same for the certificate that backends meet.
    pub tls_expiry_backends: Meter,
}

impl Meters {
    /// Counts a refusal.
    pub fn refuse(&self, refusal: Refusal) {
        if let Some(meter) = self.refusals.get(refusal as usize) {
            meter.up();
        }
    }

    /// Counts a feedback line.
    pub fn feedback(&self, result: &str) {
        let position = FEEDBACK_RESULTS.iter().position(|known| *known == result);
        if let Some(meter) = position.and_then(|at| self.feedback.get(at)) {
            meter.up();
        }
    }
}
