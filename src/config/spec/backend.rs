//! A variant of a route: the backend that serves it, how that is asked whether it is ready, and when it is left out.

use super::{
    VariantSpec,
    route::{name, path, positive},
};
use crate::{
    config::{
        fields::{Field, Said, whole},
        units,
    },
    core::{
        name::VariantName,
        outlier,
        variant::{Address, Backend, ModelRef, Readiness, Role, Wire},
    },
};
use std::{net::IpAddr, time::Duration};

/// Longest path of a Unix socket: Linux has room for 108 bytes, one of them the final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Longest host name (RFC 1035, 2.3.4).
const HOST_CHARS_MAX: usize = 253;
/// Checks are not made more often than this: they are requests too.
const EVERY_MIN: Duration = Duration::from_millis(50);
const FAILURES_MAX: u64 = 1_000;

impl VariantSpec {
    pub(super) fn read(field: &Field<'_>, readiness: Option<&Readiness>) -> Option<Self> {
        let map = field.map()?;
        let name = map.need("name", "every variant has a name").and_then(|f| f.said(name(VariantName::new)));
        let role = map.need("role", "stable, canary, previous, rejected or shadow");
        let role = role.and_then(|f| Some(Said { value: f.word(ROLES)?, place: f.place() }));
        let weight = map.need("weight", "its share in per cent; 0 is a weight too");
        let weight = weight.and_then(|f| f.said(units::weight));
        let share = map.get("share").and_then(|f| f.said(units::weight));
        let url = map.need("url", "where it is served, such as http://digits-v1.models.svc:8080");
        let backend = url.as_ref().and_then(|f| Some((f.parse(address)?, f.text()?.to_owned())));
        let server_name = map.get("server_name");
        let model = map.get("model").and_then(|f| model(&f)).unwrap_or_default();
        map.done();
        let named = server_name.as_ref().and_then(|f| f.parse(certificate_name));
        let ((address, mut wire), url) = backend?;
        match (&mut wire, server_name) {
            (Wire::Tls { server_name }, _) => *server_name = named,
            (Wire::Http1 | Wire::Http2, Some(field)) => {
                field.wrong("`server_name` is for https only", "write `url: https://...`, or remove it");
            }
            (Wire::Http1 | Wire::Http2, None) => {}
        }
        let backend = Backend { address, wire, readiness: readiness.cloned() };
        Some(Self { name: name?, role: role?, weight: weight?, share, backend, url, model })
    }
}

const ROLES: &[(&str, Role)] = &[
    ("stable", Role::Stable),
    ("canary", Role::Canary),
    ("previous", Role::Previous),
    ("rejected", Role::Rejected),
    ("shadow", Role::Shadow),
];

fn model(field: &Field<'_>) -> Option<ModelRef> {
    let map = field.map()?;
    let text = |key| map.get(key).and_then(|f| f.text()).map(Into::into);
    let model = ModelRef { version: text("version"), uri: text("uri"), digest: text("digest") };
    map.done();
    Some(model)
}

/// `http://host:port`, `https://`, `h2c://`: no path, no user, no query; the port is 80 (443 for https) if it is missing.
/// `unix:/path` and `h2c+unix:/path`: the absolute path of a socket.
fn address(url: &str) -> Result<(Address, Wire), String> {
    let bad = |why: &str| {
        format!(
            "`{url}` is not a backend: {why}; write http://host:port, https://, h2c://, unix:/path or h2c+unix:/path"
        )
    };
    let (scheme, rest) = url.split_once(':').ok_or_else(|| bad("the scheme is missing"))?;
    let (wire, port) = match scheme {
        "unix" => return Ok((Address::Unix(socket(rest).map_err(bad)?), Wire::Http1)),
        "h2c+unix" => return Ok((Address::Unix(socket(rest).map_err(bad)?), Wire::Http2)),
        "http" => (Wire::Http1, 80),
        "h2c" => (Wire::Http2, 80),
        "https" => (Wire::Tls { server_name: None }, 443),
        _ if rest.starts_with("//") => return Err(bad(&format!("the scheme `{scheme}` is not known"))),
        _ => return Err(bad("the scheme is missing")),
    };
    let rest = rest.strip_prefix("//").ok_or_else(|| bad("`//` is missing"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err(bad("only host and port may stand in it"));
    }
    let authority: http::uri::Authority = rest.parse().map_err(|_| bad("host or port is not valid"))?;
    let port = match authority.port() {
        Some(port) => port.as_u16(),
        None if rest.ends_with(':') => return Err(bad("the port is empty")),
        // `http` takes a number that is no port for no port at all.
        None if rest.rsplit_once(':').is_some_and(|(_, tail)| !tail.ends_with(']')) => {
            return Err(bad("the port is not valid"));
        }
        None => port,
    };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match bare {
        Some(six) => six.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_name(host.strip_suffix('.').unwrap_or(host)),
    };
    if !good || port == 0 {
        return Err(bad("host or port is not valid"));
    }
    Ok((Address::Tcp { host: bare.unwrap_or(host).into(), port }, wire))
}

/// Letters, digits, `-` and `_` in labels of 1 to 63 (RFC 1123, 2.1, and the `_` that service names use).
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= HOST_CHARS_MAX && text.split('.').all(label)
}

fn socket(path: &str) -> Result<Box<str>, &'static str> {
    if path.starts_with("//") {
        Err("one slash begins the path of a socket")
    } else if !path.starts_with('/') || path.ends_with('/') {
        Err("a socket has an absolute path")
    } else if path.len() > SOCKET_PATH_BYTES_MAX {
        Err("the path of a socket has at most 107 bytes")
    } else if path.chars().any(char::is_control) {
        Err("a control character stands in the path")
    } else {
        Ok(path.into())
    }
}

fn certificate_name(text: &str) -> Result<Box<str>, String> {
    if is_name(text) || text.parse::<IpAddr>().is_ok() {
        Ok(text.into())
    } else {
        Err(format!("`{text}` is not a name that a certificate carries; write it without scheme and port"))
    }
}

/// `off`, or missing: every address counts as ready.
pub(super) fn readiness(field: &Field<'_>) -> Option<Readiness> {
    if field.is_off() {
        return None;
    }
    let map = field.map()?;
    let path = map.need("path", "such as /v2/health/ready").and_then(|f| f.parse(check_path));
    let every = |text: &str| match units::duration(text)? {
        often if often < EVERY_MIN => Err(format!("`{text}` is too often; wait at least {EVERY_MIN:?} between checks")),
        some => Ok(some),
    };
    let every = map.or("every", Duration::from_secs(5), every);
    let timeout = map.or("timeout", Duration::from_secs(2), positive);
    map.done();
    Some(Readiness { path: path?, every, timeout })
}

/// A path as in a match, but with a query if need be.
fn check_path(text: &str) -> Result<Box<str>, String> {
    let (stem, query) = text.split_once('?').unwrap_or((text, ""));
    path(stem)?;
    if text.parse::<http::uri::PathAndQuery>().is_ok() && !query.contains('#') {
        Ok(text.into())
    } else {
        Err(format!("`{text}` cannot be asked for"))
    }
}

/// What holds if the file says nothing.
pub(super) const OUTLIER: outlier::Policy =
    outlier::Policy { failures: 5, eject: Duration::from_secs(10), eject_max: Duration::from_secs(300) };

/// `off`: no endpoint is ever left out.
pub(super) fn outlier(field: &Field<'_>) -> Option<outlier::Policy> {
    if field.is_off() {
        return None;
    }
    let map = field.map()?;
    let failures = |text: &str| match whole(FAILURES_MAX)(text)? {
        0 => Err("at least 1 failure is needed, or `outlier: off`".to_owned()),
        some => Ok(u32::try_from(some).unwrap_or(u32::MAX)),
    };
    let positive = |text: &str| match units::duration(text)? {
        Duration::ZERO => Err("an ejection of no length is none; write `outlier: off`".to_owned()),
        some => Ok(some),
    };
    let failures = map.or("failures", OUTLIER.failures, failures);
    let eject = map.or("eject", OUTLIER.eject, positive);
    let longest = map.get("eject_max");
    let said = longest.as_ref().and_then(|f| f.parse(positive));
    if let Some(field) = longest.filter(|_| said.is_some_and(|max| max < eject)) {
        field.wrong("`eject_max` is shorter than `eject`", "the first ejection lasts `eject`; later ones are longer");
    }
    map.done();
    Some(outlier::Policy { failures, eject, eject_max: said.unwrap_or(OUTLIER.eject_max).max(eject) })
}

#[cfg(test)]
mod tests;
