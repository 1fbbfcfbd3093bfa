//! The committed seeds of every fuzz target, through the very functions that `make fuzz` drives.

use std::{fs, path::Path};

#[allow(unreachable_pub, reason = "the fuzz crate's library is included as it is")]
#[path = "../../fuzz/src/lib.rs"]
mod bodies;

/// Runs every seed of a target; there must be some.
fn seeds(target: &str, check: fn(&[u8])) {
    let dir = Path::new("fuzz/corpus-seeds").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count >= 5, "{} holds {count} seeds", dir.display());
}

#[test]
fn request_heads() {
    seeds("request_head", bodies::request_head::check);
}

#[test]
fn route_matches() {
    seeds("route_match", bodies::route_match::check);
}

#[test]
fn tickets() {
    seeds("ticket", bodies::ticket::check);
}

#[test]
fn specs() {
    seeds("yaml_spec", bodies::yaml_spec::check);
}

#[test]
fn edits() {
    seeds("yaml_edit", bodies::yaml_edit::check);
}

#[test]
fn the_backend_minds_what_it_should() {
    let reads = |text: &str| bodies::wire::message(&mut text.as_bytes());
    let ours = "x-forwarded-for: 127.0.0.1\r\n";
    assert_eq!(reads(&format!("GET / HTTP/1.1\r\nhost: a\r\n{ours}\r\n")), Ok(true));
    assert_eq!(reads(""), Ok(false));
    for bad in [
        format!("GET / HTTP/1.1\nhost: a\r\n{ours}\r\n"),
        format!("GET /a b HTTP/1.1\r\nhost: a\r\n{ours}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n{ours}\r\n"),
        format!("GET / HTTP/1.1\r\nhost : a\r\n{ours}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n{ours}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n{ours}\r\n0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{ours}\r\n+1\r\nx\r\n0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{ours}\r\n1\r\nxy\r\n0\r\n\r\n"),
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
    ] {
        assert!(reads(&bad).is_err(), "{bad:?}");
    }
}
