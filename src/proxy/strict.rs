//! What hyper lets through and a backend must never see: doubtful framing, missing or several Hosts, hop-by-hop fields.
//!
//! What reaches a backend is one unambiguous message that we serialised ourselves; anything doubtful is refused with 400.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Version,
    header::{self, Entry},
    uri::Authority,
};
use std::net::IpAddr;

/// Fields that concern one connection only (RFC 9110 section 7.6.1), and ours.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Asks for a variant.
pub(super) const PIN: HeaderName = HeaderName::from_static("x-coalmine-pin");

/// Fields that naming them in `Connection` must not remove: they carry meaning end to end, or were put there by us.
fn is_protected(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_LENGTH, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO].contains(name)
}

/// Checks the head of a request and brings it into the form in which it may be sent on. Returns the host without port, in
/// the caller's letters.
pub(super) fn request<B>(request: &mut Request<B>, peer: IpAddr) -> Result<Box<str>, &'static str> {
    framing(request)?;
    if request.method() == Method::CONNECT {
        return Err("CONNECT is not served here");
    }
    let authority = authority(request)?;
    let host = authority.host().into();
    origin_form(request)?;
    let headers = request.headers_mut();
    if let Ok(value) = HeaderValue::from_str(authority.as_str()) {
        headers.insert(header::HOST, value);
    }
    remove_hop_by_hop(headers);
    headers.remove(&PIN);
    forwarded(headers, peer, &authority);
    Ok(host)
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
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) || target.as_str().contains('@') {
            return Err("the request target is not valid");
        }
        return Ok(target.clone());
    }
    Ok(host.unwrap_or_else(|| Authority::from_static("localhost")))
}

fn parse(host: &HeaderValue) -> Result<Authority, &'static str> {
    let bad = "Host is not valid";
    let text = host.to_str().map_err(|_| bad)?;
    let authority: Authority = text.parse().map_err(|_| bad)?;
    if text.contains('@') || authority.host().is_empty() || (text.ends_with(':') && authority.port().is_none()) {
        return Err(bad);
    }
    Ok(authority)
}

/// Only path and query go on, byte for byte.
fn origin_form<B>(request: &mut Request<B>) -> Result<(), &'static str> {
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
}

/// Appends the peer that we saw; says which host was asked for, unless somebody before us has.
fn forwarded(headers: &mut HeaderMap, peer: IpAddr, authority: &Authority) {
    let peer = peer.to_string();
    let chain: Vec<&[u8]> = headers.get_all(&FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let chain = if chain.is_empty() {
        peer.into_bytes()
    } else {
        [&chain.join(&b", "[..])[..], b", ", peer.as_bytes()].concat()
    };
    if let Ok(value) = HeaderValue::from_bytes(&chain) {
        headers.insert(FORWARDED_FOR, value);
    }
    if let Entry::Vacant(entry) = headers.entry(FORWARDED_HOST)
        && let Ok(value) = HeaderValue::from_str(authority.as_str())
    {
        entry.insert(value);
    }
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
}

/// Whether a trailer field may be passed on: none that frames or routes a message.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    for name in [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        trailers.remove(name);
    }
}
