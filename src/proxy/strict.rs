//! What hyper lets through and a backend must never see: doubtful framing, missing or several Hosts, hop-by-hop fields.
//!
//! What reaches a backend is one unambiguous message that we serialised ourselves; anything doubtful is refused with 400.

use super::headers::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, TakesTrailers};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header, uri::Authority};
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
pub(super) const PIN: HeaderName = HeaderName::from_static("x-coalmine-pin");

/// Fields that naming them in `Connection` must not remove: they carry meaning end to end, or were put there by us.
fn is_protected(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_LENGTH, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO].contains(name)
}

/// What the head of a request says, once it has been checked.
#[derive(Debug)]
pub(super) struct Head {
    /// Who is asked for; its host is matched in the caller's letters.
    pub(super) authority: Authority,
    /// The protocol that the caller wants to change to, if it may.
    pub(super) upgrade: Option<HeaderValue>,
}

/// Checks the head of a request and brings it into the form in which it may be sent on.
///
/// # Errors
/// What is doubtful about it.
pub(super) fn request<B: Body>(request: &mut Request<B>) -> Result<Head, &'static str> {
    framing(request)?;
    if request.method() == Method::CONNECT {
        return Err("CONNECT is not served here");
    }
    let authority = authority(request)?;
    let upgrade = upgrade(request);
    let targeted = request.uri().authority().is_some();
    origin_form(request)?;
    if request.headers().get(header::TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        request.extensions_mut().insert(TakesTrailers);
    }
    let alone = request.body().is_end_stream();
    let headers = request.headers_mut();
    if targeted || !headers.contains_key(header::HOST) {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| "the request target is not valid")?;
        headers.insert(header::HOST, host);
    }
    remove_hop_by_hop(headers);
    if alone {
        headers.remove(header::TRAILER);
    }
    headers.remove(&PIN);
    Ok(Head { authority, upgrade })
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
fn framing<B>(request: &Request<B>) -> Result<(), &'static str> {
    let headers = request.headers();
    let encodings = headers.get_all(header::TRANSFER_ENCODING).iter().count();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let chunked =
        headers.get(header::TRANSFER_ENCODING).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    match (encodings, lengths) {
        (0, 0 | 1) => Ok(()),
        (1, 0) if chunked && request.version() == Version::HTTP_11 => Ok(()),
        (1, 0) => Err("the only transfer encoding is `chunked`, in HTTP/1.1"),
        (0, _) => Err("more than one Content-Length"),
        _ => Err("Content-Length beside Transfer-Encoding, or more than one of them"),
    }
}

/// Who is asked for: the target's authority if it has one, else the one Host field.
fn authority<B>(request: &Request<B>) -> Result<Authority, &'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err("more than one Host"),
        (Some(host), None) => Some(parse(host)?),
        (None, _) if request.version() == Version::HTTP_11 => return Err("no Host"),
        (None, _) => None,
    };
    if let Some(target) = request.uri().authority() {
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) || !names_one_host(target) {
            return Err("the request target is not valid");
        }
        return Ok(target.clone());
    }
    Ok(host.unwrap_or_else(|| Authority::from_static("localhost")))
}

fn parse(host: &HeaderValue) -> Result<Authority, &'static str> {
    let authority = host.to_str().ok().and_then(|text| text.parse().ok());
    authority.filter(names_one_host).ok_or("Host is not valid")
}

/// Whether this is one name or address, and a port at most. A list, a user, or a port that is none is read in another way by
/// somebody else.
fn names_one_host(authority: &Authority) -> bool {
    let host = authority.host();
    let rest = authority.as_str().strip_prefix(host).unwrap_or("@");
    let port = rest.is_empty() || (rest.len() > 1 && authority.port_u16().is_some());
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
    };
    port && literal.map_or_else(|| named(host), |address| address.parse::<Ipv6Addr>().is_ok())
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
    *request.uri_mut() = path.into();
    Ok(())
}

/// Removes what concerns this connection only, and whatever `Connection` names.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
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
    if headers.contains_key(header::CONTENT_LENGTH) {
        headers.remove(header::TRAILER);
    }
}

/// Whether a trailer field may be passed on: none that frames or routes a message.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    let framing = [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING, header::TRAILER];
    for name in [header::HOST].into_iter().chain(framing) {
        trailers.remove(name);
    }
}
