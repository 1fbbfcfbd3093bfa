//! Callers that abuse HTTP/2, frame by frame: each is cut off or costs a bounded amount, and nobody else notices. Against the real
//! process, whose memory and processor time the system tells.

use super::{
    h2peer::H2Backend,
    raw::{caller::Raw, process::Process},
    stage::{metric, routes},
    support::wait,
};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What one of these may cost beside what the process has anyway.
const BYTES_MAX: u64 = 32 << 20;

/// One frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A head: method (by its place in HPACK's table), http, the path, `:authority: a`.
fn head(method: u8, path: &str) -> Vec<u8> {
    [&[method, 0x86, 0x04, u8::try_from(path.len()).unwrap()], path.as_bytes(), &[0x01, 1, b'a']].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// A caller that writes what it likes and does not have to read.
struct Abuser(TcpStream);

impl Abuser {
    fn new(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut abuser = Self(stream);
        assert!(abuser.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()));
        abuser
    }

    /// Whether it could be sent: no longer once the proxy has closed, or has stopped reading.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// What comes until the end, and whether it came to an end within ten seconds.
    fn rest(&mut self) -> (Vec<u8>, bool) {
        let (mut all, mut bytes) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            match self.0.read(&mut bytes) {
                Ok(0) => return (all, true),
                Ok(n) => all.extend_from_slice(&bytes[..n]),
                Err(error) => return (all, !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            }
        }
    }

    /// The error in the last GOAWAY, if the connection has ended.
    fn goaway(&mut self) -> Option<u32> {
        let (all, ended) = self.rest();
        let (mut at, mut last) = (0, None);
        while let Some(head) = all.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if let (7, Some(code)) = (head[3], all.get(at + 13..at + 17)) {
                last = Some(u32::from_be_bytes(code.try_into().unwrap()));
            }
            at += 9 + length;
        }
        // A reset may overtake the GOAWAY: the end is what counts.
        ended.then(|| last.unwrap_or(u32::MAX))
    }
}

/// The process, and a backend behind it.
struct Scene {
    process: Process,
    backend: H2Backend,
    before: u64,
}

impl Scene {
    fn new(settings: &str) -> Self {
        let backend = H2Backend::new();
        let process = Process::under("", &routes(&backend.url(), &backend.url(), 0, ""), settings);
        let scene = Self { process, backend, before: 0 };
        scene.serves("at first");
        let before = scene.process.memory();
        scene.process.peak();
        Self { before, ..scene }
    }

    fn serves(&self, when: &str) {
        let begin = Instant::now();
        let mut raw = Raw::sent(self.process.data, "GET /200 HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200), "{when}");
        assert!(begin.elapsed() < Duration::from_secs(2), "others had to wait {:?} {when}", begin.elapsed());
    }

    fn abuser(&self) -> Abuser {
        Abuser::new(self.process.data, &[])
    }

    /// Repeats `frames` until the proxy has had enough, at most `rounds` times; how often.
    fn flood(&self, what: &str, abuser: &mut Abuser, rounds: usize, mut frames: impl FnMut(usize) -> Vec<u8>) -> usize {
        let cpu = self.process.cpu();
        let sent = (0..rounds).take_while(|round| abuser.send(&frames(*round))).count();
        self.serves(what);
        let cost = self.process.peak().saturating_sub(self.before);
        let cpu = self.process.cpu().saturating_sub(cpu);
        println!("{what}: {sent} of {rounds} rounds, {} KiB, {cpu:?} of processor time", cost >> 10);
        assert!(cost < BYTES_MAX, "{what} cost {cost} bytes");
        sent
    }
}

/// Streams number `count` of round `round`.
fn streams(round: usize, count: usize) -> impl Iterator<Item = u32> {
    (round * count..(round + 1) * count).map(|n| u32::try_from(2 * n + 1).unwrap())
}

#[test]
fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    let scene = Scene::new("");
    let mut abuser = scene.abuser();
    let pair = |id| {
        [frame(HEADERS, END_STREAM | END_HEADERS, id, &head(GET, "/slow")), frame(RESET, 0, id, &[0, 0, 0, 8])].concat()
    };
    let sent = scene.flood("rapid reset", &mut abuser, 200, |round| streams(round, 500).flat_map(pair).collect());
    assert!(sent < 200, "100,000 resets were taken");
    assert!(abuser.goaway().is_some(), "still open");
    let reached = scene.backend.look(|seen| seen.requests.len());
    assert!(reached < 2000, "{reached} requests reached the backend");
}

#[test]
fn streams_that_we_are_made_to_reset_end_the_connection() {
    let scene = Scene::new("");
    let mut abuser = scene.abuser();
    // A window that grows by nothing is an error of the stream.
    let pair = |id| {
        [frame(HEADERS, END_STREAM | END_HEADERS, id, &head(GET, "/slow")), frame(WINDOW, 0, id, &[0; 4])].concat()
    };
    let sent = scene.flood("made-you-reset", &mut abuser, 200, |round| streams(round, 500).flat_map(pair).collect());
    assert!(sent < 200, "100,000 faults were taken");
    assert!(abuser.goaway().is_some(), "still open");
    let reached = scene.backend.look(|seen| seen.requests.len());
    assert!(reached < 2000, "{reached} requests reached the backend");
}

#[test]
fn heads_without_end_and_heads_that_swell_are_bounded() {
    let scene = Scene::new("");
    let mut abuser = scene.abuser();
    assert!(abuser.send(&frame(HEADERS, END_STREAM, 1, &head(GET, "/"))));
    // `x: y` again and again, never the end of the head.
    let piece = [0x00, 1, b'x', 1, b'y'].repeat(3000);
    let sent = scene.flood("CONTINUATION", &mut abuser, 10_000, |_| frame(CONTINUATION, 0, 1, &piece));
    assert!(sent < 10_000 && abuser.goaway().is_some(), "{sent} frames were taken");

    // An entry of 4,000 bytes in the table, then one byte for each time it is used: 64 MB a head.
    let mut abuser = scene.abuser();
    let mut entry = vec![0x40, 1, b'x', 0x7f, 0x80 | (3_873_u16 & 127) as u8, (3_873_u16 >> 7) as u8];
    entry.extend_from_slice(&[b'y'; 4_000]);
    let bomb = |id| {
        let block = [head(GET, "/"), if id == 1 { entry.clone() } else { Vec::new() }, vec![0xbe; 12_000]].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, id, &block)
    };
    scene.flood("HPACK bomb", &mut abuser, 100, |round| streams(round, 1).flat_map(bomb).collect());

    let mut abuser = scene.abuser();
    let crumbs = [0x0f, 0x11, 3, b'a', b'=', b'b'].repeat(2_500);
    let cookies = |id| frame(HEADERS, END_STREAM | END_HEADERS, id, &[head(GET, "/"), crumbs.clone()].concat());
    scene.flood("cookie bomb", &mut abuser, 100, |round| streams(round, 1).flat_map(cookies).collect());
    let largest = scene.backend.look(|seen| seen.requests.iter().map(|got| got.head.headers.len()).max());
    assert!(largest < Some(100), "a head of {largest:?} fields reached the backend");
}

#[test]
fn frames_that_say_nothing_are_bounded() {
    let scene = Scene::new("");
    let mut abuser = scene.abuser();
    assert!(abuser.send(&frame(HEADERS, END_HEADERS, 1, &head(POST, "/slow"))));
    let empty = frame(DATA, 0, 1, &[]).repeat(1000);
    let sent = scene.flood("empty DATA", &mut abuser, 200, |_| empty.clone());
    assert!(abuser.goaway().is_some(), "{sent},000 empty frames were taken");
    // Nobody reads the answers to these.
    for (what, one) in [("PING", frame(PING, 0, 0, &[7; 8])), ("SETTINGS", frame(SETTINGS, 0, 0, &[]))] {
        let mut abuser = scene.abuser();
        let many = one.repeat(1000);
        scene.flood(what, &mut abuser, 1000, |_| many.clone());
    }
    let mut abuser = scene.abuser();
    let many = frame(0xee, 0, 0, &[]).repeat(1000);
    scene.flood("unknown frames", &mut abuser, 200, |_| many.clone());
}

/// SETTINGS_INITIAL_WINDOW_SIZE: nothing, then a single byte.
#[test]
fn stalled_windows_cost_a_bounded_amount() {
    for first in [0, 1] {
        let scene = Scene::new("connections: { write_stall: 2s }\n");
        let mut abuser = Abuser::new(scene.process.data, &[0, 4, 0, 0, 0, first]);
        let big = |id| frame(HEADERS, END_STREAM | END_HEADERS, id, &head(GET, "/big"));
        scene.flood("stalled windows", &mut abuser, 2, |round| streams(round, 100).flat_map(big).collect());
        let cut = || metric(scene.process.admin, &["coalmine_callers_cut_total"]);
        wait("all to be cut", || (cut() > 199.5).then_some(()));
        scene.serves("afterwards");
        let cost = scene.process.peak().saturating_sub(scene.before);
        println!("{} KiB until all were cut", cost >> 10);
        assert!(cost < BYTES_MAX, "{cost} bytes");
        wait("the backend to be told", || (scene.backend.look(|seen| seen.resets.len()) >= 200).then_some(()));
    }
}

#[test]
fn what_is_not_served_is_refused_without_harm() {
    let scene = Scene::new("");
    // Extended CONNECT (RFC 8441), which was not offered; and CONNECT, which asks for a tunnel.
    let extended =
        [&[0x02, 7][..], b"CONNECT", &[0x00, 9], b":protocol", &[9], b"websocket", &[0x86, 0x84, 0x01, 1, b'a']]
            .concat();
    let connect = [&[0x02, 7][..], b"CONNECT", &[0x01, 4], b"a:80"].concat();
    for block in [extended, connect] {
        let mut abuser = scene.abuser();
        assert!(abuser.send(&frame(HEADERS, END_HEADERS, 1, &block)));
        let ask = frame(HEADERS, END_STREAM | END_HEADERS, 3, &head(GET, "/200"));
        assert!(abuser.send(&ask));
        abuser.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let (all, _) = abuser.rest();
        // A head or a reset for stream 1.
        let refused = all.windows(9).any(|w| {
            (w[3] == HEADERS || w[3] == RESET || w[3] == 7) && w[0] == 0 && w[8] == 1 || w[3] == 7 && w[5..9] == [0; 4]
        });
        assert!(refused, "{all:?}");
    }
    assert!(scene.backend.look(|seen| seen.requests.iter().all(|got| got.head.method == "GET")));
    scene.serves("afterwards");
    // A connection whose preface never ends holds nobody.
    let mut slow = TcpStream::connect(scene.process.data).unwrap();
    for byte in &PREFACE[..20] {
        slow.write_all(&[*byte]).unwrap();
        thread::yield_now();
    }
    scene.serves("beside half a preface");
}
