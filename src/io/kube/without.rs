//! What stands in for the API in a binary without it: nothing can be connected to, so nothing else can be called.

use super::{Access, Application, Change, KubeError, What};
use serde_json::Value;
use std::collections::BTreeMap;

/// There is none.
#[derive(Clone, Debug)]
pub enum Cluster {}

impl Cluster {
    /// Says what to do about it.
    ///
    /// # Errors
    /// Always.
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    pub async fn connect(_access: &Access) -> Result<Self, KubeError> {
        Err(KubeError::Failed(
            "this binary was built without Kubernetes; build it with the feature `kubernetes`".into(),
        ))
    }

    /// Never called.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    pub async fn has_config_map(&self, _name: &str) -> Result<bool, KubeError> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    pub async fn watch(&self, _name: &str, _version: &str) -> Result<Watch, KubeError> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    pub async fn refresh(&self, _application: &Application) -> Result<(), KubeError> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    pub async fn config_map(&self, _name: &str) -> Result<Option<BTreeMap<String, String>>, KubeError> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    pub async fn application(&self, _application: &Application) -> Result<Value, KubeError> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    pub async fn may(&self, _verb: &str, _what: &What<'_>, _name: &str) -> Result<bool, KubeError> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    pub async fn clock_ms(&self) -> Result<u64, KubeError> {
        match *self {}
    }
}

/// There is none.
#[derive(Debug)]
pub enum Watch {}

impl Watch {
    /// Never called.
    ///
    /// # Errors
    /// None.
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    pub async fn next(&mut self) -> Result<Option<Change>, KubeError> {
        match *self {}
    }
}
