//! The delivered file -> the model registry: the alias follows the stable version, rejected versions are tagged.
//!
//! Nothing waits for it. What was told is kept, so that a restart neither forgets a promotion nor undoes what people have set since.

use super::release_loop::Releases;
use crate::{
    core::{
        name::{Artefact, Generation, RouteName},
        registry::{Book, Deed},
        release::intent::Move,
        snapshot::Live,
    },
    io::{meters::Meters, mlflow::Mlflow, store::Store},
};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// The store's document.
const DOCUMENT: &str = "registry";
/// After a failure it is tried again so often.
const AGAIN_AFTER: Duration = Duration::from_secs(15);
/// The tag of a rejected version.
const REJECTED: &str = "coalmine.rejected";

#[derive(Serialize, Deserialize, Default)]
struct Saved {
    stable: BTreeMap<String, String>,
    rejected: BTreeSet<(String, String)>,
}

/// The loop and its channels.
#[derive(Debug)]
pub struct RegistryLoop {
    /// The config loop writes.
    pub live: Arc<ArcSwap<Live>>,
    /// The release loop writes, with every look of the judge: that is the tick.
    pub releases: watch::Receiver<Releases>,
    /// The registry; `None`: there is none.
    pub mlflow: Option<Mlflow>,
    /// Keeps what was told.
    pub store: Store,
    /// Told, and failures.
    pub meters: Arc<Meters>,
}

impl RegistryLoop {
    /// Runs until the release loop is gone; without a registry it never ends.
    pub async fn run(mut self) {
        let Some(mlflow) = self.mlflow.take() else { return pending().await };
        let (mut book, mut reasons) = (self.load(), BTreeMap::new());
        let (mut seen, mut due) = (Generation(0), Instant::now());
        while self.releases.changed().await.is_ok() {
            self.note(&mut reasons);
            let live = self.live.load_full();
            let now = Instant::now();
            if live.snapshot.generation == seen || live.snapshot.generation == Generation(0) || now < due {
                continue;
            }
            let before = book.clone();
            let mut all = true;
            for deed in book.look(&live.snapshot.routes) {
                match carry_out(&mlflow, &deed, &reasons).await {
                    Ok(()) => {
                        self.meters.registry_told.up();
                        tracing::info!(?deed, "the model registry is told");
                        book.done(&deed);
                    }
                    Err(why) => {
                        self.meters.registry_failures.up();
                        tracing::warn!(?deed, why, "the model registry could not be told: it is tried again");
                        all = false;
                    }
                }
            }
            if book != before {
                self.save(&book);
            }
            if all {
                seen = live.snapshot.generation;
            } else {
                due = now + AGAIN_AFTER;
            }
        }
    }

    /// Why something is being rolled back: the file does not say it.
    fn note(&mut self, reasons: &mut BTreeMap<(RouteName, Artefact), String>) {
        for status in self.releases.borrow_and_update().values() {
            if let Some(intent) = status.intent.as_ref().filter(|intent| matches!(intent.to, Move::RollBack { .. })) {
                let key = (intent.route.clone(), intent.artefact.clone());
                reasons.insert(key, format!("{}: {} ({})", intent.route, intent.reason, intent.by));
            }
        }
    }

    fn load(&self) -> Book {
        let read = self.store.get(DOCUMENT).ok().flatten();
        let saved: Saved = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let route = |name: &str| RouteName::new(name).ok();
        Book {
            stable: saved.stable.iter().filter_map(|(r, a)| Some((route(r)?, Artefact::new(a)))).collect(),
            rejected: saved.rejected.iter().filter_map(|(r, a)| Some((route(r)?, Artefact::new(a)))).collect(),
        }
    }

    fn save(&self, book: &Book) {
        let text =
            |(route, artefact): (&RouteName, &Artefact)| (route.as_str().to_owned(), artefact.as_str().to_owned());
        let saved = Saved {
            stable: book.stable.iter().map(text).collect(),
            rejected: book.rejected.iter().map(|(route, artefact)| text((route, artefact))).collect(),
        };
        let bytes = serde_json::to_vec(&saved).unwrap_or_default();
        if let Err(error) = self.store.put(DOCUMENT, &bytes) {
            tracing::error!(%error, "what the registry was told is not saved: after a restart it starts from what is delivered");
        }
    }
}

/// A model that is in no registry needs nothing.
async fn carry_out(
    mlflow: &Mlflow,
    deed: &Deed,
    reasons: &BTreeMap<(RouteName, Artefact), String>,
) -> Result<(), String> {
    match deed {
        Deed::Champion(_, _, Some(model)) => mlflow.champion(model).await,
        Deed::Reject(route, artefact, Some(model)) => {
            let reason = reasons.get(&(route.clone(), artefact.clone()));
            let text = reason.map_or_else(|| route.as_str(), String::as_str);
            mlflow.tag(model, REJECTED, text).await
        }
        Deed::Champion(_, _, None) | Deed::Reject(_, _, None) | Deed::Readmit(..) => Ok(()),
    }
}
