//! Those who are told, from settings to hooks.

use crate::{
    config::settings::{HookFormat, HookPlace, Settings},
    control::{
        commit_loop::Outcomes,
        judge_loop::Judgements,
        notify_loop::{Listener, NotifyLoop},
        release_loop::Releases,
    },
    core::release::intent::Wanted,
    io::{
        meters::Meters,
        notify::{Form, Hook, Place},
        outbound::Outbound,
    },
};
use anyhow::Context as _;
use std::sync::Arc;
use tokio::sync::watch::Receiver;

/// What it watches.
type Seen = (Receiver<Judgements>, Receiver<Releases>, Receiver<Arc<Vec<Wanted>>>, Receiver<Outcomes>);

/// The loop that tells them.
pub(super) fn notify_loop(settings: &Settings, seen: Seen, meters: &Arc<Meters>) -> anyhow::Result<NotifyLoop> {
    let (judgements, releases, wanted, outcomes) = seen;
    Ok(NotifyLoop {
        judgements,
        releases,
        wanted,
        outcomes,
        listeners: listeners(settings)?,
        queue: settings.notify.queue,
        attempts: settings.notify.attempts,
        meters: meters.clone(),
    })
}

/// One for each hook of the settings.
fn listeners(settings: &Settings) -> anyhow::Result<Vec<Listener>> {
    let notify = &settings.notify;
    let listener = |(at, hook): (usize, &crate::config::settings::HookSettings)| {
        let outbound = Outbound::new(hook.ca_file.clone(), notify.timeout);
        Ok(Listener {
            hook: Hook {
                place: match &hook.place {
                    HookPlace::Url(url) => Place::Url(url.clone()),
                    HookPlace::File(path) => Place::File(path.clone()),
                },
                secret_file: hook.secret_file.clone(),
                form: match hook.format {
                    HookFormat::CloudEvents => Form::CloudEvents,
                    HookFormat::Slack => Form::Slack,
                },
                source: notify.source.clone(),
                outbound: outbound.with_context(|| format!("notify.hooks[{at}]"))?,
            },
            kinds: hook.events.clone(),
        })
    };
    notify.hooks.iter().enumerate().map(listener).collect()
}
