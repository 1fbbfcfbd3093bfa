//! HTTP/2 in and out over real sockets: what a request becomes in the other version, how streams and connections end. The h2 crate
//! on both sides, curl and h2load.

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

#[tokio::test]
async fn a_hundred_streams_share_one_connection_to_the_backend() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "");
    let caller = H2Caller::new(stage.data()).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(caller.start(request("POST", "/slow"), Some(b"x"), None).await.0);
    }
    let arrived = || backend.look(|seen| seen.requests.iter().filter(|got| got.body == b"x").count()) == 100;
    until("a hundred at a time", || arrived().then_some(())).await;
    backend.go();
    for stream in streams {
        assert_eq!(whole(stream).await.unwrap().body, b"late");
    }
    assert_eq!(backend.look(|seen| (seen.connections, seen.together)), (1, 100));
    assert_eq!(stage.outcome("v1", "ok"), 100);
    stop(stage).await;
}

#[tokio::test]
async fn streams_in_flight_are_finished_when_it_drains() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "");
    let caller = H2Caller::new(stage.data()).await;
    let slow = caller.start(request("GET", "/slow"), None, None).await.0;
    let events = caller.start(request("GET", "/events"), None, None).await.0;
    until("both to arrive", || (backend.look(|seen| seen.requests.len()) == 2).then_some(())).await;
    let mut silent = TcpStream::connect(stage.data()).unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let _nothing = TcpStream::connect(stage.data()).unwrap();
    until("all to be accepted", || (stage.count(&["coalmine_connections_open"]) == 3).then_some(())).await;
    stage.app.drain();
    // After the GOAWAY no stream can be opened.
    let mut send = caller.send.clone();
    let closed = async {
        while let Ok(ready) = send.ready().await {
            send = ready;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("a GOAWAY");
    backend.go();
    assert_eq!(whole(slow).await.unwrap().body, b"late");
    assert_eq!(whole(events).await.unwrap().body, b"data: one\n\ndata: two\n\n");
    let begin = Instant::now();
    caller.ended.await.unwrap().expect("a polite end");
    stop(stage).await;
    assert!(begin.elapsed() < Duration::from_secs(6), "silent connections held the exit for {:?}", begin.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_closed_politely() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "connections: { http2_idle: 300ms }\n");
    let H2Caller { send, ended } = H2Caller::new(stage.data()).await;
    let caller = H2Caller { send, ended };
    assert_eq!(caller.get("/200").await.unwrap().head.status, StatusCode::OK);
    let begin = Instant::now();
    caller.ended.await.unwrap().expect("a polite end");
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    stop(stage).await;
}

#[tokio::test]
async fn a_reset_goes_through_and_tells_whose_doing_it_was() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "");
    let caller = H2Caller::new(stage.data()).await;
    // The caller's: before the head, and in the middle of the body.
    for (path, position) in [("/slow", 1), ("/events", 2)] {
        let (response, mut stream) = caller.start(request("GET", path), None, None).await;
        if position == 1 {
            until("it to arrive", || (!backend.look(|seen| seen.requests.is_empty())).then_some(())).await;
        } else {
            let mut body = response.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "data: one\n\n");
        }
        stream.send_reset(Reason::CANCEL);
        let begin = Instant::now();
        until("the backend to be told", || (backend.look(|seen| seen.resets.len()) == position).then_some(())).await;
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
    assert_eq!(backend.look(|seen| seen.resets.clone()), [Reason::CANCEL; 2]);
    until("the count", || (stage.outcome("v1", "client_gone") == 2).then_some(())).await;
    // The backend's.
    assert_eq!(caller.get("/reset").await.unwrap().head.status, StatusCode::BAD_GATEWAY);
    let half = caller.start(request("GET", "/half"), None, None).await.0;
    let mut body = half.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "data: one\n\n");
    backend.go();
    let broken = body.data().await.expect("no end").unwrap_err();
    assert!(broken.is_reset(), "{broken}");
    until("the count", || (stage.outcome("v1", "backend_reset") == 2).then_some(())).await;
    assert_eq!(caller.get("/200").await.unwrap().head.status, StatusCode::OK, "the connection lives on");
    assert_eq!(backend.look(|seen| seen.connections), 1);
    stop(stage).await;
}

/// More callers that do not read than a shared window would bear.
#[tokio::test]
async fn callers_that_do_not_read_hold_up_nobody_else() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "    timeouts: { idle: 5s, first_byte: 5s }\n", "");
    let stream = tokio::net::TcpStream::connect(stage.data()).await.unwrap();
    let stalled = H2Caller::over(stream, 0).await;
    let mut held = Vec::new();
    for _ in 0..250 {
        held.push(stalled.start(request("GET", "/big"), None, None).await);
    }
    until("them to stand", || (backend.look(|seen| seen.requests.len()) == 250).then_some(())).await;
    let caller = H2Caller::new(stage.data()).await;
    for _ in 0..3 {
        assert_eq!(caller.get("/big").await.unwrap().body.len(), 8 << 20);
    }
    assert_eq!(stage.outcome("v1", "backend_timeout") + stage.outcome("v1", "backend_reset"), 0);
    assert_eq!(backend.look(|seen| seen.connections), 3, "a hundred streams each");
    drop((held, stalled));
    until("the empty ones to be closed", || (backend.look(|seen| seen.open) == 1).then_some(())).await;
    stop(stage).await;
}

/// What a backend says it has not touched goes out once more, also a POST, as long as its body is there.
#[tokio::test]
async fn a_refused_stream_is_sent_again_where_its_body_was_kept() {
    let backend = H2Backend::new();
    // The canary's bodies are kept, for a fallback that does not concern this.
    let stage = Stage::new(
        &backend.url(),
        &backend.url(),
        100,
        "    fallback: { to: stable, when: [\"502\"] }\n",
        "threads: 1\n",
    );
    let caller = H2Caller::new(stage.data()).await;
    assert_eq!(caller.get("/200").await.unwrap().head.status, StatusCode::OK);
    let answer = caller.call(request("POST", "/refuse"), Some(b"hello"), None).await.unwrap();
    assert_eq!(answer.head.status, StatusCode::OK);
    let bodies = backend.look(|seen| seen.requests[1..].iter().map(|got| got.body.clone()).collect::<Vec<_>>());
    assert_eq!(bodies, [b"hello", b"hello"]);
    assert_eq!((stage.count(&["coalmine_resends_total", "sent"]), stage.count(&["coalmine_fallback_total"])), (1, 0));
    let broken = caller.call(request("POST", "/reset"), Some(b"hello"), None).await.unwrap();
    assert_eq!(broken.head.status, StatusCode::BAD_GATEWAY, "what may have been done is not sent again");
    stop(stage).await;
}

/// A caller whose windows stay closed, for a long answer, for a short one and for one of our own.
#[tokio::test]
async fn a_caller_that_takes_nothing_is_cut_and_counted() {
    let (backend, plain) = (H2Backend::new(), http1());
    for (url, paths) in
        [(backend.url(), ["/big", "/echo"]), (format!("http://{}", plain.address), ["/chunks", "/sized"])]
    {
        let stage = Stage::one(&url, "", "connections: { write_stall: 500ms }\n");
        let stream = tokio::net::TcpStream::connect(stage.data()).await.unwrap();
        let caller = H2Caller::over(stream, 0).await;
        let own = Request::builder().uri("http://a/").header("host", "a").header("host", "b").body(()).unwrap();
        let mut cut = Vec::new();
        for request in [request("POST", paths[0]), request("POST", paths[1]), own] {
            cut.push(caller.start(request, Some(b"hello"), None).await.0);
        }
        for response in cut {
            let error = whole(response).await.unwrap_err();
            assert!(error.is_reset(), "{error}");
        }
        until("the count", || (stage.count(&["coalmine_callers_cut_total"]) == 3).then_some(())).await;
        until("the places to be free", || (stage.count(&["coalmine_in_flight{"]) == 0).then_some(())).await;
        assert_eq!(stage.outcome("v1", "backend_reset"), 0);
        stop(stage).await;
    }
}

/// A window of one byte: the answer is on its way as far as its stream is concerned, and never leaves.
#[tokio::test]
async fn a_caller_that_never_takes_the_rest_loses_its_connection() {
    let plain = http1();
    let stage = Stage::one(&format!("http://{}", plain.address), "", "connections: { write_stall: 500ms }\n");
    let stream = tokio::net::TcpStream::connect(stage.data()).await.unwrap();
    let caller = H2Caller::over(stream, 1).await;
    let (response, _stream) = caller.start(request("GET", "/sized"), None, None).await;
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "h");
    let ended = tokio::time::timeout(Duration::from_secs(10), caller.ended).await.expect("it was never cut");
    drop(ended);
    until("the count", || (stage.count(&["coalmine_callers_cut_total"]) == 1).then_some(())).await;
    assert_eq!(stage.outcome("v1", "ok"), 1);
    stop(stage).await;
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
