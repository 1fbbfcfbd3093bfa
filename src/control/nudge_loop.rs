//! A commit of ours is on the branch -> whoever delivers the branch is told to look now.
//!
//! Told once for each commit, never again: without the right to tell, delivery is as slow as its polling, and that is all. A
//! refusal is one line in the log and a metric, not a storm.

use crate::{
    core::release::made::Made,
    io::{
        kube::{Access, Application, Cluster, KubeError},
        meters::Meters,
    },
};
use std::sync::Arc;
use tokio::sync::watch;

/// The loop and its channels.
#[derive(Debug)]
pub struct NudgeLoop {
    /// The commit loop writes.
    pub made: watch::Receiver<Arc<Vec<Made>>>,
    /// The source that polls the branch reads; counts commits of ours.
    pub pushed: watch::Sender<u64>,
    /// The Application that is told, and how to get to it.
    pub argo: Option<(Access, Application)>,
    /// Tellings and failures.
    pub meters: Arc<Meters>,
}

impl NudgeLoop {
    /// Runs until the commit loop is gone.
    pub async fn run(mut self) {
        let (mut seen, mut cluster, mut refused) = (0, None, false);
        while self.made.changed().await.is_ok() {
            if Made::news(&self.made.borrow_and_update(), &mut seen).next().is_none() {
                continue;
            }
            self.pushed.send_modify(|pushed| *pushed += 1);
            let Some((access, application)) = &self.argo else { continue };
            match refresh(access, application, &mut cluster).await {
                Ok(()) => {
                    refused = false;
                    self.meters.refreshes.up();
                    tracing::debug!(application = application.name, "Argo CD is asked to look at Git");
                }
                Err(error) => {
                    self.meters.refresh_failure(error.as_str());
                    if !refused {
                        let (name, namespace) = (&application.name, &application.namespace);
                        let help =
                            "its polling will find the commit; to be quicker, allow `patch` on this one Application";
                        tracing::warn!(application = name, namespace, %error, help, "Argo CD could not be asked to look at Git");
                    }
                    refused = true;
                }
            }
        }
    }
}

async fn refresh(access: &Access, application: &Application, cluster: &mut Option<Cluster>) -> Result<(), KubeError> {
    let connected = match cluster.take() {
        Some(connected) => connected,
        None => Cluster::connect(access).await?,
    };
    cluster.insert(connected).refresh(application).await
}
