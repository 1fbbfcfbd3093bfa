//! Where a request ends: lengths and transfer encodings that two servers could read in two ways.

use super::table::{Case, Expect, Expect::*, SMUGGLED, case, check, chunked, get, post};
use std::fmt::Write as _;

fn lengths() -> Vec<Case> {
    let of = |value: &str| post(&format!("content-length: {value}\r\n"), "abc");
    let two = |a: &str, b: &str| post(&format!("content-length: {a}\r\ncontent-length: {b}\r\n"), "abc");
    let mut cases = vec![
        case("CL", of("3"), Passed(1)),
        case("CL in capitals", post("CONTENT-LENGTH: 3\r\n", "abc"), Passed(1)),
        case("CL with spaces around", post("content-length:  \t 3 \t\r\n", "abc"), Passed(1)),
        case("CL with zeros before", of("003"), Passed(1)),
        case("CL zero", post("content-length: 0\r\n", ""), Passed(1)),
        case("CL differs", two("3", "4"), Refused(400)),
        case("CL differs, the other way", two("4", "3"), Refused(400)),
        case("CL repeated", two("3", "3"), Refused(400)),
        case("CL repeated, then another request", two("3", "3") + SMUGGLED, Refused(400)),
        case("CL three times", post(&"content-length: 3\r\n".repeat(3), "abc"), Refused(400)),
        case("CL repeated in another form", two("3", "03"), Refused(400)),
        case("a body in GET", format!("{}abc", get("host: a\r\ncontent-length: 3\r\n")), Passed(1)),
        case("a POST without length", post("", ""), Passed(1)),
    ];
    for value in [
        "3, 3",
        "3,3",
        "3, 4",
        "+3",
        "-3",
        "-0",
        "0x3",
        "3x",
        "x3",
        "3.0",
        "3 3",
        "3\t3",
        "",
        " ",
        ",",
        "3,",
        ",3",
        "3;3",
        "\"3\"",
        "1e1",
        "0b11",
        "3_0",
        "٣",
        "NaN",
        "18446744073709551616",
        "99999999999999999999999999",
        "00000000000000000000000000000000000000000003x",
    ] {
        cases.push(case(&format!("CL {value:?}"), of(value), Refused(400)));
    }
    for value in ["9223372036854775808", "18446744073709551615"] {
        cases.push(case(&format!("CL {value}"), of(value), Closed));
    }
    // A length past the limit of the route is not a syntax error.
    cases.push(case("CL past the limit", of("9223372036854775807"), Refused(413)));
    cases.push(case("CL of a tebibyte", of("1099511627776"), Refused(413)));
    cases.push(case("bytes after CL", post("content-length: 3\r\n", "abcdef\r\n\r\n"), PassedThen(1, 400)));
    let hidden = post(&format!("content-length: {}\r\n", SMUGGLED.len()), SMUGGLED);
    cases.push(case("a request inside of a body", hidden, Passed(1)));
    for cut in ["", "a", "ab"] {
        // It never comes: the caller is told so after the route's idle limit, or the connection is closed.
        cases.push(case(&format!("CL with {} of 3 bytes", cut.len()), post("content-length: 3\r\n", cut), Broken(408)));
    }
    cases
}

/// Encodings other than exactly `chunked`; what follows would be a request to whoever does not know them.
#[allow(clippy::too_many_lines, reason = "a table is read line by line")]
fn encodings() -> Vec<Case> {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let of = |lines: &str| post(lines, &body);
    let mut cases = vec![case("TE", chunked("3\r\nabc\r\n0\r\n\r\n"), Passed(1))];
    for value in ["Chunked", "CHUNKED", "cHuNkEd", " chunked", "chunked ", "\tchunked\t"] {
        let head = post(&format!("transfer-encoding:{value}\r\n"), "0\r\n\r\n");
        cases.push(case(&format!("TE {value:?}"), head, Passed(1)));
    }
    for value in [
        "chunked,",
        ",chunked",
        "chunked, ",
        "chunked,chunked",
        "chunked, chunked",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "gzip",
        "identity",
        "deflate",
        "xchunked",
        "chunkedx",
        "x-chunked",
        "chunk",
        "chunke",
        "\"chunked\"",
        "'chunked'",
        "chunked;q=1",
        "chunked; a=b",
        "chunked\tx",
        "chunked x",
        "chu nked",
        "",
        " ",
        "cow",
        "nothing",
        "\u{212a}",
        "chunKed",
        "0",
        "true",
        "chunked\u{b}",
        "chunked\u{c}",
        "\u{b}chunked",
        "chunked\0",
        "chunked\u{7f}",
        "chunked\u{a0}",
        "\\chunked",
        "chunked:",
        ":chunked",
    ] {
        let expect = if value.eq_ignore_ascii_case("chunked") { continue } else { Refused(400) };
        cases.push(case(&format!("TE {value:?}"), of(&format!("transfer-encoding: {value}\r\n")), expect));
    }
    for (name, lines) in [
        ("TE twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("TE with identity after", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        ("TE with identity before", "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n"),
        ("TE with x after", "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n"),
        ("TE with an empty one", "transfer-encoding:\r\ntransfer-encoding: chunked\r\n"),
        ("TE folded", "transfer-encoding:\r\n chunked\r\n"),
        ("TE folded by a tab", "transfer-encoding:\r\n\tchunked\r\n"),
        ("TE folded after", "transfer-encoding: chunked\r\n , identity\r\n"),
        ("TE with a space before the colon", "transfer-encoding : chunked\r\n"),
        ("TE with a tab before the colon", "transfer-encoding\t: chunked\r\n"),
        ("TE after a space", " transfer-encoding: chunked\r\n"),
        ("TE hidden by a NUL", "transfer-encoding\0: chunked\r\n"),
        ("TE hidden by a CR", "x: y\rtransfer-encoding: chunked\r\n"),
    ] {
        cases.push(case(name, of(lines), Refused(400)));
    }
    // Another field altogether, so there is no body, and what follows is not a request.
    cases.push(case("TE with an underscore", of("transfer_encoding: chunked\r\n"), PassedThen(1, 400)));
    let old = "POST /v2/models/digits HTTP/1.0\r\nhost: a\r\n";
    cases.push(case("TE in HTTP/1.0", format!("{old}transfer-encoding: chunked\r\n\r\n{body}"), Refused(400)));
    let both = format!("{old}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    cases.push(case("TE and CL in HTTP/1.0", both, Refused(400)));
    cases
}

/// Both ways to say a length at once.
fn both() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, te) in ["chunked", "Chunked", "\tchunked", "chunked "].iter().enumerate() {
        for (length, name) in [("0", "zero"), ("3", "three"), ("5", "five"), ("400", "much")] {
            let mut text = String::new();
            let _ = write!(text, "content-length: {length}\r\ntransfer-encoding:{te}\r\n");
            cases.push(case(
                &format!("CL {name} before TE {n}"),
                post(&text, &format!("0\r\n\r\n{SMUGGLED}")),
                Refused(400),
            ));
            text.clear();
            let _ = write!(text, "transfer-encoding:{te}\r\ncontent-length: {length}\r\n");
            cases.push(case(
                &format!("CL {name} after TE {n}"),
                post(&text, &format!("0\r\n\r\n{SMUGGLED}")),
                Refused(400),
            ));
        }
    }
    let expect: Expect = Refused(400);
    for te in ["gzip, chunked", "chunked, identity", "xchunked", "identity", "chunked,", ""] {
        let lines = format!("content-length: 5\r\ntransfer-encoding: {te}\r\n");
        cases.push(case(&format!("CL and TE {te:?}"), post(&lines, &format!("0\r\n\r\n{SMUGGLED}")), expect));
    }
    let lines = "content-length: x\r\ntransfer-encoding: chunked\r\n";
    cases.push(case("a bad CL before TE", post(lines, "0\r\n\r\n"), Refused(400)));
    let lines = "transfer-encoding: chunked\r\ncontent-length: 1\r\ncontent-length: 2\r\n";
    cases.push(case("two CL after TE", post(lines, &format!("0\r\n\r\n{SMUGGLED}")), Refused(400)));
    cases
}

pub(super) fn cases() -> Vec<Case> {
    [lengths(), encodings(), both()].into_iter().flatten().collect()
}

#[test]
fn a_request_whose_length_is_doubtful_is_never_sent_on() {
    check(&cases());
}
