//! Promises that once did not hold, each as small as it can be shown.

use super::{
    Stage,
    caller::Raw,
    metric,
    process::Process,
    recorder::Recorder,
    table::{get, post},
    unjudged,
};
use crate::support::{model, wait};
use std::{
    fs,
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

#[test]
fn a_stalled_upload_ends_at_the_idle_limit_not_at_first_byte() {
    let backend = Recorder::new(|_, _| Some(()));
    let stage = Stage::new(backend.address, backend.address, 0, "    timeouts: { idle: 300ms, first_byte: 5s }\n");
    let begin = Instant::now();
    let answer = Raw::sent(stage.app.data, post("content-length: 9\r\n", "half")).answer(false).unwrap();
    assert_eq!(answer.status, 408);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    stage.stop();
}

#[test]
fn an_http10_backend_does_not_make_our_answer_http10() {
    let backend =
        Recorder::new(|_, stream| stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok").ok().and(None));
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let mut raw = Raw::sent(stage.app.data, get("host: a\r\n"));
    let answer = raw.answer(false).unwrap();
    assert!(answer.head.starts_with("http/1.1 200"), "{answer:?}");
    raw.send(get("host: a\r\n"));
    assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200));
    stage.stop();
}

#[test]
fn a_get_with_a_body_in_chunks_keeps_it() {
    let backend = Recorder::echo();
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let chunked = "host: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 1\r\n";
    let answer = Raw::sent(stage.app.data, get(chunked)).answer(false);
    assert_eq!(answer.map(|answer| answer.status), Ok(200));
    assert_eq!(backend.seen().requests[0].body, b"body");
    stage.stop();
}

#[test]
fn half_a_head_does_not_hold_the_exit() {
    let mut process = Process::new(model(200, 1), model(200, 1), "", "drain: { lame_duck: 0s, limit: 20s }\n");
    let _half = Raw::sent(process.data, "GET / HTTP/1.1\r\nhost:");
    let mut kept = Raw::sent(process.data, get("host: a\r\n"));
    kept.answer(false).unwrap();
    process.terminate();
    let (_, after) = process.end();
    assert!(after < Duration::from_secs(5), "{after:?}");
}

#[test]
fn a_pipe_in_the_place_of_the_file_does_not_stop_the_control_thread() {
    let address = model(200, 1);
    let process = Process::under("", &unjudged(address, address, 0, ""), "");
    let dir = process.dir.path().join("routes");
    assert!(Command::new("mkfifo").arg(dir.join(".next")).status().unwrap().success());
    fs::rename(dir.join(".next"), dir.join("routes.yaml")).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let mut probe = Raw::sent(process.admin, "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        probe.stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        assert_eq!(probe.answer(false).map(|answer| answer.status), Ok(200), "the control thread waits for a writer");
    }
}

#[test]
fn a_start_on_a_full_disk_serves() {
    let state = tempfile::tempdir().unwrap();
    let address = model(200, 1);
    let settings = format!("state: {{ dir: {} }}\n", state.path().display());
    // Every write to a file fails, as on a full disk.
    let process = Process::under("trap '' XFSZ; ulimit -f 0", &unjudged(address, address, 0, ""), &settings);
    assert_eq!(Raw::sent(process.data, get("host: a\r\n")).answer(false).map(|answer| answer.status), Ok(200));
}

#[test]
fn a_caller_that_leaves_during_an_upload_is_gone_not_bad() {
    let backend = Recorder::new(|_, _| Some(()));
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let raw = Raw::sent(stage.app.data, post("content-length: 1000\r\n", "half"));
    wait("it to arrive", || backend.lines().first().is_some_and(|line| !line.bytes.is_empty()).then_some(()));
    drop(raw);
    wait("the count", || (stage.metric(&["coalmine_requests_total{", "\"client_"]) > 0.5).then_some(()));
    assert!(stage.metric(&["coalmine_requests_total{", "\"client_gone\""]) > 0.5, "counted as client_bad");
    stage.stop();
}

#[test]
fn too_many_connections_are_told_with_503() {
    let backend = Recorder::echo();
    let stage = Stage::with(backend.address, backend.address, 0, "", |settings| settings.connections.max = 2);
    let mut held: Vec<Raw> = (0..2).map(|_| Raw::sent(stage.app.data, get("host: a\r\n"))).collect();
    held.iter_mut().for_each(|raw| assert_eq!(raw.answer(false).map(|a| a.status), Ok(200)));
    let answer = Raw::sent(stage.app.data, get("host: a\r\n")).answer(false);
    assert_eq!(answer.map(|a| a.status), Ok(503));
    stage.stop();
}

#[test]
fn callers_with_half_a_head_cost_little() {
    let process = Process::new(model(200, 1), model(200, 1), "", "");
    let before = process.memory();
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(380_000));
    let held: Vec<Raw> = (0..200).map(|_| Raw::sent(process.data, &head)).collect();
    let refused = || metric(process.admin, &["coalmine_refusals_total", "large_head"]);
    wait("all of them to be refused", || (refused() >= held.len() as f64).then_some(()));
    let each = process.memory().saturating_sub(before) / held.len() as u64;
    println!("{} KB for each caller with half a head", each / 1024);
    assert!(
        each < 128 * 1024,
        "{} KB each, {} MB for the 10,000 callers that are let in",
        each / 1024,
        each * 10_000 / (1 << 20)
    );
}
