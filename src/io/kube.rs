//! The Kubernetes API: one ConfigMap is read and followed, one annotation of one Argo CD Application is set.
//!
//! Nothing else is ever asked for, and the ConfigMap is never written: it belongs to Git. Whoever runs without Kubernetes may
//! leave the feature `kubernetes` out; then there is no [`Cluster`] to be had, and the message says so.

#[cfg(feature = "kubernetes")]
mod cluster;
#[cfg(not(feature = "kubernetes"))]
mod without;

#[cfg(feature = "kubernetes")]
pub use cluster::{Cluster, Watch};
#[cfg(not(feature = "kubernetes"))]
pub use without::{Cluster, Watch};

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Longest time of one call; a watch has its own.
pub const CALL_MAX: Duration = Duration::from_secs(10);
/// A watch is begun again after so long. The server ends it; if nobody does, we take the connection for dead a little later.
pub const WATCH_S: u32 = 120;

/// How to get to the API.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// A kubeconfig file; missing: `KUBECONFIG`, `~/.kube/config`, or the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Missing: the one that the access is for.
    pub namespace: Option<String>,
}

/// An Argo CD Application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// Where it is, mostly `argocd`.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A kind of object that a right is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct What<'a> {
    /// The API group; empty for the core one.
    pub group: &'a str,
    /// In the plural, such as `configmaps`.
    pub resource: &'a str,
    /// Where.
    pub namespace: &'a str,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KubeError {
    /// Role-based access control says no.
    #[error("not allowed: {0}")]
    Denied(String),
    /// There is nothing of that name.
    #[error("not there: {0}")]
    Missing(String),
    /// The server does not know any more what has happened since: read anew.
    #[error("too old: {0}")]
    Gone(String),
    /// Anything else, such as no network.
    #[error("{0}")]
    Failed(String),
}

impl KubeError {
    /// The metric label.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Missing(_) => "missing",
            Self::Gone(_) => "gone",
            Self::Failed(_) => "failed",
        }
    }
}

/// What a watch tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The ConfigMap is like this now.
    Now(Seen),
    /// It is as it was; this is where to go on.
    Nothing(String),
}

/// A ConfigMap as it was at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Its texts by key; `None`: there is no such ConfigMap.
    pub data: Option<BTreeMap<String, String>>,
    /// Where to go on watching.
    pub version: String,
}
