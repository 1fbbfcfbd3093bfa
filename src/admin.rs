//! The admin listener: probes, metrics, routes, labels and commands. For people, Prometheus and label pipelines; never for traffic.

pub mod auth;
mod command;
pub mod feedback;
mod history;
mod page;
pub mod view;

use crate::{
    core::{
        history::Histories,
        judge::Judgement,
        name::RouteName,
        route::Route,
        snapshot::Live,
        status::{ConfigStatus, ReleaseStatus},
    },
    io::{clock, inbox::Orders, meters::Meters, metrics},
};
use arc_swap::ArcSwap;
use auth::{Role, Tokens};
use axum::{
    BoxError, Json, Router,
    body::Bytes,
    error_handling::HandleErrorLayer,
    extract::{ConnectInfo, DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode, header, uri::Authority},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use feedback::Door;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, time::interval};
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer, load_shed::LoadShedLayer};
use tower_http::timeout::TimeoutLayer;

/// Largest feedback request.
pub const FEEDBACK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Requests to the API that are worked on at the same time; more are turned away.
const REQUESTS_MAX: usize = 64;
/// Longest time for one of them, its body included.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Labels and orders that one address may send a second; bulk counts once.
pub const WRITES_PER_SECOND: NonZeroU32 = NonZeroU32::new(200).expect("not zero");
/// How often labels that were too early are looked at again.
const MATURE_EVERY: Duration = Duration::from_secs(1);

/// Everything the admin plane reads, and the two things it writes.
#[derive(Debug)]
pub struct Admin {
    /// The config loop writes.
    pub live: Arc<ArcSwap<Live>>,
    /// The config loop writes.
    pub config: watch::Receiver<Arc<ConfigStatus>>,
    /// The judge loop writes.
    pub judgements: watch::Receiver<Arc<BTreeMap<RouteName, Judgement>>>,
    /// The release loop writes.
    pub releases: watch::Receiver<Arc<BTreeMap<RouteName, ReleaseStatus>>>,
    /// The history loop writes.
    pub histories: watch::Receiver<Histories>,
    /// Ours, to the release loop: people's orders.
    pub orders: Orders,
    /// `app` writes `true` once.
    pub drain: watch::Receiver<bool>,
    /// Shared by all threads.
    pub meters: Arc<Meters>,
    /// Who may do what.
    pub tokens: Tokens,
    /// Ours: where labels come in.
    pub door: Mutex<Door>,
    /// Ours: how often each address has written.
    pub writers: Writers,
}

/// A rate limit for each address that writes.
#[derive(Debug)]
pub struct Writers(DefaultKeyedRateLimiter<IpAddr>);

impl Default for Writers {
    fn default() -> Self {
        Self(RateLimiter::keyed(Quota::per_second(WRITES_PER_SECOND)))
    }
}

type Shared = State<Arc<Admin>>;
type Peer = ConnectInfo<SocketAddr>;

/// Serves until it is dropped.
///
/// # Errors
/// If the listener cannot be registered with the runtime.
pub async fn run(admin: Admin, listener: std::net::TcpListener) -> std::io::Result<()> {
    let admin = Arc::new(admin);
    let bounds = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_: BoxError| async {
            problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; try again")
        }))
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(REQUESTS_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_LIMIT));
    let api = Router::new()
        .route("/v1/routes", get(routes))
        .route("/v1/routes/{name}", get(route))
        .route("/v1/verdict/{route}", get(verdict))
        .route("/v1/history/{route}", get(history::history))
        .route("/v1/feedback", post(label))
        .route("/v1/commands", post(command::command))
        .layer(DefaultBodyLimit::max(FEEDBACK_BYTES_MAX))
        .layer(bounds);
    // Probes and metrics stand outside of the bounds: they are answered under any load.
    let router = Router::new()
        .route("/", get(page::page))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .merge(api)
        .with_state(admin.clone());
    let listener = TcpListener::from_std(listener)?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let _last = SaveHeld(&admin);
    tokio::select! {
        ended = axum::serve(listener, service) => ended,
        () = mature(&admin) => Ok(()),
    }
}

/// The loop is dropped when the process ends: what waits is written down then.
struct SaveHeld<'a>(&'a Admin);

impl Drop for SaveHeld<'_> {
    fn drop(&mut self) {
        self.0.door.lock().unwrap_or_else(PoisonError::into_inner).save_held(clock::now());
    }
}

async fn mature(admin: &Admin) {
    let mut beat = interval(MATURE_EVERY);
    loop {
        beat.tick().await;
        admin.door.lock().unwrap_or_else(PoisonError::into_inner).mature(
            &admin.live.load(),
            clock::now(),
            &admin.meters,
        );
        admin.writers.0.retain_recent();
    }
}

impl Admin {
    fn show(&self, live: &Live, position: usize, route: &Route) -> serde_json::Value {
        let (judgements, releases) = (self.judgements.borrow(), self.releases.borrow());
        let last = self.histories.borrow().by_route.get(&route.name).map_or(0, |of| of.last);
        view::route(live, position, route, judgements.get(&route.name), releases.get(&route.name), last)
    }

    fn denied(&self, headers: &HeaderMap, peer: SocketAddr, role: Role) -> Option<Response> {
        // A web page of somebody else's may make a browser on this machine call us; it cannot hide where it comes from.
        // Nor may it reach us under a name of its own that points here.
        let foreign = role > Role::Viewer
            && (headers.contains_key(header::ORIGIN) || (self.tokens.is_empty() && !is_local_name(headers)));
        let allowed = !foreign && self.tokens.allow(headers, peer.ip(), role);
        if allowed && role > Role::Viewer && self.writers.0.check_key(&peer.ip()).is_err() {
            self.meters.admin_limited.up();
            let busy = problem(StatusCode::TOO_MANY_REQUESTS, "too many requests of one address; send labels in bulk");
            return Some(([(header::RETRY_AFTER, "1")], busy).into_response());
        }
        if allowed {
            return None;
        }
        self.meters.admin_denied.up();
        let help = "send `authorization: Bearer TOKEN` of a role that may do this; without token files, writing is for loopback";
        Some(problem(StatusCode::UNAUTHORIZED, help))
    }
}

/// Whether the Host is an address or `localhost`: what DNS cannot be made to say of us.
fn is_local_name(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host.parse::<Authority>().map(|authority| authority.host().to_owned()).unwrap_or_default();
    name == "localhost" || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

fn problem(status: StatusCode, help: &str) -> Response {
    (status, Json(json!({ "error": help }))).into_response()
}

async fn ready(State(admin): Shared) -> Response {
    if *admin.drain.borrow() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "draining");
    }
    let config = admin.config.borrow().clone();
    if config.generation.0 > 0 {
        return "ok\n".into_response();
    }
    let first = config.problems.first().map_or("no routes file has been read yet", String::as_str);
    problem(StatusCode::SERVICE_UNAVAILABLE, first)
}

async fn show_metrics(State(admin): Shared, ConnectInfo(peer): Peer, headers: HeaderMap) -> Response {
    if let Some(denied) = admin.denied(&headers, peer, Role::Viewer) {
        return denied;
    }
    let (config, judgements) = (admin.config.borrow().clone(), admin.judgements.borrow().clone());
    let releases = admin.releases.borrow().clone();
    match metrics::render(&admin.live.load(), &config, &judgements, &releases, &admin.meters) {
        Ok(text) => ([("content-type", "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

async fn routes(State(admin): Shared, ConnectInfo(peer): Peer, headers: HeaderMap) -> Response {
    if let Some(denied) = admin.denied(&headers, peer, Role::Viewer) {
        return denied;
    }
    let (live, config) = (admin.live.load_full(), admin.config.borrow().clone());
    let all = live.snapshot.routes.iter().enumerate();
    let routes: Vec<_> = all.map(|(at, route)| admin.show(&live, at, route)).collect();
    let revision = config.revision.as_ref().map(ToString::to_string);
    Json(json!({ "generation": config.generation.0, "revision": revision, "problems": config.problems, "routes": routes }))
        .into_response()
}

async fn route(
    State(admin): Shared,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Response {
    if let Some(denied) = admin.denied(&headers, peer, Role::Viewer) {
        return denied;
    }
    let live = admin.live.load_full();
    match live.snapshot.routes.named(&name) {
        Some((at, route)) => Json(admin.show(&live, at, route)).into_response(),
        None => problem(StatusCode::NOT_FOUND, "there is no such route; GET /v1/routes lists them"),
    }
}

/// What the judge says of a route and why: for gates of other tools, and for `coalmine explain`.
async fn verdict(
    State(admin): Shared,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Response {
    if let Some(denied) = admin.denied(&headers, peer, Role::Viewer) {
        return denied;
    }
    if admin.live.load().snapshot.routes.named(&name).is_none() {
        return problem(StatusCode::NOT_FOUND, "there is no such route; GET /v1/routes lists them");
    }
    let judgements = admin.judgements.borrow().clone();
    match judgements.values().find(|judgement| judgement.route.as_str() == name) {
        Some(judgement) => Json(view::verdict(judgement)).into_response(),
        None => problem(StatusCode::NOT_FOUND, "there is nothing to judge: no release of this route is under way"),
    }
}

/// One JSON object, or one a line (NDJSON): a result per line, in the same order.
async fn label(State(admin): Shared, ConnectInfo(peer): Peer, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(denied) = admin.denied(&headers, peer, Role::Labeler) {
        return denied;
    }
    let Ok(text) = std::str::from_utf8(&body) else {
        return problem(StatusCode::BAD_REQUEST, "the body is not UTF-8");
    };
    let (live, now) = (admin.live.load_full(), clock::now());
    let mut door = admin.door.lock().unwrap_or_else(PoisonError::into_inner);
    let results: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| match door.take(line, &live, now, &admin.meters) {
            (result, help) if help.is_empty() => json!({ "result": result }),
            (result, help) => json!({ "result": result, "error": help }),
        })
        .collect();
    door.keep();
    Json(json!({ "results": results })).into_response()
}
