//! The page at `/`: one file, embedded, that shows what `/v1/routes` says. It holds nothing itself, so anybody may have it.
//!
//! Its own script and style are let in by their digests and nothing else is: no other script, no resource of another host, no frame.

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::header;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

const PAGE: &str = include_str!("page.html");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let (script, style) = (digest("<script>", "</script>"), digest("<style>", "</style>"));
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
});

/// What stands between the two, as a policy names it.
fn digest(from: &str, to: &str) -> String {
    let within = PAGE.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map_or("", |(within, _)| within);
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(within)))
}

pub(super) async fn page() -> Response {
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (fields, PAGE).into_response()
}
