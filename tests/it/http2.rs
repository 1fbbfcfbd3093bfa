//! HTTP/2 in and out over real sockets: what a request becomes in the other version, how streams and connections end. The h2 crate
//! on both sides, curl and h2load.

mod streams;

use super::{
    h2peer::{H2Backend, H2Caller, request, until, whole},
    raw::{caller::Raw, recorder::Recorder},
    stage::Stage,
};
use h2::Reason;
use http::{HeaderMap, Request, StatusCode};
use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("x-t"), http::HeaderValue::from_static("1"))])
}

/// A request with all that has to change on the way.
fn full() -> Request<()> {
    Request::builder()
        .method("POST")
        .uri("http://models.test:81/v1/echo?a=%2f&b")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("trailer", "x-t")
        .header("x-a", "1")
        .body(())
        .unwrap()
}

/// Ends it while the test's runtime goes on.
async fn stop(stage: Stage) {
    tokio::task::spawn_blocking(|| stage.stop()).await.unwrap();
}

#[tokio::test]
async fn from_http2_to_http2_nothing_is_lost() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "");
    let caller = H2Caller::new(stage.data()).await;
    let answer = caller.call(full(), Some(b"hello"), Some(trailers())).await.unwrap();
    assert_eq!((answer.head.status, answer.body.as_slice()), (StatusCode::OK, &b"hello"[..]));
    let end = answer.trailers.expect("trailers");
    assert_eq!((end["x-end"].as_bytes(), end["x-t"].as_bytes()), (&b"1"[..], &b"1"[..]));
    assert_eq!(answer.head.headers["x-coalmine-variant"], "v1");
    let got = backend.last();
    assert_eq!(got.head.uri, "http://models.test:81/v1/echo?a=%2f&b");
    assert_eq!((got.head.method.as_str(), got.body.as_slice()), ("POST", &b"hello"[..]));
    assert_eq!(got.trailers.expect("trailers")["x-t"], "1");
    let headers = got.head.headers;
    assert_eq!(
        (&headers["te"], &headers["x-a"], &headers["via"]),
        (&"trailers".parse().unwrap(), &"1".parse().unwrap(), &"2 coalmine".parse().unwrap())
    );
    for gone in ["host", "connection", "transfer-encoding", "keep-alive", "x-coalmine-pin"] {
        assert!(!headers.contains_key(gone), "{gone} went on: {headers:?}");
    }
    let sized = Request::builder().method("POST").uri("http://a/echo").header("content-length", "5").body(()).unwrap();
    assert_eq!(caller.call(sized, Some(b"sized"), None).await.unwrap().body, b"sized");
    assert_eq!(backend.last().head.headers["content-length"], "5");
    stop(stage).await;
}

#[tokio::test]
async fn a_small_answer_that_is_read_for_its_prediction_keeps_its_trailers() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "    protocol: v2\n", "");
    let caller = H2Caller::new(stage.data()).await;
    let answer = caller.call(request("POST", "/json"), Some(b"{}"), None).await.unwrap();
    assert_eq!(answer.body, br#"{"outputs":[{"data":[7]}]}"#);
    assert_eq!(answer.head.headers["content-length"], "26");
    assert!(answer.head.headers.contains_key("x-coalmine-ticket"));
    assert_eq!(answer.trailers.expect("trailers")["x-end"], "1");
    // Over HTTP/1.1 nothing can follow a body whose length is said.
    let data = stage.data();
    let text = tokio::task::spawn_blocking(move || {
        let mut raw = Raw::sent(data, "POST /json HTTP/1.1\r\nhost: a\r\nte: trailers\r\ncontent-length: 2\r\n\r\n{}");
        let first = raw.answer(false).unwrap();
        raw.send("GET /204 HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(raw.answer(false).unwrap().status, 204);
        first.text()
    });
    assert_eq!(text.await.unwrap(), r#"{"outputs":[{"data":[7]}]}"#);
    stop(stage).await;
}

/// Answers in chunks with a trailer; a status without a body where the target says so.
fn http1() -> Recorder {
    Recorder::new(|request, stream| {
        let text = match request.target.rsplit('/').next().unwrap() {
            "204" => "HTTP/1.1 204 X\r\nx-status: 204\r\n\r\n".to_owned(),
            "304" => "HTTP/1.1 304 X\r\nx-status: 304\r\netag: \"a\"\r\n\r\n".to_owned(),
            _ if request.method == "HEAD" => "HTTP/1.1 200 X\r\ncontent-length: 5\r\n\r\n".to_owned(),
            "sized" => "HTTP/1.1 200 X\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
            _ => "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\nkeep-alive: timeout=5\r\n\r\n5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n".to_owned(),
        };
        stream.write_all(text.as_bytes()).ok()
    })
}

#[tokio::test]
async fn from_http2_to_http1_it_is_one_plain_message() {
    let backend = http1();
    let stage = Stage::one(&format!("http://{}", backend.address), "", "");
    let caller = H2Caller::new(stage.data()).await;
    let answer = caller.call(full(), Some(b"hello"), Some(trailers())).await.unwrap();
    assert_eq!((answer.head.status, answer.body.as_slice()), (StatusCode::OK, &b"hello"[..]));
    assert_eq!(answer.trailers.expect("trailers")["x-end"], "1");
    for gone in ["connection", "keep-alive", "transfer-encoding"] {
        assert!(!answer.head.headers.contains_key(gone), "{gone} came back: {:?}", answer.head.headers);
    }
    let seen = backend.seen();
    let got = &seen.requests[0];
    assert_eq!((got.method.as_str(), got.target.as_str()), ("POST", "/v1/echo?a=%2f&b"));
    let all = |name: &str| -> Vec<String> {
        got.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
            .collect()
    };
    assert_eq!(all("host"), ["models.test:81"]);
    assert_eq!(all("cookie"), ["a=1; b=2"]);
    assert_eq!(all("transfer-encoding"), ["chunked"]);
    assert!(all("te").is_empty() && all("connection").is_empty(), "{got:?}");
    assert_eq!(got.body, b"hello");
    assert_eq!(got.trailers, [("x-t".to_owned(), "1".to_owned())]);

    let sized = caller.get("/sized").await.unwrap();
    assert_eq!((sized.head.headers["content-length"].as_bytes(), sized.body.as_slice()), (&b"5"[..], &b"hello"[..]));
    assert!(!sized.head.headers.contains_key("x-hop"));
    let head = caller.call(request("HEAD", "/sized"), None, None).await.unwrap();
    assert_eq!((head.head.headers["content-length"].as_bytes(), head.body.len()), (&b"5"[..], 0));
    for status in [204, 304] {
        let answer = caller.get(&format!("/{status}")).await.unwrap();
        assert_eq!((answer.head.status.as_u16(), answer.body.len()), (status, 0), "{answer:?}");
        assert_eq!(answer.head.headers["x-status"], status.to_string().as_str());
    }
    let bodyless = &backend.seen().requests[1];
    assert!(
        !bodyless.headers.iter().any(|(name, _)| name.contains("length") || name.contains("encoding")),
        "{bodyless:?}"
    );
    stop(stage).await;
}

#[test]
fn from_http1_to_http2_the_host_becomes_the_authority() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "");
    let mut raw = Raw::new(stage.data());
    let head = "host: models.test:81\r\ncookie: a=1; b=2\r\nconnection: te, x-hop\r\nx-hop: 1\r\nte: trailers\r\n";
    raw.send(format!(
        "POST /v1/echo?a=%2f HTTP/1.1\r\n{head}trailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n"
    ));
    raw.until("\r\nx-end: 1\r\n").unwrap();
    let answer = raw.answer(false).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    let got = backend.last();
    assert_eq!(got.head.uri, "http://models.test:81/v1/echo?a=%2f");
    assert_eq!(got.trailers.expect("trailers")["x-t"], "1");
    let headers = got.head.headers;
    assert_eq!((headers["te"].as_bytes(), headers["via"].as_bytes()), (&b"trailers"[..], &b"1.1 coalmine"[..]));
    for gone in ["host", "connection", "transfer-encoding", "x-hop"] {
        assert!(!headers.contains_key(gone), "{gone} went on: {headers:?}");
    }
    // Without `TE` the caller wants no trailers, and gets none.
    raw.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(raw.answer(false).unwrap().text(), "abc");
    assert!(!backend.last().head.headers.contains_key("te"));
    for status in [204, 304] {
        raw.send(format!("GET /{status} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(raw.answer(false).unwrap().status, status);
    }
    raw.send("HEAD /200 HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(raw.answer(true).unwrap().status, 200);
    stage.stop();
}

#[test]
fn from_http1_to_http1_trailers_that_were_announced_go_along() {
    let backend = http1();
    let stage = Stage::one(&format!("http://{}", backend.address), "", "");
    let mut raw = Raw::new(stage.data());
    raw.send("POST /x HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n");
    raw.until("\r\nx-end: 1\r\n").unwrap();
    assert_eq!(raw.answer(false).unwrap().text(), "hello");
    assert_eq!(backend.seen().requests[0].trailers, [("x-t".to_owned(), "1".to_owned())]);
    stage.stop();
}

/// What a program of the system prints.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; run `make real`, which installs it"));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn curl_and_h2load_speak_it() {
    let (backend, plain) = (H2Backend::new(), http1());
    let stage = Stage::one(&backend.url(), "", "");
    let url = |address: SocketAddr, path: &str| format!("http://{address}{path}");
    let said = run(
        "curl",
        &[
            "-s",
            "-w",
            " %{http_version} %{http_code}",
            "--http2-prior-knowledge",
            "-d",
            "hello",
            &url(stage.data(), "/echo"),
        ],
    );
    assert_eq!(said, "hello 2 200");
    let said = run("h2load", &["-n", "5000", "-c", "4", "-m", "50", &url(stage.data(), "/200")]);
    assert!(said.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    // 200 streams at a time, a hundred on each.
    assert!(backend.look(|seen| seen.connections) <= 2);
    stage.stop();
    let stage = Stage::one(&url(plain.address, ""), "", "");
    let said = run("h2load", &["-n", "2000", "-c", "4", "-m", "25", "-d", "Cargo.toml", &url(stage.data(), "/chunks")]);
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    stage.stop();
}
