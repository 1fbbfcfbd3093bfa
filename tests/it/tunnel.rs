//! Connections that change their protocol: WebSocket with real peers, and the limits of tunnels byte by byte.

use super::{
    python::{self, Server, run},
    raw::{
        caller::{End, Raw},
        recorder::Recorder,
    },
    stage::Stage,
    support::wait,
};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";

/// Changes to a protocol in which it says everything back, its first words right behind the head.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).ok()?;
                    head.push(byte[0]);
                }
                let changed = "HTTP/1.1 101 X\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nwelcome ";
                stream.write_all(changed.as_bytes()).ok()?;
                let mut bytes = [0; 1024];
                while let n @ 1.. = stream.read(&mut bytes).ok()? {
                    stream.write_all(&bytes[..n]).ok()?;
                }
                Some(())
            });
        }
    });
    address
}

fn stage(more: &str, settings: &str) -> Stage {
    Stage::one(&format!("http://{}", echo()), more, settings)
}

fn open(stage: &Stage) -> Raw {
    let mut raw = Raw::sent(stage.data(), ASK);
    let answer = raw.answer(false).unwrap();
    assert_eq!(
        (answer.status, answer.field("upgrade"), answer.field("connection")),
        (101, Some("echo"), Some("upgrade"))
    );
    raw.until("welcome ").unwrap();
    raw
}

#[test]
fn websocket_messages_pings_and_closes_go_both_ways() {
    let server = Server::start(&python::clients(), "ws_server.py", &[]);
    let stage = Stage::one(&format!("http://127.0.0.1:{}", server.port), "", "");
    run(&python::clients(), "ws_client.py", &[&format!("ws://{}", stage.data())]);
    wait("both to be closed", || (server.said("closed 4001") == 1 && server.said("closed 4002") == 1).then_some(()));
    wait("no tunnel to be left", || (stage.count(&["coalmine_tunnels_open"]) == 0).then_some(()));
    assert_eq!(stage.outcome("v1", "ok"), 4, "two tunnels, and two that were refused");
    stage.stop();
}

#[test]
fn a_silent_tunnel_is_cut_and_a_busy_one_is_not() {
    let stage = stage("    timeouts: { idle: 1s }\n", "");
    let mut raw = open(&stage);
    let begin = Instant::now();
    // Longer than the limit altogether, never silent for so long.
    for number in 0..8 {
        raw.send(format!("{number} "));
        raw.until(&format!("{number} ")).unwrap();
        thread::sleep(Duration::from_millis(200));
    }
    assert!(begin.elapsed() > Duration::from_millis(1500));
    let begin = Instant::now();
    assert!(matches!(raw.end(), End::Cut(_)));
    let after = begin.elapsed();
    assert!(after > Duration::from_millis(500) && after < Duration::from_secs(4), "cut after {after:?}");
    wait("no tunnel to be left", || (stage.count(&["coalmine_tunnels_open"]) == 0).then_some(()));
    stage.stop();
}

#[test]
fn no_more_tunnels_than_are_allowed() {
    let stage = stage("", "connections: { tunnels: 1 }\n");
    let first = open(&stage);
    wait("it to be counted", || (stage.count(&["coalmine_tunnels_open"]) == 1).then_some(()));
    let mut second = Raw::sent(stage.data(), ASK);
    let answer = second.answer(false).unwrap();
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")), "{answer:?}");
    assert_eq!(stage.count(&["coalmine_refusals_total", "tunnels"]), 1);
    drop(first);
    wait("the place to be free", || (stage.count(&["coalmine_tunnels_open"]) == 0).then_some(()));
    drop(open(&stage));
    stage.stop();
}

#[test]
fn a_drain_waits_for_tunnels_up_to_its_limit() {
    let stage = stage("", "drain: { limit: 700ms }\n");
    let mut raw = open(&stage);
    stage.app.drain();
    raw.send("still here ");
    raw.until("still here ").unwrap();
    let begin = Instant::now();
    stage.stop();
    assert!(
        begin.elapsed() > Duration::from_millis(300) && begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    assert!(matches!(raw.end(), End::Cut(_)));
}

#[test]
fn with_a_body_it_is_a_plain_request() {
    let backend = Recorder::echo();
    let stage = Stage::one(&format!("http://{}", backend.address), "", "");
    let mut raw = Raw::new(stage.data());
    for framing in ["content-length: 3\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        raw.send(format!("POST /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n{framing}"));
        assert_eq!(raw.answer(false).unwrap().status, 200);
    }
    let seen = backend.seen();
    assert_eq!(seen.requests.len(), 2);
    for request in &seen.requests {
        assert_eq!(request.body, b"abc");
        assert!(!request.headers.iter().any(|(name, _)| name == "upgrade" || name == "connection"), "{request:?}");
    }
    stage.stop();
}

#[test]
fn a_burst_opens_no_more_tunnels_than_are_allowed() {
    const ALLOWED: usize = 3;
    let backend = format!("http://{}", echo());
    // On as many threads as there are cores: the count is theirs together.
    let stage = Stage::new(&backend, &backend, 0, "", "connections: { tunnels: 3 }\n");
    for _ in 0..5 {
        // All answers are on their way at once.
        let mut raws: Vec<Raw> = (0..40).map(|_| Raw::sent(stage.data(), ASK)).collect();
        let statuses: Vec<u16> = raws.iter_mut().map(|raw| raw.answer(false).unwrap().status).collect();
        let opened = statuses.iter().filter(|status| **status == 101).count();
        assert_eq!(opened, ALLOWED, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 503).count(), raws.len() - ALLOWED);
        drop(raws);
        wait("no tunnel to be left", || (stage.count(&["coalmine_tunnels_open"]) == 0).then_some(()));
    }
    stage.stop();
}
