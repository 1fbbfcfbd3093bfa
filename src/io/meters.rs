//! Counters of what happens outside routes: connections, refusals, feedback. Plain atomics, shared by whoever counts;
//! `io/metrics` shows them.

use crate::core::judge::Unknown;
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

    /// Adds one if that leaves at most `max`; whether it did.
    #[must_use]
    pub fn up_within(&self, max: u64) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |n| (n < max).then_some(n + 1)).is_ok()
    }

    /// Takes one away.
    pub fn down(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// Makes it `n`.
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
    /// The caller has as many requests in flight as it may.
    CallerLimit,
    /// Too many connections have changed their protocol.
    Tunnels,
    /// The head of the request is larger than it may be.
    LargeHead,
    /// The head of the request did not come in time.
    SlowHead,
}

impl Refusal {
    /// Every reason, in the order of their meters.
    pub const ALL: [Self; 9] = [
        Self::Invalid,
        Self::NoRoute,
        Self::NoTable,
        Self::TooLarge,
        Self::Overload,
        Self::CallerLimit,
        Self::Tunnels,
        Self::LargeHead,
        Self::SlowHead,
    ];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NoRoute => "no_route",
            Self::NoTable => "no_table",
            Self::TooLarge => "too_large",
            Self::Overload => "overload",
            Self::CallerLimit => "caller_limit",
            Self::Tunnels => "tunnels",
            Self::LargeHead => "large_head",
            Self::SlowHead => "slow_head",
        }
    }
}

/// What came of looking up a backend's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Addresses.
    Ok,
    /// More addresses than are used.
    Truncated,
    /// None; the last ones stay.
    Empty,
    /// No answer; the last addresses stay.
    Failed,
}

impl Lookup {
    /// Every result, in the order of their meters.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Truncated, Self::Empty, Self::Failed];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Truncated => "truncated",
            Self::Empty => "empty",
            Self::Failed => "failed",
        }
    }
}

/// Why the source of the routes or a refresh had no answer of the Kubernetes API, as metric labels.
pub const KUBE_FAILURES: [&str; 4] = ["denied", "missing", "gone", "failed"];

/// What becomes of the predictions of copies that may be labelled together with the caller's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PairEvent {
    /// Kept until a label comes.
    Kept,
    /// A label came, and judged both answers.
    Labelled,
    /// No label came as long as one would have counted.
    Expired,
    /// Made room for newer ones.
    Evicted,
    /// Never kept: too many came at once.
    Lost,
}

impl PairEvent {
    /// Every event, in the order of their meters.
    pub const ALL: [Self; 5] = [Self::Kept, Self::Labelled, Self::Expired, Self::Evicted, Self::Lost];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Labelled => "labelled",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Lost => "lost",
        }
    }
}

/// What blocks of the judge hold, as metric labels.
pub const JUDGE_BLOCKS: [&str; 5] = ["requests", "labels", "pairs", "endpoints", "users"];

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
    /// Kept connections of callers that nobody uses at the moment.
    pub connections_parked: Meter,
    /// Connections of callers, ever.
    pub connections_accepted: Meter,
    /// Connections closed at once because there were too many.
    pub connections_refused: Meter,
    /// `accept` calls that failed, such as at the descriptor limit.
    pub accept_errors: Meter,
    /// Requests answered by us, by [`Refusal`].
    pub refusals: [Meter; Refusal::ALL.len()],
    /// Connections that have changed their protocol, now.
    pub tunnels_open: Meter,
    /// Streams ended because their caller did not take its answer.
    pub callers_cut: Meter,
    /// Requests that became too large to be kept for sending again.
    pub replays_lost: Meter,
    /// Requests sent again on a fresh connection.
    pub resends: Meter,
    /// Resends that the budget did not allow.
    pub resends_denied: Meter,
    /// Endpoints of all backends in use, now; with `endpoints_ready` and `endpoints_ejected` counted about once a second.
    pub endpoints_resolved: Meter,
    /// Those of them whose readiness checks pass, or that have none.
    pub endpoints_ready: Meter,
    /// Those of them that are ejected.
    pub endpoints_ejected: Meter,
    /// Look-ups of backends' names, by [`Lookup`].
    pub lookups: [Meter; Lookup::ALL.len()],
    /// Ejections of endpoints.
    pub ejections: Meter,
    /// Readiness checks that said "ready".
    pub checks_passed: Meter,
    /// Readiness checks that said anything else.
    pub checks_failed: Meter,
    /// Feedback lines, by [`FEEDBACK_RESULTS`].
    pub feedback: [Meter; FEEDBACK_RESULTS.len()],
    /// By [`PairEvent`], in the order of [`PairEvent::ALL`].
    pub pairs: [Meter; PairEvent::ALL.len()],
    /// Blocks that were judged, by [`JUDGE_BLOCKS`].
    pub judge_blocks: [Meter; JUDGE_BLOCKS.len()],
    /// Predictions of copies that wait for a label, now.
    pub pairs_waiting: Meter,
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
    /// Failures of watching the ConfigMap, by [`KUBE_FAILURES`].
    pub watch_failures: [Meter; KUBE_FAILURES.len()],
    /// Argo CD was asked to look at Git.
    pub refreshes: Meter,
    /// It could not be asked, by [`KUBE_FAILURES`].
    pub refresh_failures: [Meter; KUBE_FAILURES.len()],
    /// Answers to queries of guardrails that were numbers.
    pub guardrail_numbers: Meter,
    /// Those that were none, by [`Unknown`].
    pub guardrail_unknown: [Meter; Unknown::ALL.len()],
    /// Pull requests that were opened.
    pub git_asked: Meter,
    /// Promotions and rollbacks that the model registry was told of.
    pub registry_told: Meter,
    /// Attempts to tell it that failed.
    pub registry_failures: Meter,
    /// Notifications that a hook took.
    pub notices_sent: Meter,
    /// Notifications given up after the last attempt.
    pub notices_failed: Meter,
    /// Notifications that found their hook's queue full.
    pub notices_dropped: Meter,
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
    /// Counts a block of the judge; `held`: what there was in it, in the order of [`JUDGE_BLOCKS`].
    pub fn judged(&self, held: [bool; JUDGE_BLOCKS.len()]) {
        self.judge_blocks.iter().zip(held).filter(|(_, held)| *held).for_each(|(meter, _)| meter.up());
    }

    /// Counts what became of `n` predictions of copies.
    pub fn pair(&self, event: PairEvent, n: u64) {
        if let Some(meter) = self.pairs.get(event as usize) {
            meter.add(n);
        }
    }

    /// Counts a refusal.
    pub fn refuse(&self, refusal: Refusal) {
        if let Some(meter) = self.refusals.get(refusal as usize) {
            meter.up();
        }
    }

    /// Counts a look-up.
    pub fn lookup(&self, result: Lookup) {
        if let Some(meter) = self.lookups.get(result as usize) {
            meter.up();
        }
    }

    /// Counts a failure of watching.
    pub fn watch_failure(&self, kind: &str) {
        up(&KUBE_FAILURES, &self.watch_failures, kind);
    }

    /// Counts a refresh that was not possible.
    pub fn refresh_failure(&self, kind: &str) {
        up(&KUBE_FAILURES, &self.refresh_failures, kind);
    }

    /// Counts what a query of a guardrail gave; `None`: a number.
    pub fn guardrail_query(&self, unknown: Option<Unknown>) {
        match unknown {
            None => self.guardrail_numbers.up(),
            Some(why) => self.guardrail_unknown.get(why as usize).into_iter().for_each(Meter::up),
        }
    }

    /// Counts a feedback line.
    pub fn feedback(&self, result: &str) {
        up(&FEEDBACK_RESULTS, &self.feedback, result);
    }
}

fn up(labels: &[&str], meters: &[Meter], label: &str) {
    let position = labels.iter().position(|known| *known == label);
    if let Some(meter) = position.and_then(|at| meters.get(at)) {
        meter.up();
    }
}
