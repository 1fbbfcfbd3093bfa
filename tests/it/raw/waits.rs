//! Time: nothing is held back, nobody is waited for without a limit, and who has left is not worked for.

use super::{
    Stage,
    caller::{End, Raw},
    recorder::Recorder,
    table::{PATH, get, post},
};
use crate::support::{Caller, wait};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// Reads whatever comes and never says a word.
fn silent() -> Recorder {
    Recorder::new(|_, _| Some(()))
}

fn one_thread(backend: &Recorder, more: &str) -> Stage {
    Stage::with(backend.address, backend.address, 0, more, |settings| settings.threads = Some(1))
}

#[test]
fn an_event_is_on_its_way_within_fifty_milliseconds() {
    let backend = Recorder::new(|_, stream| {
        stream.write_all(STREAM).ok()?;
        let begin = Instant::now();
        for n in 0..40u32 {
            thread::sleep((Duration::from_millis(10) * n).saturating_sub(begin.elapsed()));
            // The byte count of the chunk, and when it was sent, on the one clock of this process.
            let event = format!("data: {:020}\n\n", since_start().as_nanos());
            stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).ok()?;
        }
        stream.write_all(b"0\r\n\r\n").ok()
    });
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let mut raw = Raw::sent(stage.app.data, post("content-length: 0\r\n", ""));
    let (mut text, mut delays, mut bytes) = (String::new(), Vec::new(), [0; 4096]);
    while !text.ends_with("0\r\n\r\n") {
        let n = raw.stream.read(&mut bytes).unwrap();
        assert!(n > 0, "the stream ended early: {text}");
        let now = since_start();
        let fresh = String::from_utf8_lossy(&bytes[..n]).into_owned();
        text.push_str(&fresh);
        for sent in fresh.split("data: ").skip(1).filter_map(|rest| rest.get(..20)?.parse().ok()) {
            delays.push(now.saturating_sub(Duration::from_nanos(sent)));
        }
    }
    stage.stop();
    delays.sort();
    println!(
        "event delay: median {:?}, worst {:?} of {}",
        delays[delays.len() / 2],
        delays[delays.len() - 1],
        delays.len()
    );
    assert_eq!(delays.len(), 40, "events came in pieces or together");
    // The machine may be busy with other tests for a moment; holding back would hit every event.
    assert!(delays[delays.len() * 9 / 10] < Duration::from_millis(50), "{delays:?}");
}

fn since_start() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// The caller leaves at a moment; the backend must see the end of its connection within two seconds.
#[test]
fn a_caller_that_leaves_ends_the_work_within_two_seconds() {
    let streaming = || Recorder::new(|_, stream| stream.write_all(&[STREAM, b"1\r\na\r\n"].concat()).ok());
    let dripping = || {
        Recorder::new(|_, stream| {
            stream.write_all(STREAM).ok()?;
            loop {
                stream.write_all(b"1\r\na\r\n").ok()?;
                thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let upload = post("content-length: 1000\r\n", "half");
    for (moment, backend, text, head) in [
        ("before the head", silent(), post("content-length: 0\r\n", ""), false),
        ("before the head of a GET", silent(), get("host: a\r\n"), false),
        ("while the stream is silent", streaming(), post("content-length: 0\r\n", ""), true),
        ("in the middle of a stream", dripping(), post("content-length: 0\r\n", ""), true),
        ("in the middle of an upload", silent(), upload, false),
    ] {
        let stage = one_thread(&backend, "");
        let mut raw = Raw::sent(stage.app.data, text);
        wait("the request to arrive", || {
            (!backend.lines().is_empty() && !backend.lines()[0].bytes.is_empty()).then_some(())
        });
        if head {
            raw.until("1\r\na\r\n").unwrap();
        }
        assert!(backend.lines().iter().all(|line| !line.closed), "{moment}: it was over before");
        let begin = Instant::now();
        drop(raw);
        wait(moment, || backend.lines().iter().all(|line| line.closed).then_some(()));
        println!("{moment}: the backend knew after {:?}", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(2), "{moment}: {:?}", begin.elapsed());
        wait("the count", || (stage.metric(&["coalmine_requests_total{", "\"client_"]) > 0.5).then_some(()));
        assert!(stage.metric(&["coalmine_requests_total{", "\"backend_"]) < 0.5, "{moment}: the backend was blamed");
        stage.stop();
    }
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let backend = Recorder::echo();
    let stage = Stage::with(backend.address, backend.address, 0, "", |settings| {
        settings.connections.header_read = Duration::from_millis(300);
    });
    let mut kept = Raw::sent(stage.app.data, get("host: a\r\n"));
    assert_eq!(kept.answer(false).map(|answer| answer.status), Ok(200));
    let mut waiting: Vec<_> =
        ["", "G", "GET /v2/models/digits", "GET /v2/models/digits HTTP/1.1\r\nhost: a\r\n", "\r\n\r\n"]
            .iter()
            .map(|start| (*start, Raw::sent(stage.app.data, start)))
            .collect();
    waiting.push(("a kept connection", kept));
    for (start, raw) in &mut waiting {
        let (end, after) = raw.end_after();
        let told = matches!(&end, End::Cut(text) if text.starts_with("HTTP/1.1 408"));
        assert!(end == End::Closed || told, "{start:?}: {end:?}");
        assert!(after < Duration::from_secs(3), "{start:?}: {after:?}");
    }
    // Three of them had begun a head; the others had nothing to be slow with.
    let slow = || stage.metric(&["coalmine_refusals_total", "\"slow_head\""]);
    wait("the count", || (slow() > 2.5).then_some(()));
    assert!(slow() < 3.5, "{}", slow());
    // A head that drips is as late as one that never comes.
    let mut raw = Raw::new(stage.app.data);
    let begin = Instant::now();
    wait("the dripping head to be given up", || {
        thread::sleep(Duration::from_millis(20));
        raw.stream.write_all(b"x").is_err().then_some(())
    });
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(backend.seen().requests.len() == 1);
    stage.stop();
}

/// A socket whose backlog is full and that nobody accepts from: SYNs are dropped, as by a host that is gone.
fn black_hole() -> (TcpListener, SocketAddr, Vec<std::net::TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener: TcpListener = socket.into();
    let address = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let held = std::iter::from_fn(connect).take(64).collect();
    (listener, address, held)
}

#[test]
fn every_wait_for_a_backend_has_its_limit() {
    let limit = Duration::from_millis(200);
    let within = |name: &str, begin: Instant| {
        let took = begin.elapsed();
        println!("{name}: given up after {took:?} at a limit of {limit:?}");
        assert!(took > limit / 2 && took < Duration::from_secs(3), "{name}: {took:?}");
    };
    let (_listener, hole, _held) = black_hole();
    let stage = Stage::new(hole, hole, 0, "    timeouts: { connect: 200ms }\n");
    let begin = Instant::now();
    let answer = Raw::sent(stage.app.data, get("host: a\r\n")).answer(false).unwrap();
    assert_eq!(answer.status, 502, "{answer:?}");
    within("connect", begin);
    stage.stop();

    let backend = silent();
    for (name, more, text, status) in [
        ("first byte", "    timeouts: { first_byte: 200ms }\n", get("host: a\r\n"), 504),
        ("total", "    timeouts: { total: 200ms }\n", get("host: a\r\n"), 504),
        ("body", "    timeouts: { idle: 200ms, first_byte: 200ms }\n", post("content-length: 9\r\n", "half"), 408),
    ] {
        let stage = one_thread(&backend, more);
        let begin = Instant::now();
        let mut raw = Raw::sent(stage.app.data, text);
        let answer = raw.answer(false).unwrap();
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        within(name, begin);
        wait("the backend's connection to be closed", || backend.lines().iter().all(|line| line.closed).then_some(()));
        stage.stop();
    }
    let backend = Recorder::new(|_, stream| stream.write_all(&[STREAM, b"1\r\na\r\n"].concat()).ok());
    for (name, more) in
        [("idle", "    timeouts: { idle: 200ms }\n"), ("total of a stream", "    timeouts: { total: 200ms }\n")]
    {
        let stage = one_thread(&backend, more);
        let begin = Instant::now();
        let end = Raw::sent(stage.app.data, get("host: a\r\n")).answer(false).unwrap_err();
        assert!(matches!(&end, End::Cut(text) if text.ends_with("1\r\na\r\n")), "{name}: {end:?}");
        within(name, begin);
        stage.stop();
    }
}

/// A stream that goes on is not cut by the limit between bytes.
#[test]
fn a_stream_longer_than_its_idle_limit_lives() {
    let backend = Recorder::new(|_, stream| {
        stream.write_all(STREAM).ok()?;
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(50));
            stream.write_all(b"1\r\na\r\n").ok()?;
        }
        stream.write_all(b"0\r\n\r\n").ok()
    });
    let stage = one_thread(&backend, "    timeouts: { idle: 500ms, first_byte: 500ms }\n");
    let answer = Raw::sent(stage.app.data, get("host: a\r\n")).answer(false).unwrap();
    assert_eq!(answer.text(), "a".repeat(20));
    stage.stop();
}

#[test]
fn overload_is_a_fast_503_and_probes_keep_answering() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let backend = Recorder::new(move |_, stream| {
        told.lock().unwrap().recv().ok()?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
    });
    let stage = Stage::new(backend.address, backend.address, 0, "    limits: { in_flight: 2, queue: 0 }\n");
    let taken: Vec<Raw> = (0..2).map(|_| Raw::sent(stage.app.data, get("host: a\r\n"))).collect();
    wait("both places to be taken", || (backend.seen().requests.len() == 2).then_some(()));
    let mut took: Vec<Duration> = (0..300)
        .map(|number| {
            let mut raw = Raw::new(stage.app.data);
            let begin = Instant::now();
            raw.send(if number % 2 == 0 { get("host: a\r\n") } else { post("content-length: 3\r\n", "abc") });
            let answer = raw.answer(false).unwrap();
            assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")), "{answer:?}");
            if number % 50 == 0 {
                let mut admin = Caller::new(stage.app.admin);
                assert_eq!(admin.call("GET", "/livez", "", "").status, 200);
                assert_eq!(admin.call("GET", "/readyz", "", "").status, 200);
            }
            begin.elapsed()
        })
        .collect();
    took.sort();
    println!("503 after: median {:?}, worst {:?}", took[took.len() / 2], took[took.len() - 1]);
    assert!(took[took.len() / 2] < Duration::from_millis(50), "{took:?}");
    assert_eq!(backend.seen().requests.len(), 2, "a refused request went on");
    (0..3).for_each(|_| tell.send(()).unwrap());
    for mut raw in taken {
        assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200), "what was in flight is served");
    }
    assert_eq!(
        Raw::sent(stage.app.data, format!("GET {PATH} HTTP/1.1\r\nhost: a\r\n\r\n")).answer(false).unwrap().status,
        200
    );
    stage.stop();
}

#[test]
fn an_early_answer_during_an_upload_reaches_the_caller() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                let _ = stream.read(&mut bytes);
                let _ = stream.write_all(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
                thread::sleep(Duration::from_secs(3));
            });
        }
    });
    let stage = Stage::new(address, address, 0, "");
    let begin = Instant::now();
    let answer = Raw::sent(stage.app.data, post("content-length: 1000000\r\n", "begin")).answer(false);
    assert_eq!(answer.map(|answer| (answer.status, answer.text())), Ok((403, "no".to_owned())));
    assert!(begin.elapsed() < Duration::from_secs(2));
    // And while the caller is in the middle of sending all of it.
    let mut raw = Raw::new(stage.app.data);
    raw.send(post("content-length: 50000000\r\n", &"x".repeat(50_000_000)));
    assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(403));
    stage.stop();
}

#[test]
fn a_reader_that_is_slow_on_purpose_ends_at_the_total_limit() {
    let backend = Recorder::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").ok()?;
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
        None
    });
    let stage = Stage::new(backend.address, backend.address, 0, "    timeouts: { total: 500ms }\n");
    let mut raw = Raw::sent(stage.app.data, get("host: a\r\n"));
    let begin = Instant::now();
    let mut bytes = [0; 16384];
    while raw.stream.read(&mut bytes).is_ok_and(|n| n > 0) {
        assert!(begin.elapsed() < Duration::from_secs(3), "it still holds its place at the backend");
        thread::sleep(Duration::from_millis(5));
    }
    stage.stop();
}
