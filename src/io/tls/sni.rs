//! Which certificate a caller gets: by the name it asks for, then by what it can verify.

use super::part::Identity;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{collections::HashMap, sync::Arc};

/// Certificates of one name in the order of the settings; several when one name has an ECDSA and an RSA pair.
type Candidates = Vec<Arc<CertifiedKey>>;

/// Every name that some certificate is for.
#[derive(Default)]
pub(super) struct Names {
    exact: HashMap<String, Candidates>,
    /// `*.example.com` stands under `example.com`.
    wildcard: HashMap<String, Candidates>,
    /// For callers that ask for no name, or for one that nobody has.
    default: Candidates,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.exact.keys()).entries(self.wildcard.keys()).finish()
    }
}

impl Names {
    pub(super) fn new<'a>(identities: impl Iterator<Item = &'a Identity>) -> Self {
        let mut all = Self::default();
        let mut first: Option<&Identity> = None;
        for identity in identities {
            let first = *first.get_or_insert(identity);
            if identity.names == first.names {
                all.default.push(identity.key.clone());
            }
            for name in &identity.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut all.wildcard, parent),
                    None => (&mut all.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(identity.key.clone());
            }
        }
        all
    }

    fn candidates(&self, name: Option<&str>) -> &Candidates {
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            // A wildcard stands for exactly one label.
            self.exact.get(&name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
        });
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(fits).or_else(|| candidates.first()).cloned()
    }
}
