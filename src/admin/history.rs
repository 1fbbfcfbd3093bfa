//! What has happened to a route so far, as JSON: for the page, which may be opened at any time.

use super::{Peer, Shared, auth::Role, problem};
use crate::core::history::{COMMIT, Happened, RouteHistory};
use axum::{
    Json,
    extract::{ConnectInfo, Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(super) struct After {
    /// Only what happened after the one of this number.
    #[serde(default)]
    after: u64,
}

pub(super) async fn history(
    State(admin): Shared,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(After { after }): Query<After>,
) -> Response {
    if let Some(denied) = admin.denied(&headers, peer, Role::Viewer) {
        return denied;
    }
    if admin.live.load().snapshot.routes.named(&name).is_none() {
        return problem(StatusCode::NOT_FOUND, "there is no such route; GET /v1/routes lists them");
    }
    let histories = admin.histories.borrow().clone();
    let found = histories.by_route.iter().find(|(route, _)| route.as_str() == name).map(|(_, of)| of.clone());
    Json(told(&name, &found.unwrap_or_default(), after, histories.commit_url.as_deref())).into_response()
}

/// Oldest first; `points` are `[at_ms, log_e]` of the whole attempt, only with everything.
fn told(name: &str, history: &RouteHistory, after: u64, commit_url: Option<&str>) -> Value {
    let one = |of: &Happened| {
        let url = commit_url.zip(of.commit.as_deref()).map(|(url, commit)| url.replace(COMMIT, commit));
        json!({
            "number": of.number, "at_ms": of.at_ms, "what": of.what.as_str(), "text": &*of.text,
            "commit": of.commit.as_deref(), "url": url,
        })
    };
    let points = history.points.iter().filter(|_| after == 0).map(|point| json!([point.at_ms, point.log_e]));
    json!({
        "route": name, "last": history.last, "happened": history.after(after).map(one).collect::<Vec<_>>(),
        "points": points.collect::<Vec<_>>(),
    })
}
