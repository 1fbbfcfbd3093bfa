//! The model registry that is told of promotions and rollbacks. Its token is a path.

use super::{notify, path_of, positive, text_of};
use crate::config::fields::Field;
use std::{path::PathBuf, time::Duration};

/// An MLflow server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MlflowSettings {
    /// Where the tracking server is.
    pub url: String,
    /// The alias that follows the stable version. Default `champion`.
    pub alias: String,
    /// A token, or with `username` the password.
    pub token_file: Option<PathBuf>,
    /// The user, for basic authentication.
    pub username: Option<String>,
    /// Who vouches for the server. Default: the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// Longest time of one call. Default 10 s.
    pub timeout: Duration,
}

pub(super) fn read(field: &Field<'_>) -> Option<MlflowSettings> {
    let map = field.map()?;
    let url = map.need("url", "such as https://mlflow.example.com").and_then(|field| field.parse(notify::url));
    let settings = MlflowSettings {
        alias: text_of(&map, "alias").unwrap_or_else(|| "champion".to_owned()),
        token_file: path_of(&map, "token_file"),
        username: text_of(&map, "username"),
        ca_file: path_of(&map, "ca_file"),
        timeout: map.or("timeout", Duration::from_secs(10), positive),
        url: url.unwrap_or_default(),
    };
    map.done();
    Some(settings).filter(|settings| !settings.url.is_empty())
}
