//! Orders of people to a release: `POST /v1/commands`.

use super::{Peer, Shared, auth::Role, problem};
use crate::{
    core::{
        command::{Command, Order, Refused},
        name::{Generation, RouteName},
    },
    io::inbox::Asked,
};
use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

/// Longest name and longest reason, in bytes: both land in a commit message.
const TEXT_BYTES_MAX: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    route: String,
    command: String,
    /// Why, for the commit message.
    #[serde(default)]
    reason: String,
    /// Who, for the commit message.
    #[serde(default)]
    by: String,
    /// The generation the person was looking at.
    generation: Option<u64>,
    /// Promote although the judge has not passed the canary.
    #[serde(default)]
    override_judge: bool,
}

pub(super) async fn command(
    State(admin): Shared,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(denied) = admin.denied(&headers, peer, Role::Operator) {
        return denied;
    }
    let order = match serde_json::from_slice::<Body>(&body).map_err(|error| error.to_string()).and_then(order) {
        Ok(order) => order,
        Err(why) => {
            let help = r#"send {"route": "...", "command": "promote|rollback|pause|resume", "reason": "..."}"#;
            return problem(StatusCode::BAD_REQUEST, &format!("{why}; {help}"));
        }
    };
    let (answer, told) = oneshot::channel();
    if admin.orders.try_send(Asked { order, answer }).is_err() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many orders at once, or shutting down; try again");
    }
    match told.await {
        Ok(Ok(done)) => Json(json!({ "result": done })).into_response(),
        Ok(Err(refused)) => problem(status(&refused), &refused.to_string()),
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "shutting down"),
    }
}

fn order(body: Body) -> Result<Order, String> {
    let command = match body.command.as_str() {
        "promote" => Command::Promote { override_judge: body.override_judge },
        "rollback" => Command::Rollback,
        "pause" => Command::Pause,
        "resume" => Command::Resume,
        other => return Err(format!("there is no command `{other}`")),
    };
    if body.override_judge && body.reason.trim().is_empty() {
        return Err("overriding the judge needs a reason".into());
    }
    Ok(Order {
        route: RouteName::new(&body.route).map_err(|error| format!("route: {error}"))?,
        command,
        by: line(&body.by, "operator")?,
        reason: line(&body.reason, "no reason given")?,
        generation: body.generation.map(Generation),
    })
}

/// One line for a commit message: whoever may send an order must not be able to forge a trailer.
fn line(text: &str, otherwise: &str) -> Result<Box<str>, String> {
    let text = text.trim();
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("`by` and `reason` have at most {TEXT_BYTES_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("`by` and `reason` are one line of plain text".into());
    }
    Ok(if text.is_empty() { otherwise } else { text }.into())
}

fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::NoRoute(_) => StatusCode::NOT_FOUND,
        Refused::NoRelease(_) | Refused::Stale { .. } | Refused::NotNow(_) => StatusCode::CONFLICT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_cannot_forge_a_trailer_or_skip_the_reason() {
        let parse = |text: &str| serde_json::from_str::<Body>(text).map_err(|error| error.to_string()).and_then(order);
        assert_eq!(&*parse(r#"{"route":"a","command":"pause"}"#).unwrap().by, "operator");
        assert!(parse(r#"{"route":"a","command":"stop"}"#).is_err());
        assert!(parse(r#"{"route":"a","command":"pause","by":"me\nCoalmine-Action: promote"}"#).is_err());
        assert!(parse(r#"{"route":"a","command":"promote","override_judge":true}"#).is_err());
        assert!(parse(r#"{"route":"a","command":"pause","extra":1}"#).is_err());
        let long = "x".repeat(TEXT_BYTES_MAX);
        assert!(parse(&format!(r#"{{"route":"a","command":"pause","by":"{long}"}}"#)).is_ok());
        assert!(parse(&format!(r#"{{"route":"a","command":"pause","by":"{long}x"}}"#)).is_err());
    }
}
