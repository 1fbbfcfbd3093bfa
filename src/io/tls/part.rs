//! One thing that is read from files, and its last good value. A pair is replaced alone: a bad one holds up no other.

use super::{PROVIDER, Pair, TlsError};
use crate::io::clock;
use rustls::{
    Error, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Bytes of a file at most; the largest bundles of roots are a quarter of this.
const READ_BYTES_MAX: u64 = 1024 * 1024;
/// What is bad must stay the same for so long before it is told: certificate and key are rarely written in one stroke.
pub(super) const SETTLE: Duration = Duration::from_millis(400);

/// A file as it was at one moment. The bytes are wiped from memory after use.
#[derive(Debug)]
pub(super) struct Text {
    path: PathBuf,
    bytes: Result<SecretSlice<u8>, TlsError>,
}

/// Identity of what a part's files said.
type Print = [u8; 32];

/// `N` files, what they make, and what they last said.
pub(super) struct Part<T, const N: usize> {
    pub(super) paths: [PathBuf; N],
    /// Made of the files when they last were good.
    pub(super) good: T,
    make: fn(&[Text; N]) -> Result<T, TlsError>,
    /// What was last looked at to the end, good or bad.
    seen: Print,
    /// Bad, seen first at this time (µs): perhaps half written.
    doubt: Option<(Print, u64)>,
}

/// What a look found.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Nothing new.
    Same,
    /// Good, and taken.
    New,
    /// Bad for now; look again after [`SETTLE`].
    Doubtful,
    /// Bad for long enough; told once.
    Bad(TlsError),
}

impl<T, const N: usize> Part<T, N> {
    pub(super) fn load(paths: [PathBuf; N], make: fn(&[Text; N]) -> Result<T, TlsError>) -> Result<Self, TlsError> {
        let texts = paths.clone().map(read);
        Ok(Self { paths, good: make(&texts)?, make, seen: print(&texts), doubt: None })
    }

    pub(super) fn look(&mut self) -> Seen {
        let texts = self.paths.clone().map(read);
        let print = print(&texts);
        if print == self.seen {
            self.doubt = None;
            return Seen::Same;
        }
        let error = match (self.make)(&texts) {
            Ok(good) => {
                (self.good, self.seen, self.doubt) = (good, print, None);
                return Seen::New;
            }
            Err(error) => error,
        };
        let now = clock::mono_us();
        match self.doubt {
            Some((doubted, since)) if doubted == print => {
                if Duration::from_micros(now.saturating_sub(since)) < SETTLE {
                    return Seen::Doubtful;
                }
                (self.seen, self.doubt) = (print, None);
                Seen::Bad(error)
            }
            _ => {
                self.doubt = Some((print, now));
                Seen::Doubtful
            }
        }
    }
}

fn read(path: PathBuf) -> Text {
    let bytes = read_bytes(&path).map_err(|error| {
        let path = path.clone();
        match error.kind() {
            ErrorKind::NotFound => TlsError::Missing { path },
            ErrorKind::PermissionDenied => TlsError::Denied { path },
            _ => TlsError::Unreadable { path, why: error.to_string() },
        }
    });
    Text { path, bytes }
}

fn read_bytes(path: &Path) -> std::io::Result<SecretSlice<u8>> {
    // Asked before it is opened: a pipe would hold up the thread until somebody writes.
    let about = path.metadata()?;
    if !about.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    if about.len() > READ_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is larger than {READ_BYTES_MAX} bytes; is it the right file?")));
    }
    // Room from the start: a vector that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(usize::try_from(READ_BYTES_MAX.min(about.len() + 1)).unwrap_or(0));
    File::open(path)?.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn print(texts: &[Text]) -> Print {
    let mut hash = Sha256::new();
    for text in texts {
        match &text.bytes {
            Ok(bytes) => {
                hash.update([1]);
                hash.update(Sha256::digest(bytes.expose_secret()));
            }
            Err(error) => {
                hash.update([0]);
                hash.update(Sha256::digest(error.to_string()));
            }
        }
    }
    hash.finalize().into()
}

impl Text {
    fn bytes(&self) -> Result<&[u8], TlsError> {
        self.bytes.as_ref().map(|bytes| bytes.expose_secret()).map_err(Clone::clone)
    }

    fn says(&self, words: &str) -> bool {
        self.bytes().is_ok_and(|bytes| bytes.windows(words.len()).any(|window| window == words.as_bytes()))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let path = || self.path.clone();
        let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(self.bytes()?).collect();
        match read {
            Ok(some) if !some.is_empty() => Ok(some),
            _ if self.says("PRIVATE KEY-----") && !self.says("BEGIN CERTIFICATE-----") => {
                Err(TlsError::KeyForCertificate { path: path() })
            }
            Ok(_) => Err(TlsError::NoCertificate { path: path() }),
            // The reader's own words quote lines, and this file may hold a key as well.
            Err(_) => Err(TlsError::BadCertificate { path: path(), why: "the PEM around it is broken".to_owned() }),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = || self.path.clone();
        PrivateKeyDer::from_pem_slice(self.bytes()?).map_err(|error| match error {
            pem::Error::NoItemsFound if self.says("ENCRYPTED PRIVATE KEY-----") => {
                TlsError::EncryptedKey { path: path() }
            }
            pem::Error::NoItemsFound => TlsError::NoKey { path: path() },
            _ => TlsError::BadKey { path: path() },
        })
    }
}

/// A certificate with its key, ready to sign, and what it says about itself.
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    /// The names it is for, in lower case; a wildcard as `*.example.com`.
    pub(super) names: Vec<String>,
    /// Seconds since 1970.
    pub(super) expires_s: u64,
}

/// A part that holds one pair.
pub(super) type PairPart = Part<Identity, 2>;
/// A part that holds one file of roots.
pub(super) type RootsPart = Part<Arc<RootCertStore>, 1>;

impl PairPart {
    pub(super) fn of(pair: &Pair) -> Result<Self, TlsError> {
        Self::load([pair.cert_file.clone(), pair.key_file.clone()], identity)
    }
}

impl RootsPart {
    pub(super) fn of(path: &Path) -> Result<Self, TlsError> {
        Self::load([path.to_owned()], roots)
    }
}

fn identity([cert, key]: &[Text; 2]) -> Result<Identity, TlsError> {
    let chain = cert.certificates()?;
    let bad = |why: String| TlsError::BadCertificate { path: cert.path.clone(), why };
    let leaf = chain.first().ok_or_else(|| TlsError::NoCertificate { path: cert.path.clone() })?;
    let (names, [begins_s, expires_s]) = about(leaf).map_err(bad)?;
    let bad_key = |_| TlsError::BadKey { path: key.path.clone() };
    let signing = PROVIDER.key_provider.load_private_key(key.key()?).map_err(bad_key)?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        // Unknown: this kind of key cannot say which public key is its own.
        Ok(()) | Err(Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            return Err(TlsError::Mismatch { cert: cert.path.clone(), key: key.path.clone() });
        }
        Err(error) => return Err(bad(error.to_string())),
    }
    let now_s = clock::now().wall_ms / 1000;
    let path = cert.path.display();
    if now_s > expires_s {
        tracing::warn!(%path, "this certificate has expired and is used all the same; renew it");
    } else if now_s < begins_s {
        tracing::warn!(%path, "this certificate is not valid yet and is used all the same; check the clock, or issue it again");
    }
    Ok(Identity { key: certified.into(), names, expires_s })
}

/// The names a certificate is for, and from when to when.
fn about(der: &CertificateDer<'_>) -> Result<(Vec<String>, [u64; 2]), String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    let names = names.map(|names| names.value.general_names.iter().filter_map(dns).collect()).unwrap_or_default();
    let (validity, seconds) = (certificate.validity(), |s: i64| u64::try_from(s).unwrap_or(0));
    Ok((names, [seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp())]))
}

fn roots([file]: &[Text; 1]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in file.certificates()? {
        let bad = |error: Error| TlsError::BadCertificate { path: file.path.clone(), why: error.to_string() };
        store.add(certificate).map_err(bad)?;
    }
    Ok(store.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A certificate and its key as PEM.
    fn issue() -> (String, String) {
        let issued = rcgen::generate_simple_self_signed(["A.test".to_owned(), "*.b.test".to_owned()]).unwrap();
        (issued.cert.pem(), issued.signing_key.serialize_pem())
    }

    fn pair(dir: &Path) -> Pair {
        Pair { cert_file: dir.join("tls.crt"), key_file: dir.join("tls.key") }
    }

    fn write(pair: &Pair, cert: &str, key: &str) {
        fs::write(&pair.cert_file, cert).unwrap();
        fs::write(&pair.key_file, key).unwrap();
    }

    #[test]
    fn a_half_written_pair_is_waited_for_and_a_bad_one_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let (pair, (old, next)) = (pair(dir.path()), (issue(), issue()));
        write(&pair, &old.0, &old.1);
        let mut part = PairPart::of(&pair).unwrap();
        assert_eq!(part.good.names, ["a.test", "*.b.test"]);
        assert_eq!(part.look(), Seen::Same);
        let first = part.good.key.clone();
        fs::write(&pair.cert_file, &next.0).unwrap();
        assert_eq!((part.look(), part.look()), (Seen::Doubtful, Seen::Doubtful), "the key may be on its way");
        fs::write(&pair.key_file, &next.1).unwrap();
        assert_eq!(part.look(), Seen::New);
        assert!(part.good.key.cert != first.cert);

        fs::write(&pair.key_file, &old.1).unwrap();
        assert_eq!(part.look(), Seen::Doubtful);
        let kept = part.good.key.clone();
        let until = clock::instant() + 10 * SETTLE;
        let told = loop {
            match part.look() {
                Seen::Doubtful => assert!(clock::instant() < until, "never told"),
                other => break other,
            }
        };
        assert_eq!(told, Seen::Bad(TlsError::Mismatch { cert: pair.cert_file.clone(), key: pair.key_file.clone() }));
        assert_eq!(part.look(), Seen::Same, "told once");
        assert!(Arc::ptr_eq(&part.good.key, &kept));
        fs::write(&pair.key_file, &next.1).unwrap();
        assert_eq!(part.look(), Seen::New);
    }

    #[test]
    fn every_error_names_its_file_and_none_quotes_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let (pair, (cert, key)) = (pair(dir.path()), issue());
        let secret: Vec<&str> = key.lines().filter(|line| !line.starts_with("-----")).collect();
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let cut = &key[..key.len() - 30];
        let odd = format!("-----BEGIN {}\n{key}", secret[0]);
        let wide = key.replacen(secret[0], &format!("{}é", secret[0]), 1);
        let not_der = cert.replacen("MII", "AAA", 1);
        for (cert_text, key_text, path, part) in [
            ("", key.as_str(), &pair.cert_file, "holds no certificate"),
            (key.as_str(), cert.as_str(), &pair.cert_file, "exchanged"),
            (&cert[..cert.len() / 2], key.as_str(), &pair.cert_file, "cut off"),
            (not_der.as_str(), key.as_str(), &pair.cert_file, "cannot be understood"),
            (cert.as_str(), "", &pair.key_file, "holds no private key"),
            (cert.as_str(), encrypted.as_str(), &pair.key_file, "passphrase"),
            (cert.as_str(), cut, &pair.key_file, "cannot be used"),
            (cert.as_str(), odd.as_str(), &pair.key_file, "cannot be used"),
            (cert.as_str(), wide.as_str(), &pair.key_file, "cannot be used"),
            (cert.as_str(), issue().1.as_str(), &pair.key_file, "does not belong"),
        ] {
            write(&pair, cert_text, key_text);
            let error = PairPart::of(&pair).err().expect(part);
            let told = format!("{error} {error:?}");
            assert!(told.contains(path.to_str().unwrap()) && told.contains(part), "{part}: {told}");
            assert!(secret.iter().all(|line| !told.contains(&line[..20])), "{told}");
            assert!(!format!("{:?}", read(pair.key_file.clone())).contains(&secret[0][..20]));
        }
        fs::remove_file(&pair.key_file).unwrap();
        assert_eq!(PairPart::of(&pair).err(), Some(TlsError::Missing { path: pair.key_file.clone() }));
        fs::create_dir(&pair.key_file).unwrap();
        assert!(matches!(PairPart::of(&pair).err(), Some(TlsError::Unreadable { .. })));
        fs::write(&pair.cert_file, "x".repeat(1024 * 1024 + 1)).unwrap();
        assert!(PairPart::of(&pair).err().unwrap().to_string().contains("larger than"));
    }

    #[test]
    fn an_expired_certificate_is_used_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let pair = pair(dir.path());
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2001, 9, 9);
        params.not_before = rcgen::date_time_ymd(2001, 9, 1);
        write(&pair, &params.self_signed(&key).unwrap().pem(), &key.serialize_pem());
        assert_eq!(PairPart::of(&pair).unwrap().good.expires_s, 999_993_600);
    }

    #[test]
    fn one_bad_certificate_refuses_a_file_of_roots() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.crt");
        fs::write(&path, issue().0 + &issue().0).unwrap();
        assert_eq!(RootsPart::of(&path).unwrap().good.len(), 2);
        fs::write(&path, issue().0 + &issue().0.replacen("MII", "AAA", 1)).unwrap();
        assert!(matches!(RootsPart::of(&path).err(), Some(TlsError::BadCertificate { .. })));
    }
}
