//! TLS on the way of a request: callers over HTTP/1.1 and HTTP/2, certificates that change under load, backends behind https.

use super::{
    certs::{Ca, Issued, Mount},
    h2peer::{H2Backend, H2Caller, until},
    stage::{Stage, routes},
    support::{self, message},
};
use coalmine::io::tls::{ClientAuth, ClientFiles, ClientTls, Pair, ServerTls};
use rustls::{ClientConfig, HandshakeKind, pki_types::ServerName};
use std::{
    fs,
    io::{BufReader, Cursor},
    net::SocketAddr,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

fn listener(mount: &Mount, more: &str) -> String {
    let (cert, key) = (mount.file("tls.crt"), mount.file("tls.key"));
    format!("tls:\n  certificates: [ {{ cert_file: {}, key_file: {} }} ]\n{more}", cert.display(), key.display())
}

/// A client that trusts `ca`, shows `certificate`, and speaks HTTP/2 if it may.
fn client(ca: &Ca, certificate: Option<&Issued>, http2: bool) -> Arc<ClientConfig> {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let certificate =
        certificate.map(|one| Pair { cert_file: file("crt", &one.cert), key_file: file("key", &one.key) });
    let files = ClientFiles { ca_file: Some(file("ca", &ca.0.pem())), certificate };
    let tls = ClientTls::load(&files, Arc::default()).unwrap();
    if http2 { tls.config().unwrap() } else { tls.config_h1().unwrap() }
}

async fn connect(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    TlsConnector::from(config.clone()).connect(ServerName::try_from(name.to_owned()).unwrap(), tcp).await
}

/// One request over HTTP/1.1; status and body.
async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> Option<(u16, String)> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n").as_bytes()).await.ok()?;
    let mut all = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let n = stream.read(&mut bytes).await.ok().filter(|n| *n > 0)?;
        all.extend_from_slice(&bytes[..n]);
        if let Some((first, _, body)) = message(&mut BufReader::new(Cursor::new(&all))) {
            return Some((first.split(' ').nth(1)?.parse().ok()?, String::from_utf8(body).ok()?));
        }
    }
}

async fn stop(stage: Stage) {
    tokio::task::spawn_blocking(|| stage.stop()).await.unwrap();
}

#[tokio::test]
async fn certificates_change_under_load_and_nobody_notices() {
    let ca = Ca::new("ca");
    let mut mount = Mount::new(&ca.issue(&["a.test"]), &ca);
    let backend = support::model(200, 1);
    let stage = Stage::one(&format!("http://{backend}"), "", &listener(&mount, ""));
    let address = stage.data();
    let (failed, done, over) =
        (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let mut loads = Vec::new();
    for (http2, fresh) in [(false, false), (false, true), (true, false), (true, true)] {
        let (config, failed, done, over) = (client(&ca, None, http2), failed.clone(), done.clone(), over.clone());
        loads.push(tokio::spawn(async move {
            'next: while !over.load(SeqCst) {
                let Ok(stream) = connect(address, &config, "a.test").await else {
                    failed.fetch_add(1, SeqCst);
                    continue;
                };
                let (mut h1, mut h2) = (None, None);
                if http2 {
                    h2 = Some(H2Caller::over(stream, 1 << 20).await)
                } else {
                    h1 = Some(stream)
                }
                while !over.load(SeqCst) {
                    let ok = match (&mut h1, &h2) {
                        (Some(h1), _) => get(h1, "/v2/x").await.is_some_and(|(status, _)| status == 200),
                        (_, Some(h2)) => h2.get("/v2/x").await.is_ok_and(|answer| answer.head.status == 200),
                        _ => false,
                    };
                    done.fetch_add(1, SeqCst);
                    if !ok {
                        failed.fetch_add(1, SeqCst);
                        continue 'next;
                    }
                    if fresh {
                        continue 'next;
                    }
                }
            }
        }));
    }
    let mut kept = connect(address, &client(&ca, None, false), "a.test").await.unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let next = ca.issue(&["a.test"]);
        mount.deliver(&next, &ca);
        let begin = Instant::now();
        loop {
            // A fresh client each time: a resumed session shows the certificate that it began with.
            let stream = connect(address, &client(&ca, None, false), "a.test").await.unwrap();
            if stream.get_ref().1.peer_certificates().unwrap()[0] == next.der() {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(5), "the new certificate is not served");
        }
        slowest = slowest.max(begin.elapsed());
        assert_eq!(get(&mut kept, "/v2/x").await.map(|(status, _)| status), Some(200), "a kept connection was cut");
    }
    until("some load", || (done.load(SeqCst) > 200 || failed.load(SeqCst) > 0).then_some(())).await;
    over.store(true, SeqCst);
    for load in loads {
        load.await.unwrap();
    }
    let (failed, done) = (failed.load(SeqCst), done.load(SeqCst));
    println!("five swaps, each served within {slowest:?}; {failed} of {done} requests failed");
    assert!(failed == 0 && done > 100, "{failed} of {done}");
    assert_eq!(stage.count(&["coalmine_tls_reloads_total", "swapped"]), 5);
    drop(kept);
    stop(stage).await;
}

#[tokio::test]
async fn callers_without_a_certificate_are_turned_away_where_one_is_required() {
    let (ca, stranger) = (Ca::new("ca"), Ca::new("stranger"));
    let mount = Mount::new(&ca.issue(&["a.test"]), &ca);
    let backend = support::model(200, 1);
    let required = format!("  client_ca_file: {}\n  client_auth: required\n", mount.file("ca.crt").display());
    let stage = Stage::one(&format!("http://{backend}"), "", &listener(&mount, &required));
    let (mine, theirs) = (ca.issue(&["me.test"]), stranger.issue(&["them.test"]));
    for (certificate, served) in [(None, false), (Some(&theirs), false), (Some(&mine), true)] {
        let config = client(&ca, certificate, false);
        // In TLS 1.3 the client learns of the refusal with its first read.
        let status = match connect(stage.data(), &config, "a.test").await {
            Ok(mut stream) => get(&mut stream, "/v2/x").await.map(|(status, _)| status),
            Err(_) => None,
        };
        assert_eq!(status, served.then_some(200));
        if served {
            let mut again = connect(stage.data(), &config, "a.test").await.unwrap();
            assert_eq!(get(&mut again, "/v2/x").await.map(|(status, _)| status), Some(200));
            assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        }
    }
    until("the refusals to be counted", || {
        (stage.count(&["coalmine_tls_handshake_failures_total"]) == 2).then_some(())
    })
    .await;
    stop(stage).await;
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_curl_agrees_on_http2() {
    let ca = Ca::new("ca");
    let (mount, other) =
        (Mount::new(&ca.issue(&["a.test", "localhost"]), &ca), Mount::new(&ca.issue(&["b.test"]), &ca));
    let backend = H2Backend::new();
    let pair = |mount: &Mount| {
        format!("{{ cert_file: {}, key_file: {} }}", mount.file("tls.crt").display(), mount.file("tls.key").display())
    };
    let settings = format!("tls: {{ certificates: [ {}, {} ] }}\n", pair(&mount), pair(&other));
    let stage = Stage::one(&backend.url(), "", &settings);
    for (name, http2) in [("a.test", true), ("b.test", true), ("b.test", false)] {
        let stream = connect(stage.data(), &client(&ca, None, http2), name).await.unwrap();
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(agreed.as_deref(), Some(if http2 { &b"h2"[..] } else { b"http/1.1" }));
    }
    let caller =
        H2Caller::over(connect(stage.data(), &client(&ca, None, true), "b.test").await.unwrap(), 1 << 20).await;
    assert_eq!(caller.get("/200").await.unwrap().head.status, 200);
    assert_eq!(backend.last().head.headers["x-forwarded-proto"], "https");
    let curl = |version: &str| {
        let port = stage.data().port();
        let output = Command::new("curl")
            .args(["-sS", "-w", " %{http_version} %{http_code}", version, "-d", "hello", "--cacert"])
            .arg(mount.file("ca.crt"))
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1"), &format!("https://localhost:{port}/echo")])
            .output()
            .expect("curl; run `make real`, which installs it");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    assert_eq!(curl("--http2"), "hello 2 200");
    assert_eq!(curl("--http1.1"), "hello 1.1 200");
    drop(caller);
    stop(stage).await;
}

/// A backend behind TLS that speaks HTTP/2, with `once` one request a connection; who came, and over what.
async fn behind(tls: &ServerTls, once: bool) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let (tls, all) = (tls.clone(), seen.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, all) = (tls.clone(), all.clone());
            tokio::spawn(async move {
                let stream = tls.acceptor().accept(stream).await.ok()?;
                let connection = &stream.get_ref().1;
                let named = connection.server_name().unwrap_or_default();
                let shown = connection.peer_certificates().is_some();
                let agreed = String::from_utf8_lossy(connection.alpn_protocol().unwrap_or_default()).into_owned();
                let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
                all.lock().unwrap().push(format!("{named} {agreed} shown={shown} resumed={resumed}"));
                let mut connection = h2::server::handshake(stream).await.ok()?;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(http::Response::new(()), true).ok()?;
                    if once {
                        connection.graceful_shutdown();
                    }
                }
                Some(())
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn backends_behind_https_are_verified_and_shown_who_we_are() {
    let (ca, elsewhere) = (Ca::new("ca"), Ca::new("elsewhere"));
    let server = Mount::new(&ca.issue(&["models.test"]), &ca);
    let us = Mount::new(&ca.issue(&["coalmine.test"]), &ca);
    let tls = ServerTls::load(&server.server(ClientAuth::Required), Arc::default()).unwrap();
    let (address, seen) = behind(&tls, false).await;
    let out = |ca: &str, more: &str| format!("threads: 1\nbackend_tls: {{ ca_file: {ca}{more} }}\n");
    let certificate =
        format!(", cert_file: {}, key_file: {}", us.file("tls.crt").display(), us.file("tls.key").display());
    let trusted = us.file("ca.crt").display().to_string();
    let foreign = tempfile::NamedTempFile::new().unwrap();
    fs::write(foreign.path(), elsewhere.0.pem()).unwrap();
    let url = format!("https://{address}");
    let named = routes(&url, &url, 0, "").replace("model:", "server_name: models.test, model:");
    let cases = [
        ("all is right", named.clone(), out(&trusted, &certificate), 200),
        ("another CA", named.clone(), out(&foreign.path().display().to_string(), &certificate), 502),
        ("no certificate of ours", named, out(&trusted, ""), 502),
        ("a name that the backend has not", routes(&url, &url, 0, ""), out(&trusted, &certificate), 502),
    ];
    for (what, routes, settings, status) in cases {
        let stage = tokio::task::spawn_blocking(move || Stage::over(&routes, &settings)).await.unwrap();
        let caller = H2Caller::new(stage.data()).await;
        for _ in 0..3 {
            assert_eq!(caller.get("/x").await.unwrap().head.status, status, "{what}");
        }
        let outcome = if status == 200 { "ok" } else { "backend_connect" };
        // Without our certificate, TLS 1.3 stands before the backend says no.
        let failed =
            stage.outcome("v1", outcome) + if what.contains("ours") { stage.outcome("v1", "backend_reset") } else { 0 };
        assert_eq!(failed, 3, "{what}");
        drop(caller);
        stop(stage).await;
    }
    // One shared connection for all three.
    assert_eq!(*seen.lock().unwrap(), ["models.test h2 shown=true resumed=false"]);
}

#[tokio::test]
async fn sessions_with_backends_are_resumed() {
    let ca = Ca::new("ca");
    let server = Mount::new(&ca.issue(&["models.test"]), &ca);
    let tls = ServerTls::load(&server.server(ClientAuth::Off), Arc::default()).unwrap();
    // Every connection says goodbye after one answer, so that each request needs another one.
    let (address, seen) = behind(&tls, true).await;
    let url = format!("https://{address}");
    let routes = routes(&url, &url, 0, "").replace("model:", "server_name: models.test, model:");
    let settings = format!("threads: 1\nbackend_tls: {{ ca_file: {} }}\n", server.file("ca.crt").display());
    let stage = tokio::task::spawn_blocking(move || Stage::over(&routes, &settings)).await.unwrap();
    let caller = H2Caller::new(stage.data()).await;
    for number in 1..=5 {
        assert_eq!(caller.get("/x").await.unwrap().head.status, 200, "request {number}");
    }
    let seen = seen.lock().unwrap().clone();
    let resumed = seen.iter().filter(|line| line.ends_with("resumed=true")).count();
    assert!(resumed >= 4 && resumed == seen.len() - 1, "{seen:?}");
    drop(caller);
    stop(stage).await;
}
