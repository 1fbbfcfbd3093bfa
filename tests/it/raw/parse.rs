//! A strict reader of HTTP/1.1 requests, written for these tests: whatever two servers could read in two ways is an error here.

/// One request, as only one reading of it is possible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct Request {
    pub(in super::super) method: String,
    pub(in super::super) target: String,
    /// Names in lower case.
    pub(in super::super) headers: Vec<(String, String)>,
    pub(in super::super) body: Vec<u8>,
    pub(in super::super) trailers: Vec<(String, String)>,
}

impl Request {
    pub(in super::super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// Why reading ended without a request.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Stop {
    /// What is there is good, but not all of it is there.
    More,
    /// This must never reach a backend.
    Bad(String),
}

type Read<T> = Result<T, Stop>;

fn bad<T>(why: impl Into<String>) -> Read<T> {
    Err(Stop::Bad(why.into()))
}

/// The requests in `bytes`, and how many bytes of an unfinished one are left over.
pub(in super::super) fn all(bytes: &[u8]) -> Result<(Vec<Request>, usize), String> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match one(&bytes[at..]) {
            Ok((request, length)) => {
                found.push(request);
                at += length;
            }
            Err(Stop::More) => break,
            Err(Stop::Bad(why)) => return Err(format!("{why} in {:?}", String::from_utf8_lossy(&bytes[at..]))),
        }
    }
    Ok((found, bytes.len() - at))
}

/// The first request in `bytes`, and its length.
pub(in super::super) fn one(bytes: &[u8]) -> Read<(Request, usize)> {
    let mut cursor = Cursor { bytes, at: 0 };
    let (method, target) = request_line(cursor.line()?)?;
    let headers = fields(&mut cursor)?;
    let framing = framing(&method, &headers)?;
    let mut trailers = Vec::new();
    let body = match framing {
        Framing::Length(length) => cursor.take(length)?.to_vec(),
        Framing::Chunks => {
            let body = chunks(&mut cursor)?;
            trailers = fields(&mut cursor)?;
            for (name, _) in &trailers {
                if FRAMING.contains(&name.as_str()) || HOP_BY_HOP.contains(&name.as_str()) {
                    return bad(format!("{name} in the trailers"));
                }
            }
            body
        }
    };
    Ok((Request { method, target, headers, body, trailers }, cursor.at))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Up to CRLF; a line that is not finished must be good so far.
    fn line(&mut self) -> Read<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = &rest[..end.unwrap_or(rest.len())];
        let (line, cr) = match line.split_last() {
            Some((b'\r', line)) => (line, true),
            _ => (line, false),
        };
        if let Some(odd) = line.iter().find(|byte| (**byte < 0x20 && **byte != b'\t') || **byte == 0x7f) {
            return bad(format!("the control character {odd:#x}"));
        }
        match end {
            None => Err(Stop::More),
            Some(_) if !cr => bad("a bare LF"),
            Some(end) => {
                self.at += end + 1;
                Ok(line)
            }
        }
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + length).ok_or(Stop::More)?;
        self.at += length;
        Ok(taken)
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exactly three parts, origin form.
fn request_line(line: &[u8]) -> Read<(String, String)> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts.as_slice() else {
        return bad(format!("{} parts in the request line", parts.len()));
    };
    if !is_token(method) || *method == b"CONNECT" {
        return bad("the method");
    }
    if *version != b"HTTP/1.1" {
        return bad("the version");
    }
    let asterisk = *target == b"*" && *method == b"OPTIONS";
    if !asterisk && (!target.starts_with(b"/") || !target.iter().all(|b| b.is_ascii_graphic() && *b != b'#')) {
        return bad("the target is not in origin form");
    }
    Ok((text(method), text(target)))
}

fn fields(cursor: &mut Cursor<'_>) -> Read<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = cursor.line()?;
        if line.is_empty() {
            return Ok(fields);
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return bad("a folded line");
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return bad("a line without colon");
        };
        if !is_token(&line[..colon]) {
            return bad(format!("the field name {:?}", text(&line[..colon])));
        }
        fields.push((text(&line[..colon]).to_ascii_lowercase(), text(line[colon + 1..].trim_ascii())));
    }
}

const FRAMING: [&str; 3] = ["transfer-encoding", "content-length", "host"];
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "proxy-authorization",
    "proxy-authenticate",
    "http2-settings",
];

enum Framing {
    Length(usize),
    Chunks,
}

fn framing(method: &str, headers: &[(String, String)]) -> Read<Framing> {
    let all =
        |name: &str| headers.iter().filter(|(known, _)| known == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    let [host] = all("host")[..] else {
        return bad(format!("{} Host fields", all("host").len()));
    };
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(&b);
    if host.is_empty() || !host.bytes().all(good) {
        return bad(format!("the Host {host:?}"));
    }
    let chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
    // Trailers may be announced where there can be some.
    let odd = |name: &str| HOP_BY_HOP.contains(&name) && !(name == "trailer" && chunked);
    if let Some((name, _)) = headers.iter().find(|(name, _)| odd(name)) {
        return bad(format!("the hop-by-hop field {name}"));
    }
    match (&all("transfer-encoding")[..], &all("content-length")[..]) {
        ([], []) => Ok(Framing::Length(0)),
        (["chunked"], []) => Ok(Framing::Chunks),
        ([], [length]) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().map(Framing::Length).or_else(|_| bad("a Content-Length past counting"))
        }
        (encodings, lengths) => bad(format!("{method} with encodings {encodings:?} and lengths {lengths:?}")),
    }
}

/// Up to and with the last chunk's line.
fn chunks(cursor: &mut Cursor<'_>) -> Read<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = cursor.line()?;
        let size = std::str::from_utf8(line).unwrap_or("?");
        if size.is_empty() || size.len() > 8 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return bad(format!("the chunk size {size:?}"));
        }
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(cursor.take(size)?);
        if cursor.take(2)? != b"\r\n" {
            return bad("a chunk that does not end where it says");
        }
    }
}

#[test]
fn the_strict_reader_refuses_what_could_be_read_in_two_ways() {
    let good = "POST /a?b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n";
    let (found, left) = all(format!("{good}GET / HTTP/1.1\r\nhost: b\r\n\r\nGET").as_bytes()).unwrap();
    assert_eq!((found.len(), found[0].body.as_slice(), found[1].all("host"), left), (2, &b"abc"[..], vec!["b"], 3));
    for (from, to) in [
        ("host: a", "host: a\r\nhost: a"),
        ("host: a\r\n", ""),
        ("host: a\r\n", "host: a\n"),
        ("host: a\r\n", "host: a\r\n b\r\n"),
        ("host: a", "host : a"),
        ("host: a", "host: a\r\nx: \0"),
        ("host: a", "host: a\r\ncontent-length: 3"),
        ("host: a", "host: a\r\ntransfer-encoding: chunked"),
        ("host: a", "host: a\r\nconnection: close"),
        ("chunked", "Chunked"),
        ("chunked", "gzip, chunked"),
        ("\r\n3\r\n", "\r\n3;a=b\r\n"),
        ("\r\n3\r\n", "\r\n+3\r\n"),
        ("\r\n3\r\n", "\r\n2\r\n"),
        ("\r\n3\r\n", "\r\n3\n"),
        ("x: y", "content-length: 1"),
        ("/a?b", "http://a/"),
        ("/a?b", "/a b"),
        ("1.1", "1.0"),
    ] {
        let text = good.replacen(from, to, 1);
        assert!(matches!(one(text.as_bytes()), Err(Stop::Bad(_))), "{text:?}");
    }
    for cut in 0..good.len() {
        assert_eq!(one(&good.as_bytes()[..cut]), Err(Stop::More), "cut after {cut}");
    }
}
