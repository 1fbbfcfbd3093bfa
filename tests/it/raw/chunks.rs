//! Bodies in chunks: sizes, extensions, ends of lines, trailers.

use super::table::{Case, Expect::*, SMUGGLED, case, check, chunked};

#[allow(clippy::too_many_lines, reason = "a table is read line by line")]
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, rest) in [
        ("no chunk but the last", "0\r\n\r\n"),
        ("many zeros in the last", "0000000\r\n\r\n"),
        ("a zero before a size", "03\r\nabc\r\n0\r\n\r\n"),
        ("a size in capitals", "A\r\n0123456789\r\n0\r\n\r\n"),
        ("a size in small letters", "a\r\n0123456789\r\n0\r\n\r\n"),
        ("three chunks", "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"),
        ("CRLF in a chunk", "4\r\n\r\n\r\n\r\n0\r\n\r\n"),
        ("a last chunk in a chunk", "5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        ("a trailer", "3\r\nabc\r\n0\r\nx-checksum: 1\r\n\r\n"),
        ("a trailer that is nearly a length", "0\r\nx-content-length: 1\r\ncontent-lengths: 1\r\n\r\n"),
    ] {
        cases.push(case(name, chunked(rest), Passed(1)));
    }
    for size in [
        "",
        " ",
        "g",
        "x",
        "0x3",
        "-3",
        "+3",
        "-0",
        "+0",
        "3.0",
        "3,3",
        "3 3",
        "\"3\"",
        "three",
        "٣",
        "3\0",
        "\x003",
        " 3",
        "\t3",
        "10000000000000000",
        "ffffffffffffffffff",
        "fffffffffffffffffffffffffffffffff",
        "3h",
        "3\u{b}",
        "3\r",
        "3_",
    ] {
        cases.push(case(
            &format!("the size {size:?}"),
            chunked(&format!("{size}\r\nabc\r\n0\r\n\r\n{SMUGGLED}")),
            Broken(400),
        ));
    }
    for (name, rest) in [
        ("a bare LF after the size", "3\nabc\r\n0\r\n\r\n"),
        ("a bare LF after the data", "3\r\nabc\n0\r\n\r\n"),
        ("a bare CR after the size", "3\rabc\r\n0\r\n\r\n"),
        ("a bare CR after the data", "3\r\nabc\r0\r\n\r\n"),
        ("only LF", "3\nabc\n0\n\n"),
        ("a bare LF after the last size", "3\r\nabc\r\n0\n\r\n"),
        ("no CRLF after the data", "3\r\nabc0\r\n\r\n"),
        ("data longer than its size", "2\r\nabc\r\n0\r\n\r\n"),
        ("data shorter than its size", "4\r\nabc\r\n0\r\n\r\n"),
        ("two CRs", "3\r\r\nabc\r\n0\r\n\r\n"),
        ("an extension with a bare LF", "3;a=b\nabc\r\n0\r\n\r\n"),
        ("an extension with a bare CR", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("a body of a known length as chunks", "abc"),
        ("a request instead of chunks", SMUGGLED),
        ("a space in front of a trailer", "0\r\n x: y\r\n\r\n"),
        ("a trailer without colon", "0\r\nxy\r\n\r\n"),
        ("a trailer with a space before its colon", "0\r\nx : y\r\n\r\n"),
        ("a trailer with a NUL", "0\r\nx: \0\r\n\r\n"),
        ("an extension", "3;a\r\nabc\r\n0\r\n\r\n"),
        ("an extension with a value", "3;a=b\r\nabc\r\n0\r\n\r\n"),
        ("an extension in quotes", "3 ; a = \"b;c\"\r\nabc\r\n0\r\n\r\n"),
        ("an extension without a name", "3;\r\nabc\r\n0\r\n\r\n"),
        ("an extension after the last size", "3\r\nabc\r\n0;last\r\n\r\n"),
        ("a space after the size", "3 \r\nabc\r\n0\r\n\r\n"),
        ("a tab after the size", "3\t\r\nabc\r\n0\r\n\r\n"),
        ("a space after the last size", "3\r\nabc\r\n0 \r\n\r\n"),
        ("seventeen digits", "00000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("a length in the trailers", "3\r\nabc\r\n0\r\ncontent-length: 5\r\n\r\n"),
        ("an encoding in the trailers", "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a Host in the trailers", "3\r\nabc\r\n0\r\nx: y\r\nhost: elsewhere\r\n\r\n"),
        ("Connection in the trailers", "3\r\nabc\r\n0\r\nconnection: x-forwarded-for\r\n\r\n"),
        ("Trailer in the trailers", "3\r\nabc\r\n0\r\ntrailer: x\r\nx: 1\r\n\r\n"),
        ("a bare LF in the trailers", "0\r\nx: y\nz: 1\r\n\r\n"),
        ("a bare LF after the trailers", "0\r\nx: y\r\n\n"),
        ("a folded trailer", "0\r\nx: y\r\n z\r\n\r\n"),
        ("garbage instead of the end", "0\r\nabc"),
    ] {
        let rest = format!("{rest}{}", if name.starts_with("garbage") { "\r\n\r\n" } else { SMUGGLED });
        cases.push(case(name, chunked(&rest), Broken(400)));
    }
    for (n, cut) in
        ["", "3", "3\r", "3\r\n", "3\r\nab", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n", "0\r\n\r"].iter().enumerate()
    {
        cases.push(case(&format!("chunks that stop, {n}"), chunked(cut), Broken(408)));
    }
    // Size lines are not a place to keep data in.
    cases.push(case(
        "an endless extension",
        chunked(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(100_000))),
        Broken(400),
    ));
    cases.push(case("an endless trailer", chunked(&format!("0\r\nx: {}\r\n\r\n", "y".repeat(500_000))), Broken(400)));
    let trailers: String = (0..5_000).map(|n| format!("x-{n}: y\r\n")).collect();
    cases.push(case("five thousand trailers", chunked(&format!("0\r\n{trailers}\r\n")), Broken(400)));
    cases
}

#[test]
fn a_body_in_doubtful_chunks_never_looks_complete() {
    check(&cases());
}
