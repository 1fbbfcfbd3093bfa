//! The acts: a team commits a candidate, and Coalmine takes it from there. Nothing is staged: what happens is watched from
//! outside, over the admin listener, the branch, and what callers get.

use super::{
    Act,
    delivery::{Repo, Tip},
    http::Connection,
    traffic::{Counts, Seen},
    view::{View, percent},
};
use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How often the world is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// An act that is not over by then has failed.
const ACT_LIMIT: Duration = Duration::from_secs(100);
/// The routes file of the demo, without its variants.
const TEMPLATE: &str = include_str!("../../config/demo.yaml");

/// A served model.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) version: u32,
    pub(super) address: SocketAddr,
    /// What the team says about it.
    pub(super) words: String,
}

/// How an act ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    Promoted,
    RolledBack,
    /// It took too long.
    Open,
}

/// What an act came to.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) act: Act,
    pub(super) ending: Ending,
    took: Duration,
    stable: Seen,
    candidate: Seen,
    /// The judge's reason for a rollback, and the canary labels it had then.
    blamed: Option<(String, u64)>,
    /// From the verdict to the last request that the candidate got.
    last_request_ms: Option<u64>,
    /// From the verdict to the commit on the branch.
    commit_ms: Option<u64>,
}

/// Where the story is watched from.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) repo: Repo,
    pub(super) admin: Connection,
    pub(super) counts: Counts,
    pub(super) view: View,
    pub(super) tip: Option<Tip>,
}

impl Variant {
    pub(super) fn name(&self) -> String {
        format!("v{}", self.version)
    }
}

impl Act {
    pub(super) fn wanted(self) -> Ending {
        match self {
            Self::Good => Ending::Promoted,
            Self::Bad | Self::Slow | Self::Broken => Ending::RolledBack,
        }
    }
}

/// The repository's file: a ConfigMap with the routes in it.
pub(super) fn manifest(stable: &Variant, candidate: Option<&Variant>) -> anyhow::Result<String> {
    let (head, rest) = TEMPLATE.split_once("    variants:\n").context("the demo's routes file has no variants")?;
    let (_, tail) = rest.split_once("    protocol:").context("the demo's routes file has no protocol")?;
    let one = |variant: &Variant, role: &str, weight: u32| {
        let Variant { version, address, .. } = variant;
        format!(
            "      - name: v{version}\n        role: {role}\n        weight: {weight}\n        url: http://{address}\n        \
             model: {{ version: \"{version}\", uri: \"models/digits/{version}\" }}\n"
        )
    };
    let variants = match candidate {
        Some(candidate) => one(stable, "stable", 99) + &one(candidate, "canary", 1),
        None => one(stable, "stable", 100),
    };
    let routes = format!("{head}    variants:\n{variants}    protocol:{tail}");
    let block: String =
        routes.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("    {line}\n") }).collect();
    Ok(format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: coalmine-routes\ndata:\n  routes.yaml: |\n{block}"))
}

impl Stage {
    /// One candidate, from the team's commit to its end.
    pub(super) async fn play(&mut self, act: Act, stable: &Variant, candidate: &Variant) -> anyhow::Result<Scene> {
        let (stable_name, name) = (stable.name(), candidate.name());
        let before = self.counts.of(&stable_name);
        let last = self.route().await?.as_ref().map(key);
        let message = format!("models/digits: {name}, {}", candidate.words);
        self.view.say(&format!("the team commits {name}: {}", candidate.words));
        self.repo.commit(&manifest(stable, Some(candidate))?, &message)?;
        let begin = Instant::now();
        let (mut state, mut blamed, mut decided_ms, mut committed_ms) = (String::new(), None, None, None);
        let mut ending = Ending::Open;
        while begin.elapsed() < ACT_LIMIT && ending == Ending::Open {
            sleep(LOOK_EVERY).await;
            if let Some(tip) = self.follow()?
                && tip.subject.starts_with("rollback(")
            {
                committed_ms = Some(tip.seen_ms);
            }
            let Some(route) = self.route().await? else { continue };
            self.view.show(&route, (&stable_name, self.counts.of(&stable_name)), (&name, self.counts.of(&name)));
            let now = route.pointer("/release/state").and_then(Value::as_str).unwrap_or("");
            if last == Some(key(&route)) || now == state {
                continue;
            }
            now.clone_into(&mut state);
            match now {
                "rolling_back" => {
                    blamed = Some(verdict(&route));
                    decided_ms = route.pointer("/release/decided_ms").and_then(Value::as_u64);
                    self.view.say(&format!("{name} is worse in {}: clamped to 0", verdict(&route).0));
                }
                "rolled_back" => ending = Ending::RolledBack,
                "promoted" => ending = Ending::Promoted,
                _ => {}
            }
        }
        let after = self.counts.of(&stable_name);
        let candidate = self.counts.of(&name);
        let since = |ms: u64| decided_ms.map(|decided| ms.saturating_sub(decided));
        Ok(Scene {
            act,
            ending,
            took: begin.elapsed(),
            stable: Seen { answers: after.answers - before.answers, wrong: after.wrong - before.wrong, ..after },
            candidate,
            blamed,
            last_request_ms: since(candidate.last_ms),
            commit_ms: committed_ms.and_then(since),
        })
    }

    /// Delivers what is new on the branch; the new tip.
    pub(super) fn follow(&mut self) -> anyhow::Result<Option<Tip>> {
        let tip = self.repo.tip()?;
        let new = tip.filter(|tip| self.tip.as_ref().is_none_or(|old| old.commit != tip.commit));
        if let Some(tip) = &new {
            self.view.say(&format!("commit {}  {}", tip.commit.get(..7).unwrap_or(""), tip.subject));
            self.repo.deliver(&tip.commit)?;
            self.tip = Some(tip.clone());
        }
        Ok(new)
    }

    pub(super) async fn route(&mut self) -> anyhow::Result<Option<Value>> {
        let answer = self.admin.call(Method::GET, "/v1/routes/digits", Bytes::new()).await?;
        let found = answer.status == StatusCode::OK;
        Ok(if found { Some(serde_json::from_slice(&answer.body)?) } else { None })
    }
}

/// Which release the route is in.
fn key(route: &Value) -> String {
    route.pointer("/release/key").and_then(Value::as_str).unwrap_or("none").to_owned()
}

/// Which signal is blamed, and on how many canary labels.
fn verdict(route: &Value) -> (String, u64) {
    let reason = route.pointer("/judgement/reason").and_then(Value::as_str).unwrap_or("-").to_owned();
    let signals = route.pointer("/judgement/signals").and_then(Value::as_array).cloned().unwrap_or_default();
    let accuracy = signals.iter().find(|signal| signal.get("signal").and_then(Value::as_str) == Some("accuracy"));
    let labels = accuracy.and_then(|signal| signal.get("canary_n")).and_then(Value::as_u64).unwrap_or(0);
    (reason, labels)
}

impl Scene {
    /// The act in a few lines.
    pub(super) fn lines(&self) -> String {
        let Self { act, ending, took, stable, candidate, .. } = self;
        let ending = match ending {
            Ending::Promoted => "promoted",
            Ending::RolledBack => "rolled back",
            Ending::Open => "not over in time",
        };
        let right = |seen: &Seen| percent(seen.answers - seen.wrong, seen.answers);
        let mut lines = format!(
            "{} candidate: {ending} after {:.1} s\n  answers    stable {} ({} right), candidate {} ({} right)\n",
            act.as_str(),
            took.as_secs_f64(),
            stable.answers,
            right(stable),
            candidate.answers,
            right(candidate),
        );
        if let Some((reason, labels)) = &self.blamed {
            lines += &format!("  blamed     {reason}, on {labels} canary labels\n");
            lines += &format!(
                "  harm       {} wrong and {} failed answers came from the candidate\n",
                candidate.wrong, candidate.failed
            );
        }
        if let Some(ms) = self.last_request_ms {
            lines += &format!("  flip       its last request began {ms} ms after the verdict\n");
        }
        if let Some(ms) = self.commit_ms {
            lines += &format!("  commit     on the branch {ms} ms after the verdict\n");
        }
        lines
    }
}
