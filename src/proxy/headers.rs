//! The fields that a proxy adds: who asked, over what, and the ids that tie logs and traces together.

use crate::core::grpc;
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, Entry},
    uri::Authority,
};
use rand::RngExt as _;
use std::net::IpAddr;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Which fields are added, and whom to believe about those that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderPolicy {
    /// Proxies in front of us whose word counts: so many elements of `X-Forwarded-For`, from its end, are theirs.
    pub trusted_hops: usize,
    /// Adds to `Forwarded` (RFC 7239) beside `X-Forwarded-*`.
    pub forwarded: bool,
    /// Adds to `Via` (RFC 9110 section 7.6.3).
    pub via: bool,
    /// Makes `x-request-id` if there is none.
    pub request_id: bool,
    /// Makes `traceparent` (W3C Trace Context) if there is none.
    pub trace: bool,
}

impl Default for HeaderPolicy {
    fn default() -> Self {
        Self { trusted_hops: 0, forwarded: false, via: true, request_id: true, trace: true }
    }
}

/// Which of the fields that we add may be there already, as far as one look at all names tells.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Known {
    pub(super) forwarded_for: bool,
    pub(super) via: bool,
    pub(super) request_id: bool,
    pub(super) trace_parent: bool,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) ip: IpAddr,
    text: HeaderValue,
    tls: bool,
}

impl Caller {
    pub(super) fn new(ip: IpAddr, tls: bool) -> Self {
        let ip = ip.to_canonical();
        // An address is always a valid value.
        let text = HeaderValue::try_from(ip.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Self { ip, text, tls }
    }
}

impl HeaderPolicy {
    /// Adds what the policy says to a request that goes on. The last element of `X-Forwarded-For` is always the peer we saw.
    /// `known`: which of these fields are there already.
    pub(super) fn request(
        self,
        headers: &mut HeaderMap,
        known: Known,
        caller: &Caller,
        host: &HeaderValue,
        version: Version,
    ) {
        if self.forwarded {
            add_forwarded(headers, caller, host);
        }
        append(headers, known.forwarded_for, FORWARDED_FOR, &caller.text);
        let scheme = HeaderValue::from_static(if caller.tls { "https" } else { "http" });
        if self.trusted_hops == 0 {
            headers.insert(FORWARDED_PROTO, scheme);
            headers.insert(FORWARDED_HOST, host.clone());
        } else {
            headers.entry(FORWARDED_PROTO).or_insert(scheme);
            headers.entry(FORWARDED_HOST).or_insert(host.clone());
        }
        if self.via {
            let via = HeaderValue::from_static(if version == Version::HTTP_2 { "2 coalmine" } else { "1.1 coalmine" });
            append(headers, known.via, header::VIA, &via);
        }
        if self.request_id && !(known.request_id && headers.contains_key(REQUEST_ID)) {
            let (high, low): (u64, u64) = rand::rng().random();
            let mut text = [b'0'; 32];
            write_hex(&mut text, 0, high);
            write_hex(&mut text, 16, low);
            headers.insert(REQUEST_ID, ours(&text));
        }
        if self.trace && !(known.trace_parent && headers.contains_key(TRACE_PARENT)) {
            // Not sampled: we record no span ourselves, whoever samples decides.
            let (high, low, span): (u64, u64, u64) = rand::rng().random();
            headers.insert(TRACE_PARENT, trace_parent(high, low | 1, span | 1));
        }
    }

    /// Whom a request is from: the peer, or whom the trusted proxies in front of us say.
    pub(super) fn origin(self, headers: &HeaderMap, caller: &Caller) -> IpAddr {
        let elements = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let mut said: Vec<&str> = elements.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut origin = caller.ip;
        for _ in 0..self.trusted_hops {
            match said.pop().map(str::parse::<IpAddr>) {
                Some(Ok(ip)) => origin = ip.to_canonical(),
                Some(Err(_)) | None => break,
            }
        }
        origin
    }
}

fn add_forwarded(headers: &mut HeaderMap, caller: &Caller, host: &HeaderValue) {
    let peer = match caller.ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    };
    let proto = if caller.tls { "https" } else { "http" };
    let host = host.to_str().unwrap_or("");
    if let Ok(element) = HeaderValue::try_from(format!("for={peer};host=\"{host}\";proto={proto}")) {
        append(headers, true, header::FORWARDED, &element);
    }
}

/// Appends to a list field: one field with all of it, in order. Not `known` is not there: then it need not be looked for.
fn append(headers: &mut HeaderMap, known: bool, name: HeaderName, value: &HeaderValue) {
    if !known {
        headers.insert(name, value.clone());
        return;
    }
    match headers.entry(name) {
        Entry::Vacant(entry) => drop(entry.insert(value.clone())),
        Entry::Occupied(mut entry) => {
            let before: Vec<&[u8]> = entry.iter().map(HeaderValue::as_bytes).collect();
            let all = [&before.join(&b", "[..])[..], b", ", value.as_bytes()].concat();
            if let Ok(all) = HeaderValue::from_bytes(&all) {
                entry.insert(all);
            }
        }
    }
}

fn trace_parent(high: u64, low: u64, span: u64) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(&mut text, 3, high);
    write_hex(&mut text, 19, low);
    write_hex(&mut text, 36, span);
    ours(&text)
}

/// A value that never comes again. HTTP/2 is told so: it would put every one of them into its table, and something useful out of it.
fn ours(text: &[u8]) -> HeaderValue {
    let mut value = HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Sixteen hexadecimal digits at `at`.
fn write_hex(text: &mut [u8], at: usize, word: u64) {
    let halves = [word >> 32, word & 0xffff_ffff].map(eight_digits);
    for (place, digit) in text.iter_mut().skip(at).zip(halves.as_flattened()) {
        *place = *digit;
    }
}

/// The digits of 32 bits, all at once: a byte for each four bits, and 39 more for `a` and above.
fn eight_digits(half: u64) -> [u8; 8] {
    let spread = (half | (half << 16)) & 0x0000_ffff_0000_ffff;
    let spread = (spread | (spread << 8)) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | (spread << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((spread + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (spread + 0x3030_3030_3030_3030 + letters * 0x27).to_be_bytes()
}

/// Brings a request into the form of HTTP/1.1: Host, one Cookie field, no absolute target.
pub(super) fn to_http1<B>(request: &mut http::Request<B>) {
    if let Some(authority) = request.uri().authority().cloned() {
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().insert(header::HOST, host);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(http::Uri::default, Into::into);
    }
    if request.version() == Version::HTTP_2 {
        // HTTP/2 may split cookies into fields; HTTP/1.1 has one (RFC 9113 section 8.2.3).
        let cookies: Vec<&[u8]> = request.headers().get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if cookies.len() > 1
            && let Ok(one) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
        {
            request.headers_mut().insert(header::COOKIE, one);
        }
        request.headers_mut().remove(header::TE);
    }
    *request.version_mut() = Version::HTTP_11;
}

/// Brings a request into the form of HTTP/2: an absolute target, no Host.
pub(super) fn to_http2<B>(request: &mut http::Request<B>, tls: bool) {
    if request.extensions().get::<TakesTrailers>().is_some() {
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(host) = request.headers_mut().remove(header::HOST)
        && let Ok(authority) = Authority::from_maybe_shared(host)
    {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(if tls { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
        parts.authority = Some(authority);
        *request.uri_mut() = http::Uri::from_parts(parts).unwrap_or_default();
    }
    *request.version_mut() = Version::HTTP_2;
}

/// Marks a request whose caller takes trailers (`TE: trailers`): gRPC servers insist on being told.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakesTrailers;

/// Whether a request is a gRPC call.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| grpc::is_grpc(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for word in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0xa9a9_9a9a_0f0f_f0f0] {
            let mut text = [b'-'; 18];
            write_hex(&mut text, 1, word);
            assert_eq!(std::str::from_utf8(&text).unwrap(), format!("-{word:016x}-"));
        }
    }
}
