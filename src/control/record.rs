//! What a restart must find again: rejected artefacts, the releases under way and what people ordered, as documents of the
//! store. Each carries the version of its shape.

mod decided;

use crate::{
    core::{
        name::{Artefact, ReleaseKey, RouteName},
        now::Now,
        release::{
            ByHand, Release, Spell, State, Stay,
            ledger::{Frozen, Ledger},
            quarantine::Entry,
        },
        split::Weight,
    },
    io::store::Store,
};
use decided::Decided;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of every document here. Older ones are read, too; a newer one is put aside.
const VERSION: u32 = 1;
/// The store's document with the rejected artefacts.
const QUARANTINE: &str = "quarantine";
/// The store's document with the releases.
const RELEASES: &str = "releases";
/// The store's document with the orders that last.
const ORDERS: &str = "orders";

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    body: T,
}

#[derive(Serialize, Deserialize, Default)]
struct Quarantine {
    entries: Vec<Rejected>,
    past: Vec<(String, String, u32)>,
}

#[derive(Serialize, Deserialize)]
struct Rejected {
    intent: Decided,
    shown: Option<String>,
    #[serde(default)]
    learned: bool,
    #[serde(default)]
    diverged: bool,
    #[serde(default)]
    readmit: Option<Decided>,
}

#[derive(Serialize, Deserialize)]
struct Underway {
    route: String,
    key: u64,
    artefact: String,
    attempt: u32,
    #[serde(default)]
    age_ms: u64,
    paused_by: Option<String>,
    weight: u16,
    promoted: bool,
    spent_ms: u64,
    requests_at: u64,
    labels_at: u64,
    #[serde(default)]
    taken_back: Option<u64>,
    /// The raise in flight, as version 0 has it.
    #[serde(default, skip_serializing)]
    advancing: Option<Decided>,
    #[serde(default)]
    stands: Stands,
}

/// What of a state does not follow from the first file that is read.
#[derive(Serialize, Deserialize, Default)]
enum Stands {
    #[default]
    Open,
    Advancing(Decided),
    RollingBack(Decided),
    RolledBack,
    Promoted,
    Withdrawn,
}

#[derive(Serialize, Deserialize, Default)]
struct Orders {
    frozen: Option<(String, String, u64)>,
    by_hand: Vec<Hand>,
}

#[derive(Serialize, Deserialize)]
struct Hand {
    route: String,
    artefact: String,
    weight: u16,
    until_ms: u64,
    by: String,
    reason: String,
}

/// Saves everything.
pub fn save(store: &Store, ledger: &Ledger, now: Now) {
    save_quarantine(store, ledger);
    save_orders(store, ledger);
    save_releases(store, ledger, now);
}

/// Brings everything back as it stood. What follows from the file follows from the first one that is read.
#[must_use]
pub fn load(store: &Store, now: Now) -> Ledger {
    let rejected = get(store, QUARANTINE, |bytes| {
        Some(Quarantine { entries: serde_json::from_slice(bytes).ok()?, past: Vec::new() })
    });
    let orders: Orders = get(store, ORDERS, |_| None);
    let releases: Vec<Underway> = get(store, RELEASES, |bytes| serde_json::from_slice(bytes).ok());
    let past = |(route, artefact, attempt): (String, String, u32)| {
        Some((RouteName::new(&route).ok()?, Artefact::new(&artefact), attempt))
    };
    let frozen =
        |(by, reason, since_ms): (String, String, u64)| Frozen { by: by.into(), reason: reason.into(), since_ms };
    Ledger {
        releases: releases.into_iter().filter_map(|saved| saved.release(now)).collect(),
        quarantine: rejected.entries.into_iter().filter_map(Rejected::entry).collect(),
        past: rejected.past.into_iter().filter_map(past).collect(),
        by_hand: orders.by_hand.into_iter().filter_map(|saved| saved.by_hand(now)).collect(),
        frozen: orders.frozen.map(frozen),
    }
}

/// Saves what is rejected.
pub fn save_quarantine(store: &Store, ledger: &Ledger) {
    let past = |(route, artefact, attempt): &(RouteName, Artefact, u32)| {
        (route.as_str().into(), artefact.as_str().into(), *attempt)
    };
    let entries = ledger.quarantine.iter().map(Rejected::of).collect();
    put(store, QUARANTINE, &Quarantine { entries, past: ledger.past.iter().map(past).collect() });
}

/// Saves the orders that last.
pub fn save_orders(store: &Store, ledger: &Ledger) {
    let frozen = ledger.frozen.as_ref().map(|f| (f.by.to_string(), f.reason.to_string(), f.since_ms));
    put(store, ORDERS, &Orders { frozen, by_hand: ledger.by_hand.iter().map(Hand::of).collect() });
}

/// Saves the releases.
pub fn save_releases(store: &Store, ledger: &Ledger, now: Now) {
    let of = |(route, release): (&RouteName, &Release)| Underway::of(route, release, now);
    put(store, RELEASES, &ledger.releases.iter().map(of).collect::<Vec<_>>());
}

impl Rejected {
    fn of(entry: &Entry) -> Self {
        Self {
            intent: Decided::of(&entry.intent),
            shown: entry.shown.as_deref().map(Into::into),
            learned: entry.learned,
            diverged: entry.diverged,
            readmit: entry.readmit.as_ref().map(Decided::of),
        }
    }

    fn entry(self) -> Option<Entry> {
        Some(Entry {
            intent: self.intent.intent()?,
            shown: self.shown.map(Into::into),
            learned: self.learned,
            diverged: self.diverged,
            readmit: self.readmit.and_then(Decided::intent),
        })
    }
}

impl Underway {
    fn of(route: &RouteName, release: &Release, now: Now) -> Self {
        Self {
            route: route.as_str().into(),
            key: release.key.0,
            artefact: release.artefact.as_str().into(),
            attempt: release.attempt,
            age_ms: release.age.elapsed_ms(now),
            paused_by: release.paused_by.as_deref().map(Into::into),
            weight: release.stay.weight.basis_points(),
            promoted: release.stay.promoted,
            spent_ms: release.stay.spell.elapsed_ms(now),
            requests_at: release.stay.requests_at,
            labels_at: release.stay.labels_at,
            taken_back: release.taken_back,
            advancing: None,
            stands: Stands::of(&release.state),
        }
    }

    fn release(self, now: Now) -> Option<(RouteName, Release)> {
        let spell = |before_ms| Spell { since: now, before_ms };
        let stands = match self.advancing {
            Some(raise) => Stands::Advancing(raise),
            None => self.stands,
        };
        let release = Release {
            key: ReleaseKey(self.key),
            artefact: Artefact::new(&self.artefact),
            attempt: self.attempt,
            age: spell(self.age_ms),
            paused_by: self.paused_by.map(Into::into),
            stay: Stay {
                weight: Weight::new(self.weight)?,
                promoted: self.promoted,
                spell: spell(self.spent_ms),
                requests_at: self.requests_at,
                labels_at: self.labels_at,
            },
            behind: None,
            taken_back: self.taken_back,
            refused: None,
            state: stands.state(now).unwrap_or(State::Baking),
        };
        Some((RouteName::new(&self.route).ok()?, release))
    }
}

impl Stands {
    fn of(state: &State) -> Self {
        match state {
            State::Advancing(intent, _) => Self::Advancing(Decided::of(intent)),
            State::RollingBack(intent) => Self::RollingBack(Decided::of(intent)),
            State::RolledBack => Self::RolledBack,
            State::Promoted => Self::Promoted,
            State::Withdrawn => Self::Withdrawn,
            State::Staged
            | State::Baking
            | State::Judging
            | State::Holding(_)
            | State::AwaitingApproval
            | State::Watching => Self::Open,
        }
    }

    fn state(self, now: Now) -> Option<State> {
        Some(match self {
            Self::Open => State::Baking,
            Self::Advancing(raise) => State::Advancing(Box::new(raise.intent()?), now),
            Self::RollingBack(rollback) => State::RollingBack(Box::new(rollback.intent()?)),
            Self::RolledBack => State::RolledBack,
            Self::Promoted => State::Promoted,
            Self::Withdrawn => State::Withdrawn,
        })
    }
}

impl Hand {
    fn of((route, one): (&RouteName, &ByHand)) -> Self {
        Self {
            route: route.as_str().into(),
            artefact: one.artefact.as_str().into(),
            weight: one.weight.basis_points(),
            until_ms: one.until.wall_ms,
            by: one.by.to_string(),
            reason: one.reason.to_string(),
        }
    }

    fn by_hand(self, now: Now) -> Option<(RouteName, ByHand)> {
        let one = ByHand {
            artefact: Artefact::new(&self.artefact),
            weight: Weight::new(self.weight)?,
            until: ByHand::end_again(now, self.until_ms),
            by: self.by.into(),
            reason: self.reason.into(),
        };
        Some((RouteName::new(&self.route).ok()?, one)).filter(|(_, one)| !one.is_over(now))
    }
}

/// The document called `name`; `old` reads it as version 0 had it, without a version. What cannot be read is put aside, so
/// that it is not lost when the next one is saved.
pub(super) fn get<T: DeserializeOwned + Default>(store: &Store, name: &str, old: impl Fn(&[u8]) -> Option<T>) -> T {
    let bytes = match store.get(name) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return T::default(),
        Err(error) => {
            tracing::error!(document = name, %error, "saved state cannot be read: it is started afresh");
            return T::default();
        }
    };
    let why = match serde_json::from_slice::<Versioned<T>>(&bytes) {
        Ok(saved) if saved.version <= VERSION => return saved.body,
        Ok(saved) => format!("it has version {}, and this program knows {VERSION}", saved.version),
        Err(error) => match old(&bytes) {
            Some(saved) => return saved,
            None => error.to_string(),
        },
    };
    tracing::error!(document = name, why, "saved state cannot be read: it is put aside, and started afresh");
    if let Err(error) = store.put(&format!("{name}-unread"), &bytes) {
        tracing::error!(document = name, %error, "nor can it be put aside");
    }
    T::default()
}

pub(super) fn put(store: &Store, name: &str, body: &impl Serialize) {
    let bytes = serde_json::to_vec(&Versioned { version: VERSION, body }).map_err(|error| error.to_string());
    if let Err(error) = bytes.and_then(|bytes| store.put(name, &bytes).map_err(|error| error.to_string())) {
        tracing::error!(document = name, error, "state not saved: it holds until this process ends");
    }
}

#[cfg(test)]
mod tests;
