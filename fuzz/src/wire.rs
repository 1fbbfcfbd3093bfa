//! A backend that believes nothing: it reads what the proxy sends byte by byte, by the letter of RFC 9112, and says what it minds.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Mutex,
};

/// What was wrong with a message, for the target to find after the exchange.
pub static COMPLAINTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Fields that concern one connection, and may not be passed on (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 5] = ["keep-alive", "proxy-connection", "te", "proxy-authorization", "expect"];
const LINE_BYTES_MAX: u64 = 128 * 1024;

/// Starts one; it lives as long as the process.
pub fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(&stream));
        }
    });
    address
}

fn serve(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    loop {
        match message(&mut reader) {
            Ok(true) => {}
            Ok(false) => return,
            Err(complaint) => {
                COMPLAINTS.lock().expect("no panic holds it").push(complaint);
                return;
            }
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        if (&*stream).write_all(answer).is_err() {
            return;
        }
    }
}

/// Reads one request to its end; `false`: the connection ended, between messages or in a body that the caller gave up.
pub fn message(reader: &mut impl BufRead) -> Result<bool, String> {
    let Some(first) = line(reader)? else { return Ok(false) };
    let mut words = first.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let plain = target.is_some_and(|t| t.starts_with('/') && t.bytes().all(|b| b.is_ascii_graphic() || b >= 0x80));
    if !method.is_some_and(is_token) || !plain || version != Some("HTTP/1.1") || words.next().is_some() {
        return Err(format!("request line {first:?}"));
    }
    let mut fields: Vec<(String, String)> = Vec::new();
    loop {
        let Some(text) = line(reader)? else { return Err(format!("a head that breaks off after {fields:?}")) };
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':').ok_or_else(|| format!("field {text:?}"))?;
        if !is_token(name) || value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
            return Err(format!("field {text:?}"));
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    head(&first, &fields)?;
    body(reader, &fields)
}

/// One Host, one framing, nothing of the caller's connection, and our mark.
fn head(first: &str, fields: &[(String, String)]) -> Result<(), String> {
    let all =
        |wanted: &str| fields.iter().filter(|(name, _)| name == wanted).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    let wrong = |what: &str| Err(format!("{what}: {first:?} {fields:?}"));
    if all("host").len() != 1 || all("host").iter().any(|host| host.is_empty() || host.contains([' ', ',', '@', '/'])) {
        return wrong("not one Host");
    }
    match (all("content-length").as_slice(), all("transfer-encoding").as_slice()) {
        ([], [] | ["chunked"]) => {}
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {}
        _ => return wrong("doubtful framing"),
    }
    if let Some(name) = HOP_BY_HOP.iter().find(|name| !all(name).is_empty()) {
        return wrong(&format!("{name} passed on"));
    }
    // What follows a body may be announced, end to end, where something can follow it (RFC 9110 section 6.6.2).
    let announced = all("trailer");
    let names = announced.iter().flat_map(|list| list.split(',')).all(|name| is_token(name.trim()));
    if !announced.is_empty() && (all("transfer-encoding").is_empty() || !names) {
        return wrong("trailer passed on");
    }
    // A change of protocol is the one thing of a connection that may be asked for, by the proxy itself, and never beside a body.
    match (all("connection").as_slice(), all("upgrade").as_slice()) {
        ([], []) => {}
        ([wish], [_]) if wish.eq_ignore_ascii_case("upgrade") && all("transfer-encoding").is_empty() => {}
        _ => return wrong("connection or upgrade passed on"),
    }
    // A request that was smuggled inside of another one's body has not been through our hands.
    match all("x-forwarded-for").as_slice() {
        [chain] if chain.ends_with("127.0.0.1") => Ok(()),
        _ => wrong("not serialised by the proxy"),
    }
}

fn body(reader: &mut impl BufRead, fields: &[(String, String)]) -> Result<bool, String> {
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    if let Some(length) = field("content-length") {
        let length: u64 = length.parse().map_err(|_| format!("Content-Length {length}"))?;
        return skip(reader, length);
    }
    if field("transfer-encoding").is_none() {
        return Ok(true);
    }
    loop {
        let Some(size) = line(reader)? else { return Ok(false) };
        let digits = size.split(';').next().unwrap_or("");
        let length = u64::from_str_radix(digits, 16).map_err(|_| format!("chunk size {size:?}"))?;
        if digits.starts_with('+') {
            return Err(format!("chunk size {size:?}"));
        }
        if length == 0 {
            break;
        }
        if !skip(reader, length)? {
            return Ok(false);
        }
        match line(reader)? {
            Some(end) if end.is_empty() => {}
            Some(rest) => return Err(format!("chunk longer than its size: {rest:?}")),
            None => return Ok(false),
        }
    }
    loop {
        match line(reader)? {
            Some(end) if end.is_empty() => return Ok(true),
            Some(trailer) if trailer.split_once(':').is_some_and(|(name, _)| is_token(name)) => {}
            Some(trailer) => return Err(format!("trailer {trailer:?}")),
            None => return Ok(false),
        }
    }
}

fn skip(reader: &mut impl BufRead, length: u64) -> Result<bool, String> {
    let copied = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    Ok(copied.is_ok_and(|bytes| bytes == length))
}

/// One line, ended by CR LF and holding neither elsewhere; bytes above ASCII stand as Latin-1.
fn line(reader: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    if reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).is_err() || bytes.is_empty() {
        return Ok(None);
    }
    let Some(text) = bytes.strip_suffix(b"\r\n") else {
        // A caller that goes away takes its request with it, wherever that stands.
        return if bytes.ends_with(b"\n") {
            Err(format!("a bare LF after {:?}", bytes.escape_ascii().to_string()))
        } else {
            Ok(None)
        };
    };
    if text.contains(&b'\r') || text.contains(&0) {
        return Err(format!("a bare CR or NUL in {:?}", text.escape_ascii().to_string()));
    }
    Ok(Some(text.iter().map(|byte| char::from(*byte)).collect()))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
