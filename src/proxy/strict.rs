//! What hyper lets through and a backend must never see: doubtful framing, missing or several Hosts, hop-by-hop fields.
//!
//! What reaches a backend is one unambiguous message that we serialised ourselves; anything doubtful is refused with 400.

use super::headers::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, Known, TakesTrailers};
use crate::core::grpc;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header, uri::PathAndQuery};
use http_body::Body;
use std::net::Ipv6Addr;

/// Fields that concern one connection only (RFC 9110 section 7.6.1), and ours.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Asks for a variant.
const PIN: HeaderName = HeaderName::from_static("x-coalmine-pin");

/// Fields that naming them in `Connection` must not remove: they carry meaning end to end, or were put there by us.
fn is_protected(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_LENGTH, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO].contains(name)
}

/// What the head of a request says, once it has been checked.
#[derive(Debug)]
pub(super) struct Head {
    /// Who is asked for: the value of Host as it goes on.
    pub(super) host: HeaderValue,
    /// How much of it is the name, without the port.
    name_bytes: usize,
    /// The protocol that the caller wants to change to, if it may.
    pub(super) upgrade: Option<HeaderValue>,
    /// The variant that the caller wants.
    pub(super) pin: Option<HeaderValue>,
    /// Whether it is a gRPC call.
    pub(super) grpc: bool,
    /// Which of the fields that we add have come.
    pub(super) known: Known,
}

impl Head {
    /// The name that is asked for, in the caller's letters, without the port.
    pub(super) fn name(&self) -> &str {
        self.host.to_str().ok().and_then(|host| host.get(..self.name_bytes)).unwrap_or("")
    }
}

/// What stands in a head that matters here. Found in one pass: most requests have nothing to be removed, and looking each name up
/// would cost more than all the rest of this file.
#[derive(Debug, Default)]
struct Seen<'a> {
    host: Option<&'a HeaderValue>,
    hosts: usize,
    lengths: usize,
    encodings: usize,
    hop_by_hop: bool,
    upgrade: bool,
    /// Alone in every gRPC call, so that it is taken away alone.
    te: bool,
    takes_trailers: bool,
    trailer: bool,
    pin: Option<&'a HeaderValue>,
    grpc: bool,
    known: Known,
}

impl<'a> Seen<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "host" => (seen.host, seen.hosts) = (Some(value), seen.hosts + 1),
                "content-length" => seen.lengths += 1,
                "content-type" => seen.grpc = grpc::is_grpc(value.as_bytes()),
                "trailer" => seen.trailer = true,
                "transfer-encoding" => (seen.encodings, seen.hop_by_hop) = (seen.encodings + 1, true),
                "te" => (seen.te, seen.takes_trailers) = (true, value.as_bytes().eq_ignore_ascii_case(b"trailers")),
                "upgrade" => (seen.upgrade, seen.hop_by_hop) = (true, true),
                "connection"
                | "keep-alive"
                | "proxy-connection"
                | "expect"
                | "proxy-authenticate"
                | "proxy-authorization" => seen.hop_by_hop = true,
                "x-coalmine-pin" => seen.pin = Some(value),
                "x-forwarded-for" => seen.known.forwarded_for = true,
                "via" => seen.known.via = true,
                "x-request-id" => seen.known.request_id = true,
                "traceparent" => seen.known.trace_parent = true,
                _ => {}
            }
        }
        seen
    }
}

/// Checks the head of a request and brings it into the form in which it may be sent on.
///
/// # Errors
/// What is doubtful about it.
pub(super) fn request<B: Body>(request: &mut Request<B>) -> Result<Head, &'static str> {
    let seen = Seen::of(request.headers());
    framing(&seen, request)?;
    if request.method() == Method::CONNECT {
        return Err("CONNECT is not served here");
    }
    let (host, name_bytes) = host(&seen, request)?;
    let head = Head {
        host,
        name_bytes,
        upgrade: if seen.upgrade { upgrade(request) } else { None },
        pin: seen.pin.cloned(),
        grpc: seen.grpc,
        known: seen.known,
    };
    let Seen { hosts, hop_by_hop, te, takes_trailers, trailer, .. } = seen;
    let alone = request.body().is_end_stream();
    let targeted = request.uri().authority().is_some();
    origin_form(request)?;
    if takes_trailers {
        request.extensions_mut().insert(TakesTrailers);
    }
    let headers = request.headers_mut();
    if targeted || hosts == 0 {
        headers.insert(header::HOST, head.host.clone());
    }
    if hop_by_hop || trailer {
        take_away(headers);
    } else if te {
        headers.remove(header::TE);
    }
    if alone && trailer {
        headers.remove(header::TRAILER);
    }
    if head.pin.is_some() {
        headers.remove(PIN);
    }
    Ok(head)
}

/// What the caller wants to change to. Not to HTTP/2 or TLS, which are spoken here from the first byte or not at all; and not
/// behind a body, whose end and the new protocol's beginning two parsers might see in different places.
fn upgrade<B: Body>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let mut wanted = headers.get_all(header::UPGRADE).iter();
    let (Some(protocol), None) = (wanted.next(), wanted.next()) else { return None };
    let mut tokens =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let said = tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let name = protocol.as_bytes().to_ascii_lowercase();
    let ours = [&b"h2"[..], b"http", b"tls"].iter().any(|ours| name.starts_with(ours));
    let alone = request.body().is_end_stream() && request.version() == Version::HTTP_11;
    (said && alone && !ours).then(|| protocol.clone())
}

/// One length, said once: `Content-Length` or exactly `Transfer-Encoding: chunked`.
fn framing<B>(seen: &Seen<'_>, request: &Request<B>) -> Result<(), &'static str> {
    let chunked = || {
        let encoding = request.headers().get(header::TRANSFER_ENCODING);
        encoding.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"))
    };
    match (seen.encodings, seen.lengths) {
        (0, 0 | 1) => Ok(()),
        (1, 0) if chunked() && request.version() == Version::HTTP_11 => Ok(()),
        (1, 0) => Err("the only transfer encoding is `chunked`, in HTTP/1.1"),
        (0, _) => Err("more than one Content-Length"),
        _ => Err("Content-Length beside Transfer-Encoding, or more than one of them"),
    }
}

/// Who is asked for, as a value of Host, and how long its name is: the target's authority if it has one, else the one Host field.
fn host<B>(seen: &Seen<'_>, request: &Request<B>) -> Result<(HeaderValue, usize), &'static str> {
    let said = match (seen.hosts, seen.host) {
        (0, _) if request.version() == Version::HTTP_11 => return Err("no Host"),
        (0, _) | (_, None) => None,
        (1, Some(host)) => {
            let name_bytes = host.to_str().ok().and_then(name_of).ok_or("Host is not valid")?;
            Some((host.clone(), name_bytes))
        }
        _ => return Err("more than one Host"),
    };
    let Some(target) = request.uri().authority() else {
        return Ok(said.unwrap_or((HeaderValue::from_static("localhost"), "localhost".len())));
    };
    let bad = "the request target is not valid";
    if !matches!(request.uri().scheme_str(), Some("http" | "https")) {
        return Err(bad);
    }
    let name_bytes = name_of(target.as_str()).ok_or(bad)?;
    Ok((HeaderValue::from_str(target.as_str()).map_err(|_| bad)?, name_bytes))
}

/// The length of the name, if this is one name or address, and a port at most. A list, a user, or a port that is none is read in
/// another way by somebody else.
fn name_of(host: &str) -> Option<usize> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.split_once(']')?.0;
            address.parse::<Ipv6Addr>().ok()?;
            host.split_at_checked(address.len() + 2)?
        }
        None => {
            let (name, port) = host.split_at_checked(host.find(':').unwrap_or(host.len()))?;
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
            (!name.is_empty() && name.bytes().all(plain)).then_some((name, port))?
        }
    };
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    (port.is_empty() || port.strip_prefix(':').is_some_and(number)).then_some(name.len())
}

/// Only path and query go on, byte for byte; bytes past ASCII have to be written as `%XX`.
fn origin_form<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    if request.uri().path_and_query().is_some_and(|path| !path.as_str().is_ascii()) {
        return Err("the request target is not valid");
    }
    if request.uri().scheme().is_none() && request.uri().path().starts_with('/') {
        return Ok(());
    }
    let path = request.uri().path_and_query().cloned().filter(|path| path.as_str().starts_with('/'));
    let path = path.ok_or("the request target is not valid")?;
    // An empty path reads as `/` and is written as nothing: `GET http://host#x` would go on without a target.
    let path = if path.as_str() == "/" { PathAndQuery::from_static("/") } else { path };
    *request.uri_mut() = path.into();
    Ok(())
}

/// Removes what concerns this connection only, and whatever `Connection` names.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let seen = Seen::of(headers);
    if seen.hop_by_hop || seen.trailer || seen.te {
        take_away(headers);
    }
}

fn take_away(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
            .filter(|name| !is_protected(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(&PROXY_CONNECTION);
    // Before a body in chunks it announces, end to end, what follows it: over HTTP/1.1 nothing else is sent there.
    if headers.contains_key(header::CONTENT_LENGTH) || !headers.get_all(header::TRAILER).iter().all(names_fields) {
        headers.remove(header::TRAILER);
    }
}

/// Whether this is a list of field names (RFC 9110 section 6.6.2).
fn names_fields(value: &HeaderValue) -> bool {
    value.as_bytes().split(|byte| *byte == b',').all(|name| HeaderName::from_bytes(name.trim_ascii()).is_ok())
}

/// Fields that say where a message ends or how it is to be read.
const FRAMING: [HeaderName; 5] =
    [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING, header::TRAILER];

/// Whether a trailer field may be passed on: none that frames or routes a message.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    // There are few trailers, and none of these among them.
    if trailers.keys().any(|name| FRAMING.contains(name)) {
        for name in &FRAMING {
            trailers.remove(name);
        }
    }
}
