//! How the real process ends, and how it lives on when what it leans on is gone.

use super::{
    caller::Raw,
    metric,
    process::Process,
    recorder::Recorder,
    table::{PATH, chunked, get, post},
    unjudged,
};
use crate::support::{Caller, model, routes, wait};
use std::{fs, io::Write as _, net::TcpStream, thread, time::Duration};

/// Slow answers, streams, and an echo of uploads, all over in about a second.
fn slow() -> Recorder {
    Recorder::new(|request, stream| {
        if request.target.ends_with("stream") {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                .ok()?;
            for n in 0..10 {
                stream.write_all(format!("9\r\ndata: {n}\n\n\r\n").as_bytes()).ok()?;
                thread::sleep(Duration::from_millis(100));
            }
            return stream.write_all(b"0\r\n\r\n").ok();
        }
        if request.target.ends_with("slow") {
            thread::sleep(Duration::from_secs(1));
        }
        let length = request.body.len();
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).ok()?;
        stream.write_all(&request.body).ok()
    })
}

#[test]
fn none_of_thirteen_requests_in_flight_is_lost_on_a_plain_sigterm() {
    let backend = slow();
    let settings = "drain: { lame_duck: 200ms, limit: 20s }\n";
    let mut process = Process::new(backend.address, backend.address, "", settings);
    let of = |path: &str| Raw::sent(process.data, format!("GET {PATH}/{path} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let slow: Vec<Raw> = (0..5).map(|_| of("slow")).collect();
    let streams: Vec<Raw> = (0..4).map(|_| of("stream")).collect();
    let mut uploads: Vec<Raw> = (0..2)
        .map(|_| Raw::sent(process.data, post("content-length: 100\r\n", &"x".repeat(10))))
        .chain((0..2).map(|_| Raw::sent(process.data, chunked("a\r\nxxxxxxxxxx\r\n"))))
        .collect();
    // None of these asks for anything: they may not hold the end.
    let silent: Vec<Raw> = (0..5).map(|_| Raw::new(process.data)).collect();
    let mut idle: Vec<Raw> = (0..3).map(|_| Raw::sent(process.data, get("host: a\r\n"))).collect();
    for raw in &mut idle {
        assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200));
    }
    wait("all thirteen to be in flight", || {
        (metric(process.admin, &["coalmine_in_flight{"]) > 12.5 && backend.seen().unfinished == 4).then_some(())
    });
    process.terminate();
    wait("it to be not ready", || {
        (Caller::new(process.admin).call("GET", "/readyz", "", "").status == 503).then_some(())
    });
    // In its lame-duck time it still takes what comes.
    let mut late = Raw::sent(process.data, get("host: a\r\n"));
    assert_eq!(late.answer(false).map(|answer| answer.status), Ok(200), "lame duck");

    let mut lost = Vec::new();
    let mut check = |what: &str, mut raw: Raw, body: &str| match raw.answer(false) {
        Ok(answer) if answer.status == 200 && answer.text() == body => {}
        other => lost.push(format!("{what}: {other:?}")),
    };
    wait("its lame-duck time to be over", || TcpStream::connect(process.data).is_err().then_some(()));
    for (number, raw) in uploads.iter_mut().enumerate() {
        let rest = if number < 2 { "x".repeat(90) } else { format!("5a\r\n{}\r\n0\r\n\r\n", "x".repeat(90)) };
        raw.send(rest);
    }
    uploads.into_iter().for_each(|raw| check("upload", raw, &"x".repeat(100)));
    let events: String = (0..10).map(|n| format!("data: {n}\n\n")).collect();
    streams.into_iter().for_each(|raw| check("stream", raw, &events));
    slow.into_iter().for_each(|raw| check("slow answer", raw, ""));
    let (status, after) = process.end();
    println!("{} of 13 lost; {status} {after:?} after the last one", lost.len());
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(status.code(), Some(0), "{}", process.log.lock().unwrap());
    assert!(after < Duration::from_secs(5), "silent sockets held the exit for {after:?}");
    drop(silent);
}

#[test]
fn what_never_ends_is_cut_at_the_drain_limit_and_the_exit_code_is_still_zero() {
    let hung = Recorder::new(|_, _| Some(()));
    let mut process = Process::new(hung.address, hung.address, "", "drain: { lame_duck: 0s, limit: 500ms }\n");
    let _hangs = Raw::sent(process.data, get("host: a\r\n"));
    wait("it to be in flight", || (!hung.seen().requests.is_empty()).then_some(()));
    process.terminate();
    let (status, after) = process.end();
    println!("ended {after:?} after SIGTERM at a drain limit of 500ms");
    assert_eq!(status.code(), Some(0));
    assert!(after < Duration::from_secs(5), "{after:?}");
}

/// A failing canary makes it write state: with every write failing, traffic and the clamp go on.
#[test]
fn a_full_disk_stops_neither_traffic_nor_the_clamp() {
    let state = tempfile::tempdir().unwrap();
    let full = state.path().join("state");
    let settings = format!("judge: {{ interval: 100ms }}\nstate: {{ dir: {} }}\n", full.display());
    let process = Process::under("", &routes(model(200, 1), model(500, 2), 30), &settings);
    // As a disk that has gone: every write under this path fails from now on, for root too.
    fs::rename(&full, state.path().join("aside")).unwrap();
    fs::write(&full, "no directory").unwrap();
    let mut caller = Caller::new(process.data);
    let effective = || metric(process.admin, &["weight_ratio{", "\"v2\"", "\"effective\""]);
    wait("the clamp", || {
        (0..50).for_each(|_| assert!([200, 500].contains(&caller.infer().status)));
        (effective() < 0.001).then_some(())
    });
    let log = || process.log.lock().unwrap().clone();
    wait("the failure to be told", || log().contains("is there space left?").then_some(()));
    for _ in 0..200 {
        assert_eq!(caller.infer().status, 200, "the canary still gets traffic");
    }
    assert_eq!(Caller::new(process.admin).call("GET", "/readyz", "", "").status, 200);
    wait("the failures to be counted", || {
        (metric(process.admin, &["coalmine_store_failures_total"]) > 0.5).then_some(())
    });
}

#[test]
fn a_lost_remote_stops_neither_traffic_nor_the_clamp() {
    let settings = "judge: { interval: 100ms }\ngit: { remote: 'file:///nowhere/at/all.git', timeout: 2s }\n";
    let process = Process::under("", &routes(model(200, 1), model(500, 2), 30), settings);
    let mut caller = Caller::new(process.data);
    let effective = || metric(process.admin, &["weight_ratio{", "\"v2\"", "\"effective\""]);
    wait("the clamp", || {
        (0..50).for_each(|_| assert!([200, 500].contains(&caller.infer().status)));
        (effective() < 0.001).then_some(())
    });
    wait("the failed push to be told", || {
        let failed = metric(process.admin, &["coalmine_git_commits_total{", "\"failed\""]);
        (failed > 0.5 && metric(process.admin, &["coalmine_git_write_blocked"]) > 0.5).then_some(())
    });
    for _ in 0..200 {
        assert_eq!(caller.infer().status, 200);
    }
    assert_eq!(Caller::new(process.admin).call("GET", "/readyz", "", "").status, 200);
}

/// Started before its file is there: alive, not ready, 503 for everybody, and serving as soon as it comes.
#[test]
fn a_process_without_a_file_waits_for_it() {
    let address = model(200, 1);
    let process = Process::start("", "routes: [", "");
    let mut admin = Caller::new(process.admin);
    assert_eq!(admin.call("GET", "/livez", "", "").status, 200);
    assert_eq!(admin.call("GET", "/readyz", "", "").status, 503);
    let mut raw = Raw::sent(process.data, get("host: a\r\n"));
    let answer = raw.answer(false).unwrap();
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    process.routes(unjudged(address, address, 0, "").as_bytes());
    wait("it to be ready", || (admin.call("GET", "/readyz", "", "").status == 200).then_some(()));
    raw.send(get("host: a\r\n"));
    assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200), "on the connection of before");
}

#[test]
fn a_service_manager_is_told_when_it_serves_and_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut text = [0; 256];
        let n = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..n]).trim().to_owned()
    };
    let address = model(200, 1);
    let first = format!("export NOTIFY_SOCKET={}", path.display());
    let mut process = Process::start(&first, &unjudged(address, address, 0, ""), "drain: { lame_duck: 0s }\n");
    assert_eq!(told(), "READY=1");
    assert_eq!(Raw::sent(process.data, get("host: a\r\n")).answer(false).map(|answer| answer.status), Ok(200));
    process.terminate();
    assert_eq!(told(), "STOPPING=1");
    process.end();
}
