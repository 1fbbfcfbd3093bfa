//! Certificates made on the spot, and directories as the kubelet mounts them.

use coalmine::io::tls::{ClientAuth, Pair, ServerFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// Somebody who vouches.
pub(super) struct Ca(pub(super) CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) cert: String,
    pub(super) key: String,
}

impl Issued {
    pub(super) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_for(names, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(super) fn issue_for(&self, names: &[&str], kind: &'static rcgen::SignatureAlgorithm) -> Issued {
        let key = KeyPair::generate_for(kind).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// A directory that the kubelet could have made: `tls.crt -> ..data/tls.crt`, `..data -> ..N`.
pub(super) struct Mount {
    dir: tempfile::TempDir,
    version: u32,
}

impl Mount {
    pub(super) fn new(issued: &Issued, ca: &Ca) -> Self {
        let mut mount = Self { dir: tempfile::tempdir().unwrap(), version: 0 };
        mount.deliver(issued, ca);
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(Path::new("..data").join(name), mount.file(name)).unwrap();
        }
        mount
    }

    /// As the kubelet does: a new directory, then one rename that changes all files at once.
    pub(super) fn deliver(&mut self, issued: &Issued, ca: &Ca) {
        let old = self.dir.path().join(format!("..{}", self.version));
        self.version += 1;
        let name = format!("..{}", self.version);
        let new = self.dir.path().join(&name);
        fs::create_dir(&new).unwrap();
        fs::write(new.join("tls.crt"), &issued.cert).unwrap();
        fs::write(new.join("tls.key"), &issued.key).unwrap();
        fs::write(new.join("ca.crt"), ca.0.pem()).unwrap();
        symlink(&name, self.file("..data_tmp")).unwrap();
        fs::rename(self.file("..data_tmp"), self.file("..data")).unwrap();
        let _ = fs::remove_dir_all(old);
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn pair(&self) -> Pair {
        Pair { cert_file: self.file("tls.crt"), key_file: self.file("tls.key") }
    }

    pub(super) fn server(&self, client_auth: ClientAuth) -> ServerFiles {
        ServerFiles { certificates: vec![self.pair()], client_ca_file: Some(self.file("ca.crt")), client_auth }
    }
}
