//! Where routes come from, and whom to tell of a commit: chosen by the settings, exactly one source per process.

use crate::{
    config::settings::{Settings, SourceKind},
    io::{
        git::Git,
        kube::{Access, Application},
        meters::Meters,
        source::{Documents, file::FileSource, git_poll::GitSource, kubernetes::KubernetesSource},
    },
};
use anyhow::{Context as _, bail};
use std::sync::Arc;
use tokio::sync::watch;

/// The one source.
#[derive(Debug)]
pub(super) enum Source {
    File(FileSource),
    Kubernetes(KubernetesSource),
    Git(Box<GitSource>),
}

impl Source {
    /// `clone` is a clone of its own for a source that polls; `pushed` moves when there is a commit of ours.
    pub(super) fn of(
        settings: &Settings,
        meters: &Arc<Meters>,
        clone: impl FnOnce() -> Option<Git>,
        pushed: watch::Receiver<u64>,
    ) -> anyhow::Result<Self> {
        match settings.source {
            SourceKind::File => match &settings.routes {
                Some(path) => Ok(Self::File(FileSource::new(path.clone()))),
                None => bail!(
                    "no routes: say where the routes file is, with --routes PATH or `routes:` in the settings file"
                ),
            },
            SourceKind::Kubernetes => Ok(Self::Kubernetes(KubernetesSource {
                access: access(settings),
                config_map: settings.kubernetes.config_map.clone().context("kubernetes.config_map is missing")?,
                key: settings.kubernetes.key.clone(),
                meters: meters.clone(),
            })),
            SourceKind::Git => {
                let every = settings.git.as_ref().context("git.remote is missing")?.poll;
                let git = clone().context("git.remote is missing")?;
                Ok(Self::Git(Box::new(GitSource { git, every, pushed })))
            }
        }
    }

    /// Ends when nobody listens any more.
    pub(super) async fn run(self, documents: Documents) {
        match self {
            Self::File(source) => source.run(documents).await,
            Self::Kubernetes(source) => source.run(documents).await,
            Self::Git(source) => source.run(documents).await,
        }
    }
}

/// How to get to the Kubernetes API.
#[must_use]
pub fn access(settings: &Settings) -> Access {
    let kubernetes = &settings.kubernetes;
    Access { kubeconfig: kubernetes.kubeconfig.clone(), namespace: kubernetes.namespace.clone() }
}

/// The Application that is told of commits.
#[must_use]
pub fn application(settings: &Settings) -> Option<Application> {
    let argo = settings.argo.as_ref()?;
    Some(Application { namespace: argo.namespace.clone(), name: argo.application.clone() })
}

/// It, and how to get there.
pub(super) fn argo(settings: &Settings) -> Option<(Access, Application)> {
    Some((access(settings), application(settings)?))
}
