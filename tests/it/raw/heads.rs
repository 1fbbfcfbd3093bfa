//! Lines of a request's head: ends of lines, folding, control characters, names, methods, versions.

use super::{
    Stage,
    caller::Raw,
    recorder::Recorder,
    table::{Case, Expect::*, PATH, SMUGGLED, case, check, get, post},
};
use crate::support::wait;

/// A valid request line, a Host, and one more line.
fn with(line: &str) -> String {
    get(&format!("host: a\r\n{line}\r\n"))
}

fn lines() -> Vec<Case> {
    let mut cases = vec![
        case("nothing odd", get("host: a\r\n"), Passed(1)),
        case("empty lines before", format!("\r\n\r\n{}", get("host: a\r\n")), Passed(1)),
        case("an empty value", with("x:"), Passed(1)),
        case("a value of spaces", with("x:   \t "), Passed(1)),
        case("a tab inside of a value", with("x: a\tb"), Passed(1)),
        case("a value past ASCII", with("x: caf\u{e9}"), Passed(1)),
        case("every token character in a name", with("!#$%&'*+-.^_`|~09azAZ: x"), Passed(1)),
        case("a field of ours", with("x-coalmine-variant: v2\r\nx-coalmine-ticket: forged"), Passed(1)),
    ];
    for (name, line) in [
        ("folded by a space", "x: a\r\n b"),
        ("folded by a tab", "x: a\r\n\tb"),
        ("folded, empty", "x: a\r\n "),
        ("a space before the colon", "x : a"),
        ("a tab before the colon", "x\t: a"),
        ("a space in front", " x: a"),
        ("no colon", "x"),
        ("no name", ": a"),
        ("only a colon", ":"),
        ("a space in the name", "x y: a"),
        ("a bracket in the name", "x(y: a"),
        ("a comma in the name", "x,y: a"),
        ("a slash in the name", "x/y: a"),
        ("a quote in the name", "x\"y: a"),
        ("an at sign in the name", "x@y: a"),
        ("a name past ASCII", "x\u{e9}: a"),
        ("a NUL in the name", "x\0y: a"),
        ("a DEL in the name", "x\u{7f}: a"),
        ("a NUL in the value", "x: a\0b"),
        ("a bell in the value", "x: \u{7}"),
        ("a vertical tab in the value", "x: a\u{b}b"),
        ("a form feed in the value", "x: a\u{c}b"),
        ("an escape in the value", "x: \u{1b}[2J"),
        ("a DEL in the value", "x: \u{7f}"),
        ("a bare CR in the value", "x: a\rb"),
        ("a bare CR, then a field", "x: a\rcontent-length: 5"),
        ("a CR before CRLF", "x: a\r"),
        ("a bare CR in the name", "x\ry: a"),
    ] {
        cases.push(case(name, with(line), Refused(400)));
    }
    cases
}

fn request_lines() -> Vec<Case> {
    let of = |line: &str| format!("{line}\r\nhost: a\r\n\r\n");
    let mut cases = vec![
        case("an unknown method", of(&format!("BREW {PATH} HTTP/1.1")), Passed(1)),
        case("a method in small letters", of(&format!("get {PATH} HTTP/1.1")), Passed(1)),
        case("HEAD", of(&format!("HEAD {PATH} HTTP/1.1")), Passed(1)),
        case("HTTP/1.0", of(&format!("GET {PATH} HTTP/1.0")), PassedLast(1)),
        case("HTTP/1.0 without Host", format!("GET {PATH} HTTP/1.0\r\n\r\n"), PassedLast(1)),
        case(
            "HTTP/1.0 that stays",
            format!("GET {PATH} HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n"),
            Passed(1),
        ),
        case("the last request", with("connection: close"), PassedLast(1)),
        case("after the last request", format!("{}{SMUGGLED}", with("connection: close")), PassedLast(1)),
        case("two in one packet", format!("{0}{0}", with("x: 1")), Passed(2)),
        case("two with bodies", post("content-length: 3\r\n", "abc").repeat(2), Passed(2)),
        case("the second is bad", format!("{}{}", with("x: 1"), with("x: \0")), PassedThen(1, 400)),
        case("the second is garbage", format!("{}\u{1}\u{2}\u{3}\r\n\r\n", with("x: 1")), PassedThen(1, 400)),
    ];
    for (name, line) in [
        ("two spaces after the method", format!("GET  {PATH} HTTP/1.1")),
        ("two spaces before the version", format!("GET {PATH}  HTTP/1.1")),
        ("a tab after the method", format!("GET\t{PATH} HTTP/1.1")),
        ("a tab before the version", format!("GET {PATH}\tHTTP/1.1")),
        ("a space after the version", format!("GET {PATH} HTTP/1.1 ")),
        ("a space in front", format!(" GET {PATH} HTTP/1.1")),
        ("four parts", format!("GET {PATH} x HTTP/1.1")),
        ("no target", "GET HTTP/1.1".to_owned()),
        ("no method", format!("{PATH} HTTP/1.1")),
        ("a bracket in the method", format!("G(T {PATH} HTTP/1.1")),
        ("a NUL in the method", format!("G\0T {PATH} HTTP/1.1")),
        ("a colon in the method", format!("GET: {PATH} HTTP/1.1")),
        ("HTTP/0.9", format!("GET {PATH}")),
        ("HTTP/0.9, said", format!("GET {PATH} HTTP/0.9")),
        ("HTTP/1.2", format!("GET {PATH} HTTP/1.2")),
        ("HTTP/2", format!("GET {PATH} HTTP/2")),
        ("HTTP/2.0", format!("GET {PATH} HTTP/2.0")),
        ("HTTP/3.0", format!("GET {PATH} HTTP/3.0")),
        ("HTTP/1", format!("GET {PATH} HTTP/1")),
        ("HTTP/11", format!("GET {PATH} HTTP/11")),
        ("HTTP/1.10", format!("GET {PATH} HTTP/1.10")),
        ("HTTP/01.1", format!("GET {PATH} HTTP/01.1")),
        ("HTTP/1,1", format!("GET {PATH} HTTP/1,1")),
        ("http/1.1", format!("GET {PATH} http/1.1")),
        ("HTTPS/1.1", format!("GET {PATH} HTTPS/1.1")),
        ("ICY", format!("GET {PATH} ICY/1.1")),
        ("a NUL in the target", format!("GET {PATH}/\0 HTTP/1.1")),
        ("a control character in the target", format!("GET {PATH}/\u{1} HTTP/1.1")),
        ("a CR in the target", format!("GET {PATH}/\r HTTP/1.1")),
        ("a DEL in the target", format!("GET {PATH}/\u{7f} HTTP/1.1")),
        ("a target past ASCII", format!("GET {PATH}/caf\u{e9} HTTP/1.1")),
    ] {
        cases.push(case(name, of(&line), Refused(400)));
    }
    cases
}

/// What is not HTTP/1 at all.
fn strangers() -> Vec<Case> {
    let hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00\x00\x02\x13\x01";
    vec![
        case("a TLS ClientHello", [&hello[..], &[0; 200]].concat(), Closed),
        case("an old SSL hello", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10aaaaaaaaaaaaaaaa\r\n\r\n", Closed),
        case("an SSH banner", "SSH-2.0-OpenSSH_9.6\r\n\r\n", Closed),
        case("a mail server's caller", "EHLO example.com\r\n\r\n", Closed),
        case("a PROXY line nobody asked for", format!("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n{}", with("x: 1")), Closed),
        case("a binary PROXY head", [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &[0; 12][..]].concat(), Closed),
        case("zeros", [0; 1000], Closed),
        case("high bytes", [0xff; 1000], Closed),
        case("an answer instead of a request", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Closed),
        case("JSON", "{\"inputs\": []}\r\n\r\n", Closed),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [lines(), line_feeds(), request_lines(), strangers()].into_iter().flatten().collect()
}

#[test]
fn a_doubtful_head_is_refused_and_what_is_odd_but_valid_goes_on() {
    check(&cases());
}

/// RFC 9112 allows a bare LF as the end of a line, and two readers may differ on it.
fn line_feeds() -> Vec<Case> {
    let (all, first) = (with("x: 1").replace("\r\n", "\n"), with("x: 1").replacen("\r\n", "\n", 1));
    vec![
        case("only LF", all, Refused(400)),
        case("LF after the request line", first, Refused(400)),
        case("LF after a field", get("host: a\nx: 1\r\n"), Refused(400)),
        case("LF at the end of the head", format!("GET {PATH} HTTP/1.1\r\nhost: a\r\n\n"), Refused(400)),
        case("LF, then a length", post("x: a\ncontent-length: 3\r\n", "abc"), Refused(400)),
        case("LF, then chunks", post("x: a\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"), Refused(400)),
        case("LF before the request", format!("\n{}", with("x: 1")), Refused(400)),
        case("LF in the second head", with("x: 1") + &with("x: 1\ny: 2"), PassedThen(1, 400)),
        case("LF after a body", post("content-length: 3\r\n", "abc\n"), PassedThen(1, 400)),
        case("LF without an end", format!("GET {PATH} HTTP/1.1\nhost"), Refused(400)),
    ]
}

/// Whether or not HTTP/2 is spoken here: its first bytes are no request to a backend.
#[test]
fn the_preface_of_http2_is_no_request() {
    let backend = Recorder::echo();
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for text in [preface.to_owned(), preface.repeat(2), format!("{preface}{SMUGGLED}"), preface[..20].to_owned()] {
        drop(Raw::sent(stage.app.data, text));
    }
    let mut raw = Raw::sent(stage.app.data, with("x: 1"));
    assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200));
    assert_eq!(backend.seen().requests.len(), 1);
    stage.stop();
}

#[test]
fn heads_that_are_no_request_are_counted_as_refusals() {
    let backend = Recorder::echo();
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let large = format!("x: {}", "y".repeat(100_000));
    for (reason, text, status) in [
        ("invalid", with("x: \0"), 400),
        ("invalid", with("x: y\nz: 1"), 400),
        ("invalid", get(""), 400),
        ("large_head", with(&large), 431),
    ] {
        let parts = ["coalmine_refusals_total", &format!("\"{reason}\"")];
        let before = stage.metric(&parts);
        assert_eq!(Raw::sent(stage.app.data, &text).answer(false).map(|answer| answer.status), Ok(status));
        // The answer is sent before the connection ends, which is what is counted.
        wait("the count", || (stage.metric(&parts) > before + 0.5).then_some(()));
    }
    stage.stop();
}
