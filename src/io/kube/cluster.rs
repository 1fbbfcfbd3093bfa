//! The API by the kube crate's client. Its watcher with caches is for many objects; one of them is a read and a watch.

use super::{Access, Application, CALL_MAX, Change, KubeError, Seen, WATCH_S, What};
use crate::io::tls;
use futures_util::{Stream, TryStreamExt as _};
use http::{Request, header};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::ConfigMap,
};
use kube::{
    Api, Client, Config, Error,
    api::{DynamicObject, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind, Status},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, pin::Pin, time::Duration};
use tokio::time::timeout;

/// Argo CD looks at Git again when it sees this; it takes it away itself.
const REFRESH: &str = "argocd.argoproj.io/refresh";
/// Whom the API server's log and managed fields name for the annotation.
const MANAGER: &str = "coalmine";
/// A watch that has said nothing for so long after its end has lost its connection.
const WATCH_GRACE: Duration = Duration::from_secs(10);

/// A connection to the API.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({})", self.namespace)
    }
}

impl Cluster {
    /// Reads how to get there; nothing is sent yet.
    ///
    /// # Errors
    /// No usable kubeconfig and no service account.
    pub async fn connect(access: &Access) -> Result<Self, KubeError> {
        tls::provide();
        let failed = |what: &str, error: &dyn std::error::Error| KubeError::Failed(format!("{what}: {}", chain(error)));
        let config = match &access.kubeconfig {
            Some(path) => {
                let what = format!("the kubeconfig {}", path.display());
                let read = Kubeconfig::read_from(path).map_err(|error| failed(&what, &error))?;
                let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
                config.map_err(|error| failed(&what, &error))?
            }
            None => Config::infer().await.map_err(|error| {
                failed("no way to the Kubernetes API: neither a kubeconfig nor the service account of a pod", &error)
            })?,
        };
        let namespace = access.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| failed("the way to the Kubernetes API", &error))?;
        Ok(Self { client, namespace })
    }

    /// The namespace of the ConfigMap.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether there is such a ConfigMap.
    ///
    /// # Errors
    /// [`KubeError`].
    pub async fn has_config_map(&self, name: &str) -> Result<bool, KubeError> {
        Ok(within(self.config_maps().get_metadata_opt(name)).await?.is_some())
    }

    /// Follows a ConfigMap from `version` on; once this returns, no change of it goes unseen. An empty version: as it is now,
    /// told as the first change if there is one, and on from there. The version of the object itself is no place to begin: it
    /// is as old as its last change, and a server that has just started knows nothing so old.
    ///
    /// # Errors
    /// [`KubeError::Gone`]: read it anew. Anything else: try again from `version` after a pause.
    pub async fn watch(&self, name: &str, version: &str) -> Result<Watch, KubeError> {
        // The selector is also what lets a role that names this one ConfigMap allow the watch.
        let only = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(WATCH_S);
        let api = self.config_maps();
        Ok(Watch(Box::pin(within(api.watch(&only, version)).await?)))
    }

    /// Asks Argo CD to look at Git now.
    ///
    /// # Errors
    /// [`KubeError`].
    pub async fn refresh(&self, application: &Application) -> Result<(), KubeError> {
        let annotation = json!({ "metadata": { "annotations": { REFRESH: "normal" } } });
        let (how, patch) =
            (PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() }, Patch::Merge(annotation));
        let api = self.applications(application);
        within(api.patch(&application.name, &how, &patch)).await.map(drop)
    }

    /// The texts of a ConfigMap by their keys; `None`: there is no such one.
    ///
    /// # Errors
    /// [`KubeError`].
    pub async fn config_map(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, KubeError> {
        Ok(within(self.config_maps().get_opt(name)).await?.map(|map| map.data.unwrap_or_default()))
    }

    /// An Application as it is now.
    ///
    /// # Errors
    /// [`KubeError`].
    pub async fn application(&self, application: &Application) -> Result<Value, KubeError> {
        let object = within(self.applications(application).get(&application.name)).await?;
        serde_json::to_value(object).map_err(|error| KubeError::Failed(error.to_string()))
    }

    /// Whether we may do this to the object of that name. Everybody may ask it of oneself.
    ///
    /// # Errors
    /// [`KubeError`].
    pub async fn may(&self, verb: &str, what: &What<'_>, name: &str) -> Result<bool, KubeError> {
        let attributes = ResourceAttributes {
            verb: Some(verb.into()),
            group: Some(what.group.into()),
            resource: Some(what.resource.into()),
            namespace: Some(what.namespace.into()),
            name: Some(name.into()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let answer = within(api.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// The API server's clock, milliseconds since 1970 UTC, by the date of an answer: whole seconds.
    ///
    /// # Errors
    /// [`KubeError`].
    pub async fn clock_ms(&self) -> Result<u64, KubeError> {
        let failed = |why: &dyn std::error::Error| KubeError::Failed(why.to_string());
        let request = Request::get("/version").body(Body::empty()).map_err(|error| failed(&error))?;
        let answer = within(self.client.send(request)).await?;
        let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let date = date.ok_or_else(|| KubeError::Failed("its answer has no date".into()))?;
        let at = jiff::fmt::rfc2822::parse(date).map_err(|error| failed(&error))?;
        Ok(u64::try_from(at.timestamp().as_millisecond()).unwrap_or(0))
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn applications(&self, application: &Application) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application"));
        Api::namespaced_with(self.client.clone(), &application.namespace, &kind)
    }
}

/// Changes of one ConfigMap.
pub struct Watch(Pin<Box<dyn Stream<Item = Result<WatchEvent<ConfigMap>, Error>> + Send>>);

impl Watch {
    /// The next change; `None` when the server has ended the watch, to be begun again from the last version.
    ///
    /// # Errors
    /// As [`Cluster::watch`].
    pub async fn next(&mut self) -> Result<Option<Change>, KubeError> {
        let silence = Duration::from_secs(u64::from(WATCH_S)) + WATCH_GRACE;
        let lost = |_| KubeError::Failed(format!("the watch was silent for {silence:?}"));
        let event = timeout(silence, self.0.try_next()).await.map_err(lost)?.map_err(|error| known(&error))?;
        let texts = |map: ConfigMap| Seen {
            data: Some(map.data.unwrap_or_default()),
            version: map.metadata.resource_version.unwrap_or_default(),
        };
        Ok(match event {
            None => None,
            Some(WatchEvent::Added(map) | WatchEvent::Modified(map)) => Some(Change::Now(texts(map))),
            Some(WatchEvent::Deleted(map)) => Some(Change::Now(Seen { data: None, ..texts(map) })),
            Some(WatchEvent::Bookmark(bookmark)) => Some(Change::Nothing(bookmark.metadata.resource_version)),
            Some(WatchEvent::Error(status)) => return Err(said(&status)),
        })
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, KubeError> {
    match timeout(CALL_MAX, call).await {
        Ok(answer) => answer.map_err(|error| known(&error)),
        Err(_) => Err(KubeError::Failed(format!("the Kubernetes API has not answered within {CALL_MAX:?}"))),
    }
}

fn known(error: &Error) -> KubeError {
    match error {
        Error::Api(status) => said(status),
        other => KubeError::Failed(chain(other)),
    }
}

fn said(status: &Status) -> KubeError {
    let words = status.message.clone();
    match status.code {
        401 | 403 => KubeError::Denied(words),
        404 => KubeError::Missing(words),
        410 => KubeError::Gone(words),
        _ => KubeError::Failed(words),
    }
}

/// An error with what caused it: the outermost one alone only says that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}
