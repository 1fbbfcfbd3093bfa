//! Margins of the judge as arguments: from a routes file, single keys on top. For `replay` and `plan`.

use crate::{
    config,
    core::{clamp::Clamps, judge::Policy, route::Route, snapshot::Snapshot},
};
use anyhow::{Context as _, anyhow, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the margins come from.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Margins")]
pub(super) struct Margins {
    /// Chance of ever rolling back a healthy canary.
    #[arg(long, value_name = "SHARE")]
    alpha: Option<String>,
    /// Rollback: errors may rise by this much above stable's [default: 0.05%].
    #[arg(long, value_name = "SHARE")]
    may_rise: Option<String>,
    /// Rollback: latency may rise by this much [default: 4.4%].
    #[arg(long, value_name = "SHARE")]
    tolerate: Option<String>,
    /// Promotion: accuracy may be lower by this much [default: 2%].
    #[arg(long, value_name = "SHARE")]
    may_drop: Option<String>,
    /// Leave latency out for so long after the first request [default: 60s; 0s for recordings; or as the route says].
    #[arg(long, value_name = "TIME")]
    warmup: Option<String>,
    /// Any other key of a route's `judge` section, such as `errors.pass_ratio=1.5` or `accuracy=off`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Take margins and split from a routes file.
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// Which of its routes, if there are several.
    #[arg(long, value_name = "NAME", requires = "routes")]
    route: Option<String>,
}

impl Margins {
    /// The policy, and the canary's share of the draws if a routes file says one. Without a file `policy` is what is changed.
    pub(super) fn read(&self, policy: Policy) -> anyhow::Result<(Policy, Option<f64>)> {
        let (base, share) = match &self.routes {
            Some(path) => {
                let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                let read = config::read(&text, &Clamps::default());
                let (snapshot, _) = read.map_err(|problems| {
                    let lines: Vec<String> = problems.iter().map(|p| p.one_line(&path.display().to_string())).collect();
                    anyhow!("{}", lines.join("\n"))
                })?;
                let route = self.pick(&snapshot, path)?;
                (route.policy.clone(), share(route))
            }
            None => (policy, None),
        };
        let pairs: Vec<(&str, &str)> = self
            .set
            .iter()
            .map(|pair| {
                pair.split_once('=').ok_or_else(|| anyhow!("--set {pair}: write KEY=VALUE, such as alpha=0.01"))
            })
            .collect::<anyhow::Result<_>>()?;
        let flags = [
            ("alpha", &self.alpha),
            ("errors.may_rise", &self.may_rise),
            ("latency.tolerate", &self.tolerate),
            ("accuracy.may_drop", &self.may_drop),
            ("warmup", &self.warmup),
        ];
        let flags = flags.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        let said: Vec<(&str, &str)> = flags.chain(pairs).collect();
        let policy = config::judge(&said, &base).map_err(|problems| {
            let line = |p: &config::Problem| {
                let help = if p.help.is_empty() { String::new() } else { format!("; {}", p.help) };
                format!("margins: {}: {}{help}", p.path, p.what)
            };
            anyhow!("{}", problems.iter().map(line).collect::<Vec<_>>().join("\n"))
        })?;
        Ok((policy, share))
    }

    fn pick<'a>(&self, snapshot: &'a Snapshot, path: &Path) -> anyhow::Result<&'a Route> {
        let mut routes = snapshot.routes.iter();
        let names = || snapshot.routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>().join(", ");
        match (&self.route, routes.next(), routes.next()) {
            (Some(name), ..) => snapshot
                .routes
                .named(name)
                .map(|(_, route)| &**route)
                .ok_or_else(|| anyhow!("{} has no route {name}: its routes are {}", path.display(), names())),
            (None, Some(route), None) => Ok(route),
            _ => bail!("{} has several routes: pick one with --route, of {}", path.display(), names()),
        }
    }
}

/// The canary's share of the draws in the file, if a release is under way in it.
fn share(route: &Route) -> Option<f64> {
    let view = route.release.as_ref()?;
    let weight = |position| route.variant(position).map_or(0.0, |variant| variant.said.fraction());
    let (canary, stable) = (weight(view.candidate), weight(view.reference));
    (canary > 0.0 && stable > 0.0).then(|| canary / (canary + stable))
}

/// A number of per cent between 0 and 100, both excluded, as a share.
pub(super) fn per_cent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(share) if share > 0.0 && share < 100.0 => Ok(share / 100.0),
        _ => Err("write a number of per cent between 0 and 100, such as 10".to_owned()),
    }
}
