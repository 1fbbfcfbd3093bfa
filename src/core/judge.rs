//! From counts per block to a verdict with its evidence: pass, fail, or undecided and why.
//!
//! The method is `judge.md` sections 5.1-5.5: any-time valid e-processes that need only counts per block, so that verdicts
//! may be looked at every second, counts of several replicas may be added before they are judged, and nothing depends on a clock.

mod block;
mod evidence;
pub mod trial;

pub use block::{Arm, Block, EndpointBlock, LabelBlock, PairBlock, Pairs, RequestBlock, Streams, Unit, UserBlock};
pub use evidence::{Evidence, Guard, GuardEvidence, GuardState, Part, PartEvidence, Quantile, SignalEvidence, Test};

use super::{
    name::{ReleaseKey, RouteName},
    now::Now,
};

/// What the route says about judging. Rates and margins are fractions of one.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// Chance of ever rolling back a healthy canary, over the whole release. Default 0.01.
    pub alpha: f64,
    /// Chance of passing a canary that is worse than the margins, per step. Default 0.05.
    pub alpha_promote: f64,
    /// Latency of canary requests is left out for this long after the release started, milliseconds. Default 60 s.
    pub warmup_ms: u64,
    /// ... and for at least so many canary requests. Default 200.
    pub warmup_requests: u64,
    /// No verdict before so many canary requests. Default 50.
    pub requests_min: u64,
    /// Errors: `None` turns the signal off.
    pub errors: Option<ErrorsPolicy>,
    /// Latency: `None` turns the signal off.
    pub latency: Option<LatencyPolicy>,
    /// Accuracy: `None` turns the signal off.
    pub accuracy: Option<AccuracyPolicy>,
    /// What a shadow copy says against what the caller was told: `None`, as it is by default, turns the signal off.
    pub disagreement: Option<DisagreementPolicy>,
    /// What is one independent observation of errors and latency.
    pub mode: ModeChoice,
    /// What an undecided judge leads to at the end of a step.
    pub on_inconclusive: OnInconclusive,
}

/// Margins of the error signal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ErrorsPolicy {
    /// Rollback: the canary's error rate may rise by this much above stable's. Default 0.0005.
    pub may_rise: f64,
    /// Promotion: at most this multiple of stable's rate ... Default 1.25.
    pub pass_ratio: f64,
    /// ... plus this much. Default 0.002.
    pub pass_margin: f64,
}

/// Margins of the latency signal, in histogram buckets of 2^(1/16).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LatencyPolicy {
    /// Rollback: the canary may be slower by so many buckets; 1 is 4.4 %. Default 1.
    pub tolerate_buckets: i32,
    /// Promotion: slower by at most so many buckets at p50 and p90; 4 is 19 %. Default 4.
    pub pass_buckets: i32,
    /// Promotion: the same at p99; 6 is 30 %. Default 6.
    pub pass_tail_buckets: i32,
}

/// Margins of the accuracy signal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AccuracyPolicy {
    /// Promotion: the canary's accuracy may be lower by this much. Default 0.02.
    pub may_drop: f64,
    /// Rollback: a drop up to this is never blamed. Default 0.002.
    pub tolerate: f64,
    /// A label counts only once its request is this old, so that quick labels do not bias the look; milliseconds.
    pub label_delay_ms: u64,
    /// Numeric labels this close to the prediction are right.
    pub label_tolerance: f64,
}

/// Limit of the disagreement signal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DisagreementPolicy {
    /// Rollback beyond this share of copies that say something else; promotion below it.
    pub max: f64,
}

/// What is one independent observation of errors and latency, as the route's file says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ModeChoice {
    /// Users on a sticky route; endpoints if both variants have several; else requests.
    #[default]
    Auto,
    /// As [`Mode`].
    Fixed(Mode),
}

/// What is one independent observation of errors and latency. Fixed at the start of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Mode {
    /// A request.
    #[default]
    Requests,
    /// An endpoint during a window of some ten seconds: a pod that pauses is one observation, not hundreds.
    Endpoints,
    /// A user's first failure: a user for whom all requests fail is one observation. Latency stays with requests.
    Users,
}

impl Mode {
    /// The word in the routes file, messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Endpoints => "endpoints",
            Self::Users => "users",
        }
    }
}

/// What an undecided judge leads to at the end of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnInconclusive {
    /// Stay at this weight and say why.
    #[default]
    Hold,
    /// Roll back.
    Rollback,
    /// Roll back once the plan's deadline has passed.
    RollbackOnStall,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            alpha_promote: 0.05,
            warmup_ms: 60_000,
            warmup_requests: 200,
            requests_min: 50,
            errors: Some(ErrorsPolicy { may_rise: 0.0005, pass_ratio: 1.25, pass_margin: 0.002 }),
            latency: Some(LatencyPolicy { tolerate_buckets: 1, pass_buckets: 4, pass_tail_buckets: 6 }),
            accuracy: Some(AccuracyPolicy { may_drop: 0.02, tolerate: 0.002, label_delay_ms: 0, label_tolerance: 0.0 }),
            disagreement: None,
            mode: ModeChoice::Auto,
            on_inconclusive: OnInconclusive::Hold,
        }
    }
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Signal {
    /// Share of requests that the backend failed.
    Errors,
    /// Latency of successes.
    Latency,
    /// Share of labels that were right.
    Accuracy,
    /// Share of shadow copies that say something else than the caller was told.
    Disagreement,
}

impl Signal {
    /// The word in metrics, messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Accuracy => "accuracy",
            Self::Disagreement => "disagreement",
        }
    }
}

/// What the judge says of a release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Not worse than the margins, on every signal.
    Pass,
    /// Worse; this signal carries most of the evidence.
    Fail(Signal),
    /// Cannot tell yet.
    Undecided(Reason),
}

/// Why the judge cannot tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// Nothing was seen.
    NoData,
    /// Too few canary requests.
    LowSamples,
    /// The evidence points neither way far enough.
    Overlap,
    /// The observed split is not the configured one.
    SplitMismatch,
    /// Stable is in trouble itself.
    StableUnhealthy,
    /// Every other signal has passed; labels are missing.
    LabelStarved,
    /// Every other signal has passed; one variant's requests are labelled more often than the other's.
    LabelCoverage,
}

impl Reason {
    /// The word in metrics, messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::LowSamples => "low_samples",
            Self::Overlap => "overlap",
            Self::SplitMismatch => "split_mismatch",
            Self::StableUnhealthy => "stable_unhealthy",
            Self::LabelStarved => "label_starved",
            Self::LabelCoverage => "label_coverage",
        }
    }
}

impl Verdict {
    /// The word in metrics, messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Undecided(_) => "undecided",
        }
    }
}

/// A verdict, what it is about and what it rests on.
#[derive(Clone, PartialEq, Debug)]
pub struct Judgement {
    /// The route.
    pub route: RouteName,
    /// The release the evidence is about; a release loop ignores judgements of another.
    pub release: ReleaseKey,
    /// Which attempt at that release: a re-admitted artefact starts afresh.
    pub attempt: u32,
    /// What the judge says.
    pub verdict: Verdict,
    /// Why.
    pub evidence: Evidence,
    /// Since when evidence has been gathered.
    pub since: Now,
    /// When this was said.
    pub at: Now,
}
