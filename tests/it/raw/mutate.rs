//! Thousands of requests broken at random, the same ones in every run: whatever becomes of them, what a backend gets is strict.

use super::{
    Stage,
    caller::Raw,
    parse,
    recorder::Recorder,
    table::{chunked, get, post},
};
use crate::support::wait;
use coalmine::{core::wire::Wire, io::checked::Checked};
use http_body_util::BodyExt as _;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{cell::Cell, convert::Infallible, thread, time::Duration};
use tokio::{io, runtime, time::timeout};

const INPUTS: u64 = 10_000;
const SENDERS: u64 = 8;

/// What a smuggler writes.
const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    "\x0b",
    "\u{a0}",
    ":",
    ",",
    ";",
    "0",
    "5",
    "-",
    "+",
    "0x",
    "a\r\n",
    "0\r\n\r\n",
    "chunked",
    "identity",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: x\r\n",
    "Content-Length: 5\r\n",
    "content-length: 0\r\n",
    "Host: b\r\n",
    "host:\r\n",
    "Connection: content-length\r\n",
    "connection: close\r\n",
    "Expect: 100-continue\r\n",
    "Trailer: host\r\n",
    "GET /v2/models/digits/inner HTTP/1.1\r\nhost: a\r\n\r\n",
    " HTTP/1.1",
    "HTTP/1.0",
    "http://b",
    "#",
    ";x=y",
    "?",
    "//",
    "%00",
    "x: y\r\n",
];

/// xorshift: no dice, so that a failure comes back.
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn mutated(seed: u64) -> Vec<u8> {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        noise.below(2);
    }
    let seeds = [
        get("host: a\r\nx: y\r\n"),
        post("content-length: 5\r\n", "abcde"),
        chunked("3\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n"),
        post("x: y\r\ncontent-length: 5\r\nconnection: keep-alive\r\n", "abcde"),
    ];
    let mut bytes = seeds[noise.below(seeds.len())].clone().into_bytes();
    bytes.extend_from_slice(seeds[noise.below(seeds.len())].as_bytes());
    for _ in 0..=noise.below(4) {
        let at = noise.below(bytes.len());
        match noise.below(4) {
            0 => drop(bytes.splice(at..at, PIECES[noise.below(PIECES.len())].bytes())),
            1 => bytes[at] = noise.below(256) as u8,
            2 => drop(bytes.drain(at..bytes.len().min(at + 1 + noise.below(4)))),
            _ => {
                let until = bytes.len().min(at + 1 + noise.below(30));
                let again = bytes[at..until].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
    }
    bytes.extend_from_slice(b"\r\n\r\n0\r\n\r\n");
    bytes
}

#[test]
fn requests_broken_at_random_never_reach_a_backend_in_a_doubtful_form() {
    let backend = Recorder::echo();
    let stage = Stage::new(backend.address, backend.address, 0, "");
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let data = stage.app.data;
            scope.spawn(move || {
                for seed in (0..INPUTS).filter(|seed| seed % SENDERS == sender) {
                    let mut raw = Raw::sent(data, mutated(seed));
                    raw.stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
                    // Two answers at most are worth waiting for; the others were pieces.
                    let _ = raw.answer(false).and_then(|_| raw.answer(false));
                }
            });
        }
    });
    // Panics with the bytes in question if the strict reader finds anything.
    let seen = wait("the broken ones to be cut", || Some(backend.seen()).filter(|seen| seen.hanging == 0));
    println!("{INPUTS} inputs: {} requests went on, {} were cut", seen.requests.len(), seen.unfinished);
    assert!(seen.requests.len() > 1_000, "hardly any went on: the inputs are too broken to tell anything");
    let blamed = stage.metric(&["coalmine_requests_total{", "\"backend_"]);
    assert!(blamed < 0.5, "{blamed} were counted against the backend");
    stage.stop();
}

/// How many requests hyper finds in bytes that are checked before it reads them, and whether it read them to their end.
async fn found(bytes: &[u8]) -> (u64, bool) {
    let (requests, broken) = (Cell::new(0), Cell::new(false));
    let (checked, answers) = Checked::new(io::join(bytes, io::sink()));
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        requests.set(requests.get() + 1);
        answers.answer(false);
        async {
            broken.set(broken.get() || request.into_body().collect().await.is_err());
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let mut server = http1::Builder::new();
    let served = server.half_close(true).serve_connection(TokioIo::new(checked), service);
    let ended = timeout(Duration::from_secs(10), served).await.expect("the end");
    (requests.get(), ended.is_ok() && !broken.get())
}

/// Two readers of the same bytes must not find a request where the other one finds a body.
#[test]
fn hyper_and_the_wire_find_the_same_requests_in_requests_broken_at_random() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut same, mut whole) = (0, 0);
    for seed in 0..INPUTS * 5 {
        let mut bytes = mutated(seed);
        // What stands there for the callers above has hyper wait for more, or refuse.
        bytes.truncate(bytes.len() - b"\r\n\r\n0\r\n\r\n".len());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut wire = Wire::default();
        let checked = wire.check(&bytes);
        let (requests, good) = runtime.block_on(found(&bytes));
        assert!(requests <= wire.heads(), "hyper finds {requests}, we find {}: {text:?}", wire.heads());
        // Whatever follows the last request of a connection is looked at by nobody.
        let last = text.contains("close") || text.contains("HTTP/1.0");
        if good && checked.is_ok() && !last {
            assert_eq!(requests, wire.heads(), "{text:?}");
            same += 1;
        }
        assert!(!good || last || checked.is_ok(), "hyper is content with what we doubt: {text:?}");
        whole += usize::from(parse::all(&bytes).is_ok_and(|(found, left)| {
            let heads = found.len() as u64;
            assert!(left > 0 || (checked.is_ok() && wire.heads() == heads), "strictly valid, and refused: {text:?}");
            left == 0
        }));
    }
    println!("{} inputs: the same requests in {same}, {whole} strictly valid", INPUTS * 5);
    assert!(same > 1_000 && whole > 500, "{same} and {whole}: the inputs are too broken to tell anything");
}
