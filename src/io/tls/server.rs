//! What callers meet.

use super::{
    ALPN, ClientAuth, PROVIDER, ServerFiles, TlsError,
    follow::{Look, follow, take},
    part::{PairPart, RootsPart, Seen},
    sni::Names,
    tickets,
};
use crate::io::meters::Meters;
use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier},
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio_rustls::TlsAcceptor;

/// TLS for the listener. Clones share what is in force.
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

struct Inner {
    current: ArcSwap<ServerConfig>,
    /// Touched by [`ServerTls::watch`] only.
    parts: Mutex<Parts>,
    paths: Vec<PathBuf>,
    meters: Arc<Meters>,
}

struct Parts {
    pairs: Vec<PairPart>,
    client_ca: Option<RootsPart>,
    client_auth: ClientAuth,
    tickets: Arc<dyn ProducesTickets>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("paths", &self.0.paths).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads every file.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(files: &ServerFiles, meters: Arc<Meters>) -> Result<Self, TlsError> {
        if files.certificates.is_empty() {
            return Err(TlsError::NoPair);
        }
        let ca_file = match files.client_auth {
            ClientAuth::Off => None,
            ClientAuth::Optional | ClientAuth::Required => {
                Some(files.client_ca_file.as_deref().ok_or(TlsError::NoClientCa)?)
            }
        };
        let parts = Parts {
            pairs: files.certificates.iter().map(PairPart::of).collect::<Result<_, _>>()?,
            client_ca: ca_file.map(RootsPart::of).transpose()?,
            client_auth: files.client_auth,
            tickets: tickets()?,
        };
        let mut paths: Vec<PathBuf> = parts.pairs.iter().flat_map(|pair| pair.paths.clone()).collect();
        paths.extend(parts.client_ca.iter().flat_map(|ca| ca.paths.clone()));
        let current = ArcSwap::from_pointee(parts.config()?);
        meters.tls_expiry_callers.set(parts.expires_s());
        Ok(Self(Arc::new(Inner { current, parts: Mutex::new(parts), paths, meters })))
    }

    /// What accepts the next connection. To be asked for each: the next one may meet other certificates.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current.load_full())
    }

    /// Takes what changes on disk, and keeps what is in force if it cannot be used. Never ends.
    pub async fn watch(self) {
        follow(&self.0.paths, || self.look()).await;
    }

    fn look(&self) -> Look {
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let ca = parts.client_ca.as_mut().map_or(Seen::Same, RootsPart::look);
        let ca_is_new = ca == Seen::New;
        let mut seen: Vec<Seen> = parts.pairs.iter_mut().map(PairPart::look).collect();
        seen.push(ca);
        let taken = take(&self.0.meters, seen, || {
            if ca_is_new {
                // A resumed session shows no certificate again: none may outlive the CA that let it in.
                parts.tickets = tickets()?;
            }
            self.0.current.store(parts.config()?.into());
            self.0.meters.tls_expiry_callers.set(parts.expires_s());
            Ok(())
        });
        drop(parts);
        taken
    }
}

impl Parts {
    fn config(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::refused)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(ca.good.clone(), PROVIDER.clone());
                let verifier = match self.client_auth {
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                    ClientAuth::Off | ClientAuth::Required => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::refused)?)
            }
        };
        let names = Names::new(self.pairs.iter().map(|pair| &pair.good));
        let mut config = builder.with_cert_resolver(Arc::new(names));
        config.alpn_protocols = ALPN.map(Vec::from).to_vec();
        config.ticketer = self.tickets.clone();
        // Callers that come back with several connections may use it for each; every one costs its sealing, for each handshake.
        config.send_tls13_tickets = 1;
        // The other way to resume is a table behind a lock that all threads share: tickets need neither.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }

    fn expires_s(&self) -> u64 {
        self.pairs.iter().map(|pair| pair.good.expires_s).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_without_its_files_is_refused() {
        let load = |files: &ServerFiles| ServerTls::load(files, Arc::default()).err();
        assert_eq!(load(&ServerFiles::default()), Some(TlsError::NoPair));
        let pair = super::super::Pair { cert_file: "a".into(), key_file: "b".into() };
        let files = ServerFiles { certificates: vec![pair], client_ca_file: None, client_auth: ClientAuth::Required };
        assert_eq!(load(&files), Some(TlsError::NoClientCa));
    }
}
