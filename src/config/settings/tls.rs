//! Settings of TLS, in and out. Certificates and keys are files; they are read again when they change.

use super::{Field, Map, Value, path_of, positive};
use std::{path::PathBuf, time::Duration};

/// A handshake of a caller may take so long unless the settings say otherwise.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What callers meet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSettings {
    /// At least one. Chosen by the names in them; the first one is the default.
    pub certificates: Vec<PairFiles>,
    /// Who vouches for callers' certificates.
    pub client_ca_file: Option<PathBuf>,
    /// Whether callers must show one. Default: required if there is a CA, else off.
    pub client_auth: ClientAuth,
    /// A handshake may take so long. Default 10 s.
    pub handshake: Duration,
}

/// A certificate (with its chain) and its key, in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairFiles {
    /// The certificate.
    pub cert_file: PathBuf,
    /// The key.
    pub key_file: PathBuf,
}

/// Whether callers must show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuth {
    /// Not asked for.
    Off,
    /// Asked for; one that is shown must be good.
    Optional,
    /// No connection without a good one.
    Required,
}

/// What backends meet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BackendTlsSettings {
    /// Who vouches for backends. Default: the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// What we show to backends that ask.
    pub certificate: Option<PairFiles>,
}

pub(super) fn server(field: &Field<'_>) -> Option<TlsSettings> {
    let map = field.map()?;
    let help = "a list of `{ cert_file: ..., key_file: ... }`; the first is for callers that ask for no name";
    let list = map.need("certificates", help);
    let certificates = list.iter().flat_map(Field::items).filter_map(|item| pair(&item)).collect();
    if let Some(list) = list.filter(|list| matches!(&list.node().value, Value::List(items) if items.is_empty())) {
        list.wrong("at least one certificate is needed", help);
    }
    let client_ca_file = path_of(&map, "client_ca_file");
    let words = [("required", ClientAuth::Required), ("optional", ClientAuth::Optional)];
    let said = map.get("client_auth");
    if let (Some(said), None) = (&said, &client_ca_file) {
        said.wrong("there is nobody to vouch for client certificates", "name a `client_ca_file`, or remove this");
    }
    let otherwise = if client_ca_file.is_some() { ClientAuth::Required } else { ClientAuth::Off };
    let settings = TlsSettings {
        certificates,
        client_ca_file,
        client_auth: said.and_then(|field| field.word(&words)).unwrap_or(otherwise),
        handshake: map.or("handshake", HANDSHAKE, positive),
    };
    map.done();
    Some(settings)
}

fn pair(field: &Field<'_>) -> Option<PairFiles> {
    let map = field.map()?;
    let file = |key, help| map.need(key, help).and_then(|field| field.text().map(PathBuf::from));
    let cert_file = file("cert_file", "a PEM file: the certificate, then its chain (`tls.crt` of a Kubernetes secret)");
    let key_file = file("key_file", "a PEM file: the private key (`tls.key` of a Kubernetes secret)");
    map.done();
    Some(PairFiles { cert_file: cert_file?, key_file: key_file? })
}

pub(super) fn backend(field: &Field<'_>) -> Option<BackendTlsSettings> {
    let map = field.map()?;
    let ca_file = path_of(&map, "ca_file");
    let certificate = both(&map, path_of(&map, "cert_file"), path_of(&map, "key_file"));
    map.done();
    Some(BackendTlsSettings { ca_file, certificate })
}

/// A certificate without its key, or the other way round, is a problem.
fn both(map: &Map<'_>, cert_file: Option<PathBuf>, key_file: Option<PathBuf>) -> Option<PairFiles> {
    let alone = |key| {
        if let Some(field) = map.get(key) {
            field.wrong("a certificate and its key go together", "name both `cert_file` and `key_file`, or neither");
        }
    };
    match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => return Some(PairFiles { cert_file, key_file }),
        (Some(_), None) => alone("cert_file"),
        (None, Some(_)) => alone("key_file"),
        (None, None) => {}
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    fn problems(text: &str) -> Vec<String> {
        let told = Settings::read(text, &[]).unwrap_err();
        told.iter().map(|problem| format!("{}: {}", problem.path, problem.what)).collect()
    }

    #[test]
    fn everything_can_be_said() {
        let text = "tls:
  certificates:
    - { cert_file: a.crt, key_file: a.key }
    - { cert_file: b.crt, key_file: b.key }
  client_ca_file: ca.crt
  client_auth: optional
  handshake: 3s
backend_tls: { ca_file: roots.crt, cert_file: me.crt, key_file: me.key }
";
        let settings = Settings::read(text, &[]).unwrap();
        let pair = |name: &str| PairFiles {
            cert_file: PathBuf::from(format!("{name}.crt")),
            key_file: PathBuf::from(format!("{name}.key")),
        };
        let tls = TlsSettings {
            certificates: vec![pair("a"), pair("b")],
            client_ca_file: Some("ca.crt".into()),
            client_auth: ClientAuth::Optional,
            handshake: Duration::from_secs(3),
        };
        assert_eq!(settings.tls, Some(tls));
        let out = BackendTlsSettings { ca_file: Some("roots.crt".into()), certificate: Some(pair("me")) };
        assert_eq!(settings.backend_tls, out);
    }

    #[test]
    fn a_client_ca_alone_means_required_and_no_tls_means_plain_text() {
        let settings = Settings::read("", &[]).unwrap();
        assert_eq!((settings.tls, settings.backend_tls), (None, BackendTlsSettings::default()));
        let one = "tls: { certificates: [ { cert_file: a, key_file: b } ] }";
        let tls = Settings::read(one, &[]).unwrap().tls.unwrap();
        assert_eq!((tls.client_auth, tls.handshake), (ClientAuth::Off, HANDSHAKE));
        let with_ca = "tls: { certificates: [ { cert_file: a, key_file: b } ], client_ca_file: ca }";
        assert_eq!(Settings::read(with_ca, &[]).unwrap().tls.unwrap().client_auth, ClientAuth::Required);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "tls:
  certificates:
    - { cert_file: a.crt }
    - { cert_file: a.crt, key_file: a.key, chain_file: c }
  client_auth: requird
  handshake: 0s
backend_tls: { cert_file: me.crt }
";
        let expected = [
            "tls.certificates[0]: `key_file` is missing",
            "tls.certificates[1].chain_file: unknown key `chain_file`",
            "tls.client_auth: there is nobody to vouch for client certificates",
            "tls.client_auth: `requird` is not known here",
            "tls.handshake: zero is too short",
            "backend_tls.cert_file: a certificate and its key go together",
        ];
        assert_eq!(problems(text), expected);
        assert_eq!(problems("tls: {}"), ["tls: `certificates` is missing"]);
        assert_eq!(problems("tls: { certificates: [] }"), ["tls.certificates: at least one certificate is needed"]);
        assert_eq!(problems("backend_tls: { key_file: k }").len(), 1);
    }
}
