//! Every rule as a line of a table, and the same reading however the bytes are cut.

use super::*;
use proptest::prelude::*;

/// What comes of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reads {
    /// So many requests, all at their end.
    Whole(u64),
    /// So many heads; the last message is not at its end.
    Part(u64),
    /// A head that asks for another protocol ends before this byte.
    Waits(usize),
    /// This byte is in doubt.
    Doubt(usize),
}
use Reads::{Doubt, Part, Waits, Whole};

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Reads, Wire) {
    let mut wire = Wire::default();
    let mut before = 0;
    for piece in pieces {
        match wire.check(piece) {
            Ok(n) if n == piece.len() => before += n,
            Ok(n) => return (Waits(before + n), wire),
            Err(n) => return (Doubt(before + n), wire),
        }
    }
    (if wire.is_between() { Whole(wire.heads()) } else { Part(wire.heads()) }, wire)
}

fn check(text: &str, wanted: Reads) {
    let bytes = text.as_bytes();
    let (whole, singly) = (read([bytes]), read(bytes.chunks(1)));
    assert_eq!(whole.0, wanted, "{text:?}");
    assert_eq!(singly.0, wanted, "in single bytes: {text:?}");
    for cut in 0..bytes.len() {
        assert_eq!(read([&bytes[..cut], &bytes[cut..]]).0, wanted, "cut at {cut}: {text:?}");
    }
}

/// The byte after `before` is in doubt.
fn doubt(before: &str, rest: &str) {
    check(&format!("{before}{rest}"), Doubt(before.len()));
}

fn get(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
}

fn chunked(rest: &str) -> String {
    get("transfer-encoding: chunked\r\n") + rest
}

#[test]
fn lines_end_in_crlf_only() {
    check(&get(""), Whole(1));
    check(&get("").repeat(3), Whole(3));
    check(&format!("\r\n\r\n{}\r\n{}", get(""), get("x: y\r\n")), Whole(2));
    check("", Whole(0));
    check("\r\n", Whole(0));
    // A line that says nothing of a target or a version is still a line: what it means is hyper's business.
    check("GET\r\n\r\n", Whole(1));
    check("\r", Part(0));
    check("GET /a HTTP/1.1\r\nhost: a\r\n", Part(0));
    doubt("", "\nGET");
    doubt("GET /a HTTP/1.1", "\nhost: a\r\n");
    doubt("GET /a HTTP/1.1\r\nhost: a", "\nx: y\r\n\r\n");
    doubt("GET /a HTTP/1.1\r\nhost: a\r\n", "\n");
    doubt("GET /a HTTP/1.1\r\nhost: a\r", "\r\n\r\n");
    doubt("GET /a HTTP/1.1\r\nhost: a\r", "b\r\n\r\n");
    doubt("GET /a\r", " HTTP/1.1\r\n\r\n");
    doubt("GET /a HTTP/1.1\r\nx: y\r\n z\r", "\n\r\n");
    doubt("GET /a HTTP/1.1\r\nx: y\r\n\t\r", "\n\r\n");
}

#[test]
fn a_target_has_no_fragment() {
    doubt("GET /a", "#b HTTP/1.1\r\n\r\n");
    doubt("GET ", "# HTTP/1.1\r\n\r\n");
    doubt("GET /a HTTP/1.1", "#\r\n\r\n");
    // A method may have one; no field is a target.
    check("A#B /a HTTP/1.1\r\n\r\n", Whole(1));
    check(&get("x: #\r\n"), Whole(1));
}

#[test]
fn a_length_is_said_once() {
    let with = |lines: &str, rest: &str| get(lines) + rest;
    check(&with("content-length: 3\r\n", "abc"), Whole(1));
    check(&with("content-length: 3\r\n", "ab"), Part(1));
    check(&with("CONTENT-Length:\t 003 \r\n", &format!("abc{}", get(""))), Whole(2));
    check(&with("content-length: 0\r\n", &get("")), Whole(2));
    check(&with("content-length: 3\r\n", "\n\n\n"), Whole(1));
    check(&with("content-length: 18446744073709551615\r\n", "abc"), Part(1));
    check(&with("content-lengths: x\r\ncontent-lengt: x\r\nx-content-length: x\r\n", ""), Whole(1));
    check(&with("transfer-encoding: Chunked \r\n", "0\r\n\r\n"), Whole(1));
    let bad = |line: &str| doubt(&format!("GET /a HTTP/1.1\r\n{line}\r"), "\n\r\n");
    for value in ["", " ", "+3", "-3", "3,3", "3, 3", "3 3", "0x3", "3x", "18446744073709551616", "\u{b}3", "\u{663}"] {
        bad(&format!("content-length:{value}"));
    }
    bad(&format!("content-length: {}3", "0".repeat(LINE_KEPT)));
    bad(&format!("content-length: 3{}", " ".repeat(LINE_KEPT)));
    for value in [
        "",
        "gzip",
        "identity",
        "chunked,",
        "gzip, chunked",
        "chunked, chunked",
        "chunked;q=1",
        "xchunked",
        "\u{b}chunked",
    ] {
        bad(&format!("transfer-encoding:{value}"));
    }
    let (length, chunks) = ("content-length: 3\r\n", "transfer-encoding: chunked\r\n");
    for first in [length, chunks] {
        for second in [length, chunks] {
            bad(&format!("{first}x: y\r\n{}", second.trim_end()));
        }
    }
    doubt("GET /a HTTP/1.0\r\ntransfer-encoding: chunked\r", "\n\r\n");
    doubt("GET /a\r\ntransfer-encoding: chunked\r", "\n\r\n");
    check("GET /a HTTP/1.0\r\ncontent-length: 1\r\n\r\na", Whole(1));
    // What one request said is not said by the next one.
    check(&with("content-length: 1\r\n", "a").repeat(2), Whole(2));
}

#[test]
fn chunks_are_a_size_and_as_many_bytes() {
    for rest in
        ["0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "a\r\n0123456789\r\nA\r\n\r\n\r\n\r\n\r\n\r\n\r\n00\r\nx: y\r\n\r\n"]
    {
        check(&chunked(rest), Whole(1));
        check(&(chunked(rest) + &get("")), Whole(2));
    }
    check(&chunked("12\r\n0123456789abcdefgh\r\n0\r\n\r\n"), Whole(1));
    check(&chunked("ffffffffffffffff\r\nabc"), Part(1));
    check(&chunked("0000000000000000\r\n\r\n"), Whole(1));
    for (before, rest) in [
        ("", ";\r\n"),
        ("", " 3\r\n"),
        ("", "\n"),
        ("\r", "\n"),
        ("", "-3\r\n"),
        ("0", "x3\r\n"),
        ("3", ";x=y\r\nabc\r\n"),
        ("3", " \r\nabc\r\n"),
        ("3", "\t\r\nabc\r\n"),
        ("3", "\nabc\r\n"),
        ("3\r", "abc\r\n"),
        ("0000000000000000", "0\r\n"),
        ("3\r\nabc", "d\r\n"),
        ("3\r\nabc", "\n0\r\n"),
        ("3\r\nabc\r", "0\r\n"),
        ("3\r\nabc\r\n0", "\n\r\n"),
        ("3\r\nabc\r\n0", ";last\r\n\r\n"),
        ("0\r\n", "\n"),
        ("0\r\nx: y", "\n\r\n"),
        ("0\r\nx: y\r\n z\r", "\n\r\n"),
    ] {
        doubt(&chunked(before), rest);
    }
    for name in NOT_IN_TRAILERS {
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        doubt(&chunked(&format!("0\r\nx: y\r\n{name}: a\r")), "\n\r\n");
        check(&chunked(&format!("0\r\nx-{name}: a\r\n{name}x: a\r\n\r\n")), Whole(1));
    }
}

#[test]
fn bytes_after_a_wish_for_another_protocol_wait_for_the_answer() {
    let head = get("connection: upgrade\r\nupgrade: websocket\r\n");
    check(&head, Part(1));
    check(&(head.clone() + "\n"), Waits(head.len()));
    check(&(get("user-agent: a\r\nupgrades: x\r\n") + &get("")), Whole(2));
    // Not behind a body, and not in HTTP/1.0.
    check(&(get("upgrade: websocket\r\ncontent-length: 1\r\n") + "a" + &get("")), Whole(2));
    check(&("GET /a HTTP/1.0\r\nupgrade: websocket\r\n\r\n".to_owned() + &get("")), Whole(2));
    let (_, waiting) = read([head.as_bytes()]);
    assert!(waiting.is_waiting() && !waiting.is_in_head());
    let (mut changed, mut stayed) = (waiting.clone(), waiting);
    changed.answered(true);
    assert_eq!(changed.check(b"\n\0\r \n"), Ok(5));
    stayed.answered(false);
    assert_eq!(stayed.check(b"GET /a HTTP/1.1\r\n\r\n"), Ok(19));
    // Nobody asked: bytes stay HTTP.
    stayed.answered(true);
    assert_eq!(stayed.check(b"\n"), Err(0));
}

#[test]
fn after_a_doubt_there_is_nothing() {
    let mut wire = Wire::default();
    assert_eq!(wire.check(b"\n"), Err(0));
    assert_eq!(wire.check(get("").as_bytes()), Err(0));
    wire.answered(true);
    assert_eq!(wire.check(b"a"), Err(0));
}

#[test]
fn the_first_of_two_bytes_is_found_wherever_it_stands() {
    for len in 0..40 {
        for at in 0..len {
            // Neighbours that differ from what is looked for in one bit, before and after it.
            let mut bytes = vec![b'\x0c'; len];
            bytes[at] = b'\r';
            bytes[at + 1..].fill(b'\x0b');
            assert_eq!(find(&bytes, *b"\r\n"), Some(at));
            bytes[at] = b'\n';
            assert_eq!(find(&bytes, *b"\r\n"), Some(at));
            bytes[at] = b'\x8a';
            assert_eq!(find(&bytes, *b"\r\n"), None);
        }
    }
}

fn part() -> impl Strategy<Value = String> {
    let parts = [
        "GET /a HTTP/1.1\r\nhost: a\r\n",
        "POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nabcde",
        "POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        "3\r\nabc\r\n",
        "0\r\nx: y\r\n\r\n",
        "content-length: 2\r\n",
        "transfer-encoding: chunked\r\n",
        "upgrade: x\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "#",
        ";",
        "5",
        "host: a\r\n",
    ];
    prop_oneof![8 => proptest::sample::select(parts.to_vec()).prop_map(str::to_owned), 1 => "[ -~]{0,80}"]
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        parts in proptest::collection::vec(part(), 0..12),
        cuts in proptest::collection::vec(1_usize..40, 1..60),
    ) {
        let bytes = parts.concat().into_bytes();
        let whole = read([&bytes[..]]);
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let cut = read(pieces);
        prop_assert_eq!(whole.0, cut.0, "{:?}", String::from_utf8_lossy(&bytes));
        prop_assert_eq!(whole.1.heads(), cut.1.heads());
    }
}

#[test]
fn a_connection_is_between_messages_only_where_one_has_ended_and_none_begun() {
    for (text, in_head, between) in [
        ("", false, true),
        ("\r", true, false),
        ("\r\n", false, true),
        ("G", true, false),
        ("GET ", true, false),
        ("GET /a HTTP/1.1\r\n", true, false),
        ("GET /a HTTP/1.1\r\nhost: a", true, false),
        ("GET /a HTTP/1.1\r\n\r\n", false, true),
        ("GET /a HTTP/1.1\r\ncontent-length: 2\r\n\r\na", false, false),
        ("GET /a HTTP/1.1\r\ncontent-length: 2\r\n\r\nab", false, true),
        ("GET /a HTTP/1.1\r\nupgrade: x\r\n\r\n", false, false),
        ("\n", false, false),
    ] {
        let (_, wire) = read([text.as_bytes()]);
        assert_eq!((wire.is_in_head(), wire.is_between()), (in_head, between), "{text:?}");
    }
}
