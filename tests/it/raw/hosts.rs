//! Who is asked for, in which form, and what concerns our connection only.

use super::{
    Stage,
    caller::Raw,
    recorder::Recorder,
    table::{Case, Expect::*, PATH, case, check, get, post},
};

fn hosts() -> Vec<Case> {
    let mut cases = vec![
        case("no Host", get(""), Refused(400)),
        case("two Hosts", get("host: a\r\nhost: b\r\n"), Refused(400)),
        case("two equal Hosts", get("host: a\r\nhost: a\r\n"), Refused(400)),
        case("two Hosts apart", get("host: a\r\nx: y\r\nHOST: a\r\n"), Refused(400)),
        case("an absolute target without Host", format!("GET http://a{PATH} HTTP/1.1\r\n\r\n"), Refused(400)),
        case(
            "an absolute target with two Hosts",
            format!("GET http://a{PATH} HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
            Refused(400),
        ),
    ];
    for good in
        ["a", "A.Example", "a:80", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "xn--caf-dma", "a_b", "a-b.c."]
    {
        cases.push(case(&format!("the Host {good:?}"), get(&format!("host: {good}\r\n")), Passed(1)));
    }
    for bad in [
        "",
        " ",
        "a b",
        "a, b",
        "a,b",
        "user@a",
        "user:pass@a",
        "a@",
        "@a",
        "a:",
        "a:x",
        "a:-1",
        "a:99999",
        "a:80:80",
        ":80",
        "a/b",
        "/",
        "http://a",
        "a?b",
        "a#b",
        "a\\b",
        "[::1",
        "::1]",
        "[",
        "[]",
        "caf\u{e9}",
        "a\u{7f}",
        "a\0",
        "a\tb",
        "a\"",
        "<a>",
        "{a}",
        "a;b c",
        "a^",
        "a`",
        "a|b",
    ] {
        cases.push(case(&format!("the Host {bad:?}"), get(&format!("host: {bad}\r\n")), Refused(400)));
    }
    cases
}

fn targets() -> Vec<Case> {
    let of = |method: &str, target: &str| format!("{method} {target} HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut cases = vec![
        case("absolute", of("GET", &format!("http://a{PATH}")), Passed(1)),
        case("absolute, another host", of("GET", &format!("http://b{PATH}")), Passed(1)),
        case("absolute, https", of("GET", &format!("https://a{PATH}")), Passed(1)),
        case("absolute, in capitals", of("GET", &format!("HTTP://A{PATH}")), Passed(1)),
        case("odd but valid bytes", of("GET", &format!("{PATH}/%00%2f..%2e/;a=b//?a=%0d%0a&b=?/&&=")), Passed(1)),
        case("dots go on as they are", of("GET", &format!("{PATH}/../digits/./x")), Passed(1)),
    ];
    for (name, method, target) in [
        ("CONNECT", "CONNECT", "a:80"),
        ("CONNECT with a path", "CONNECT", PATH),
        ("CONNECT, absolute", "CONNECT", "http://a/v2/models/digits"),
        ("authority form", "GET", "a:80"),
        ("authority form without port", "GET", "a"),
        ("a scheme without authority", "GET", "http:///v2/models/digits"),
        ("a scheme without slashes", "GET", "http:/v2/models/digits"),
        ("a user", "GET", "http://user@a/v2/models/digits"),
        ("a user with a password", "GET", "http://u:p@a/v2/models/digits"),
        ("another scheme", "GET", "ftp://a/v2/models/digits"),
        ("a file", "GET", "file:///v2/models/digits"),
        ("javascript", "GET", "javascript:alert(1)"),
        ("a relative path", "GET", "v2/models/digits"),
        ("a dot", "GET", "."),
        ("only a query", "GET", "?a=b"),
        ("an asterisk in GET", "GET", "*"),
        ("an asterisk in POST", "POST", "*"),
        ("an asterisk in OPTIONS", "OPTIONS", "*"),
        ("an asterisk and more", "OPTIONS", "*x"),
        ("a backslash in front", "GET", "\\v2\\models\\digits"),
        ("a bad port", "GET", "http://a:x/v2/models/digits"),
        ("a port past counting", "GET", "http://a:99999/v2/models/digits"),
        ("two schemes", "GET", "http://http://a/v2/models/digits"),
    ] {
        cases.push(case(name, of(method, target), Refused(400)));
    }
    for target in [
        format!("{PATH}#x"),
        format!("{PATH}#"),
        format!("#{PATH}"),
        format!("{PATH}?a#b"),
        format!("http://a{PATH}#x"),
    ] {
        cases.push(case(&format!("a fragment in {target}"), of("GET", &target), Refused(400)));
    }
    cases
}

/// What concerns our connection only, or is said to.
fn hops() -> Vec<Case> {
    let with = |lines: &str| get(&format!("host: a\r\n{lines}\r\n"));
    let mut cases = vec![
        case(
            "Upgrade: h2c",
            with("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA"),
            Passed(1),
        ),
        case(
            "Upgrade: h2c with a body",
            post("connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n", "abc"),
            Passed(1),
        ),
        case("Upgrade: TLS", with("connection: upgrade\r\nupgrade: TLS/1.2"), Passed(1)),
        case("an Upgrade that Connection does not name", with("upgrade: websocket"), Passed(1)),
        case("Expect in capitals", post("EXPECT: 100-Continue\r\ncontent-length: 3\r\n", "abc"), Passed(1)),
        case("Expect without a body", with("expect: 100-continue"), Passed(1)),
        case(
            "Expect with chunks",
            post("expect: 100-continue\r\ntransfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
            Passed(1),
        ),
    ];
    for named in [
        "host",
        "Host",
        "content-length",
        "transfer-encoding",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "connection",
        "host, content-length, x-forwarded-for",
        "te",
        "upgrade",
        "trailer",
        "x",
        "x, , x",
        ",",
        "keep-alive, x",
        "\"host\"",
        "a b",
        "host;q=1",
    ] {
        let lines = format!(
            "connection: {named}\r\nte: trailers, deflate\r\nkeep-alive: timeout=1\r\ntrailer: x\r\nx: 1\r\nproxy-connection: keep-alive\r\ncontent-length: 3\r\n"
        );
        cases.push(case(&format!("Connection: {named}"), post(&lines, "abc"), Passed(1)));
    }
    cases
}

pub(super) fn cases() -> Vec<Case> {
    [hosts(), targets(), hops()].into_iter().flatten().collect()
}

#[test]
fn one_host_one_form_and_nothing_that_concerns_our_connection_only() {
    check(&cases());
}

/// What came of the one request with this text.
fn sent_on(text: &str) -> super::parse::Request {
    let backend = Recorder::echo();
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let answer = Raw::sent(stage.app.data, text).answer(false).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = backend.seen();
    stage.stop();
    let [request] = &seen.requests[..] else { panic!("{} requests", seen.requests.len()) };
    request.clone()
}

#[test]
fn an_absolute_target_overrides_host_and_only_the_path_goes_on() {
    let request = sent_on(&format!("GET http://right:81{PATH}?q=%2F&r HTTP/1.1\r\nhost: wrong\r\n\r\n"));
    assert_eq!((request.target.as_str(), request.all("host")), ("/v2/models/digits?q=%2F&r", vec!["right:81"]));
    assert_eq!(request.all("x-forwarded-host"), ["right:81"]);
}

#[test]
fn naming_what_is_protected_in_connection_has_no_effect() {
    let lines = "connection: host, content-length, x-forwarded-for, x-forwarded-host, x-forwarded-proto, x-mine\r\n\
                 connection: X-Other\r\nx-mine: 1\r\nx-other: 1\r\nx-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\n\
                 x-forwarded-proto: https\r\nx-forwarded-host: front\r\ncontent-length: 3\r\n";
    let request = sent_on(&post(lines, "abc"));
    assert_eq!(
        (request.all("host"), request.all("content-length"), &request.body[..]),
        (vec!["a"], vec!["3"], &b"abc"[..])
    );
    assert_eq!(request.all("x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 127.0.0.1"], "the last one is who we saw");
    assert_eq!((request.all("x-forwarded-proto"), request.all("x-forwarded-host")), (vec!["http"], vec!["a"]));
    assert!(request.all("x-mine").is_empty() && request.all("x-other").is_empty(), "{request:?}");
}

#[test]
fn path_and_query_reach_the_backend_byte_for_byte() {
    let odd = "/v2/models/digits/%2e%2e/%00/a//b/./../;c=d/~!$&'()*+,=:@?x=%41&y=%zz&&=?/";
    assert_eq!(sent_on(&format!("GET {odd} HTTP/1.1\r\nhost: a\r\n\r\n")).target, odd);
}

#[test]
fn a_caller_that_waits_to_be_told_to_continue_is_told() {
    let backend = Recorder::echo();
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let mut raw = Raw::sent(stage.app.data, post("expect: 100-continue\r\ncontent-length: 3\r\n", ""));
    raw.until("HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    raw.send("abc");
    assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200));
    let seen = backend.seen();
    assert_eq!((seen.requests.len(), seen.requests[0].all("expect").len()), (1, 0));
    // One that would be refused anyway is not told to send its body.
    let mut raw = Raw::sent(stage.app.data, post("expect: 100-continue\r\ncontent-length: 99999999999\r\n", ""));
    raw.until("\r\n\r\n").unwrap();
    assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(413));
    stage.stop();
}
