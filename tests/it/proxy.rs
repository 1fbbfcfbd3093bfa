//! What happens to a request on its way, over real sockets: what is sent on, what is refused, whose fault counts against whom.

use super::{
    backend::{Backend, write},
    support::{Answer, Caller, model, routes, settings, start_with, stop, wait},
};
use coalmine::app::App;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

/// Coalmine over two servers, with more lines for the route.
struct Stage {
    app: App,
    _dirs: [tempfile::TempDir; 2],
}

impl Stage {
    fn new(stable: SocketAddr, canary: SocketAddr, weight: u32, more: &str) -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        // No labels are sent here, so nothing is judged: the canary is to keep its weight.
        let more = format!("    judge: {{ errors: off, latency: off }}\n{more}    variants:\n");
        let text = routes(stable, canary, weight).replace("    variants:\n", &more);
        fs::write(dirs[0].path().join("routes.yaml"), text).unwrap();
        Self { app: start_with(settings("", dirs[0].path(), dirs[1].path())), _dirs: dirs }
    }

    fn caller(&self) -> Caller {
        Caller::new(self.app.data)
    }

    /// The counter or gauge whose line has all these parts.
    fn metric(&self, parts: &[&str]) -> f64 {
        let page = Caller::new(self.app.admin).call("GET", "/metrics", "", "").body;
        let line = page.lines().find(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    fn outcome(&self, variant: &str, outcome: &str) -> f64 {
        self.metric(&["coalmine_requests_total{", &format!("\"{variant}\""), &format!("\"{outcome}\"")])
    }
}

fn raw(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let n = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..n]).into_owned()
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_request_goes_on_without_what_concerns_our_connection_only() {
    let backend = Backend::always(200, "{}");
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let headers = "connection: x-secret, keep-alive\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\nte: trailers\r\n\
                   proxy-authorization: Basic eA==\r\nx-forwarded-for: 10.0.0.1\r\nx-coalmine-pin: v2\r\n\
                   x-request-id: a\r\nx-request-id: b\r\nauthorization: Bearer caller\r\n";
    let answer = stage.caller().call("POST", "/v2/models/digits/infer?a=%2f&b", headers, "hello");
    assert_eq!(answer.status, 200);
    let seen = backend.seen();
    let [request] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(request.line, "POST /v2/models/digits/infer?a=%2f&b HTTP/1.1");
    assert_eq!(request.body, "hello");
    for gone in ["connection", "x-secret", "keep-alive", "te", "proxy-authorization", "x-coalmine-pin"] {
        assert!(request.all(gone).is_empty(), "{gone} went on: {request:?}");
    }
    assert_eq!(request.all("x-forwarded-for"), ["10.0.0.1, 127.0.0.1"]);
    assert_eq!(request.all("x-forwarded-host"), ["localhost"]);
    assert_eq!(request.all("x-forwarded-proto"), ["http"]);
    assert_eq!(request.all("host"), ["localhost"]);
    assert_eq!(request.all("x-request-id"), ["a", "b"]);
    assert_eq!(request.all("authorization"), ["Bearer caller"]);
    stop(stage.app);
}

#[test]
fn doubtful_requests_are_refused_and_never_sent_on() {
    let backend = Backend::always(200, "{}");
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let path = "/v2/models/digits";
    let bad = [
        format!("GET {path} HTTP/1.1\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: user@a\r\n\r\n"),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc"),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc"),
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nbad name: x\r\n\r\n"),
        "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n".to_owned(),
        format!("GET {path} HTTP/1.1\nhost: a\r\nx: \0\r\n\r\n"),
    ];
    for text in &bad {
        let answer = raw(stage.app.data, text);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{text:?} -> {answer:?}");
    }
    assert_eq!(backend.seen().len(), 0);
    assert!(stage.metric(&["coalmine_refusals_total", "invalid"]) > 0.0);
    assert_eq!(raw(stage.app.data, "GET /elsewhere HTTP/1.1\r\nhost: a\r\n\r\n").split(' ').nth(1), Some("404"));
    stop(stage.app);
}

#[test]
fn a_length_beside_chunks_is_refused_and_ends_the_connection() {
    let backend = Backend::always(200, "{}");
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let both = "POST /v2/models/digits HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let smuggled = "GET /v2/models/digits/smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = raw(stage.app.data, &format!("{both}{smuggled}"));
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("connection: close"), "{answer}");
    assert!(backend.seen().is_empty(), "{:?}", backend.seen());
    stop(stage.app);
}

#[test]
fn a_dead_canary_costs_nobody_an_answer_and_counts_against_itself() {
    let stable = Backend::always(200, r#"{"outputs":[{"data":[1]}]}"#);
    let stage = Stage::new(stable.address, nobody(), 10, "    fallback: { to: stable, when: [connect] }\n");
    let mut caller = stage.caller();
    for _ in 0..10_000 {
        let answer = caller.infer();
        assert_eq!((answer.status, answer.headers["x-coalmine-variant"].as_str()), (200, "v1"));
    }
    let failed = stage.outcome("v2", "backend_connect");
    assert!((800.0..1_200.0).contains(&failed), "{failed} of 10,000 drew the canary");
    assert!((stage.metric(&["coalmine_fallback_total", "\"v2\""]) - failed).abs() < 0.5);
    assert!((stage.outcome("v1", "ok") - (10_000.0 - failed)).abs() < 0.5, "stable is judged by its own draws only");
    stop(stage.app);
}

#[test]
fn a_failed_answer_is_replaced_where_the_route_says_so_and_the_body_goes_along() {
    let stable = Backend::new(|request, stream| write(stream, 200, "", &request.body));
    let canary = Backend::always(503, "no");
    let stage = Stage::new(stable.address, canary.address, 50, "    fallback: { to: stable, when: [\"503\"] }\n");
    let mut caller = stage.caller();
    for number in 0..100 {
        let answer = caller.call("POST", "/v2/models/digits/infer", "", &format!("body {number}"));
        assert_eq!((answer.status, answer.body), (200, format!("body {number}")));
    }
    assert!(!canary.seen().is_empty() && stage.outcome("v2", "backend_status") > 20.0);
    stop(stage.app);

    // Without that, the caller gets the canary's own answer.
    let stage = Stage::new(stable.address, canary.address, 100, "");
    assert_eq!(stage.caller().infer().status, 503);
    stop(stage.app);
}

#[test]
fn a_backend_that_does_not_answer_is_given_up_in_time() {
    let silent = Backend::new(|_, _| {
        thread::park();
        None
    });
    let stable = Backend::always(200, "{}");
    let limits = "    timeouts: { first_byte: 1s }\n";
    let stage = Stage::new(stable.address, silent.address, 100, limits);
    let answer = stage.caller().infer();
    assert!(answer.status == 504 && answer.body.contains("timeouts"), "{answer:?}");
    assert!((stage.outcome("v2", "backend_timeout") - 1.0).abs() < 0.5);
    stop(stage.app);
    let saved = format!("{limits}    fallback: {{ to: stable, when: [timeout] }}\n");
    let stage = Stage::new(stable.address, silent.address, 100, &saved);
    assert_eq!(stage.caller().infer().status, 200);
    stop(stage.app);
}

#[test]
fn a_connection_that_breaks_is_told_and_counted_once() {
    let broken = Backend::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").ok().and(None)
    });
    let stage = Stage::new(model(200, 1), broken.address, 100, "");
    let mut stream = TcpStream::connect(stage.app.data).unwrap();
    stream.write_all(b"GET /v2/models/digits HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(
        String::from_utf8_lossy(&answer).ends_with("half"),
        "what came is passed on, and then the connection is cut"
    );
    wait("the count", || ((stage.outcome("v2", "backend_reset") - 1.0).abs() < 0.5).then_some(()));
    let silent = Backend::new(|_, _| None);
    let stage = {
        stop(stage.app);
        Stage::new(model(200, 1), silent.address, 100, "")
    };
    assert_eq!(stage.caller().infer().status, 502);
    stop(stage.app);
}

#[test]
fn an_answer_streams_chunk_by_chunk() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let backend = Backend::new(move |_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .ok()?;
        for word in ["one", "two"] {
            stream.write_all(format!("b\r\ndata: {word}\n\n\r\n").as_bytes()).ok()?;
            told.lock().unwrap().recv().ok()?;
        }
        stream.write_all(b"0\r\n\r\n").ok()
    });
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let mut stream = TcpStream::connect(stage.app.data).unwrap();
    stream.write_all(b"POST /v2/models/digits HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut until = |wanted: &str| {
        let mut bytes = [0; 1024];
        while !text.contains(wanted) {
            let n = stream.read(&mut bytes).unwrap();
            assert!(n > 0, "the stream ended before {wanted:?}: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    };
    // The first event is here before the backend has been told to send the second.
    until("data: one");
    tell.send(()).unwrap();
    until("data: two");
    tell.send(()).unwrap();
    until("0\r\n\r\n");
    stop(stage.app);
}

#[test]
fn limits_refuse_what_is_too_much() {
    let slow = Backend::new(|_, _| {
        thread::park();
        None
    });
    let limits = "    limits: { request_body: 10B, in_flight: 1, queue: 1, queue_wait: 50ms }\n    timeouts: { first_byte: 1s }\n";
    let stage = Stage::new(slow.address, slow.address, 0, limits);
    let data = stage.app.data;
    let post = move |body: &str| Caller::new(data).call("POST", "/v2/models/digits/infer", "", body);
    assert_eq!(post("elevenbytes").status, 413);
    assert_eq!(raw(data, "POST /v2/models/digits HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nb\r\nelevenbytes\r\n0\r\n\r\n").split(' ').nth(1), Some("413"));
    let first = thread::spawn(move || post("tenbytes.."));
    wait("the place to be taken", || slow.seen().iter().any(|r| r.body == "tenbytes..").then_some(()));
    let answer: Answer = post("tenbytes..");
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "1"), "{answer:?}");
    assert!(stage.metric(&["coalmine_refusals_total", "overload"]) >= 1.0);
    assert_eq!(first.join().unwrap().status, 504);
    stop(stage.app);
}

#[test]
fn a_user_stays_with_a_variant_and_more_weight_only_adds_users() {
    let (stable, canary) = (model(200, 1), model(200, 2));
    let of = |weight: u32| {
        let stage = Stage::new(stable, canary, weight, "    sticky: { header: x-user-id }\n");
        let mut caller = stage.caller();
        let mut variant = |user: u32| {
            let headers = format!("x-user-id: user-{user}\r\n");
            caller.call("POST", "/v2/models/digits/infer", &headers, "{}").headers.remove("x-coalmine-variant").unwrap()
        };
        let drawn: BTreeMap<u32, bool> = (0..2000).map(|user| (user, variant(user) == "v2")).collect();
        for user in 0..50 {
            assert_eq!(variant(user) == "v2", drawn[&user], "user {user} moved");
        }
        stop(stage.app);
        drawn
    };
    let (ten, quarter) = (of(10), of(25));
    let count = |drawn: &BTreeMap<u32, bool>| drawn.values().filter(|canary| **canary).count();
    // 2000 users: five standard deviations either way.
    assert!((133..=267).contains(&count(&ten)), "{}", count(&ten));
    assert!((403..=597).contains(&count(&quarter)), "{}", count(&quarter));
    assert!(ten.iter().all(|(user, canary)| !canary || quarter[user]), "who is in at 10 % is in at 25 %");
}

#[test]
fn a_pinned_request_gets_its_variant_and_is_judged_by_nobody() {
    let stage = Stage::new(model(200, 1), model(200, 2), 0, "    pin: true\n");
    let mut caller = stage.caller();
    let answer = caller.call("POST", "/v2/models/digits/infer", "x-coalmine-pin: v2\r\n", "{}");
    assert_eq!(answer.headers["x-coalmine-variant"], "v2");
    assert!(!answer.headers.contains_key("x-coalmine-ticket"), "a label about it would count");
    let answer = caller.call("POST", "/v2/models/digits/infer", "x-coalmine-pin: v9\r\n", "{}");
    assert_eq!(answer.headers["x-coalmine-variant"], "v1", "an unknown name is no pin");
    assert!((stage.metric(&["coalmine_pinned_total", "\"v2\""]) - 1.0).abs() < 0.5);
    assert!(stage.outcome("v2", "ok") < 0.5);
    stop(stage.app);
}

#[test]
fn a_caller_that_hangs_up_is_not_the_models_fault() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let backend = Backend::new(move |_, stream| {
        told.lock().unwrap().recv().ok()?;
        write(stream, 200, "", "late")
    });
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let mut stream = TcpStream::connect(stage.app.data).unwrap();
    stream.write_all(b"POST /v2/models/digits HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").unwrap();
    wait("the request to arrive", || (!backend.seen().is_empty()).then_some(()));
    drop(stream);
    wait("the count", || (stage.outcome("v1", "client_gone") > 0.5).then_some(()));
    assert!(stage.outcome("v1", "backend_reset") < 0.5);
    drop(tell);
    stop(stage.app);
}

#[test]
fn what_is_in_flight_is_finished_before_the_end() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let backend = Backend::new(move |_, stream| {
        told.lock().unwrap().recv().ok()?;
        write(stream, 200, "", "done")
    });
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let data = stage.app.data;
    let asked = thread::spawn(move || Caller::new(data).infer());
    wait("the request to arrive", || (!backend.seen().is_empty()).then_some(()));
    stage.app.drain();
    let mut admin = Caller::new(stage.app.admin);
    assert_eq!(admin.call("GET", "/readyz", "", "").status, 503);
    wait("the listeners to close", || TcpStream::connect(data).is_err().then_some(()));
    tell.send(()).unwrap();
    let answer = asked.join().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    stage.app.join();
    assert!(TcpStream::connect(data).is_err());
}

#[test]
fn a_kept_connection_is_parked_while_nobody_uses_it_and_serves_again() {
    let backend = Backend::always(200, "{}");
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let parked = |wanted: f64| {
        wait("the connection's state", || {
            ((stage.metric(&["coalmine_connections_parked"]) - wanted).abs() < 0.5).then_some(())
        });
    };
    let mut kept = stage.caller();
    for _ in 0..3 {
        assert_eq!(kept.infer().status, 200);
        // The admin connection that asks is none of these.
        parked(1.0);
    }
    assert_eq!(kept.infer().status, 200);
    parked(1.0);
    drop(kept);
    parked(0.0);
    assert_eq!(backend.seen().len(), 4);
    // Half a head is not parked: its time limit is a shorter one.
    let mut half = TcpStream::connect(stage.app.data).unwrap();
    half.write_all(b"GET /v2/models/digits HTTP/1.1\r\nho").unwrap();
    let mut kept = stage.caller();
    assert_eq!(kept.infer().status, 200);
    parked(1.0);
    half.write_all(b"st: a\r\n\r\n").unwrap();
    let mut answer = [0; 64];
    let n = half.read(&mut answer).unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200"));
    stop(stage.app);
}
