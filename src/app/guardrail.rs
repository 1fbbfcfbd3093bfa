//! Whom guardrails are asked from, from settings to the loop.

use crate::{
    config::settings::Settings,
    control::guardrail_loop::GuardrailLoop,
    core::{judge::Readings, snapshot::Live},
    io::{
        meters::Meters,
        outbound::Outbound,
        prometheus::{ANSWER_BYTES_MAX, Prometheus},
    },
};
use anyhow::Context as _;
use arc_swap::ArcSwap;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// With nobody to ask, how often that is told.
const IDLE: Duration = Duration::from_secs(1);

/// The loop that asks, and what it has been told: the judge loop reads it.
pub(super) fn guardrail_loop(
    settings: &Settings,
    live: Arc<ArcSwap<Live>>,
    meters: &Arc<Meters>,
) -> anyhow::Result<(GuardrailLoop, watch::Receiver<Arc<Readings>>)> {
    let (readings, told) = watch::channel(Arc::default());
    let (mut every, mut timeout, mut server) = (IDLE, Duration::ZERO, None);
    if let Some(said) = &settings.prometheus {
        let outbound = Outbound::new(said.ca_file.clone(), said.timeout).context("prometheus")?;
        let outbound = outbound.reading_at_most(ANSWER_BYTES_MAX);
        (every, timeout) = (said.every, said.timeout);
        server = Some(Prometheus { url: said.url.clone(), token_file: said.token_file.clone(), outbound });
    }
    Ok((GuardrailLoop { live, server, every, timeout, readings, meters: meters.clone() }, told))
}
