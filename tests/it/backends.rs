//! What stands behind a route: sockets, names with several addresses, sick ones among them, shadows; and what one caller may take.

use super::{
    backend::{Backend, write},
    raw::caller::Raw,
    stage::{Stage, routes},
    support::{message, wait},
};
use std::{
    collections::BTreeMap,
    io::{BufReader, Write as _},
    os::unix::net::UnixListener,
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

const ANSWER: &str = r#"{"outputs":[{"data":[1]}]}"#;
const JSON: &str = "content-type: application/json\r\n";

#[test]
fn a_backend_behind_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().ok()?);
                while let Some((first, _, body)) = message(&mut reader) {
                    let said = format!("{first} {}", String::from_utf8_lossy(&body));
                    write!(stream, "HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{said}", said.len()).ok()?;
                }
                Some(())
            });
        }
    });
    let stage = Stage::one(&format!("unix:{}", path.display()), "", "");
    let mut caller = stage.caller();
    for _ in 0..3 {
        assert_eq!(caller.call("POST", "/v2/x", "", "hello").body, "POST /v2/x HTTP/1.1 hello");
    }
    std::fs::remove_file(&path).unwrap();
    let gone = Stage::one(&format!("unix:{}", path.display()), "", "");
    assert_eq!(gone.caller().call("GET", "/", "", "").status, 502);
    assert_eq!(gone.outcome("v1", "backend_connect"), 1);
    gone.stop();
    stage.stop();
}

/// One stable and one shadow.
fn shadowed(stable: &Backend, shadow: &Backend, more: &str, settings: &str) -> Stage {
    let url = format!("http://{}", stable.address);
    let text = routes(&url, &url, 0, &format!("    protocol: v2\n{more}"));
    let canary = text.lines().position(|line| line.contains("role: canary")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[canary] = format!(
        "      - {{ name: dark, role: shadow, weight: 0, url: 'http://{}', model: {{ version: '3', uri: m/3 }} }}",
        shadow.address
    );
    Stage::over(&(lines.join("\n") + "\n"), settings)
}

#[test]
fn copies_reach_the_shadow_and_their_answers_are_compared() {
    for tickets in [true, false] {
        let stable = Backend::new(|_, stream| write(stream, 200, JSON, ANSWER));
        let shadow = Backend::new(|request, stream| match request.body.as_str() {
            "same" => write(stream, 200, JSON, r#"{"id":"7","outputs":[{"data":[1]}]}"#),
            "other" => write(stream, 200, JSON, r#"{"outputs":[{"data":[2]}]}"#),
            _ => write(stream, 500, "", "no"),
        });
        let stage = shadowed(&stable, &shadow, &format!("    expose: {{ ticket: {tickets} }}\n"), "");
        let mut caller = stage.caller();
        for body in ["same", "same", "same", "other", "other", "broken"] {
            assert_eq!(caller.call("POST", "/v2/models/digits/infer?a=b", "x-a: 1\r\n", body).body, ANSWER);
        }
        let total = |result: &str| stage.count(&["coalmine_shadow_total{", &format!("\"{result}\"")]);
        wait("all to be compared", || (total("agreed") + total("disagreed") + total("failed") == 6).then_some(()));
        assert_eq!(
            [total("sent"), total("agreed"), total("disagreed"), total("failed"), total("dropped")],
            [6, 3, 2, 1, 0]
        );
        let copy = &shadow.seen()[0];
        assert_eq!(copy.line, "POST /v2/models/digits/infer?a=b HTTP/1.1");
        assert_eq!((copy.all("x-a"), copy.all("x-coalmine-shadow")), (vec!["1"], vec!["1"]));
        assert!(stable.seen().iter().all(|request| request.all("x-coalmine-shadow").is_empty()));
        assert_eq!(stage.outcome("dark", "ok") + stage.outcome("dark", "backend_status"), 0, "a shadow is no variant");
        stage.stop();
    }
}

#[test]
fn a_hung_shadow_holds_up_nobody() {
    let stable = Backend::new(|_, stream| write(stream, 200, JSON, ANSWER));
    let shadow = Backend::new(|_, _| {
        thread::park();
        None
    });
    let stage = shadowed(&stable, &shadow, "", "threads: 1\nconnections: { shadows: 2 }\ndrain: { limit: 1s }\n");
    let mut caller = stage.caller();
    let begin = Instant::now();
    for _ in 0..50 {
        assert_eq!(caller.call("POST", "/v2/x", "", "hello").status, 200);
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "fifty requests took {:?}", begin.elapsed());
    let total = |result: &str| stage.count(&["coalmine_shadow_total{", &format!("\"{result}\"")]);
    assert_eq!((total("sent"), total("dropped")), (2, 48));
    stage.stop();
}

#[test]
fn one_caller_may_have_so_many_in_flight_streams_among_them() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let backend = Backend::new(move |request, stream| {
        if !request.line.contains("stream") {
            return write(stream, 200, "", "{}");
        }
        stream.write_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").ok()?;
        told.lock().unwrap().recv().ok()?;
        stream.write_all(b"0\r\n\r\n").ok()
    });
    let limits = "    limits: { per_caller: 1, caller: { header: x-api-key } }\n";
    let stage =
        Stage::new(&format!("http://{}", backend.address), &format!("http://{}", backend.address), 0, limits, "");
    let call = |key: &str| stage.caller().call("GET", "/", &format!("x-api-key: {key}\r\n"), "");
    let mut stream = Raw::sent(stage.data(), "GET /stream HTTP/1.1\r\nhost: a\r\nx-api-key: one\r\n\r\n");
    stream.until("\r\n1\r\na\r\n").unwrap();
    let refused = call("one");
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (429, "1"), "{refused:?}");
    assert_eq!(call("two").status, 200);
    assert_eq!(stage.count(&["coalmine_refusals_total", "caller"]), 1);
    tell.send(()).unwrap();
    assert_eq!(stream.answer(false).unwrap().text(), "a");
    wait("the place to be free", || (call("one").status == 200).then_some(()));
    stage.stop();
}

#[test]
fn ids_and_who_asked_are_said_as_the_settings_say() {
    let backend = Backend::always(200, "{}");
    let url = format!("http://{}", backend.address);
    let fields = |settings: &str, headers: &str| -> BTreeMap<String, String> {
        let stage = Stage::one(&url, "", settings);
        assert_eq!(stage.caller().call("GET", "/", headers, "").status, 200);
        stage.stop();
        backend.seen().pop().unwrap().headers.into_iter().collect()
    };
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let made = fields("", "");
    assert!(made["x-request-id"].len() == 32 && hex(&made["x-request-id"]), "{made:?}");
    let parts: Vec<&str> = made["traceparent"].split('-').collect();
    assert!(parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]) && parts.iter().all(|part| hex(part)), "{parts:?}");
    assert_eq!((made["via"].as_str(), made.contains_key("forwarded")), ("1.1 coalmine", false));

    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let theirs = format!(
        "x-request-id: mine\r\ntraceparent: {trace}\r\nvia: 1.0 edge\r\nforwarded: for=10.9.9.9\r\nx-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: public.test\r\n"
    );
    let kept = fields("headers: { trusted_hops: 1, forwarded: true }\n", &theirs);
    assert_eq!((kept["x-request-id"].as_str(), kept["traceparent"].as_str()), ("mine", trace));
    assert_eq!(kept["via"], "1.0 edge, 1.1 coalmine");
    assert_eq!(kept["forwarded"], "for=10.9.9.9, for=127.0.0.1;host=\"localhost\";proto=http");
    assert_eq!(kept["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
    assert_eq!((kept["x-forwarded-proto"].as_str(), kept["x-forwarded-host"].as_str()), ("https", "public.test"));
    // Nobody in front is trusted: what a caller says of itself is replaced.
    let untrusted = fields("", &theirs);
    assert_eq!(
        (untrusted["x-forwarded-proto"].as_str(), untrusted["x-forwarded-host"].as_str()),
        ("http", "localhost")
    );
    let off = fields("headers: { via: false, request_id: false, trace: false }\n", "");
    for name in ["via", "x-request-id", "traceparent"] {
        assert!(!off.contains_key(name), "{off:?}");
    }
}

#[test]
fn behind_trusted_hops_callers_are_told_apart_by_what_these_say() {
    let slow = Backend::new(|request, stream| {
        if request.line.contains("slow") {
            thread::park();
        }
        write(stream, 200, "", "{}")
    });
    let url = format!("http://{}", slow.address);
    let of = |hops: u32| {
        let settings = format!("headers: {{ trusted_hops: {hops} }}\ndrain: {{ limit: 1s }}\n");
        let stage = Stage::one(&url, "    limits: { per_caller: 1 }\n", &settings);
        let get = |path: &str, from: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {from}\r\n\r\n");
        let _first = Raw::sent(stage.data(), get("/slow", "6.6.6.6, 10.0.0.1"));
        wait("it to be in flight", || (stage.count(&["coalmine_in_flight{"]) == 1).then_some(()));
        let status = |from: &str| Raw::sent(stage.data(), get("/", from)).answer(false).unwrap().status;
        // The same, another one, and one that lies about itself in front of the hop's own word.
        let seen = [status("10.0.0.1"), status("10.0.0.2"), status("10.0.0.2, 10.0.0.1")];
        stage.stop();
        seen
    };
    assert_eq!(of(1), [429, 200, 429]);
    assert_eq!(of(0), [429, 429, 429], "without trust it is all one peer");
}
