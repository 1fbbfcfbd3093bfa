//! From counts per block to a verdict with its evidence: pass, fail, or undecided and why.
//!
//! The method is `judge.md` sections 5.1-5.5: any-time valid e-processes that need only counts per block, so that verdicts
//! may be looked at every second, counts of several replicas may be added before they are judged, and nothing depends on a clock.

mod block;
mod endpoint;
mod evidence;
mod guardrail;
mod mode;
mod policy;
pub mod trial;

pub use block::{Arm, Block, EndpointBlock, LabelBlock, PairBlock, Pairs, RequestBlock, Streams, Unit, UserBlock};
pub use endpoint::EndpointEvidence;
pub use evidence::{
    Evidence, Guard, GuardEvidence, GuardState, Part, PartEvidence, Quantile, SignalEvidence, Test, Took,
};
pub use guardrail::{
    Bound, Guardrail, GuardrailEvidence, GuardrailState, Guardrails, Reading, Readings, SavedSpell, Unknown,
};
pub use mode::{Chosen, Mode, ModeChoice};
pub use policy::{AccuracyPolicy, DisagreementPolicy, ErrorsPolicy, LatencyPolicy, OnInconclusive, Policy};

use super::{
    name::{ReleaseKey, RouteName},
    now::Now,
};

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
    /// A bound of the route's own on a number from outside: it is no evidence and weighs nothing, it can only fail a canary.
    Guardrail,
}

impl Signal {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Errors, Self::Latency, Self::Accuracy, Self::Disagreement, Self::Guardrail];
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
            Self::Guardrail => "guardrail",
        }
    }

    /// What the canary is blamed for, in words.
    #[must_use]
    pub fn blame(self) -> String {
        if self == Self::Guardrail { "beyond a guardrail".into() } else { format!("worse in {}", self.as_str()) }
    }
}

/// What the judge says of a release.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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
    /// One variant's requests are labelled more often than the other's, beyond what may be.
    Skewed,
    /// A guardrail is broken, and not for long enough, or cannot be told.
    Guardrail,
    /// What is missing for a pass is missing where one of the canary's endpoints is not like its others.
    Endpoint,
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
            Self::Skewed => "skewed",
            Self::Guardrail => "guardrail",
            Self::Endpoint => "endpoint_differs",
        }
    }
}

impl Verdict {
    /// With its reason: `undecided (overlap)`.
    #[must_use]
    pub fn words(self) -> String {
        let reason = match self {
            Self::Pass => return self.as_str().to_owned(),
            Self::Fail(signal) => signal.as_str(),
            Self::Undecided(reason) => reason.as_str(),
        };
        format!("{} ({reason})", self.as_str())
    }

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

#[cfg(test)]
mod tests;
