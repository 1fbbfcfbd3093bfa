//! What a restart must find again: rejected artefacts and the releases under way, as documents of the store.

use crate::{
    core::{
        name::{Artefact, ReleaseKey, RouteName},
        now::Now,
        plan::{FileEdit, RollbackKind},
        release::{
            Release, State, Stay,
            intent::{Intent, Move},
            quarantine::Entry,
        },
        split::Weight,
    },
    io::store::Store,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// The store's document with the rejected artefacts.
const QUARANTINE: &str = "quarantine";
/// The store's document with the releases.
const RELEASES: &str = "releases";

#[derive(Serialize, Deserialize)]
struct Rejected {
    intent: Decided,
    shown: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Decided {
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

#[derive(Serialize, Deserialize)]
struct Underway {
    route: String,
    key: u64,
    artefact: String,
    attempt: u32,
    paused_by: Option<String>,
    weight: u16,
    promoted: bool,
    spent_ms: u64,
    requests_at: u64,
    labels_at: u64,
    /// The raise in flight.
    advancing: Option<Decided>,
}

pub(super) fn save_quarantine(store: &Store, entries: &[Entry]) {
    let of =
        |entry: &Entry| Rejected { intent: Decided::of(&entry.intent), shown: entry.shown.as_deref().map(Into::into) };
    put(store, QUARANTINE, &entries.iter().map(of).collect::<Vec<_>>());
}

pub(super) fn load_quarantine(store: &Store) -> Vec<Entry> {
    let saved: Vec<Rejected> = get(store, QUARANTINE);
    let entry = |saved: Rejected| Some(Entry { intent: saved.intent.intent()?, shown: saved.shown.map(Into::into) });
    saved.into_iter().filter_map(entry).collect()
}

pub(super) fn save_releases(store: &Store, releases: &BTreeMap<RouteName, Release>, now: Now) {
    let of = |(route, release): (&RouteName, &Release)| Underway {
        route: route.as_str().into(),
        key: release.key.0,
        artefact: release.artefact.as_str().into(),
        attempt: release.attempt,
        paused_by: release.paused_by.as_deref().map(Into::into),
        weight: release.stay.weight.basis_points(),
        promoted: release.stay.promoted,
        spent_ms: release.stay.elapsed_ms(now),
        requests_at: release.stay.requests_at,
        labels_at: release.stay.labels_at,
        advancing: match &release.state {
            State::Advancing(intent, _) => Some(Decided::of(intent)),
            State::Baking
            | State::Judging
            | State::Holding(_)
            | State::AwaitingApproval
            | State::Watching
            | State::RollingBack(_)
            | State::RolledBack
            | State::Promoted => None,
        },
    };
    put(store, RELEASES, &releases.iter().map(of).collect::<Vec<_>>());
}

/// The releases as they stood; the state follows from the first file that is read.
/// A release whose artefact is in `quarantine` is being rolled back until its file says so.
pub(super) fn load_releases(store: &Store, quarantine: &[Entry], now: Now) -> BTreeMap<RouteName, Release> {
    let saved: Vec<Underway> = get(store, RELEASES);
    let release = |saved: Underway| {
        let rejected =
            |e: &&Entry| (e.intent.route.as_str(), e.intent.artefact.as_str()) == (&saved.route, &saved.artefact);
        let rejected = quarantine.iter().find(rejected).map(|entry| entry.intent.clone());
        let stay = Stay {
            weight: Weight::new(saved.weight)?,
            promoted: saved.promoted,
            since: now,
            before_ms: saved.spent_ms,
            requests_at: saved.requests_at,
            labels_at: saved.labels_at,
        };
        let release = Release {
            key: ReleaseKey(saved.key),
            artefact: Artefact::new(&saved.artefact),
            attempt: saved.attempt,
            paused_by: saved.paused_by.map(Into::into),
            stay,
            state: match (rejected, saved.advancing.and_then(Decided::intent)) {
                (Some(intent), _) => State::RollingBack(Box::new(intent)),
                (None, Some(intent)) => State::Advancing(Box::new(intent), now),
                (None, None) if saved.promoted => State::Watching,
                (None, None) => State::Baking,
            },
        };
        Some((RouteName::new(&saved.route).ok()?, release))
    };
    saved.into_iter().filter_map(release).collect()
}

impl Decided {
    fn of(intent: &Intent) -> Self {
        let Intent { route, artefact, attempt, to, set, digest, by, reason, verdict, numbers, window_ms } = intent;
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
            window_ms: *window_ms,
        }
    }

    fn intent(self) -> Option<Intent> {
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

fn get<T: DeserializeOwned + Default>(store: &Store, name: &str) -> T {
    let read = store.get(name).map_err(|error| error.to_string());
    let parsed = read.and_then(|bytes| match bytes {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
        None => Ok(T::default()),
    });
    parsed.unwrap_or_else(|error| {
        tracing::error!(document = name, error, "saved state cannot be read: it is started afresh");
        T::default()
    })
}

fn put(store: &Store, name: &str, value: &impl Serialize) {
    let bytes = serde_json::to_vec(value).map_err(|error| error.to_string());
    if let Err(error) = bytes.and_then(|bytes| store.put(name, &bytes).map_err(|error| error.to_string())) {
        tracing::error!(document = name, error, "state not saved: it holds until this process ends");
    }
}
