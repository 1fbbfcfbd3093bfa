//! TLS of the process: from settings to what is in force.

use crate::{
    config::settings::{ClientAuth as Auth, PairFiles, Settings},
    io::{
        meters::Meters,
        tls::{ClientAuth, ClientFiles, ClientTls, Pair, ServerFiles, ServerTls},
    },
};
use anyhow::Context as _;
use std::{sync::Arc, time::Duration};

/// What the data threads need for TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// For the listener, with the time a handshake may take; plain text if missing.
    pub server: Option<(ServerTls, Duration)>,
    /// For backends.
    pub client: ClientTls,
}

impl Tls {
    /// Reads every file that the settings name.
    ///
    /// # Errors
    /// The first file that cannot be used: at the start there is no last good one.
    pub fn load(settings: &Settings, meters: &Arc<Meters>) -> anyhow::Result<Self> {
        let load = |tls: &crate::config::settings::TlsSettings| {
            let files = ServerFiles {
                certificates: tls.certificates.iter().map(pair).collect(),
                client_ca_file: tls.client_ca_file.clone(),
                client_auth: match tls.client_auth {
                    Auth::Off => ClientAuth::Off,
                    Auth::Optional => ClientAuth::Optional,
                    Auth::Required => ClientAuth::Required,
                },
            };
            anyhow::Ok((ServerTls::load(&files, meters.clone()).context("tls")?, tls.handshake))
        };
        let out = &settings.backend_tls;
        let files = ClientFiles { ca_file: out.ca_file.clone(), certificate: out.certificate.as_ref().map(pair) };
        let client = ClientTls::load(&files, meters.clone()).context("backend_tls")?;
        Ok(Self { server: settings.tls.as_ref().map(load).transpose()?, client })
    }

    /// Takes what changes on disk. Never ends.
    pub async fn watch(self) {
        match self.server {
            Some((server, _)) => drop(tokio::join!(server.watch(), self.client.watch())),
            None => self.client.watch().await,
        }
    }
}

fn pair(files: &PairFiles) -> Pair {
    Pair { cert_file: files.cert_file.clone(), key_file: files.key_file.clone() }
}
