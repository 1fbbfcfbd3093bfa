//! Memory and descriptors of the real process: bounded by what it holds, never by what others send or do not read.

use super::{
    caller::Raw,
    metric,
    process::Process,
    table::{PATH, get, post},
    unjudged,
};
use crate::support::{Caller, model, wait};
use std::{
    env,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

const MB: u64 = 1 << 20;
const BODY: u64 = 1024 * MB;
/// What a body of any size may cost.
const COST: u64 = 32 * MB;

/// Reads the head of a request, then does as it is told with the rest.
fn server(run: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let run = Arc::new(run);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let run = run.clone();
            thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                run(stream);
            });
        }
    });
    address
}

/// Writes the whole body as fast as it is taken; the counter says how much that was.
fn pump(stream: &mut TcpStream, written: &AtomicU64) {
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..BODY / piece.len() as u64 {
        if stream.write_all(&piece).is_err() {
            return;
        }
        written.fetch_add(piece.len() as u64, Relaxed);
    }
}

/// Waits until a counter has not moved for a while.
fn stalled(counter: &AtomicU64) -> u64 {
    let (mut last, mut since) = (0, Instant::now());
    wait("the flow to stall", || {
        thread::sleep(Duration::from_millis(10));
        let now = counter.load(Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (now > 0 && since.elapsed() > Duration::from_millis(300)).then_some(now)
    })
}

#[test]
fn a_body_of_any_size_goes_through_and_a_reader_that_never_reads_costs_little() {
    let written = Arc::new(AtomicU64::new(0));
    let counter = written.clone();
    let fast = server(move |mut stream| {
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n").as_bytes()).unwrap();
        pump(&mut stream, &counter);
    });
    let process = Process::new(fast, fast, "", "");
    let before = process.memory();
    process.peak();

    // Callers that ask and never read: each backend can write only as much as the buffers on the way hold.
    let lazy: Vec<Raw> = (0..4).map(|_| Raw::sent(process.data, get("host: a\r\n"))).collect();
    let taken = stalled(&written);
    let cost = process.peak().saturating_sub(before);
    println!(
        "four callers that never read: {} MB in the system's buffers and ours, {} KB of memory",
        taken / MB,
        cost / 1024
    );
    assert!(taken < 4 * BODY / 4, "{taken} bytes were taken although nobody read");
    assert!(cost < COST, "{cost} bytes");
    drop(lazy);

    // And one that reads: all of it.
    let mut raw = Raw::sent(process.data, get("host: a\r\n"));
    let (mut bytes, mut got) = (vec![0; 256 * 1024], 0);
    while got < BODY {
        let n = raw.stream.read(&mut bytes).unwrap();
        assert!(n > 0, "cut after {got}");
        got += n as u64;
    }
    let cost = process.peak().saturating_sub(before);
    println!("{} MB down: {} KB of memory", BODY / MB, cost / 1024);
    assert!(cost < COST, "{cost} bytes");
}

#[test]
fn an_upload_of_any_size_goes_through_and_a_backend_that_never_reads_costs_little() {
    let sink = server(|mut stream| {
        let (mut bytes, mut got) = (vec![0; 256 * 1024], 0);
        while got < BODY {
            let Ok(n @ 1..) = stream.read(&mut bytes) else { return };
            got += n as u64;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let deaf = server(|stream| {
        thread::park_timeout(Duration::from_secs(60));
        drop(stream);
    });
    let limits = "    limits: { request_body: 1GiB }\n";
    let lines = format!("content-length: {BODY}\r\n");

    let process = Process::new(deaf, deaf, limits, "");
    let before = process.memory();
    process.peak();
    let written = Arc::new(AtomicU64::new(0));
    let raw = Raw::sent(process.data, post(&lines, ""));
    raw.stream.set_write_timeout(None).unwrap();
    let (counter, mut stream) = (written.clone(), raw.stream.try_clone().unwrap());
    let pumping = thread::spawn(move || pump(&mut stream, &counter));
    let taken = stalled(&written);
    let cost = process.peak().saturating_sub(before);
    println!("a backend that never reads: {} KB taken, {} KB of memory", taken / 1024, cost / 1024);
    assert!(taken < BODY / 4 && cost < COST, "{taken} bytes taken, {cost} bytes");
    raw.stream.shutdown(std::net::Shutdown::Both).unwrap();
    pumping.join().unwrap();
    drop(process);

    let process = Process::new(sink, sink, limits, "");
    let before = process.memory();
    process.peak();
    let mut raw = Raw::sent(process.data, post(&lines, ""));
    pump(&mut raw.stream, &AtomicU64::new(0));
    assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200));
    let cost = process.peak().saturating_sub(before);
    println!("{} MB up: {} KB of memory", BODY / MB, cost / 1024);
    assert!(cost < COST, "{cost} bytes");
}

#[test]
fn many_requests_leave_nothing_behind_and_no_caller_can_make_a_metric() {
    let process = Process::new(model(200, 1), model(200, 2), "    sticky: { header: x-user }\n", "");
    let series = || {
        Caller::new(process.admin).call("GET", "/metrics", "", "").body.lines().filter(|l| !l.starts_with('#')).count()
    };
    let burst = |from: u32, count: u32| {
        thread::scope(|scope| {
            for part in 0..4 {
                let data = process.data;
                scope.spawn(move || {
                    let mut raw = Raw::new(data);
                    for n in (from..from + count).filter(|n| n % 4 == part) {
                        let mut text = format!("POST {PATH}/{n:x}?q={n} HTTP/1.1\r\nhost: h{n}.example\r\nx-user: u{n}\r\n");
                        let _ = write!(text, "x-header-{n}: {n}\r\nuser-agent: a{n}\r\nx-request-id: {n}\r\ncontent-length: 2\r\n\r\n{{}}");
                        raw.send(text);
                        assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200));
                    }
                });
            }
        });
    };
    burst(0, 20_000);
    let (memory, count, descriptors, threads) = (process.memory(), series(), process.descriptors(), process.threads());
    let more = env::var("COALMINE_SOAK").map_or(40_000, |count| count.parse().unwrap());
    burst(20_000, more);
    let grown = process.memory().saturating_sub(memory);
    // And callers that leave at the worst moments.
    for n in 0..1_000 {
        let text = post("content-length: 1000\r\n", "half");
        drop(Raw::sent(process.data, &text[..text.len() * (n % 10 + 1) / 10]));
    }
    wait("the last of them to be gone", || (metric(process.admin, &["coalmine_connections_open"]) < 0.5).then_some(()));
    println!("{more} requests more: {} KB more, {count} series before, {} after", grown / 1024, series());
    assert!(grown < 6 * MB, "{grown} bytes in {more} requests");
    assert_eq!(series(), count, "a caller has made a metric");
    assert!(process.descriptors() <= descriptors + 8, "{descriptors} -> {}", process.descriptors());
    assert_eq!(process.threads(), threads);
}

#[test]
fn the_descriptor_limit_neither_spins_nor_wedges() {
    let address = model(200, 1);
    let process = Process::under("ulimit -n 64", &unjudged(address, address, 0, ""), "");
    // Callers alone do not reach it: they are told to come back, and the rest stays free for probes.
    let held: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(process.data).unwrap()).collect();
    let refused = || metric(process.admin, &["coalmine_connections_total{", "\"refused\""]);
    wait("callers to be refused", || (refused() > 100.0).then_some(()));
    assert!(process.descriptors() < 60, "{} descriptors", process.descriptors());
    let mut probe = Raw::sent(process.admin, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(probe.answer(false).map(|answer| answer.status), Ok(200));
    // Connections that nobody counts take the last ones.
    let probes: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(process.admin).unwrap()).collect();
    wait("the limit to be reached", || (process.descriptors() >= 64).then_some(()));
    drop(held);
    let more: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(process.data).unwrap()).collect();
    let before = process.cpu();
    thread::sleep(Duration::from_secs(1));
    let spent = process.cpu().saturating_sub(before);
    println!("{spent:?} of processor time in a second at the limit");
    assert!(spent < Duration::from_millis(250), "it spins: {spent:?} in a second");
    drop((probes, more));
    // The listener is alive, and so is everything that needs a descriptor.
    wait("a request to be served again", || {
        let mut raw = Raw::sent(process.data, get("host: a\r\nconnection: close\r\n"));
        raw.answer(false).is_ok_and(|answer| answer.status == 200).then_some(())
    });
}
