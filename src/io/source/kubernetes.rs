//! One key of one ConfigMap, watched through the Kubernetes API: a change is here in milliseconds, not in the kubelet's minute.
//!
//! The watch begins with what there is, and goes on from where it left off, through restarts of the API server too; only when the
//! server has forgotten that place (`410 Gone`) does it begin anew. A server that cannot be reached changes nothing about the last document:
//! only after [`ALARM_AFTER`] does that become a problem of the routes; nor does one that refuses us, as a server does that has just
//! started and has not read its roles yet. One that has never let us in is a problem at once.

use super::{Document, Documents, publish, revision};
use crate::io::{
    kube::{Access, Change, Cluster, KubeError, Seen},
    meters::Meters,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// First pause after a failure; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Short enough that a server which is back is noticed within a second.
const PAUSE_MAX: Duration = Duration::from_millis(800);
/// The longest one after a rights or a name problem, which seldom goes away by itself.
const PAUSE_DENIED: Duration = Duration::from_secs(5);
/// The API may be away for so long before people are told by the state of the routes.
pub const ALARM_AFTER: Duration = Duration::from_secs(60);

/// The source.
#[derive(Debug)]
pub struct KubernetesSource {
    /// How to get to the API, and the ConfigMap's namespace.
    pub access: Access,
    /// The ConfigMap.
    pub config_map: String,
    /// The key in it.
    pub key: String,
    /// Failures by kind.
    pub meters: Arc<Meters>,
}

impl KubernetesSource {
    /// Reads now, then follows; ends when nobody listens any more.
    pub async fn run(self, documents: Documents) {
        tokio::select! {
            () = documents.closed() => {}
            () = self.follow(&documents) => {}
        }
    }

    async fn follow(&self, documents: &Documents) {
        let mut state = Following::default();
        loop {
            let Err(error) = self.once(&mut state, documents).await else { continue };
            self.meters.watch_failure(error.as_str());
            match &error {
                // To be read anew, from the beginning; that is no trouble.
                KubeError::Gone(why) => {
                    tracing::info!(why, "the ConfigMap's history is gone, it is read anew");
                    state.version = None;
                }
                _ => self.trouble(&mut state, &error, documents),
            }
            sleep(state.pause(&error)).await;
        }
    }

    /// From wherever it stands to the end of one watch.
    #[cfg_attr(
        not(feature = "kubernetes"),
        allow(
            unused_variables,
            reason = "without the feature there is no cluster to be had, and nothing after it is reached"
        )
    )]
    async fn once(&self, state: &mut Following, documents: &Documents) -> Result<(), KubeError> {
        let cluster = match &state.cluster {
            Some(cluster) => cluster.clone(),
            None => state.cluster.insert(Cluster::connect(&self.access).await?).clone(),
        };
        let tell = |seen: Seen| {
            publish(documents, self.document(cluster.namespace(), seen.data));
            seen.version
        };
        let from = state.version.clone();
        let mut watch = cluster.watch(&self.config_map, from.as_deref().unwrap_or_default()).await?;
        if from.is_none() && !cluster.has_config_map(&self.config_map).await? {
            publish(documents, self.document(cluster.namespace(), None));
        }
        state.well();
        while let Some(change) = watch.next().await? {
            state.version = Some(match change {
                Change::Now(seen) => tell(seen),
                Change::Nothing(version) => version,
            });
        }
        Ok(())
    }

    fn document(&self, namespace: &str, data: Option<BTreeMap<String, String>>) -> Result<Document, String> {
        let name = format!("ConfigMap {namespace}/{}", self.config_map);
        let Some(mut data) = data else {
            return Err(format!("{name} is not there; has Argo CD synced it, and is it named right in the settings?"));
        };
        match data.remove(&self.key) {
            Some(text) => Ok(Document { revision: revision(text.as_bytes()), text }),
            None => {
                let keys: Vec<String> = data.into_keys().collect();
                Err(format!("{name} has no key `{}`; it has {}", self.key, keys.join(", ")))
            }
        }
    }

    fn trouble(&self, state: &mut Following, error: &KubeError, documents: &Documents) {
        let since = *state.since.get_or_insert_with(Instant::now);
        if !state.told {
            tracing::warn!(config_map = self.config_map, %error, "the ConfigMap cannot be followed at the moment");
            state.told = true;
        }
        if documents.borrow().is_none() || since.elapsed() >= ALARM_AFTER {
            let help = if matches!(error, KubeError::Denied(_)) {
                "; its role needs `get` and `watch` on this one ConfigMap"
            } else {
                "; the last good routes stay in force"
            };
            publish(documents, Err(format!("ConfigMap {} cannot be read: {error}{help}", self.config_map)));
            // What is there once it can be read must be told even if nothing has changed.
            state.version = None;
        }
    }
}

/// Where following stands.
#[derive(Default)]
struct Following {
    cluster: Option<Cluster>,
    /// Where to go on; `None`: read first.
    version: Option<String>,
    /// Since when nothing works.
    since: Option<Instant>,
    told: bool,
    failures: u32,
}

impl Following {
    fn well(&mut self) {
        if self.told {
            tracing::info!("the ConfigMap is followed again");
        }
        (self.since, self.told, self.failures) = (None, false, 0);
    }

    fn pause(&mut self, error: &KubeError) -> Duration {
        let pause = PAUSE_MIN * 2_u32.pow(self.failures.min(8));
        self.failures += 1;
        match error {
            KubeError::Denied(_) | KubeError::Missing(_) => pause.min(PAUSE_DENIED),
            KubeError::Gone(_) | KubeError::Failed(_) => pause.min(PAUSE_MAX),
        }
    }
}
