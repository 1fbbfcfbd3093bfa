//! How often a request is sent, and what a canary that is dead or hangs costs the callers of stable.

use super::{Stage, caller::Raw, parse::Request, recorder::Recorder, table::PATH};
use crate::support::{Caller, model, wait};
use std::{
    collections::HashMap,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

fn ok(stream: &mut std::net::TcpStream) -> Option<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").ok()
}

/// Answers the first request on each connection, and breaks at every other one after having read it.
fn fickle() -> Recorder {
    let nth = AtomicUsize::new(0);
    Recorder::new(move |_, stream| if nth.fetch_add(1, Relaxed).is_multiple_of(2) { ok(stream) } else { None })
}

/// How often the backend got each request, by its id.
fn copies(requests: &[Request]) -> HashMap<String, usize> {
    let mut copies = HashMap::new();
    for request in requests {
        *copies.entry(request.all("x-id").join(",")).or_default() += 1;
    }
    copies
}

fn send(stage: &Stage, method: &str, count: usize) -> Vec<u16> {
    (0..count)
        .map(|id| {
            let text = format!("{method} {PATH} HTTP/1.1\r\nhost: a\r\nx-id: {id}\r\ncontent-length: 2\r\n\r\n{{}}");
            let text = if method == "GET" { text.replace("content-length: 2\r\n\r\n{}", "\r\n") } else { text };
            Raw::sent(stage.app.data, text).answer(false).map_or(0, |answer| answer.status)
        })
        .collect()
}

#[test]
fn a_post_is_sent_once_although_its_connection_broke() {
    for more in ["", "    fallback: { to: stable, when: [connect, timeout, \"502\"] }\n", "    fallback: off\n"] {
        let backend = fickle();
        let stage = Stage::with(backend.address, backend.address, 50, more, |settings| settings.threads = Some(1));
        let answers = send(&stage, "POST", 100);
        assert!(answers.iter().all(|status| [200, 502].contains(status)), "{answers:?}");
        assert!(answers.contains(&502) && answers.contains(&200), "nothing broke: {answers:?}");
        let copies = copies(&backend.seen().requests);
        assert_eq!(copies.len(), 100);
        assert!(copies.values().all(|n| *n == 1), "{more:?}: sent twice: {copies:?}");
        stage.stop();
    }
}

#[test]
fn what_may_be_repeated_is_sent_again_once_on_a_connection_of_its_own() {
    for (method, more) in [("GET", ""), ("POST", "    fallback: { to: stable, when: [connect, reset] }\n")] {
        let backend = fickle();
        let stage = Stage::with(backend.address, backend.address, 0, more, |settings| settings.threads = Some(1));
        let answers = send(&stage, method, 100);
        assert!(answers.iter().all(|status| *status == 200), "{method}: {answers:?}");
        let copies = copies(&backend.seen().requests);
        assert!(copies.values().all(|n| *n <= 2) && copies.values().any(|n| *n == 2), "{method}: {copies:?}");
        assert!(stage.metric(&["coalmine_resends_total{", "\"sent\""]) > 10.0);
        stage.stop();
    }
}

/// A connection that the backend has closed while it was idle costs nobody anything: nothing was written on it.
#[test]
fn connections_that_close_while_they_are_idle_cost_no_request() {
    let backend = Recorder::new(|_, stream| ok(stream).and(None));
    let stage = Stage::with(backend.address, backend.address, 0, "", |settings| settings.threads = Some(1));
    for round in 0..100 {
        assert_eq!(send(&stage, "POST", 1), [200], "round {round}");
        wait("the backend to have closed", || backend.lines().iter().all(|line| line.closed).then_some(()));
        thread::yield_now();
    }
    stage.stop();
}

/// All kept connections die at once under many requests: what is sent again stays within its budget.
#[test]
fn resends_stay_within_their_budget_when_everything_breaks_at_once() {
    let backend = Recorder::new(|request, stream| {
        if request.target.ends_with("warm") {
            ok(stream)
        } else {
            thread::sleep(Duration::from_millis(200));
            None
        }
    });
    let stage = Stage::with(backend.address, backend.address, 0, "", |settings| settings.threads = Some(1));
    let all = |path: &str| {
        let mut sent: Vec<Raw> = (0..40)
            .map(|_| Raw::sent(stage.app.data, format!("GET {PATH}/{path} HTTP/1.1\r\nhost: a\r\n\r\n")))
            .collect();
        sent.iter_mut().map(|raw| raw.answer(false).map_or(0, |answer| answer.status)).collect::<Vec<_>>()
    };
    assert!(all("warm").iter().all(|status| *status == 200));
    let before = backend.seen().requests.len();
    assert!(all("broken").iter().all(|status| *status == 502));
    let sent = backend.seen().requests.len() - before;
    println!("40 requests that all break were sent {sent} times");
    assert!(sent <= 40 + 8, "a fifth of 40 may be sent again: {sent}");
    stage.stop();
}

#[test]
fn a_dead_canary_at_ten_per_cent_fails_none_of_ten_thousand() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stage = Stage::new(model(200, 1), nobody, 10, "");
    let begin = Instant::now();
    let failed: usize = thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut caller = Caller::new(stage.app.data);
                    (0..2_500).filter(|_| caller.infer().status != 200).count()
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    let refused = stage.metric(&["coalmine_requests_total{", "\"v2\"", "\"backend_connect\""]);
    println!("dead canary at 10 %: {failed} of 10,000 failed, {refused} counted against it, in {:?}", begin.elapsed());
    assert_eq!(failed, 0);
    assert!((800.0..1200.0).contains(&refused), "{refused}");
    stage.stop();
}

/// 99th percentile of so many requests to stable.
fn p99(data: SocketAddr, count: usize) -> Duration {
    let mut caller = Caller::new(data);
    let mut took: Vec<Duration> = (0..count)
        .map(|_| {
            let begin = Instant::now();
            let answer = caller.call("POST", "/v2/models/digits/infer", "x-coalmine-pin: v1\r\n", "{}");
            assert_eq!((answer.status, answer.headers["x-coalmine-variant"].as_str()), (200, "v1"));
            begin.elapsed()
        })
        .collect();
    took.sort();
    took[count * 99 / 100]
}

#[test]
fn a_canary_that_hangs_slows_no_caller_of_stable() {
    let hung = Recorder::new(|_, _| Some(()));
    let more = "    pin: true\n    limits: { in_flight: 64, queue: 16, queue_wait: 5s }\n";
    let stage = Stage::new(model(200, 1), hung.address, 0, more);
    p99(stage.app.data, 500);
    let before = p99(stage.app.data, 2_000);
    // More than the canary has places for, and than its queue holds; and more come all the time.
    let ask = "POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\nx-coalmine-pin: v2\r\ncontent-length: 2\r\n\r\n{}";
    let waiting: Vec<Raw> = (0..80).map(|_| Raw::sent(stage.app.data, ask)).collect();
    wait("the canary's places to be taken", || (hung.lines().len() == 64).then_some(()));
    let over = Arc::new(AtomicUsize::new(0));
    let (flag, data) = (over.clone(), stage.app.data);
    let more = thread::spawn(move || {
        while flag.load(Relaxed) == 0 {
            assert_eq!(Raw::sent(data, ask).answer(false).map_or(0, |answer| answer.status), 503, "its queue is full");
            thread::sleep(Duration::from_millis(1));
        }
    });
    let during = p99(stage.app.data, 2_000);
    over.store(1, Relaxed);
    more.join().unwrap();
    drop(waiting);
    let ratio = during.as_secs_f64() / before.as_secs_f64();
    println!(
        "stable's p99: {before:?} alone, {during:?} beside a canary that hangs with 80 requests: ratio {ratio:.2}"
    );
    assert!(during < Duration::from_millis(100), "{during:?}");
    stage.stop();
}
