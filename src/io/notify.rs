//! A notice as an HTTP request: a CloudEvent signed as Standard Webhooks does it, or a line for a chat that takes Slack's form.

use super::outbound::{Answer, Outbound, secret, value};
use crate::core::notice::Notice;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;
use std::{path::PathBuf, time::Duration};

/// Types of events begin so.
const TYPE: &str = "dev.coalmine.release.";
/// A secret as Standard Webhooks writes it begins so; the rest is base64.
const SECRET: &str = "whsec_";
/// Longest pause that a receiver may ask for.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// How a notice is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// CloudEvents 1.0, structured JSON.
    #[default]
    CloudEvents,
    /// `{"text": "..."}`.
    Slack,
}

/// Where a hook's URL stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the settings.
    Url(String),
    /// In a file, because it is a secret itself.
    File(PathBuf),
}

/// Somebody who wants to know.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Where.
    pub place: Place,
    /// The secret that signs; `None`: unsigned.
    pub secret_file: Option<PathBuf>,
    /// How it is written.
    pub form: Form,
    /// Who we are, the `source` of the events.
    pub source: String,
    /// The way out.
    pub outbound: Outbound,
}

/// Why a notice was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotTaken {
    /// In words, without a secret.
    pub why: String,
    /// The receiver does not want any more of them.
    pub gone: bool,
    /// It asks for this pause.
    pub pause: Option<Duration>,
}

impl Hook {
    /// Sends it once. Files are read anew, so that secrets may be changed.
    ///
    /// # Errors
    /// [`NotTaken`] unless the answer is a 2xx.
    pub async fn send(&self, notice: &Notice, now_s: u64) -> Result<(), NotTaken> {
        let failed = |why| NotTaken { why, gone: false, pause: None };
        let url = self.url().map_err(failed)?;
        let (kind, body) = match self.form {
            Form::CloudEvents => ("application/cloudevents+json; charset=utf-8", cloud_event(notice, &self.source)),
            Form::Slack => ("application/json", json!({ "text": notice.words() })),
        };
        let body = body.to_string();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(file) = &self.secret_file {
            let signature = secret(file).and_then(|secret| sign(&secret, &notice.id, now_s, &body)).map_err(failed)?;
            for (name, text) in [
                ("webhook-id", &notice.id),
                ("webhook-timestamp", &now_s.to_string()),
                ("webhook-signature", &signature),
            ] {
                headers.insert(HeaderName::from_static(name), value(text).map_err(failed)?);
            }
        }
        let answer = self.outbound.call(Method::POST, &url, headers, body).await.map_err(failed)?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(NotTaken {
            why: format!("{}: it answers {}", url.host().unwrap_or(""), answer.status),
            gone: answer.status == http::StatusCode::GONE,
            pause: asked(&answer),
        })
    }

    /// Whom it is for, without what may be secret.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.place {
            Place::Url(url) => {
                url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default()
            }
            Place::File(path) => path.display().to_string(),
        }
    }

    fn url(&self) -> Result<Uri, String> {
        match &self.place {
            Place::Url(text) => text.parse().map_err(|_| "its url cannot be read".to_owned()),
            Place::File(path) => {
                let url: Option<Uri> = secret(path)?.parse().ok();
                let usable =
                    url.filter(|url| url.host().is_some() && matches!(url.scheme_str(), Some("http" | "https")));
                usable.ok_or_else(|| format!("{} holds no http or https url", path.display()))
            }
        }
    }
}

fn asked(answer: &Answer) -> Option<Duration> {
    let seconds = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(ASKED_MAX))
}

/// `v1,` and the HMAC-SHA256 of `id.timestamp.body`.
fn sign(secret: &str, id: &str, now_s: u64, body: &str) -> Result<String, String> {
    let key = match secret.strip_prefix(SECRET) {
        Some(encoded) => BASE64_STANDARD.decode(encoded).map_err(|_| format!("what follows {SECRET} is not base64"))?,
        None => secret.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| error.to_string())?;
    mac.update(format!("{id}.{now_s}.{body}").as_bytes());
    Ok(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
}

fn cloud_event(notice: &Notice, source: &str) -> Value {
    let intent = notice.intent.as_deref();
    let time = i64::try_from(notice.at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    json!({
        "specversion": "1.0",
        "id": notice.id,
        "source": source,
        "type": format!("{TYPE}{}", notice.kind.as_str()),
        "subject": notice.route.as_str(),
        "time": time.to_string(),
        "datacontenttype": "application/json",
        "data": {
            "text": notice.words(),
            "route": notice.route.as_str(),
            "release": notice.release.to_string(),
            "attempt": notice.attempt,
            "artefact": intent.map(|intent| intent.artefact.as_str()),
            "action": intent.map(|intent| intent.to.as_str()),
            "intent": intent.map(crate::core::release::intent::Intent::id),
            "by": intent.map(|intent| &*intent.by),
            "reason": intent.map(|intent| &*intent.reason),
            "verdict": &*notice.verdict,
            "evidence": notice.numbers.lines().collect::<Vec<_>>(),
            "commit": notice.commit.as_deref(),
            "trouble": notice.trouble.as_deref(),
            "waits_for": notice.place.as_deref(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn a_signature_is_the_one_that_standard_webhooks_makes() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature.as_deref(), Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert!(sign("whsec_%", "a", 1, "b").is_err());
    }
}
