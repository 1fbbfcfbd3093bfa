//! Backends that break the rules: what they send past the answer is seen by nobody, and what is cut off never looks whole.

use super::{
    Stage,
    caller::{Answer, End, Raw},
    recorder::Recorder,
    table::{PATH, get, post},
};
use crate::support::wait;
use std::{
    io::Write as _,
    net::TcpStream,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

/// What the caller of a hostile backend gets.
#[derive(Debug)]
enum Gets {
    /// This status with this body.
    Whole(u16, &'static str),
    /// A head, and then a connection that is cut before the body's end.
    Cut,
    /// 502 of our own.
    Refusal,
}
use Gets::{Cut, Refusal, Whole};

const SECRET: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";

/// Every case: its name, what the backend writes, whether it closes then, what the caller gets. A backend that could have
/// written more than the answer is not asked again on that connection.
#[allow(clippy::too_many_lines, reason = "a table is read line by line")]
fn cases() -> Vec<(&'static str, String, bool, Gets)> {
    let of = |head: &str, rest: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n{rest}");
    vec![
        (
            "a second answer behind the first",
            of("content-length: 2\r\n", &format!("ok{SECRET}")),
            false,
            Whole(200, "ok"),
        ),
        ("bytes behind the length", of("content-length: 2\r\n", "okmore"), false, Whole(200, "ok")),
        (
            "an answer behind chunks",
            of("transfer-encoding: chunked\r\n", &format!("2\r\nok\r\n0\r\n\r\n{SECRET}")),
            false,
            Whole(200, "ok"),
        ),
        ("an answer behind no content", format!("HTTP/1.1 204 No\r\n\r\n{SECRET}"), false, Whole(204, "")),
        ("a body with 204", "HTTP/1.1 204 No\r\ncontent-length: 4\r\n\r\nbody".into(), false, Whole(204, "")),
        ("a body with 304", "HTTP/1.1 304 No\r\ncontent-length: 4\r\n\r\nbody".into(), false, Whole(304, "")),
        (
            "chunks with 204",
            "HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n".into(),
            false,
            Whole(204, ""),
        ),
        ("a body as long as the connection", of("", "until the end"), true, Whole(200, "until the end")),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nold".into(), true, Whole(200, "old")),
        (
            "an early hint",
            format!("HTTP/1.1 103 Hint\r\nlink: x\r\n\r\n{}", of("content-length: 2\r\n", "ok")),
            false,
            Whole(200, "ok"),
        ),
        (
            "a hundred hints",
            format!("{}{}", "HTTP/1.1 102 Wait\r\n\r\n".repeat(100), of("content-length: 2\r\n", "ok")),
            false,
            Whole(200, "ok"),
        ),
        ("a short body", of("content-length: 10\r\n", "short"), true, Cut),
        ("no body", of("content-length: 10\r\n", ""), true, Cut),
        ("a chunk that stops", of("transfer-encoding: chunked\r\n", "a\r\nshort"), true, Cut),
        ("chunks without the last", of("transfer-encoding: chunked\r\n", "5\r\nshort\r\n"), true, Cut),
        ("chunks without their end", of("transfer-encoding: chunked\r\n", "5\r\nshort\r\n0\r\n"), true, Cut),
        ("a chunk size that is none", of("transfer-encoding: chunked\r\n", "5\r\nshort\r\nxyz\r\n"), false, Cut),
        (
            "a chunk size past counting",
            of("transfer-encoding: chunked\r\n", "5\r\nshort\r\nfffffffffffffffff\r\n"),
            false,
            Cut,
        ),
        ("a chunk longer than its size", of("transfer-encoding: chunked\r\n", "2\r\nshort\r\n0\r\n\r\n"), false, Cut),
        ("two lengths", of("content-length: 2\r\ncontent-length: 3\r\n", "oki"), false, Refusal),
        ("a listed length", of("content-length: 2, 3\r\n", "oki"), false, Refusal),
        ("a signed length", of("content-length: +2\r\n", "ok"), false, Refusal),
        ("a negative length", of("content-length: -2\r\n", "ok"), false, Refusal),
        ("a length that is none", of("content-length: two\r\n", "ok"), false, Refusal),
        ("a length past counting", of("content-length: 99999999999999999999\r\n", "ok"), true, Refusal),
        (
            "an unsolicited 101",
            "HTTP/1.1 101 Switch\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x01\x02".into(),
            false,
            Refusal,
        ),
        ("no HTTP", "hello\r\n\r\n".into(), false, Refusal),
        ("HTTP/0.9", "<html>hello</html>".into(), true, Refusal),
        ("HTTP/2", "HTTP/2 200 OK\r\n\r\n".into(), false, Refusal),
        ("a small http", "http/1.1 200 ok\r\n\r\n".into(), false, Refusal),
        ("no status", "HTTP/1.1 OK\r\n\r\n".into(), false, Refusal),
        ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n".into(), false, Refusal),
        ("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n".into(), false, Refusal),
        ("a status that is none", "HTTP/1.1 2xx OK\r\n\r\n".into(), false, Refusal),
        ("a status of zero", "HTTP/1.1 000 OK\r\n\r\n".into(), false, Refusal),
        ("a space before a colon", of("x : y\r\ncontent-length: 2\r\n", "ok"), false, Refusal),
        ("a folded field", of("x: y\r\n z\r\ncontent-length: 2\r\n", "ok"), false, Refusal),
        ("a NUL in a field", of("x: \0\r\ncontent-length: 2\r\n", "ok"), false, Refusal),
        ("a line without colon", of("x\r\ncontent-length: 2\r\n", "ok"), false, Refusal),
        ("a bare CR in a field", of("x: y\rset-cookie: z\r\ncontent-length: 2\r\n", "ok"), false, Refusal),
        ("a head of a megabyte", of(&format!("x: {}\r\n", "y".repeat(1 << 20)), "ok"), false, Refusal),
        ("ten thousand fields", of(&"x: y\r\n".repeat(10_000), "ok"), false, Refusal),
        ("a TLS alert", "\x15\x03\x01\0\x02\x02\x28".into(), true, Refusal),
        ("the end", String::new(), true, Refusal),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-".into(), true, Refusal),
        ("a hint and the end", "HTTP/1.1 103 Hint\r\n\r\n".into(), true, Refusal),
    ]
}

/// Writes what the case says to whoever asks for `/bad/…`, and the target to others.
fn backend() -> Recorder {
    let cases = cases();
    Recorder::new(move |request, stream| {
        let bad = request.target.split_once("/bad/").and_then(|(_, n)| cases.get(n.parse::<usize>().ok()?));
        let Some((_, bytes, closes, _)) = bad else { return echo(&request.target, stream) };
        stream.write_all(bytes.as_bytes()).ok()?;
        (!closes).then_some(())
    })
}

fn echo(target: &str, stream: &mut TcpStream) -> Option<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len()).as_bytes()).ok()
}

fn ask(raw: &mut Raw, path: &str) -> Result<Answer, End> {
    raw.send(format!("POST {PATH}{path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{{}}"));
    raw.answer(false)
}

#[test]
fn a_hostile_backend_is_heard_within_its_answer_only() {
    let backend = backend();
    // One thread, so that whatever is kept alive is what the next caller would get.
    let stage = Stage::with(backend.address, backend.address, 0, "", |settings| settings.threads = Some(1));
    let mut problems = Vec::new();
    for (number, (name, _, _, gets)) in cases().into_iter().enumerate() {
        let mut raw = Raw::new(stage.app.data);
        let got = ask(&mut raw, &format!("/bad/{number}"));
        let good = match (&gets, &got) {
            (Whole(status, body), Ok(answer)) => (answer.status, answer.text().as_str()) == (*status, *body),
            (Cut, Err(End::Cut(text))) => text.starts_with("HTTP/1.1 200"),
            (Cut, Err(end)) => *end == End::Closed,
            (Refusal, Ok(answer)) => answer.status == 502 && answer.text().contains("model server"),
            _ => false,
        };
        if !good {
            problems.push(format!("{name} ({gets:?}): {got:?}"));
        }
        // Others, at once, on new connections and on this one: each gets the answer to its own question.
        for next in 0..4 {
            let path = format!("/clean/{number}/{next}");
            let answer = ask(&mut Raw::new(stage.app.data), &path);
            if !answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.text() == format!("{PATH}{path}")) {
                problems.push(format!("{name}: the next caller got {answer:?}"));
            }
        }
        if matches!(gets, Whole(..)) && name != "HTTP/1.0" {
            let answer = ask(&mut raw, "/clean/same");
            if !answer.as_ref().is_ok_and(|answer| answer.text() == format!("{PATH}/clean/same")) {
                problems.push(format!("{name}: then the same caller got {answer:?}"));
            }
        }
    }
    backend.seen();
    stage.stop();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// Where the framing is in doubt there is no right reading: cut or refused, and the connection is not used again.
#[test]
fn a_length_beside_chunks_in_an_answer_leaves_nothing_for_the_next_caller() {
    for head in [
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 2\r\n",
        "content-length: 2\r\ncontent-length: 2\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{head}\r\n2\r\nok\r\n0\r\n\r\n{SECRET}");
        let backend = Recorder::new(move |request, stream| {
            if request.target.ends_with("bad") {
                stream.write_all(bytes.as_bytes()).ok()
            } else {
                echo(&request.target, stream)
            }
        });
        let stage = Stage::with(backend.address, backend.address, 0, "", |settings| settings.threads = Some(1));
        let mut raw = Raw::new(stage.app.data);
        let got = ask(&mut raw, "/bad");
        assert!(!format!("{got:?}").contains("poison"), "{head:?}: {got:?}");
        if let Ok(answer) = &got {
            let both = answer.field("content-length").is_some() && answer.field("transfer-encoding").is_some();
            assert!(!both, "{head:?}: {answer:?}");
        }
        for next in 0..4 {
            let answer = ask(&mut Raw::new(stage.app.data), &format!("/{next}"));
            assert_eq!(answer.map(|answer| answer.text()), Ok(format!("{PATH}/{next}")), "{head:?}");
        }
        stage.stop();
    }
}

#[test]
fn an_answer_to_head_has_no_body_whatever_the_backend_sends() {
    let backend = Recorder::new(|request, stream| {
        if request.method == "HEAD" {
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nbogus!{SECRET}").as_bytes()).ok()
        } else {
            echo(&request.target, stream)
        }
    });
    let stage = Stage::with(backend.address, backend.address, 0, "", |settings| settings.threads = Some(1));
    let mut raw = Raw::sent(stage.app.data, format!("HEAD {PATH} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let answer = raw.answer(true).unwrap();
    assert_eq!((answer.status, answer.field("content-length")), (200, Some("6")));
    for next in 0..4 {
        let path = format!("/{next}");
        assert_eq!(
            ask(&mut raw, &path).map(|answer| answer.text()),
            Ok(format!("{PATH}{path}")),
            "on the same connection"
        );
        assert_eq!(ask(&mut Raw::new(stage.app.data), &path).map(|answer| answer.text()), Ok(format!("{PATH}{path}")));
    }
    stage.stop();
}

/// Bytes that come when nobody has asked belong to nobody.
#[test]
fn what_a_backend_says_while_its_connection_is_idle_is_an_answer_to_nothing() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let backend = Recorder::new(move |request, stream| {
        echo(&request.target, stream)?;
        told.lock().unwrap().recv().ok()?;
        stream.write_all(SECRET.as_bytes()).ok()
    });
    let stage = Stage::with(backend.address, backend.address, 0, "", |settings| settings.threads = Some(1));
    for next in 1..20 {
        let path = format!("/{next}");
        let got = ask(&mut Raw::new(stage.app.data), &path);
        assert_eq!(got.map(|answer| answer.text()), Ok(format!("{PATH}{path}")));
        tell.send(()).unwrap();
        wait("the connection to be given up", || {
            let lines = backend.lines();
            (lines.len() == next && lines.iter().all(|line| line.closed)).then_some(())
        });
    }
    stage.stop();
}

#[test]
fn what_concerns_the_backends_connection_only_stays_there() {
    let backend = Recorder::new(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-mine, content-length, keep-alive\r\nx-mine: 1\r\nkeep-alive: timeout=1\r\n\
                    upgrade: h2c\r\nproxy-authenticate: Basic\r\nproxy-connection: keep-alive\r\nx-coalmine-variant: forged\r\nx-coalmine-ticket: forged\r\nx-kept: 1\r\n\r\nok";
        stream.write_all(head.as_bytes()).ok()
    });
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let answer = Raw::sent(stage.app.data, post("content-length: 0\r\n", "")).answer(false).unwrap();
    for gone in ["x-mine", "keep-alive", "upgrade", "proxy-authenticate", "proxy-connection", "connection"] {
        assert_eq!(answer.field(gone), None, "{answer:?}");
    }
    assert_eq!(
        (answer.text().as_str(), answer.field("x-kept"), answer.field("x-coalmine-variant")),
        ("ok", Some("1"), Some("v1"))
    );
    assert!(answer.field("x-coalmine-ticket").is_some_and(|ticket| ticket != "forged"));
    stage.stop();
}

#[test]
fn a_flood_of_interim_answers_and_a_head_that_drips_end_at_the_time_limit() {
    let flood = |bytes: &'static [u8], pause: u64| {
        Recorder::new(move |_, stream| {
            loop {
                stream.write_all(bytes).ok()?;
                thread::sleep(Duration::from_micros(pause));
            }
        })
    };
    for (name, backend) in
        [("interim answers", flood(b"HTTP/1.1 102 Wait\r\n\r\n", 200)), ("a field without end", flood(b"x", 5_000))]
    {
        let stage = Stage::new(backend.address, backend.address, 0, "    timeouts: { first_byte: 300ms }\n");
        let answer = Raw::sent(stage.app.data, get("host: a\r\n")).answer(false).unwrap();
        assert!([502, 504].contains(&answer.status), "{name}: {answer:?}");
        stage.stop();
    }
}

/// A caller of HTTP/1.0 knows no chunks: it reads up to the end of the connection, and gets the same bytes.
#[test]
fn chunks_of_a_backend_reach_an_old_caller_without_their_sizes() {
    let backend = Recorder::new(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").ok()
    });
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let answer = Raw::sent(stage.app.data, format!("GET {PATH} HTTP/1.0\r\n\r\n")).answer(false).unwrap();
    assert_eq!((answer.status, answer.text().as_str(), answer.field("transfer-encoding")), (200, "abcde", None));
    assert_eq!(backend.seen().requests[0].all("host"), ["localhost"]);
    stage.stop();
}
