//! Who is told of verdicts, steps and rollbacks. No secret is a value here: a hook's secret is a path, and so is a url that is one.

use super::{at_least_one, path_of, positive, text_of};
use crate::{
    config::fields::{Field, Map},
    core::notice::Kind,
};
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// More hooks are refused.
const HOOKS_MAX: usize = 20;

/// Who is told, and how hard it is tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotifySettings {
    /// The `source` of the events. Default `coalmine`.
    pub source: String,
    /// Notices that may wait for one hook; more are dropped and counted. Default 256.
    pub queue: usize,
    /// How often one is tried. Default 8, over some two minutes.
    pub attempts: u32,
    /// Longest time of one attempt. Default 10 s.
    pub timeout: Duration,
    /// Those who are told.
    pub hooks: Vec<HookSettings>,
}

/// One who is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HookSettings {
    /// Where.
    pub place: HookPlace,
    /// The secret that signs what is sent (Standard Webhooks); unsigned if missing.
    pub secret_file: Option<PathBuf>,
    /// Who vouches for the receiver instead of the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// How it is written. Default CloudEvents.
    pub format: HookFormat,
    /// Only these; all if empty.
    pub events: BTreeSet<Kind>,
}

/// Where a hook is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HookPlace {
    /// At this url.
    Url(String),
    /// At the url in this file.
    File(PathBuf),
}

/// How a notice is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HookFormat {
    /// CloudEvents 1.0, structured JSON.
    #[default]
    CloudEvents,
    /// `{"text": "..."}`, as Slack and those who follow it take it.
    Slack,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self { source: "coalmine".into(), queue: 256, attempts: 8, timeout: Duration::from_secs(10), hooks: Vec::new() }
    }
}

pub(super) fn read(field: &Field<'_>) -> Option<NotifySettings> {
    let (map, base) = (field.map()?, NotifySettings::default());
    let hooks = map.get("hooks");
    let settings = NotifySettings {
        source: text_of(&map, "source").unwrap_or(base.source),
        queue: usize::try_from(map.or("queue", 256, limit(100_000))).unwrap_or(base.queue),
        attempts: u32::try_from(map.or("attempts", 8, limit(100))).unwrap_or(base.attempts),
        timeout: map.or("timeout", base.timeout, positive),
        hooks: hooks.iter().flat_map(Field::items).filter_map(|hook| read_hook(&hook)).collect(),
    };
    if let Some(hooks) = hooks.filter(|_| settings.hooks.len() > HOOKS_MAX) {
        hooks.wrong(format!("more than {HOOKS_MAX} hooks"), "let one receiver pass it on to the others");
    }
    map.done();
    Some(settings)
}

fn limit(max: u64) -> impl Fn(&str) -> Result<u64, String> {
    at_least_one(max)
}

fn read_hook(field: &Field<'_>) -> Option<HookSettings> {
    let map = field.map()?;
    let words = [("cloudevents", HookFormat::CloudEvents), ("slack", HookFormat::Slack)];
    let kinds = Kind::ALL.map(|kind| (kind.as_str(), kind));
    let events = map.get("events");
    let settings = HookSettings {
        place: place(&map)?,
        secret_file: path_of(&map, "secret_file"),
        ca_file: path_of(&map, "ca_file"),
        format: map.get("format").and_then(|field| field.word(&words)).unwrap_or_default(),
        events: events.iter().flat_map(Field::items).filter_map(|event| event.word(&kinds)).collect(),
    };
    map.done();
    Some(settings)
}

fn place(map: &Map<'_>) -> Option<HookPlace> {
    match (map.get("url"), path_of(map, "url_file")) {
        (Some(field), Some(_)) => {
            field.wrong("the hook is in two places", "keep `url` or `url_file`");
            None
        }
        (Some(field), None) => field.parse(url).map(HookPlace::Url),
        (None, Some(path)) => Some(HookPlace::File(path)),
        (None, None) => {
            map.field.wrong("nowhere to send to", "give a `url`, or a `url_file` if the url is a secret");
            None
        }
    }
}

/// An http or https url without a secret in it.
pub(super) fn url(text: &str) -> Result<String, String> {
    let url: http::Uri = text.parse().map_err(|_| format!("`{text}` is not a url"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err(format!("`{text}` is not a url; write https://host/path"));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a user or a password stands in the url; put it in a file".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    #[test]
    fn hooks_are_read_and_what_is_wrong_with_them_is_told() {
        let text = "notify:
  source: https://coalmine.example/prod
  hooks:
    - { url: 'https://ops.example/hook', secret_file: /s/key, events: [rollback, write_blocked] }
    - { url_file: /s/slack, format: slack }
";
        let notify = Settings::read(text, &[]).unwrap().notify;
        assert_eq!((notify.queue, notify.attempts, notify.hooks.len()), (256, 8, 2));
        assert_eq!(notify.hooks[0].events, BTreeSet::from([Kind::Rollback, Kind::WriteBlocked]));
        assert_eq!(notify.hooks[1].place, HookPlace::File("/s/slack".into()));
        let bad = "notify:
  hooks:
    - { url: 'https://me:pw@ops.example/hook' }
    - { url: ftp://x, events: [rolback] }
    - { format: slack }
    - { url: http://a, url_file: b }
";
        let told = Settings::read(bad, &[]).unwrap_err();
        let lines: Vec<String> = told.iter().map(|problem| format!("{}: {}", problem.path, problem.what)).collect();
        for part in [
            "notify.hooks[0].url: a user or a password stands in the url",
            "notify.hooks[1].url: `ftp://x` is not a url",
            "notify.hooks[2]: nowhere to send to",
            "notify.hooks[3].url: the hook is in two places",
        ] {
            assert!(lines.iter().any(|line| line.starts_with(part)), "{part}: {lines:?}");
        }
        assert!(!lines.iter().any(|line| line.contains("pw")), "{lines:?}");
    }
}
