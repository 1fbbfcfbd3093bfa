//! A route: a match, and everything that happens to the requests it catches.
//!
//! Only `config::compile` builds these. Matching is a function from data to a reference, and precedence is an `Ord`.

use super::{
    judge::Policy,
    name::{ReleaseKey, RouteName},
    outlier,
    plan::{Plan, Rollback},
    split::{Split, Weight},
    variant::Variant,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::{cmp::Reverse, sync::Arc, time::Duration};

/// What a request must look like to be caught by a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    /// Lower-case host without port; `None` catches every host.
    pub host: Option<Box<str>>,
    /// The path condition.
    pub path: PathMatch,
    /// All of these must hold.
    pub headers: Vec<HeaderMatch>,
}

/// A condition on the path, compared byte for byte, never decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(Box<str>),
    /// Whole leading segments: `/a/b` catches `/a/b` and `/a/b/c`, not `/a/bc`.
    Prefix(Box<str>),
}

/// A condition on one header field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeaderMatch {
    /// The field's name.
    pub name: HeaderName,
    /// The value one of its fields must have; `None`: present with any value.
    pub value: Option<HeaderValue>,
}

/// How specific a match is. Greater wins; equal goes to the route that stands first in the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Precedence {
    host: bool,
    exact: bool,
    path_bytes: usize,
    headers: usize,
}

impl Match {
    fn catches(&self, host: &str, path: &str, headers: &HeaderMap) -> Option<Precedence> {
        if self.host.as_deref().is_some_and(|wanted| !wanted.eq_ignore_ascii_case(host)) {
            return None;
        }
        let (exact, path_bytes) = match &self.path {
            PathMatch::Exact(wanted) => (path == &**wanted).then_some((true, wanted.len())),
            PathMatch::Prefix(wanted) => {
                let stem = wanted.strip_suffix('/').unwrap_or(wanted);
                let rest = path.strip_prefix(stem)?;
                (rest.is_empty() || rest.starts_with('/')).then_some((false, stem.len()))
            }
        }?;
        let holds = |m: &HeaderMatch| match &m.value {
            Some(wanted) => headers.get_all(&m.name).iter().any(|value| value == wanted),
            None => headers.contains_key(&m.name),
        };
        self.headers.iter().all(holds).then_some(Precedence {
            host: self.host.is_some(),
            exact,
            path_bytes,
            headers: self.headers.len(),
        })
    }
}

/// Says where prediction, id and tokens sit in an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Open Inference Protocol V2: `/outputs/0/data`.
    V2,
    /// KServe V1: `/predictions/0`.
    V1,
    /// `MLflow` scoring: `/predictions/0`.
    Mlflow,
    /// `OpenAI`-compatible: `/choices/0/message/content`.
    OpenAi,
    /// Anything else; the prediction sits at this JSON pointer (RFC 6901), if anywhere.
    Raw {
        /// The pointer, split into its unescaped reference tokens.
        prediction: Option<Box<[Box<str>]>>,
    },
}

/// Where the sticky key of a request sits. A request without one is drawn at random.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sticky {
    /// The header field that carries the key.
    pub header: HeaderName,
}

/// When a failed attempt is answered by stable instead. Only before the first byte has gone to the caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FallbackPolicy {
    /// After a failure to connect.
    pub connect: bool,
    /// After a time limit before the first byte.
    pub timeout: bool,
    /// After a connection that broke before the first byte, and after an answer that is none.
    pub reset: bool,
    /// After these statuses.
    pub statuses: Vec<StatusCode>,
    /// Largest request body that is kept for sending again; a larger one goes to one backend only.
    pub replay_bytes_max: usize,
}

/// How long each wait may last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Until the backend's connection stands. Default 2 s.
    pub connect: Duration,
    /// From the request sent to the first byte of the answer. Default 30 s.
    pub first_byte: Duration,
    /// Between two bytes in either direction. Default 60 s.
    pub idle: Duration,
    /// For the whole exchange. Default 120 s.
    pub total: Duration,
}

/// What a route may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Requests in flight per backend, over all threads. Default 512.
    pub in_flight: u32,
    /// Requests that may wait for a place. Default 256.
    pub queue: u32,
    /// How long one may wait. Default 500 ms.
    pub queue_wait: Duration,
    /// Largest request body, in bytes. Default 64 MiB.
    pub request_body_bytes: u64,
}

/// How callers of a route are told apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallerKey {
    /// By their address, as far as trusted proxies tell it.
    Address,
    /// By the value of this field, such as an API key's; those without it by their address.
    Header(HeaderName),
}

/// How much of a route one caller may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerLimit {
    /// Who is one caller.
    pub key: CallerKey,
    /// Requests in flight, over all threads.
    pub in_flight: u32,
}

/// Which of our own response headers a route shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expose {
    /// `x-coalmine-variant`.
    pub variant: bool,
    /// `x-coalmine-ticket`.
    pub ticket: bool,
}

/// The release a route is in, derived from the roles in its file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReleaseView {
    /// Identity over replicas and restarts.
    pub key: ReleaseKey,
    /// Position of the variant under release: the canary, or the new stable while its predecessor is kept.
    pub candidate: usize,
    /// Position of what it is compared with: stable, or the previous one.
    pub reference: usize,
    /// Whether the candidate has been promoted already.
    pub promoted: bool,
}

/// A compiled route.
#[derive(Clone, PartialEq, Debug)]
pub struct Route {
    /// Its name.
    pub name: RouteName,
    /// What it catches.
    pub matches: Match,
    /// Its variants, in the file's order.
    pub variants: Vec<Variant>,
    /// Weights as traffic gets them: the file's, lowered by clamps.
    pub split: Split,
    /// Position of the stable variant.
    pub stable: usize,
    /// The release it is in, if any.
    pub release: Option<ReleaseView>,
    /// How answers are read.
    pub protocol: Protocol,
    /// How users stay with a variant.
    pub sticky: Option<Sticky>,
    /// Whether `x-coalmine-pin` may force a variant.
    pub pin: bool,
    /// Our response headers.
    pub expose: Expose,
    /// What failure of the canary is answered by stable.
    pub fallback: Option<FallbackPolicy>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// When an endpoint that keeps failing is left out for a while; `None`: never.
    pub outlier: Option<outlier::Policy>,
    /// Size limits.
    pub limits: Limits,
    /// What one caller may have in flight; `None`: as much as all.
    pub caller_limit: Option<CallerLimit>,
    /// Positions of the variants that get copies (shadows, and a canary whose file says so), and of which share of the requests.
    pub shadows: Box<[(usize, Weight)]>,
    /// The release plan; `None`: weights are moved by people only.
    pub plan: Option<Plan>,
    /// How sure the judge must be, and of what.
    pub policy: Policy,
    /// What a rollback does to the branch.
    pub rollback: Rollback,
    /// Hash of everything the file says about this route: the precondition of a raise.
    pub digest: u64,
}

impl Route {
    /// The variant at `position`.
    #[must_use]
    pub fn variant(&self, position: usize) -> Option<&Variant> {
        self.variants.get(position)
    }

    /// Position of the variant called `name`.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.variants.iter().position(|v| v.name.as_str() == name)
    }
}

/// All routes of a snapshot, in the file's order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
}

impl RouteTable {
    /// A table of these routes.
    #[must_use]
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        Self { routes }
    }

    /// The best route for a request and its position: `host` without port, `path` as it came.
    #[must_use]
    pub fn find(&self, host: &str, path: &str, headers: &HeaderMap) -> Option<(usize, &Arc<Route>)> {
        let caught = self.routes.iter().enumerate().filter_map(|(position, route)| {
            let precedence = route.matches.catches(host, path, headers)?;
            Some((precedence, Reverse(position)))
        });
        let (_, Reverse(position)) = caught.max()?;
        Some((position, self.routes.get(position)?))
    }

    /// The route called `name` and its position.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(usize, &Arc<Route>)> {
        self.routes.iter().enumerate().find(|(_, route)| route.name.as_str() == name)
    }

    /// The routes in the file's order.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Route>> {
        self.routes.iter()
    }

    /// The route at `position`.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<&Arc<Route>> {
        self.routes.get(position)
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

impl<'a> IntoIterator for &'a RouteTable {
    type Item = &'a Arc<Route>;
    type IntoIter = std::slice::Iter<'a, Arc<Route>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
pub(in crate::core) mod tests;
