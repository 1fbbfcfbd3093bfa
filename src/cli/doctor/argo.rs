//! The Argo CD Application that delivers the branch: whether it delivers ours, whether it is stuck, whether it looks away from
//! what we change. Judged from the object alone.

use super::Finding;
use crate::config::settings::GitSettings;
use serde_json::Value;

/// A sync that takes longer hangs: the slowest delivery takes about six minutes.
const STUCK_MS: i64 = 600_000;

/// What it should be about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours<'a> {
    pub(super) git: Option<&'a GitSettings>,
    /// The ConfigMap that is watched, if one is.
    pub(super) config_map: Option<&'a str>,
    /// The commit at the branch's tip.
    pub(super) tip: Option<&'a str>,
    pub(super) now_ms: i64,
}

/// What is to be said of an Application, as the API gives it.
pub(super) fn examine(app: &Value, ours: &Ours<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(git) = ours.git {
        findings.push(hydrated(app, git).unwrap_or_else(|| source(app, git)));
    }
    findings.push(policy(app));
    findings.push(operation(app, ours));
    findings.push(sync(app, ours));
    findings.push(health(app, ours));
    findings.extend(conditions(app));
    findings.push(ignored(app, ours));
    findings
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// How long ago a time of the object was, milliseconds.
fn age_ms(app: &Value, pointer: &str, ours: &Ours<'_>) -> Option<i64> {
    let at: jiff::Timestamp = text(app, pointer).parse().ok()?;
    Some(ours.now_ms - at.as_millisecond())
}

/// The host and path of a remote, however it is spelled.
fn repository(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // `git@host:path` has its path behind a colon, `host:22` has a port there.
    let (host, more) = authority.split_once(':').unwrap_or((authority, ""));
    let more = if more.chars().all(|c| c.is_ascii_digit()) { "" } else { more };
    let path: Vec<&str> = [more, path].into_iter().filter(|part| !part.is_empty()).collect();
    let path = path.join("/");
    format!("{host}/{}", path.trim_matches('/').trim_end_matches(".git")).to_lowercase()
}

/// With the source hydrator Argo CD writes a branch itself.
fn hydrated(app: &Value, git: &GitSettings) -> Option<Finding> {
    const CHECK: &str = "argo source";
    let hydrator = app.pointer("/spec/sourceHydrator").filter(|hydrator| hydrator.is_object())?;
    let dry = text(hydrator, "/drySource/targetRevision");
    let written = [text(hydrator, "/syncSource/targetBranch"), text(hydrator, "/hydrateTo/targetBranch")];
    let next = format!("set `git.branch` to the branch of drySource, `{dry}`");
    if written.contains(&git.branch.as_str()) {
        let what = format!(
            "Argo CD writes the branch {} itself, by its source hydrator: our commits would be lost",
            git.branch
        );
        return Some(Finding::fail(CHECK, what, next));
    }
    if follows(dry, &git.branch) {
        return Some(Finding::ok(CHECK, format!("hydrated from {dry}, which is the branch we commit to")));
    }
    Some(Finding::fail(CHECK, format!("hydrated from `{dry}`, and we commit to {}", git.branch), next))
}

/// Whether a `targetRevision` moves with the branch; the default branch may be it.
fn follows(revision: &str, branch: &str) -> bool {
    matches!(revision, "" | "HEAD") || revision.trim_start_matches("refs/heads/") == branch
}

fn source(app: &Value, git: &GitSettings) -> Finding {
    const CHECK: &str = "argo source";
    let single = app.pointer("/spec/source").filter(|source| source.is_object());
    let sources: Vec<&Value> = single.into_iter().chain(list(app, "/spec/sources")).collect();
    let here = |source: &&&Value| repository(text(source, "/repoURL")) == repository(&git.remote);
    let Some(source) = sources.iter().find(here) else {
        let urls: Vec<&str> = sources.iter().map(|source| text(source, "/repoURL")).collect();
        let what = format!("it delivers {}, and we commit to {}", urls.join(", "), git.remote);
        return Finding::warn(CHECK, what, "name the same repository, unless one mirrors the other");
    };
    let (revision, path) = (text(source, "/targetRevision"), text(source, "/path").trim_matches('/'));
    if !follows(revision, &git.branch) {
        let what = format!("it follows `{revision}`, and we commit to {}", git.branch);
        return Finding::fail(CHECK, what, "let `targetRevision` and `git.branch` be one branch");
    }
    let inside = matches!(path, "" | ".") || git.path.starts_with(&format!("{path}/"));
    if !inside {
        let what = format!("it delivers `{path}`, and our file is {}", git.path);
        return Finding::fail(CHECK, what, "let `path` be the folder of `git.path`");
    }
    Finding::ok(CHECK, format!("it delivers {} from {}", git.path, git.branch))
}

fn policy(app: &Value) -> Finding {
    const CHECK: &str = "argo policy";
    let automated = app.pointer("/spec/syncPolicy/automated").filter(|policy| policy.is_object());
    match automated {
        Some(policy) if policy["enabled"] != false => Finding::ok(CHECK, "commits are synced by themselves"),
        Some(_) | None => {
            let next = "set `syncPolicy.automated`, with `selfHeal` so that what is edited by hand is put back";
            Finding::warn(CHECK, "it is not automated: each step waits for a person's sync", next)
        }
    }
}

fn operation(app: &Value, ours: &Ours<'_>) -> Finding {
    const CHECK: &str = "argo operation";
    let phase = text(app, "/status/operationState/phase");
    let message = text(app, "/status/operationState/message");
    let long = age_ms(app, "/status/operationState/startedAt", ours).filter(|age| *age > STUCK_MS);
    match (phase, long) {
        ("Running" | "Terminating", Some(age)) => Finding::fail(
            CHECK,
            format!("a sync has been {} for {} min: {message}", phase.to_lowercase(), age / 60_000),
            "`argocd app terminate-op`, then sync; a sync that hangs keeps to its old revision",
        ),
        ("Failed" | "Error", _) => Finding::fail(
            CHECK,
            format!("the last sync failed: {message}"),
            "`argocd app get` shows which object; correct it",
        ),
        ("", _) => Finding::warn(CHECK, "it has never been synced", "sync it once"),
        (phase, _) => Finding::ok(CHECK, format!("the last sync: {}", phase.to_lowercase())),
    }
}

fn sync(app: &Value, ours: &Ours<'_>) -> Finding {
    const CHECK: &str = "argo sync";
    let (status, revision) = (text(app, "/status/sync/status"), text(app, "/status/sync/revision"));
    // It does not say since when; the end of the last sync is as good.
    let since = age_ms(app, "/status/operationState/finishedAt", ours).unwrap_or(0);
    let stopped = app.pointer("/metadata/annotations/argocd.argoproj.io~1refresh").is_some();
    match status {
        "Synced" if ours.tip.is_some_and(|tip| tip != revision) && !revision.is_empty() => Finding::warn(
            CHECK,
            format!("synced with {}, which is not the tip", revision.get(..12).unwrap_or(revision)),
            "wait for its polling, or let `argocd.application` have it asked at once",
        ),
        "Synced" if stopped => {
            Finding::warn(CHECK, "synced; a refresh that was asked for is not done yet", "is the controller alive?")
        }
        "Synced" => Finding::ok(CHECK, "synced with the branch"),
        status if since > STUCK_MS => {
            let what = format!("{} since the last sync, {} min ago", or_unknown(status), since / 60_000);
            Finding::fail(
                CHECK,
                what,
                "`argocd app diff` shows what differs; look for a sync window, or `ignoreDifferences`",
            )
        }
        status => Finding::warn(CHECK, or_unknown(status), "look again in a few minutes"),
    }
}

fn or_unknown(status: &str) -> String {
    if status.is_empty() { "it has no sync status yet".to_owned() } else { status.to_owned() }
}

fn health(app: &Value, ours: &Ours<'_>) -> Finding {
    const CHECK: &str = "argo health";
    let (status, message) = (text(app, "/status/health/status"), text(app, "/status/health/message"));
    let since = age_ms(app, "/status/health/lastTransitionTime", ours);
    let for_long = since.map_or(String::new(), |age| format!(" for {} min", age / 60_000));
    match status {
        "Degraded" | "Missing" if since.is_none_or(|age| age > STUCK_MS) => Finding::fail(
            CHECK,
            format!("{status}{for_long} {message}").trim_end().to_owned(),
            "`argocd app get` shows which object",
        ),
        "Degraded" | "Missing" | "Suspended" | "Unknown" => Finding::warn(
            CHECK,
            format!("{status}{for_long} {message}").trim_end().to_owned(),
            "look again in a few minutes",
        ),
        status => Finding::ok(CHECK, if status.is_empty() { "not told" } else { status }),
    }
}

fn conditions(app: &Value) -> Vec<Finding> {
    let of = |condition: &Value| {
        let (kind, message) = (text(condition, "/type"), text(condition, "/message"));
        let what = format!("{kind}: {message}");
        if kind.ends_with("Error") {
            Finding::fail("argo condition", what, "Argo CD cannot compare or sync until this is gone")
        } else {
            Finding::warn("argo condition", what, "`argocd app get` says more")
        }
    };
    list(app, "/status/conditions").map(of).collect()
}

/// What looks away from the data of our ConfigMap never delivers a weight.
fn ignored(app: &Value, ours: &Ours<'_>) -> Finding {
    const CHECK: &str = "argo ignores";
    let ours_too = |entry: &&Value| {
        let (group, kind, name) = (text(entry, "/group"), text(entry, "/kind"), text(entry, "/name"));
        let named = name.is_empty() || ours.config_map.is_none_or(|ours| ours == name);
        matches!(group, "" | "*") && matches!(kind, "ConfigMap" | "*") && named && hides_data(entry)
    };
    match list(app, "/spec/ignoreDifferences").find(ours_too) {
        Some(entry) => Finding::fail(
            CHECK,
            format!("`ignoreDifferences` hides the data of the ConfigMap: {entry}"),
            "take it out: weights change in Git alone, so there is nothing to look away from",
        ),
        None => Finding::ok(CHECK, "nothing of the routes"),
    }
}

fn hides_data(entry: &Value) -> bool {
    let pointers = list(entry, "/jsonPointers").filter_map(Value::as_str);
    let queries = list(entry, "/jqPathExpressions").filter_map(Value::as_str);
    let managers = list(entry, "/managedFieldsManagers").next().is_some();
    pointers.into_iter().any(|pointer| matches!(pointer, "" | "/") || pointer.starts_with("/data"))
        || queries.into_iter().any(|query| query.trim() == "." || query.contains("data"))
        || managers
}

#[cfg(test)]
mod tests;
