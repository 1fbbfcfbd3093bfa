//! The running process, if there is one: what it says of itself.

use super::Finding;
use crate::{config::settings::Settings, io::client::Client};
use http::{Method, StatusCode};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::net::lookup_host;

const CHECK: &str = "process";
const SAME: &str = "replicas";

pub(super) async fn examine(settings: &Settings, admin: &[String], token: Option<String>) -> Vec<Finding> {
    let own = || {
        let mut address = settings.admin;
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        address.to_string()
    };
    let names = if admin.is_empty() { vec![own()] } else { admin.to_vec() };
    let (mut findings, mut routes) = (Vec::new(), Vec::new());
    for name in names {
        for address in addresses(&name).await {
            let (of_it, answer) = ask(&address, token.clone()).await;
            findings.extend(of_it);
            routes.extend(answer.map(|answer| (address, digests(&answer))));
        }
    }
    findings.extend(same(&routes, settings.replicas));
    findings
}

/// Every address of the name, each of which is a replica; the name itself if that cannot be told.
async fn addresses(name: &str) -> Vec<String> {
    let found: BTreeSet<String> = match lookup_host(name).await {
        Ok(found) if !name.starts_with("localhost:") => found.map(|address| address.to_string()).collect(),
        Ok(_) | Err(_) => BTreeSet::new(),
    };
    if found.is_empty() { vec![name.to_owned()] } else { found.into_iter().collect() }
}

/// What one of them says of itself, and its routes.
async fn ask(address: &str, token: Option<String>) -> (Vec<Finding>, Option<Value>) {
    let client = Client { address: address.to_owned(), token: token.map(Into::into) };
    let Ok((status, said)) = client.call(Method::GET, "/readyz", String::new()).await else {
        let what = format!("nobody answers at {address}");
        return (vec![Finding::warn(CHECK, what, "start `coalmine serve`, or say with --admin where it is")], None);
    };
    if status != StatusCode::OK {
        let what = format!("{address} is not ready: {}", said.trim());
        let next = "it needs one good routes file; `coalmine status` says what is wrong";
        return (vec![Finding::fail(CHECK, what, next)], None);
    }
    match client.call(Method::GET, "/v1/routes", String::new()).await {
        Ok((StatusCode::OK, text)) => {
            let answer = serde_json::from_str(&text).unwrap_or_default();
            (told(address, &answer), Some(answer))
        }
        Ok((status, _)) => {
            let what = format!("{address} is ready, and says no more: {status}");
            (vec![Finding::warn(CHECK, what, "give a viewer's token with --token-file")], None)
        }
        Err(why) => (vec![Finding::warn(CHECK, why, "look at its log")], None),
    }
}

/// The routes of an answer, each with the digest of what was delivered.
fn digests(answer: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let routes = answer["routes"].as_array().into_iter().flatten();
    routes.map(|route| (text(&route["name"]), text(&route["digest"]))).collect()
}

/// Whether all of those that were asked have the same routes; nothing to say of a single one that is alone.
fn same(asked: &[(String, BTreeMap<String, String>)], replicas: u32) -> Option<Finding> {
    let (first, of_first) = asked.first()?;
    let other = asked.iter().find(|(_, routes)| routes != of_first);
    if let Some((address, routes)) = other {
        let names: BTreeSet<&String> = of_first.keys().chain(routes.keys()).collect();
        let differ: Vec<&str> =
            names.into_iter().filter(|name| of_first.get(*name) != routes.get(*name)).map(String::as_str).collect();
        let what = format!("{first} and {address} have other files for {}", differ.join(", "));
        let next = "a mounted ConfigMap takes a minute or so; if it lasts, which of them has an old one? `coalmine diff --admin` tells";
        return Some(Finding::warn(SAME, what, next));
    }
    match (asked.len(), usize::try_from(replicas).unwrap_or(usize::MAX)) {
        (1, 0 | 1) => None,
        (asked, all) if asked < all => {
            let what = format!(
                "{asked} of {all} asked: name all of them with --admin, or a name that has all their addresses"
            );
            Some(Finding::ok(SAME, what))
        }
        (asked, _) => Some(Finding::ok(SAME, format!("{asked} have the same routes"))),
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
    #[test]
    fn replicas_with_other_routes_are_named() {
        let one = |address: &str, digest: &str| {
            let routes = json!({ "routes": [{ "name": "digits", "digest": digest }, { "name": "b", "digest": "1" }] });
            (address.to_owned(), digests(&routes))
        };
        assert_eq!(same(&[one("a:1", "7")], 1), None);
        assert_eq!(same(&[], 3), None);
        let some = same(&[one("a:1", "7")], 3).unwrap();
        assert!(some.level == Level::Ok && some.what.starts_with("1 of 3 asked"), "{some:?}");
        let all = same(&[one("a:1", "7"), one("b:1", "7")], 2).unwrap();
        assert_eq!((all.level, all.what.as_str()), (Level::Ok, "2 have the same routes"));
        let differ = same(&[one("a:1", "7"), one("b:1", "7"), one("c:1", "8")], 3).unwrap();
        assert_eq!((differ.level, differ.what.as_str()), (Level::Warn, "a:1 and c:1 have other files for digits"));
    }
}
