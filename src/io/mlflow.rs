//! MLflow's model registry over REST: an alias is moved, a version is tagged.

use super::outbound::{Outbound, secret, value};
use crate::core::registry::Registered;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Longest part of an answer that is told.
const WHY_CHARS_MAX: usize = 300;

/// A registry.
#[derive(Clone, Debug)]
pub struct Mlflow {
    /// Where the tracking server is.
    pub url: String,
    /// The alias that follows the stable version.
    pub alias: String,
    /// A token, or with a user the password.
    pub token_file: Option<PathBuf>,
    /// The user, for basic authentication.
    pub username: Option<String>,
    /// The way out.
    pub outbound: Outbound,
}

impl Mlflow {
    /// Moves the alias to this version.
    ///
    /// # Errors
    /// In words.
    pub async fn champion(&self, model: &Registered) -> Result<(), String> {
        let body = json!({ "name": model.name, "alias": self.alias, "version": model.version });
        self.post("registered-models/alias", body).await
    }

    /// Puts a tag on this version.
    ///
    /// # Errors
    /// In words.
    pub async fn tag(&self, model: &Registered, key: &str, text: &str) -> Result<(), String> {
        let body = json!({ "name": model.name, "version": model.version, "key": key, "value": text });
        self.post("model-versions/set-tag", body).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<(), String> {
        let url = format!("{}/api/2.0/mlflow/{path}", self.url.trim_end_matches('/'));
        let url: Uri = url.parse().map_err(|_| "its url cannot be read".to_owned())?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let token = self.token_file.as_deref().map(secret).transpose()?;
        if let Some(token) = &token {
            let text = match &self.username {
                Some(user) => format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{token}"))),
                None => format!("Bearer {token}"),
            };
            let mut text = value(&text)?;
            text.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, text);
        }
        let answer = self.outbound.call(Method::POST, &url, headers, body.to_string()).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        // A server may say anything, also what it was sent.
        let said = answer.body.replace(token.as_deref().unwrap_or("\u{0}"), "[token]");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(format!("MLflow answers {}: {}", answer.status, said.chars().take(WHY_CHARS_MAX).collect::<String>()))
    }
}
