//! Route match: for every head that parses, the table finds what the documented precedence says, worked out the slow way.

use coalmine::{
    config,
    core::{
        clamp::Clamps,
        route::{Match, PathMatch, RouteTable},
    },
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::sync::LazyLock;

/// Overlapping on purpose: hosts, exact paths, prefixes with and without a slash, headers, and ties.
const MATCHES: [&str; 12] = [
    "{ path: / }",
    "{ path: /v2/models/digits }",
    "{ path: /v2/models/digits/ }",
    "{ path: /v2/models }",
    "{ exact: /v2/models/digits }",
    "{ exact: /v2/models/digits/infer }",
    "{ path: /v2, host: models.example }",
    "{ path: /v2/models, host: models.example, headers: { x-team: red } }",
    "{ path: /v2/models, headers: { x-team: red } }",
    "{ path: /v2/models, headers: { x-team: '*', x-tier: gold } }",
    "{ exact: /, headers: { x-team: red } }",
    "{ path: /a//b/%2F }",
];

static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let mut text = "apiVersion: coalmine.dev/v1alpha1\nkind: RouteTable\nroutes:\n".to_owned();
    for (i, matches) in MATCHES.iter().enumerate() {
        text += &format!(
            "  - name: r{i}\n    match: {matches}\n    variants:\n      - {{ name: v1, role: stable, weight: 100, url: 'http://h:1' }}\n"
        );
    }
    config::read(&text, &Clamps::default()).expect("the table compiles").0.routes
});

/// The input is the head of an HTTP/1 request.
pub fn check(data: &[u8]) {
    let Some((host, path, headers)) = head(data) else { return };
    let found = TABLE.find(&host, &path, &headers).map(|(position, _)| position);
    let mut best: Option<((bool, bool, usize, usize), usize)> = None;
    for (position, route) in TABLE.iter().enumerate() {
        let Some(rank) = rank(&route.matches, &host, &path, &headers) else { continue };
        // Only strictly better: of equals the first in the file wins.
        if best.is_none_or(|(so_far, _)| rank > so_far) {
            best = Some((rank, position));
        }
    }
    assert_eq!(found, best.map(|(_, position)| position), "host {host:?} path {path:?} {headers:?}");
}

/// Host first, then an exact path, then the longer path (whole segments), then more headers.
fn rank(matches: &Match, host: &str, path: &str, headers: &HeaderMap) -> Option<(bool, bool, usize, usize)> {
    if let Some(wanted) = &matches.host
        && wanted.to_ascii_lowercase() != host.to_ascii_lowercase()
    {
        return None;
    }
    let (exact, length) = match &matches.path {
        PathMatch::Exact(wanted) if **wanted == *path => (true, wanted.len()),
        PathMatch::Exact(_) => return None,
        PathMatch::Prefix(wanted) => {
            let stem = wanted.strip_suffix('/').unwrap_or(wanted);
            let segments: Vec<&str> = stem.split('/').collect();
            let given: Vec<&str> = path.split('/').collect();
            if given.get(..segments.len()) != Some(&segments[..]) {
                return None;
            }
            (false, stem.len())
        }
    };
    for wanted in &matches.headers {
        let mut values = headers.iter().filter(|(name, _)| *name == wanted.name).map(|(_, value)| value);
        let there = match &wanted.value {
            Some(value) => values.any(|given| given.as_bytes() == value.as_bytes()),
            None => values.next().is_some(),
        };
        if !there {
            return None;
        }
    }
    Some((matches.host.is_some(), exact, length, matches.headers.len()))
}

fn head(data: &[u8]) -> Option<(String, String, HeaderMap)> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(data).ok()?.is_complete().then_some(())?;
    let uri: Uri = request.path?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    let host = uri.host().map(str::to_owned);
    let host = host.or_else(|| {
        let authority: http::uri::Authority = headers.get("host")?.to_str().ok()?.parse().ok()?;
        Some(authority.host().to_owned())
    });
    Some((host.unwrap_or_default(), uri.path().to_owned(), headers))
}
