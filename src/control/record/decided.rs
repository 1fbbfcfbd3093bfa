//! An intent as it is saved.

use crate::core::{
    name::{Artefact, RouteName},
    plan::{FileEdit, RollbackKind},
    release::intent::{Intent, Move},
    split::Weight,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(super) struct Decided {
    route: String,
    artefact: String,
    attempt: u32,
    to: To,
    /// File, path and value.
    #[serde(default)]
    set: Vec<[String; 3]>,
    digest: u64,
    by: String,
    reason: String,
    verdict: String,
    numbers: String,
    #[serde(default)]
    evidence: String,
    window_ms: [u64; 2],
}

#[derive(Serialize, Deserialize)]
enum To {
    Step(u16),
    Promote(u16),
    Finish,
    RollBack {
        promoted: bool,
        #[serde(default)]
        kind: Kind,
    },
    Readmit(u16),
}

#[derive(Serialize, Deserialize, Default)]
enum Kind {
    #[default]
    Weights,
    Revert,
    LastGood,
}

impl Decided {
    pub(super) fn of(intent: &Intent) -> Self {
        let Intent { route, artefact, attempt, to, set, digest, by, reason, verdict, numbers, evidence, window_ms } =
            intent;
        Self {
            route: route.as_str().into(),
            artefact: artefact.as_str().into(),
            attempt: *attempt,
            to: match to {
                Move::Step(weight) => To::Step(weight.basis_points()),
                Move::Promote { holdback } => To::Promote(holdback.basis_points()),
                Move::Finish => To::Finish,
                Move::RollBack { promoted, kind } => To::RollBack { promoted: *promoted, kind: (*kind).into() },
                Move::Readmit(weight) => To::Readmit(weight.basis_points()),
            },
            set: set.iter().map(|edit| [edit.file(), edit.path(), edit.value()].map(Into::into)).collect(),
            digest: *digest,
            by: by.to_string(),
            reason: reason.to_string(),
            verdict: verdict.to_string(),
            numbers: numbers.to_string(),
            evidence: evidence.to_string(),
            window_ms: *window_ms,
        }
    }

    pub(super) fn intent(self) -> Option<Intent> {
        Some(Intent {
            route: RouteName::new(&self.route).ok()?,
            artefact: Artefact::new(&self.artefact),
            attempt: self.attempt,
            to: match self.to {
                To::Step(weight) => Move::Step(Weight::new(weight)?),
                To::Promote(holdback) => Move::Promote { holdback: Weight::new(holdback)? },
                To::Finish => Move::Finish,
                To::RollBack { promoted, kind } => Move::RollBack { promoted, kind: kind.into() },
                To::Readmit(weight) => Move::Readmit(Weight::new(weight)?),
            },
            set: self
                .set
                .iter()
                .map(|[file, path, value]| FileEdit::new(file, path, value).ok())
                .collect::<Option<_>>()?,
            digest: self.digest,
            by: self.by.into(),
            reason: self.reason.into(),
            verdict: self.verdict.into(),
            numbers: self.numbers.into(),
            evidence: self.evidence.into(),
            window_ms: self.window_ms,
        })
    }
}

impl From<RollbackKind> for Kind {
    fn from(kind: RollbackKind) -> Self {
        match kind {
            RollbackKind::Weights => Self::Weights,
            RollbackKind::Revert => Self::Revert,
            RollbackKind::LastGood => Self::LastGood,
        }
    }
}

impl From<Kind> for RollbackKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Weights => Self::Weights,
            Kind::Revert => Self::Revert,
            Kind::LastGood => Self::LastGood,
        }
    }
}
