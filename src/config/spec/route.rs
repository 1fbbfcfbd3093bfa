//! One route of the file.

use super::{Rest, RouteSpec, VariantSpec, backend, policy};
use crate::{
    config::{
        fields::{Field, Place, Said, whole, yes_or_no},
        units,
    },
    core::{
        judge::Policy,
        name::{NameError, RouteName},
        plan::{Rollback, RollbackKind},
        route::{
            CallerKey, CallerLimit, Expose, FallbackPolicy, HeaderMatch, Limits, Match, PathMatch, Protocol, Sticky,
            Timeouts,
        },
    },
};
use http::{HeaderName, HeaderValue, StatusCode};
use std::time::Duration;

/// Largest body that is kept for sending again.
const REPLAY_BYTES: usize = 256 * 1024;
const IN_FLIGHT_MAX: u64 = 1_000_000;
const BODY_BYTES_MAX: u64 = 1 << 40;

impl RouteSpec {
    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        let map = field.map()?;
        let name = map.need("name", "every route has a name").and_then(|f| f.said(name(RouteName::new)));
        let matches = map.need("match", "such as `match: { path: /v2/models/digits }`");
        let matches = matches.and_then(|f| Some(Said { value: read_match(&f)?, place: f.place() }));
        let variants = map.need("variants", "list at least one variant with `role: stable`");
        let items = variants.as_ref().map(Field::items).unwrap_or_default();
        let readiness = map.get("readiness").and_then(|f| backend::readiness(&f));
        let variant = |item: &Field<'_>| VariantSpec::read(item, readiness.as_ref());
        let read: Vec<VariantSpec> = items.iter().filter_map(variant).collect();
        let fallback = map.get("fallback");
        let fallback_to = fallback.as_ref().and_then(fallback_to);
        let limits = map.get("limits").and_then(|f| limits(&f));
        let caller_limit = limits.as_ref().and_then(|(_, caller)| caller.clone());
        let rest = Rest {
            protocol: protocol(&map),
            sticky: map.get("sticky").and_then(|f| sticky(&f)),
            pin: map.or("pin", false, yes_or_no),
            expose: map.get("expose").map_or(Expose { variant: true, ticket: true }, |f| expose(&f)),
            fallback: read_fallback(fallback.as_ref()),
            timeouts: map.get("timeouts").and_then(|f| timeouts(&f)).unwrap_or(TIMEOUTS),
            outlier: map.get("outlier").map_or(Some(backend::OUTLIER), |f| backend::outlier(&f)),
            limits: limits.map_or(LIMITS, |(limits, _)| limits),
            caller_limit,
            plan: map.get("plan").and_then(|f| policy::plan(&f)),
            policy: map.get("judge").and_then(|f| policy::policy(&f, &Policy::default())).unwrap_or_default(),
            rollback: map.get("rollback").and_then(|f| rollback(&f)).unwrap_or_default(),
        };
        // Only now: whatever was not asked for by here is unknown, also in a route that cannot be used.
        map.done();
        Some(Self {
            variants_whole: read.len() == items.len() && variants.is_some(),
            variants: read,
            variants_place: variants.map_or_else(Place::default, |f| f.place()),
            fallback_to,
            canonical: field.node().canonical(),
            name: name?,
            matches: matches?,
            rest,
        })
    }
}

pub(super) fn name<T>(parse: impl Fn(&str) -> Result<T, NameError>) -> impl Fn(&str) -> Result<T, String> {
    move |text| parse(text).map_err(|error| format!("`{text}`: {error}"))
}

fn read_match(field: &Field<'_>) -> Option<Match> {
    let map = field.map()?;
    let path = map.get("path").and_then(|f| f.parse(path).map(PathMatch::Prefix));
    let exact = map.get("exact");
    if let Some(field) = exact.as_ref().filter(|_| path.is_some()) {
        field.wrong("`path` and `exact` exclude one another", "`path` is a prefix; keep one of them");
    }
    let exact = exact.and_then(|f| f.parse(self::path).map(PathMatch::Exact));
    if exact.is_none() && path.is_none() && map.get("path").is_none() && map.get("exact").is_none() {
        field.wrong("a match needs `path` or `exact`", "`path: /` catches everything");
    }
    let host = map.get("host").and_then(|f| f.parse(host));
    let headers = map.get("headers").map(|f| headers(&f)).unwrap_or_default();
    map.done();
    Some(Match { host, path: exact.or(path)?, headers })
}

pub(super) fn path(text: &str) -> Result<Box<str>, String> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains(['?', '#']);
    if text.starts_with('/') && plain {
        Ok(text.into())
    } else {
        Err(format!("`{text}` is not a path; it begins with `/` and holds neither spaces nor `?` nor `#`"))
    }
}

fn host(text: &str) -> Result<Box<str>, String> {
    let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if good { Ok(text.to_ascii_lowercase().into()) } else { Err(format!("`{text}` is not a host name without port")) }
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a header name"))
}

fn headers(field: &Field<'_>) -> Vec<HeaderMatch> {
    let read = |(key, value): (&str, Field<'_>)| {
        let name = header_name(key).map_err(|what| value.wrong(what, "")).ok()?;
        let wanted =
            value.parse(|text| HeaderValue::from_str(text).map_err(|_| format!("`{text}` is not a header value")))?;
        Some(HeaderMatch { name, value: (wanted != "*").then_some(wanted) })
    };
    field.free_entries().into_iter().filter_map(read).collect()
}

fn protocol(map: &crate::config::fields::Map<'_>) -> Protocol {
    let pointer = map.get("prediction");
    let named =
        map.get("protocol").and_then(|f| f.word(&[("v2", 0), ("v1", 1), ("mlflow", 2), ("openai", 3), ("raw", 4)]));
    if let Some(field) = pointer.as_ref().filter(|_| named.is_some_and(|n| n != 4)) {
        field.wrong("`prediction` is for `protocol: raw`", "the other protocols say where the prediction sits");
    }
    match named {
        Some(0) => Protocol::V2,
        Some(1) => Protocol::V1,
        Some(2) => Protocol::Mlflow,
        Some(3) => Protocol::OpenAi,
        _ => Protocol::Raw { prediction: pointer.and_then(|f| f.parse(json_pointer)) },
    }
}

/// RFC 6901.
fn json_pointer(text: &str) -> Result<Box<[Box<str>]>, String> {
    let rest = text.strip_prefix('/').ok_or_else(|| format!("`{text}` is not a JSON pointer; it begins with `/`"))?;
    Ok(rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~").into()).collect())
}

fn sticky(field: &Field<'_>) -> Option<Sticky> {
    let map = field.map()?;
    let header = map.need("header", "the field that names the user").and_then(|f| f.parse(header_name));
    map.done();
    Some(Sticky { header: header? })
}

fn expose(field: &Field<'_>) -> Expose {
    let all = Expose { variant: true, ticket: true };
    let Some(map) = field.map() else { return all };
    let expose = Expose { variant: map.or("variant", true, yes_or_no), ticket: map.or("ticket", true, yes_or_no) };
    map.done();
    expose
}

fn fallback_to(field: &Field<'_>) -> Option<Said<String>> {
    let entry = field.node().entry("to")?;
    let place = Place { path: format!("{}.to", field.place().path), span: entry.value.span.clone() };
    Some(Said { value: entry.value.text()?.to_owned(), place })
}

/// Missing: only what was never sent is sent again, to stable. `off`: never.
fn read_fallback(field: Option<&Field<'_>>) -> Option<FallbackPolicy> {
    let base = FallbackPolicy { connect: true, replay_bytes_max: REPLAY_BYTES, ..FallbackPolicy::default() };
    let Some(field) = field else {
        return Some(base);
    };
    if field.is_off() {
        return None;
    }
    let map = field.map()?;
    let mut policy = FallbackPolicy { connect: false, ..base };
    let _ = map.get("to");
    for item in map.need("when", "such as [connect, timeout, \"502\"]").map(|f| f.items()).unwrap_or_default() {
        match item.text() {
            Some("connect") => policy.connect = true,
            Some("timeout") => policy.timeout = true,
            Some("reset") => policy.reset = true,
            Some(code) => policy.statuses.extend(item_status(&item, code)),
            None => {}
        }
    }
    policy.replay_bytes_max = map
        .get("replay_body")
        .and_then(|f| f.parse(units::size))
        .map_or(REPLAY_BYTES, |bytes| usize::try_from(bytes.min(64 << 20)).unwrap_or(REPLAY_BYTES));
    map.done();
    Some(policy)
}

fn item_status(item: &Field<'_>, code: &str) -> Option<StatusCode> {
    let status = code.parse::<u16>().ok().filter(|code| (500..600).contains(code));
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    if status.is_none() {
        item.wrong(format!("`{code}` is not known here"), "connect, timeout, reset, or a status from 500 to 599");
    }
    status
}

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    first_byte: Duration::from_secs(30),
    idle: Duration::from_secs(60),
    total: Duration::from_secs(120),
};

pub(super) fn positive(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        Duration::ZERO => Err("a time limit of zero lets nothing through".to_owned()),
        some => Ok(some),
    }
}

fn timeouts(field: &Field<'_>) -> Option<Timeouts> {
    let map = field.map()?;
    let timeouts = Timeouts {
        connect: map.or("connect", TIMEOUTS.connect, positive),
        first_byte: map.or("first_byte", TIMEOUTS.first_byte, positive),
        idle: map.or("idle", TIMEOUTS.idle, positive),
        total: map.or("total", TIMEOUTS.total, positive),
    };
    if timeouts.total < timeouts.first_byte {
        field.warn("`total` is shorter than `first_byte`", "`total` will always strike first");
    }
    map.done();
    Some(timeouts)
}

const LIMITS: Limits =
    Limits { in_flight: 512, queue: 256, queue_wait: Duration::from_millis(500), request_body_bytes: 64 << 20 };

fn limits(field: &Field<'_>) -> Option<(Limits, Option<CallerLimit>)> {
    let map = field.map()?;
    let count = |text: &str| whole(IN_FLIGHT_MAX)(text).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let at_least_one = |text: &str| match count(text)? {
        0 => Err("at least 1 request must be let through".to_owned()),
        some => Ok(some),
    };
    let bytes = |text: &str| units::size(text).map(|bytes| bytes.min(BODY_BYTES_MAX));
    let limits = Limits {
        in_flight: map.or("in_flight", LIMITS.in_flight, at_least_one),
        queue: map.or("queue", LIMITS.queue, count),
        queue_wait: map.or("queue_wait", LIMITS.queue_wait, units::duration),
        request_body_bytes: map.or("request_body", LIMITS.request_body_bytes, bytes),
    };
    let caller = map.get("caller");
    let in_flight = map.get("per_caller").and_then(|f| f.parse(at_least_one));
    if let Some(field) = caller.as_ref().filter(|_| in_flight.is_none()) {
        field
            .wrong("`caller` is for `per_caller`", "say how many requests one caller may have in flight, or remove it");
    }
    let key = caller.and_then(|f| caller_key(&f)).unwrap_or(CallerKey::Address);
    map.done();
    Some((limits, in_flight.map(|in_flight| CallerLimit { key, in_flight })))
}

/// `address`, or `{ header: x-api-key }`.
fn caller_key(field: &Field<'_>) -> Option<CallerKey> {
    if field.node().text() == Some("address") {
        return Some(CallerKey::Address);
    }
    let map = field.map()?;
    let header = map.need("header", "the field that tells callers apart, such as x-api-key");
    map.done();
    header.and_then(|f| f.parse(header_name)).map(CallerKey::Header)
}

fn rollback(field: &Field<'_>) -> Option<Rollback> {
    let map = field.map()?;
    let kinds = [RollbackKind::Weights, RollbackKind::Revert, RollbackKind::LastGood].map(|kind| (kind.as_str(), kind));
    let kind = map.get("kind").and_then(|field| field.word(&kinds)).unwrap_or_default();
    let set = policy::set(&map);
    map.done();
    Some(Rollback { kind, set })
}
