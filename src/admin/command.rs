//! Orders of people to a release: `POST /v1/commands`.

use super::{Peer, Shared, auth::Role, problem};
use crate::{
    core::{
        command::{BY_HAND_MS_MAX, Command, Order, Refused, Wish},
        name::{Generation, RouteName, VariantName},
        split::Weight,
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
    /// Every command is about one route but `freeze` and `unfreeze`.
    #[serde(default)]
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
    /// For `set_weight`: per cent, as in the routes file.
    weight: Option<f64>,
    /// For `set_weight`: for how long.
    for_seconds: Option<u64>,
    /// For `readmit`: which.
    variant: Option<String>,
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
            let words = "approve|promote|rollback|pause|resume|set_weight|clear_weight|readmit|freeze|unfreeze";
            let help = format!(r#"send {{"route": "...", "command": "{words}", "reason": "..."}}"#);
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
    let wish = match body.command.as_str() {
        "freeze" | "unfreeze" => None,
        "approve" => Some(Wish::Approve),
        "promote" => Some(Wish::Promote { override_judge: body.override_judge }),
        "rollback" => Some(Wish::Rollback),
        "pause" => Some(Wish::Pause),
        "resume" => Some(Wish::Resume),
        "set_weight" => Some(set_weight(&body)?),
        "clear_weight" => Some(Wish::ClearWeight),
        "readmit" => {
            let variant = body.variant.as_deref().ok_or("readmit needs a `variant`")?;
            Some(Wish::Readmit(VariantName::new(variant).map_err(|error| format!("variant: {error}"))?))
        }
        other => return Err(format!("there is no command `{other}`")),
    };
    let command = match (wish, body.command.as_str()) {
        (Some(wish), _) => {
            Command::Route(RouteName::new(&body.route).map_err(|error| format!("route: {error}"))?, wish)
        }
        (None, _) if !body.route.is_empty() => return Err("a freeze is for all routes; `pause` is for one".into()),
        (None, "freeze") => Command::Freeze,
        (None, _) => Command::Unfreeze,
    };
    if body.override_judge && body.reason.trim().is_empty() {
        return Err("overriding the judge needs a reason".into());
    }
    Ok(Order {
        command,
        by: line(&body.by, "operator")?,
        reason: line(&body.reason, "no reason given")?,
        generation: body.generation.map(Generation),
    })
}

fn set_weight(body: &Body) -> Result<Wish, String> {
    let (Some(per_cent), Some(seconds)) = (body.weight, body.for_seconds) else {
        return Err("set_weight needs `weight` in per cent and `for_seconds`".into());
    };
    let basis_points = (per_cent * 100.0).round();
    if !(0.0..=10_000.0).contains(&basis_points) || (basis_points - per_cent * 100.0).abs() > 1e-6 {
        return Err(format!("`{per_cent}` is not a weight from 0 to 100 with at most two decimals"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 to 10,000")]
    let weight = Weight::new(basis_points as u16).ok_or("no weight")?;
    match seconds.checked_mul(1000) {
        Some(for_ms) if for_ms > 0 && for_ms <= BY_HAND_MS_MAX => Ok(Wish::SetWeight { weight, for_ms }),
        _ => Err("a weight is set by hand for 1 second to 24 hours; a commit stays longer".into()),
    }
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
        for (rest, good) in [
            (r#""route":"a","command":"set_weight","weight":12.5,"for_seconds":600"#, true),
            (r#""route":"a","command":"set_weight","weight":100.01,"for_seconds":600"#, false),
            (r#""route":"a","command":"set_weight","weight":0.001,"for_seconds":600"#, false),
            (r#""route":"a","command":"set_weight","weight":-1,"for_seconds":600"#, false),
            (r#""route":"a","command":"set_weight","weight":1"#, false),
            (r#""route":"a","command":"set_weight","weight":1,"for_seconds":86401"#, false),
            (r#""route":"a","command":"set_weight","weight":1,"for_seconds":0"#, false),
            (r#""route":"a","command":"readmit","variant":"v2""#, true),
            (r#""route":"a","command":"readmit""#, false),
            (r#""command":"freeze""#, true),
            (r#""command":"freeze","route":"a""#, false),
            (r#""command":"pause""#, false),
        ] {
            assert_eq!(parse(&format!("{{{rest}}}")).is_ok(), good, "{rest}");
        }
        let long = "x".repeat(TEXT_BYTES_MAX);
        assert!(parse(&format!(r#"{{"route":"a","command":"pause","by":"{long}"}}"#)).is_ok());
        assert!(parse(&format!(r#"{{"route":"a","command":"pause","by":"{long}x"}}"#)).is_err());
    }
}
