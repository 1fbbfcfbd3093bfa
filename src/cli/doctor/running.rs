//! The running process, if there is one: what it says of itself.

use super::Finding;
use crate::{config::settings::Settings, io::client::Client};
use http::{Method, StatusCode};
use serde_json::Value;

const CHECK: &str = "process";

pub(super) async fn examine(settings: &Settings, admin: Option<String>, token: Option<String>) -> Vec<Finding> {
    let address = admin.unwrap_or_else(|| {
        let mut address = settings.admin;
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        address.to_string()
    });
    let client = Client { address: address.clone(), token: token.map(Into::into) };
    let Ok((status, said)) = client.call(Method::GET, "/readyz", String::new()).await else {
        let what = format!("nobody answers at {address}");
        return vec![Finding::warn(CHECK, what, "start `coalmine serve`, or say with --admin where it is")];
    };
    if status != StatusCode::OK {
        let what = format!("{address} is not ready: {}", said.trim());
        return vec![Finding::fail(CHECK, what, "it needs one good routes file; `coalmine status` says what is wrong")];
    }
    match client.call(Method::GET, "/v1/routes", String::new()).await {
        Ok((StatusCode::OK, text)) => told(&address, &serde_json::from_str(&text).unwrap_or_default()),
        Ok((status, _)) => {
            let what = format!("{address} is ready, and says no more: {status}");
            vec![Finding::warn(CHECK, what, "give a viewer's token with --token-file")]
        }
        Err(why) => vec![Finding::warn(CHECK, why, "look at its log")],
    }
}

/// What `/v1/routes` says.
fn told(address: &str, answer: &Value) -> Vec<Finding> {
    let list = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(problem) = list(answer, "/problems").first().and_then(Value::as_str) {
        let what = format!("{address} has refused the newest routes file: {problem}");
        return vec![Finding::fail(CHECK, what, "correct it on the branch; the last good one stays in force")];
    }
    let routes = list(answer, "/routes");
    let mut findings = vec![Finding::ok(CHECK, format!("{address} is ready, with {} route(s)", routes.len()))];
    for route in &routes {
        let name = route["name"].as_str().unwrap_or("");
        let alerts: Vec<String> =
            list(route, "/release/alerts").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if !alerts.is_empty() {
            let what = format!("route {name}: {}", alerts.join(", "));
            findings.push(Finding::warn(
                "alerts",
                what,
                format!("`coalmine status {name}`; docs/releases.md says more"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;
    use serde_json::json;

    #[test]
    fn what_is_refused_fails_and_what_alerts_warns() {
        let refused = told("a:1", &json!({ "problems": ["routes.yaml:1:1: no"], "routes": [] }));
        assert_eq!((refused.len(), refused[0].level), (1, Level::Fail));
        let route = json!({ "name": "digits", "release": { "alerts": ["write_blocked", "diverged"] } });
        let found = told("a:1", &json!({ "problems": [], "routes": [route, { "name": "b", "release": null }] }));
        assert_eq!(found.iter().map(|one| one.level).collect::<Vec<_>>(), [Level::Ok, Level::Warn]);
        assert_eq!(found[1].what, "route digits: write_blocked, diverged");
    }
}
