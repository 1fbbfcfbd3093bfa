//! TLS in and out over loopback, with certificates made on the spot: who gets which, what a change on disk does, who gets in.

use super::{
    certs::{Ca, Issued, Mount},
    support,
};
use coalmine::io::{
    meters::Meters,
    tls::{ClientAuth, ClientFiles, ClientTls, Pair, ServerFiles, ServerTls},
};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long anything may take to come true.
const DEADLINE: Duration = Duration::from_secs(30);
/// A swap must be seen by its event: well before the slow look of every three seconds.
const SEEN_BY_EVENT: Duration = Duration::from_secs(2);

/// Certificates of callers, in the order they came.
type Shown = Arc<Mutex<Vec<Option<CertificateDer<'static>>>>>;

/// An echo behind `tls`, which follows its files.
async fn serve(tls: &ServerTls) -> (SocketAddr, Shown) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shown = Shown::default();
    tokio::spawn(tls.clone().watch());
    let (tls, seen) = (tls.clone(), shown.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, seen) = (tls.acceptor(), seen.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
                seen.lock().unwrap().push(peer.map(CertificateDer::into_owned));
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
            });
        }
    });
    (address, shown)
}

/// A connection on which one byte went round: only then is it known that the server took our certificate.
async fn call(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Result<TlsStream<TcpStream>, String> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connect = async {
        let mut stream = TlsConnector::from(config.clone()).connect(name, tcp).await?;
        echo(&mut stream).await?;
        Ok(stream)
    };
    let ended: Result<_, std::io::Error> = tokio::time::timeout(DEADLINE, connect).await.expect("an end");
    ended.map_err(|error| error.to_string())
}

async fn echo(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    stream.write_all(b"x").await?;
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    assert_eq!(&byte, b"x");
    Ok(())
}

fn leaf(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn kind(stream: &TlsStream<TcpStream>) -> HandshakeKind {
    stream.get_ref().1.handshake_kind().unwrap()
}

/// A client that trusts `ca` and shows `certificate`.
fn client(ca: &Ca, certificate: Option<&Issued>) -> Arc<ClientConfig> {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let certificate =
        certificate.map(|one| Pair { cert_file: file("crt", &one.cert), key_file: file("key", &one.key) });
    let files = ClientFiles { ca_file: Some(file("ca", &ca.0.pem())), certificate };
    ClientTls::load(&files, Arc::default()).unwrap().config().unwrap()
}

fn changed(config: &Arc<ClientConfig>, change: impl FnOnce(&mut ClientConfig)) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    change(&mut config);
    config.into()
}

async fn until(what: &str, limit: Duration, mut state: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !state().await {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::task::yield_now().await;
    }
    start.elapsed()
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_everybody_else_the_first() {
    let ca = Ca::new("ca");
    let dir = tempfile::tempdir().unwrap();
    let mut certificates = Vec::new();
    let mut add = |issued: &Issued| {
        let file = |end: &str| dir.path().join(format!("{}.{end}", certificates.len()));
        let pair = Pair { cert_file: file("crt"), key_file: file("key") };
        fs::write(&pair.cert_file, &issued.cert).unwrap();
        fs::write(&pair.key_file, &issued.key).unwrap();
        certificates.push(pair);
    };
    let first = ca.issue(&["first.test"]);
    let many = ca.issue(&["*.wild.test", "Other.Test"]);
    let exact = ca.issue(&["exact.wild.test"]);
    let edward = ca.issue_for(&["two.test"], &rcgen::PKCS_ED25519);
    let ecdsa = ca.issue(&["two.test"]);
    [&first, &many, &exact, &edward, &ecdsa].into_iter().for_each(&mut add);
    let files = ServerFiles { certificates, ..ServerFiles::default() };
    let (address, _) = serve(&ServerTls::load(&files, Arc::default()).unwrap()).await;

    let anyone = client(&ca, None);
    for (name, expected) in [
        ("first.test", &first),
        ("a.wild.test", &many),
        ("other.test", &many),
        ("exact.wild.test", &exact),
        ("two.test", &edward),
    ] {
        assert!(leaf(&call(address, &anyone, name).await.unwrap()) == expected.der(), "{name}");
    }
    let silent = changed(&anyone, |config| config.enable_sni = false);
    assert!(leaf(&call(address, &silent, "first.test").await.unwrap()) == first.der(), "no name asked for");
    for nobodys in ["nobody.test", "wild.test", "a.b.wild.test"] {
        let error = call(address, &anyone, nobodys).await.unwrap_err();
        assert!(error.contains("first.test"), "{nobodys}: {error}");
    }
    // Who cannot verify Ed25519 gets the other certificate of the same name.
    let mut provider = (**anyone.crypto_provider()).clone();
    let ecdsa_only = |scheme: &rustls::SignatureScheme| *scheme == rustls::SignatureScheme::ECDSA_NISTP256_SHA256;
    let known = &mut provider.signature_verification_algorithms;
    known.mapping = Vec::leak(known.mapping.iter().copied().filter(|(scheme, _)| ecdsa_only(scheme)).collect());
    let old = plain_client(&ca, provider, rustls::ALL_VERSIONS);
    assert!(leaf(&call(address, &old, "two.test").await.unwrap()) == ecdsa.der(), "a client without Ed25519");
}

/// A client that is not ours.
fn plain_client(
    ca: &Ca,
    provider: rustls::crypto::CryptoProvider,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.0.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider.into()).with_protocol_versions(versions).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth().into()
}

#[tokio::test]
async fn a_swapped_secret_is_seen_at_once_and_cuts_no_connection() {
    let ca = Ca::new("ca");
    let mut mount = Mount::new(&ca.issue(&["a.test"]), &ca);
    let meters = Arc::<Meters>::default();
    let (address, _) = serve(&ServerTls::load(&mount.server(ClientAuth::Off), meters.clone()).unwrap()).await;
    let caller = client(&ca, None);
    let mut old = call(address, &caller, "a.test").await.unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let next = ca.issue(&["a.test"]);
        mount.deliver(&next, &ca);
        // A fresh client each time: a resumed session shows the certificate that it began with.
        let seen = until("the new certificate", SEEN_BY_EVENT, async || {
            leaf(&call(address, &client(&ca, None), "a.test").await.unwrap()) == next.der()
        });
        slowest = slowest.max(seen.await);
    }
    println!("a swap was seen within {slowest:?}");
    echo(&mut old).await.expect("a connection outlives the certificate that it began with");
    assert_eq!((meters.tls_reloads.get(), meters.tls_reload_failures.get()), (5, 0));
    assert_eq!(kind(&call(address, &caller, "a.test").await.unwrap()), HandshakeKind::Resumed, "tickets stay good");
}

#[tokio::test]
async fn bad_files_never_replace_good_ones_and_hold_up_no_other_pair() {
    let ca = Ca::new("ca");
    let good = ca.issue(&["a.test"]);
    let mut mount = Mount::new(&good, &ca);
    let mut other = Mount::new(&ca.issue(&["b.test"]), &ca);
    let files = ServerFiles { certificates: vec![mount.pair(), other.pair()], ..ServerFiles::default() };
    let meters = Arc::<Meters>::default();
    let (address, _) = serve(&ServerTls::load(&files, meters.clone()).unwrap()).await;
    let next = ca.issue(&["a.test"]);
    let half = &next.cert[..next.cert.len() / 2];
    let bad = [
        Issued { cert: next.cert.clone(), key: good.key.clone() },
        Issued { cert: half.to_owned(), key: next.key.clone() },
        Issued { cert: String::new(), key: String::new() },
        Issued {
            cert: next.cert.clone(),
            key: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into(),
        },
    ];
    for (told, bad) in (1..).zip(&bad) {
        mount.deliver(bad, &ca);
        until("the bad pair to be told", DEADLINE, async || meters.tls_reload_failures.get() == told).await;
        assert!(leaf(&call(address, &client(&ca, None), "a.test").await.unwrap()) == good.der());
    }
    fs::remove_file(mount.file("..data")).unwrap();
    until("the vanished pair to be told", DEADLINE, async || meters.tls_reload_failures.get() == 5).await;
    assert_eq!(meters.tls_reloads.get(), 0);
    let fresh = ca.issue(&["b.test"]);
    other.deliver(&fresh, &ca);
    until("the other pair", SEEN_BY_EVENT, async || {
        leaf(&call(address, &client(&ca, None), "b.test").await.unwrap()) == fresh.der()
    })
    .await;
    assert!(leaf(&call(address, &client(&ca, None), "a.test").await.unwrap()) == good.der());
    mount.deliver(&next, &ca);
    until("the good pair", SEEN_BY_EVENT, async || {
        leaf(&call(address, &client(&ca, None), "a.test").await.unwrap()) == next.der()
    })
    .await;
    assert_eq!((meters.tls_reloads.get(), meters.tls_reload_failures.get()), (2, 5));
}

#[tokio::test]
async fn client_certificates_are_asked_for_and_verified_and_their_ca_is_read_again() {
    let (ca, stranger) = (Ca::new("ca"), Ca::new("stranger"));
    let issued = ca.issue(&["a.test"]);
    let mut mount = Mount::new(&issued, &ca);
    let (mine, theirs) = (ca.issue(&["me.test"]), stranger.issue(&["them.test"]));
    let (nobody, known, unknown) = (client(&ca, None), client(&ca, Some(&mine)), client(&ca, Some(&theirs)));

    let optional = ServerTls::load(&mount.server(ClientAuth::Optional), Arc::default()).unwrap();
    let (address, shown) = serve(&optional).await;
    call(address, &nobody, "a.test").await.unwrap();
    call(address, &known, "a.test").await.unwrap();
    let error = call(address, &unknown, "a.test").await.unwrap_err();
    assert!(error.contains("UnknownCA") || error.contains("DecryptError"), "a certificate of a stranger: {error}");
    assert!(*shown.lock().unwrap() == [None, Some(mine.der())]);

    let required = ServerTls::load(&mount.server(ClientAuth::Required), Arc::default()).unwrap();
    let (address, shown) = serve(&required).await;
    let error = call(address, &nobody, "a.test").await.unwrap_err();
    assert!(error.contains("CertificateRequired"), "{error}");
    call(address, &unknown, "a.test").await.unwrap_err();
    call(address, &known, "a.test").await.unwrap();
    assert_eq!(kind(&call(address, &known, "a.test").await.unwrap()), HandshakeKind::Resumed);
    assert!(*shown.lock().unwrap() == [Some(mine.der()), Some(mine.der())]);

    mount.deliver(&issued, &stranger);
    until("the stranger to be let in", SEEN_BY_EVENT, async || call(address, &unknown, "a.test").await.is_ok()).await;
    // A session of before the swap would let the old caller in without a look at its certificate.
    call(address, &known, "a.test").await.expect_err("nobody vouches for this caller any more");
}

#[tokio::test]
async fn protocols_are_agreed_on_and_sessions_are_resumed_in_both_versions() {
    let ca = Ca::new("ca");
    let mount = Mount::new(&ca.issue(&["a.test"]), &ca);
    let server = ServerTls::load(&mount.server(ClientAuth::Off), Arc::default()).unwrap();
    let (address, _) = serve(&server).await;
    let files = ClientFiles { ca_file: Some(mount.file("ca.crt")), certificate: None };
    let out = ClientTls::load(&files, Arc::default()).unwrap();
    let agreed = |stream: &TlsStream<TcpStream>| stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let both = call(address, &out.config().unwrap(), "a.test").await.unwrap();
    assert_eq!(agreed(&both).as_deref(), Some(&b"h2"[..]));
    let h1 = call(address, &out.config_h1().unwrap(), "a.test").await.unwrap();
    assert_eq!(agreed(&h1).as_deref(), Some(&b"http/1.1"[..]));
    let odd = changed(&out.config().unwrap(), |config| config.alpn_protocols = vec![b"spdy/1".to_vec()]);
    call(address, &odd, "a.test").await.expect_err("no protocol in common");

    for version in rustls::ALL_VERSIONS {
        let provider = (**out.config().unwrap().crypto_provider()).clone();
        let caller = plain_client(&ca, provider, &[version]);
        let first = call(address, &caller, "a.test").await.unwrap();
        assert_eq!(agreed(&first), None, "who names no protocol is served all the same");
        assert_eq!(first.get_ref().1.protocol_version(), Some(version.version));
        assert_ne!(kind(&first), HandshakeKind::Resumed);
        let second = call(address, &caller, "a.test").await.unwrap();
        assert_eq!(kind(&second), HandshakeKind::Resumed, "{version:?}");
    }
}

#[tokio::test]
async fn towards_backends_the_ca_and_our_certificate_follow_their_files() {
    let (ca, elsewhere) = (Ca::new("ca"), Ca::new("elsewhere"));
    let backend = Mount::new(&ca.issue(&["backend.test"]), &ca);
    let (address, shown) =
        serve(&ServerTls::load(&backend.server(ClientAuth::Required), Arc::default()).unwrap()).await;
    let (me, renewed) = (ca.issue(&["me.test"]), ca.issue(&["me.test"]));
    let mut mount = Mount::new(&me, &ca);
    let files = ClientFiles { ca_file: Some(mount.file("ca.crt")), certificate: Some(mount.pair()) };
    let meters = Arc::<Meters>::default();
    let out = ClientTls::load(&files, meters.clone()).unwrap();
    tokio::spawn(out.clone().watch());
    let last = || shown.lock().unwrap().last().cloned().flatten();
    call(address, &out.config().unwrap(), "backend.test").await.unwrap();
    assert!(last() == Some(me.der()));
    call(address, &out.config().unwrap(), "other.test").await.expect_err("a name that the backend has not");

    mount.deliver(&renewed, &ca);
    until("the renewed certificate", SEEN_BY_EVENT, async || {
        call(address, &out.config().unwrap(), "backend.test").await.unwrap();
        last() == Some(renewed.der())
    })
    .await;
    mount.deliver(&renewed, &elsewhere);
    until("the other CA", SEEN_BY_EVENT, async || {
        call(address, &out.config_h1().unwrap(), "backend.test").await.is_err()
    })
    .await;
    let error = call(address, &out.config().unwrap(), "backend.test").await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    assert!(meters.tls_expiry_backends.get() > 0);
}

#[test]
fn the_process_starts_without_roots_and_not_without_its_certificate() {
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ca = Ca::new("ca");
    let mount = Mount::new(&ca.issue(&["a.test"]), &ca);
    let tls = |cert: &Path, key: &Path| {
        format!("tls: {{ certificates: [ {{ cert_file: {}, key_file: {} }} ] }}\n", cert.display(), key.display())
    };
    let (cert, key) = (mount.file("tls.crt"), mount.file("tls.key"));
    let app = support::start_with(support::settings(&tls(&cert, &key), &routes(dir.path()), state.path()));
    let metrics = support::Caller::new(app.admin).call("GET", "/metrics", "", "").body;
    for line in [
        r#"coalmine_tls_reloads_total{result="swapped"} 0"#,
        r#"coalmine_tls_reloads_total{result="refused"} 0"#,
        "coalmine_tls_handshake_failures_total 0",
        r#"coalmine_tls_certificate_expiry_timestamp_seconds{side="callers"}"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    support::stop(app);
    let wrong = support::settings(&tls(&key, &cert), dir.path(), state.path());
    let error = format!("{:#}", coalmine::app::start(&wrong).unwrap_err());
    assert!(error.starts_with("tls: ") && error.contains("were the two files exchanged?"), "{error}");

    // Without roots: the real program, as only its environment can take them away.
    let mut process = Command::new(env!("CARGO_BIN_EXE_coalmine"))
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--routes"])
        .arg(dir.path())
        .envs([("SSL_CERT_FILE", "/nowhere/roots.pem"), ("SSL_CERT_DIR", "/nowhere")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stderr.take().unwrap()));
    let served = lines.by_ref().map_while(Result::ok).any(|line| line.contains("serving"));
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(served, "it must start: only a backend over https needs roots");
}

fn routes(dir: &Path) -> PathBuf {
    let model = support::model(200, 1);
    fs::write(dir.join("routes.yaml"), support::routes(model, model, 0)).unwrap();
    dir.to_owned()
}
