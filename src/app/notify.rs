//! Those who are told, hooks, the model registry, and people who come later: from settings to what is sent or remembered.

use super::source;
use crate::{
    config::settings::{HookFormat, HookPlace, Settings},
    control::{
        commit_loop::Outcomes,
        history_loop::{Histories, HistoryLoop},
        judge_loop::Judgements,
        notify_loop::{Listener, NotifyLoop},
        nudge_loop::NudgeLoop,
        registry_loop::RegistryLoop,
        release_loop::Releases,
    },
    core::{
        release::{intent::Wanted, made::Made},
        snapshot::Live,
    },
    io::{
        meters::Meters,
        mlflow::Mlflow,
        notify::{Form, Hook, Place},
        outbound::Outbound,
        store::Store,
    },
};
use anyhow::Context as _;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch::{Receiver, Sender, channel};

/// What it watches.
type Seen = (Receiver<Judgements>, Receiver<Releases>, Receiver<Arc<Vec<Wanted>>>, Receiver<Outcomes>);

/// The loops that tell others. They only read what the release has come to, and nothing waits for them.
#[derive(Debug)]
pub(super) struct Tellers {
    nudge: NudgeLoop,
    notify: NotifyLoop,
    registry: RegistryLoop,
    history: HistoryLoop,
    histories: Receiver<Histories>,
}

impl Tellers {
    /// The loops, and where commits of ours are told to them.
    pub(super) fn of(
        settings: &Settings,
        seen: Seen,
        pushed: Sender<u64>,
        live: &Arc<ArcSwap<Live>>,
        store: &Store,
        meters: &Arc<Meters>,
    ) -> anyhow::Result<(Self, Sender<Arc<Vec<Made>>>)> {
        let (judgements, releases, wanted, outcomes) = seen;
        let (commits, made) = channel(Arc::default());
        let argo = source::argo(settings);
        let (written, histories) = channel(Histories {
            by_route: Arc::default(),
            commit_url: settings.git.as_ref().and_then(|git| git.commit_url.as_deref()).map(Into::into),
        });
        let tellers = Self {
            nudge: NudgeLoop { made: made.clone(), pushed, argo, meters: meters.clone() },
            registry: RegistryLoop {
                live: live.clone(),
                releases: releases.clone(),
                mlflow: mlflow(settings)?,
                store: store.clone(),
                meters: meters.clone(),
            },
            history: HistoryLoop {
                live: live.clone(),
                judgements: judgements.clone(),
                releases: releases.clone(),
                wanted: wanted.clone(),
                outcomes: outcomes.clone(),
                made: made.clone(),
                histories: written,
                happened_max: settings.page_history,
            },
            histories,
            notify: NotifyLoop {
                judgements,
                releases,
                wanted,
                outcomes,
                made,
                listeners: listeners(settings)?,
                queue: settings.notify.queue,
                attempts: settings.notify.attempts,
                meters: meters.clone(),
            },
        };
        Ok((tellers, commits))
    }

    /// What has happened to each route.
    pub(super) fn histories(&self) -> Receiver<Histories> {
        self.histories.clone()
    }

    /// Runs until one of them ends.
    pub(super) async fn run(self) {
        tokio::select! {
            () = self.nudge.run() => {}
            () = self.notify.run() => {}
            () = self.registry.run() => {}
            () = self.history.run() => {}
        }
    }
}

/// The registry that is told of promotions and rollbacks, if there is one.
fn mlflow(settings: &Settings) -> anyhow::Result<Option<Mlflow>> {
    let Some(mlflow) = &settings.mlflow else { return Ok(None) };
    Ok(Some(Mlflow {
        url: mlflow.url.clone(),
        alias: mlflow.alias.clone(),
        token_file: mlflow.token_file.clone(),
        username: mlflow.username.clone(),
        outbound: Outbound::new(mlflow.ca_file.clone(), mlflow.timeout).context("mlflow")?,
    }))
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
