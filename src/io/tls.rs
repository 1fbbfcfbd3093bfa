//! TLS, in and out: certificates by server name, client certificates, roots, and all of it read again when it changes on disk.
//!
//! One immutable rustls config is in force at a time and is swapped whole, so no handshake ever mixes an old certificate with a
//! new CA; connections keep the one they began with. Files that cannot be used never replace good ones. Early data (0-RTT) stays
//! off: what it carries can be replayed. Nothing here prints, logs or formats key material.

mod client;
mod follow;
mod part;
mod server;
mod sni;

pub use client::ClientTls;
pub use server::ServerTls;

use rustls::crypto::CryptoProvider;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as chosen;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as chosen;
use rustls::server::ProducesTickets;
use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
};

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("TLS needs somebody to do its arithmetic: build with the cargo feature `ring` (default) or `aws-lc-rs`");

/// What we speak over TLS, best first.
const ALPN: [&[u8]; 2] = [b"h2", ALPN_H1];
const ALPN_H1: &[u8] = b"http/1.1";

/// Everything about arithmetic is said here, once; no process-wide default is relied on.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(chosen::default_provider()));

/// Makes it the process-wide default, too, for libraries that ask for one.
#[cfg(feature = "kubernetes")]
pub(super) fn provide() {
    // Whoever was here first was we.
    let _ = CryptoProvider::install_default(PROVIDER.as_ref().clone());
}

/// A certificate (with its chain) and its private key, both in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// The certificate, then the ones that vouch for it.
    pub cert_file: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1, without a passphrase.
    pub key_file: PathBuf,
}

/// Whether callers must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientAuth {
    /// Not asked for.
    #[default]
    Off,
    /// Asked for; one that is shown must be good.
    Optional,
    /// No connection without a good one.
    Required,
}

/// What callers meet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerFiles {
    /// Chosen by the names in them; the first one is for callers that ask for no name, or for one that nobody has.
    pub certificates: Vec<Pair>,
    /// Who vouches for callers' certificates.
    pub client_ca_file: Option<PathBuf>,
    /// Whether callers must show one.
    pub client_auth: ClientAuth,
}

/// What backends meet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientFiles {
    /// Who vouches for backends, instead of the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// What we show to backends that ask.
    pub certificate: Option<Pair>,
}

/// Why there is no TLS. Each says which file, and what to do; none says what stands in a key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TlsError {
    /// No such file.
    #[error("{} is not there; is the secret mounted, and is the path right?", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is not ours to read.
    #[error("{} may not be read; check its mode and the user of this process", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// No certificate in the file.
    #[error("{} holds no certificate; PEM is expected, beginning with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A key where a certificate belongs.
    #[error("{} holds a private key and no certificate; were the two files exchanged?", path.display())]
    KeyForCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that is none.
    #[error("a certificate in {} cannot be understood ({why}); was the file cut off? write it again", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        why: String,
    },
    /// No key in the file.
    #[error("{} holds no private key; PEM is expected: PKCS#8, PKCS#1 or SEC1", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key that only a passphrase opens.
    #[error("the private key in {} is encrypted; write it without a passphrase (openssl pkey -in FILE)", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A key that cannot be used. Without the parser's words: they may quote the file.
    #[error("the private key in {} cannot be used; RSA from 2048 bits, ECDSA P-256 or P-384, or Ed25519", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
    },
    /// Two files of two pairs.
    #[error(
        "the key {} does not belong to the certificate {}; write both files from the same issue",
        key.display(), cert.display()
    )]
    Mismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Nothing to show to callers.
    #[error("TLS is asked for without a certificate; name at least one pair of files")]
    NoPair,
    /// Nobody to vouch for callers.
    #[error("client certificates are asked for without a client CA file; name one")]
    NoClientCa,
    /// The system has no roots.
    #[error(
        "this system has no root certificates; install its package `ca-certificates`, or name a CA file for backends"
    )]
    NoPlatformRoots,
    /// What the library refuses.
    #[error("TLS cannot be set up: {why}")]
    Refused {
        /// What it says.
        why: String,
    },
}

impl TlsError {
    fn refused(error: impl std::fmt::Display) -> Self {
        Self::Refused { why: error.to_string() }
    }
}

/// Keys of session tickets: new ones every six hours, each good for twelve. Never shared between processes.
fn tickets() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    chosen::Ticketer::new().map_err(TlsError::refused)
}
