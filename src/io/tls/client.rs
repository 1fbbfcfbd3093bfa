//! What backends meet.

use super::{
    ALPN, ALPN_H1, ClientFiles, PROVIDER, TlsError,
    follow::{Look, follow, take},
    part::{PairPart, RootsPart, Seen},
};
use crate::io::meters::Meters;
use arc_swap::ArcSwap;
use rustls::{
    ClientConfig,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    sign::SingleCertAndKey,
};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Backends whose sessions are kept for resumption.
const SESSIONS_MAX: usize = 256;

/// TLS towards backends. Clones share what is in force.
#[derive(Clone)]
pub struct ClientTls(Arc<Inner>);

/// The same, with and without HTTP/2.
type Configs = Result<[Arc<ClientConfig>; 2], TlsError>;
/// Asks the system for its roots.
type Platform = fn() -> Result<Arc<dyn ServerCertVerifier>, TlsError>;

struct Inner {
    current: ArcSwap<Configs>,
    /// Touched by [`ClientTls::watch`] only.
    parts: Mutex<Parts>,
    paths: Vec<PathBuf>,
    /// Somebody has asked for a config.
    needed: AtomicBool,
    meters: Arc<Meters>,
}

struct Parts {
    roots: Roots,
    certificate: Option<PairPart>,
}

enum Roots {
    File(RootsPart),
    /// Not asked for before a backend needs them: they take two megabytes and some milliseconds.
    Platform(Option<Arc<dyn ServerCertVerifier>>, Platform),
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("paths", &self.0.paths).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads every file. A system without roots is no error here: only who needs them meets it, at [`Self::config`].
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(files: &ClientFiles, meters: Arc<Meters>) -> Result<Self, TlsError> {
        Self::load_with(files, meters, platform)
    }

    pub(super) fn load_with(files: &ClientFiles, meters: Arc<Meters>, platform: Platform) -> Result<Self, TlsError> {
        let roots = match &files.ca_file {
            Some(path) => Roots::File(RootsPart::of(path)?),
            None => Roots::Platform(None, platform),
        };
        let parts = Parts { roots, certificate: files.certificate.as_ref().map(PairPart::of).transpose()? };
        let mut paths: Vec<PathBuf> = parts.certificate.iter().flat_map(|pair| pair.paths.clone()).collect();
        if let Roots::File(part) = &parts.roots {
            paths.extend(part.paths.clone());
        }
        let current = ArcSwap::from_pointee(parts.configs());
        meters.tls_expiry_backends.set(parts.expires_s());
        Ok(Self(Arc::new(Inner { current, parts: Mutex::new(parts), paths, needed: AtomicBool::new(false), meters })))
    }

    /// For a connection that may speak HTTP/2 or HTTP/1.1, as the backend likes. To be asked for each connection.
    ///
    /// # Errors
    /// There are no roots to verify a backend with.
    pub fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        self.need();
        self.0.current.load().as_ref().as_ref().map(|[both, _]| both.clone()).map_err(Clone::clone)
    }

    /// For a connection that must speak HTTP/1.1, such as for an upgrade.
    ///
    /// # Errors
    /// There are no roots to verify a backend with.
    pub fn config_h1(&self) -> Result<Arc<ClientConfig>, TlsError> {
        self.need();
        self.0.current.load().as_ref().as_ref().map(|[_, h1]| h1.clone()).map_err(Clone::clone)
    }

    fn need(&self) {
        if !self.0.needed.load(Relaxed) && !self.0.needed.swap(true, Relaxed) {
            self.look();
        }
    }

    /// Takes what changes on disk, and keeps what is in force if it cannot be used. Never ends.
    pub async fn watch(self) {
        follow(&self.0.paths, || self.look()).await;
    }

    fn look(&self) -> Look {
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = self.0.needed.load(Relaxed);
        let seen = vec![parts.roots.look(needed), parts.certificate.as_mut().map_or(Seen::Same, PairPart::look)];
        let taken = take(&self.0.meters, seen, || {
            self.0.current.store(parts.configs().into());
            self.0.meters.tls_expiry_backends.set(parts.expires_s());
            Ok(())
        });
        drop(parts);
        taken
    }
}

impl Roots {
    fn look(&mut self, needed: bool) -> Seen {
        match self {
            Self::File(part) => part.look(),
            // If there were none, a package may have been installed meanwhile.
            Self::Platform(missing @ None, ask) if needed => match ask() {
                Ok(roots) => {
                    *missing = Some(roots);
                    Seen::New
                }
                Err(_) => Seen::Same,
            },
            Self::Platform(..) => Seen::Same,
        }
    }
}

impl Parts {
    fn configs(&self) -> Configs {
        let verifier: Arc<dyn ServerCertVerifier> = match &self.roots {
            Roots::File(part) => WebPkiServerVerifier::builder_with_provider(part.good.clone(), PROVIDER.clone())
                .build()
                .map_err(TlsError::refused)?,
            Roots::Platform(roots, _) => roots.clone().ok_or(TlsError::NoPlatformRoots)?,
        };
        // "Dangerous" is the library's word for a verifier of one's own; both of these verify fully.
        let builder = ClientConfig::builder_with_provider(PROVIDER.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::refused)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut both = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.good.key.clone()))),
        };
        // A table of its own for each config: a session that an old CA or an old certificate made is not resumed under a new one.
        both.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        both.alpn_protocols = ALPN.map(Vec::from).to_vec();
        let mut h1 = both.clone();
        h1.alpn_protocols = vec![ALPN_H1.to_vec()];
        Ok([both.into(), h1.into()])
    }

    fn expires_s(&self) -> u64 {
        self.certificate.as_ref().map_or(0, |pair| pair.good.expires_s)
    }
}

fn platform() -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    match rustls_platform_verifier::Verifier::new(PROVIDER.clone()) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(_) => Err(TlsError::NoPlatformRoots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_system_without_roots_is_met_by_who_needs_them_and_asked_again() {
        static INSTALLED: AtomicBool = AtomicBool::new(false);
        let ask: Platform = || {
            let installed = INSTALLED.load(Relaxed);
            if installed { platform() } else { Err(TlsError::NoPlatformRoots) }
        };
        let tls = ClientTls::load_with(&ClientFiles::default(), Arc::default(), ask).unwrap();
        assert_eq!(tls.config().err(), Some(TlsError::NoPlatformRoots));
        assert_eq!(tls.config_h1().err(), Some(TlsError::NoPlatformRoots));
        tls.look();
        assert_eq!(tls.config().err(), Some(TlsError::NoPlatformRoots));
        INSTALLED.store(true, Relaxed);
        tls.look();
        assert_eq!(tls.config().err(), None, "these tests need the system's package `ca-certificates`");
        assert_eq!(tls.config_h1().unwrap().alpn_protocols, [b"http/1.1"]);
    }

    #[test]
    fn a_ca_file_that_cannot_be_used_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.crt");
        let files = ClientFiles { ca_file: Some(path.clone()), certificate: None };
        let load = || ClientTls::load(&files, Arc::default()).err();
        assert_eq!(load(), Some(TlsError::Missing { path: path.clone() }));
        fs::write(&path, "nothing").unwrap();
        assert_eq!(load(), Some(TlsError::NoCertificate { path: path.clone() }));
    }
}
