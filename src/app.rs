//! Builds everything once, in order, and owns every thread and every channel. Drains in reverse.
#![allow(clippy::disallowed_methods, reason = "the wiring reads secret files and owns the threads")]

mod clone;
mod guardrail;
mod notify;
pub mod rehearsal;
mod source;
mod tls;

pub use self::{
    clone::aside,
    source::{access as kubernetes_access, application},
};
pub use crate::config::settings::Settings;
pub use tls::Tls;

use self::{clone::clone, source::Source};
use crate::{
    admin::{
        self, Admin, Writers,
        auth::{Role, Tokens},
        feedback::Door,
    },
    control::{
        commit_loop::CommitLoop,
        config_loop::ConfigLoop,
        judge_loop::{self, JudgeLoop},
        release_loop::{In, Out, ReleaseLoop},
    },
    core::{name::Generation, snapshot::Live, ticket::TicketKey},
    io::{
        clock,
        directory::{self, Directory, Resolver},
        inbox, listener,
        meters::Meters,
        pairs, process,
        store::Store,
    },
    proxy::{Callers, DataThread, Gates, HeaderPolicy, ProxySettings},
};
use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{runtime, sync::watch, task::LocalSet};

/// Fewer bytes of ticket key are refused: labels could be forged by guessing.
const TICKET_KEY_BYTES_MIN: usize = 16;

/// A running Coalmine.
#[derive(Debug)]
pub struct App {
    /// Where traffic comes in.
    pub data: SocketAddr,
    /// Where people come in.
    pub admin: SocketAddr,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    data_threads: Vec<JoinHandle<()>>,
    control: Option<JoinHandle<()>>,
    live: Arc<ArcSwap<Live>>,
}

/// Starts everything. When it returns, both listeners are open.
///
/// # Errors
/// A port that is taken, a secret that cannot be read, a state directory that cannot be written.
pub fn start(settings: &Settings) -> anyhow::Result<App> {
    start_with(settings, directory::system())
}

/// The same, with another way to look names up.
///
/// # Errors
/// As [`start`].
pub fn start_with(settings: &Settings, resolver: Resolver) -> anyhow::Result<App> {
    let threads = settings.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let meters = Arc::new(Meters::default());
    let store = match &settings.state_dir {
        Some(dir) => Store::open_dir(dir, meters.clone())?,
        None => Store::memory(),
    };
    let key = ticket_key(settings.ticket_key_file.as_deref())?;
    let tokens = tokens(settings)?;
    let live = Arc::new(ArcSwap::from_pointee(Live::default()));
    let tls = Tls::load(settings, &meters)?;
    let (drain, draining) = watch::channel(false);
    let (stop, stopping) = watch::channel(false);

    let admin_socket = bind(settings.admin, false)?;
    let first = bind(settings.listen, true)?;
    let (data, admin) = (first.local_addr()?, admin_socket.local_addr()?);
    let shared = Shared {
        live: live.clone(),
        meters: meters.clone(),
        store,
        threads,
        draining: draining.clone(),
        tls: tls.clone(),
    };
    let (copies, copied) = pairs::channel();
    let people = People {
        socket: admin_socket,
        tokens,
        door: Door::new(key.clone(), shared.store.clone(), copied, clock::now()),
    };
    let runtime = new_runtime()?;
    let every = settings.backends.resolve_every;
    let directory = Arc::new(Directory::with_resolver(runtime.handle().clone(), meters.clone(), every, resolver));
    let control = control(settings, shared, people, (runtime, directory.clone()), stopping)?;

    let gates = Arc::new(Gates::default());
    let callers = Arc::new(Callers::default());
    let proxy = proxy_settings(settings, &tls);
    let spec = |index| DataThread {
        index,
        live: live.clone(),
        key: key.clone(),
        settings: proxy,
        drain: draining.clone(),
        meters: meters.clone(),
        gates: gates.clone(),
        callers: callers.clone(),
        directory: directory.clone(),
        copies: copies.clone(),
        tls: tls.server.as_ref().map(|(server, _)| server.clone()),
        backend_tls: Some(tls.client.clone()),
    };
    let data_threads = data_threads(first, threads, spec)?;
    tracing::info!(%data, %admin, threads, "serving");
    Ok(App { data, admin, drain, stop, data_threads, control: Some(control), live })
}

/// What the planes share.
struct Shared {
    live: Arc<ArcSwap<Live>>,
    meters: Arc<Meters>,
    store: Store,
    threads: usize,
    draining: watch::Receiver<bool>,
    tls: Tls,
}

/// What only the admin plane has.
struct People {
    socket: TcpListener,
    tokens: Tokens,
    door: Door,
}

/// One thread for the source, the loops and the admin listener, with all the channels between them.
fn control(
    settings: &Settings,
    shared: Shared,
    people: People,
    (runtime, directory): (runtime::Runtime, Arc<Directory>),
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<()>> {
    let Shared { live, meters, store, threads, draining, tls } = shared;
    let (documents, newest) = watch::channel(None);
    let (clamps, clamped) = watch::channel(Arc::default());
    let (status, config) = watch::channel(Arc::default());
    let (judgements, judged) = watch::channel(Arc::default());
    let (attempts, attempt) = watch::channel(Arc::default());
    let (wanted, wanting) = watch::channel(Arc::default());
    let (outcomes, outcome) = watch::channel(Arc::default());
    let (releases, released) = watch::channel(Arc::default());
    let (orders, inbox) = inbox::channel();
    let (pushed, seen_pushed) = watch::channel(0);
    let source = Source::of(settings, &meters, || clone(settings, "git-source"), seen_pushed)?;
    let (git, requests) = clone::committing(settings, &store, &meters)?;
    let seen = (judged.clone(), released.clone(), wanting.clone(), outcome.clone());
    let (tellers, made) = notify::Tellers::of(settings, seen, pushed, &live, &store, &meters)?;
    let (guardrail_loop, readings) = guardrail::guardrail_loop(settings, live.clone(), &meters)?;
    // Before any routes file is read: what was rejected stays at 0 from the first request on.
    let input = In { live: live.clone(), judgements: judged.clone(), outcomes: outcome, inbox };
    let output = Out { clamps, wanted, attempts, releases };
    let release_loop = ReleaseLoop::new(input, output, store.clone(), git.is_some());
    let looked = released.clone();
    let commit_loop = CommitLoop { wanted: wanting, outcomes, made, git, requests, looked, meters: meters.clone() };
    let config_loop = ConfigLoop { documents: newest, clamps: clamped, live: live.clone(), status, threads };
    let mut judge_loop = JudgeLoop::new(judge_loop::Parts {
        live: live.clone(),
        attempts: attempt,
        readings,
        judgements,
        directory,
        meters: meters.clone(),
        store,
        interval: settings.judge_interval,
        replicas: settings.replicas,
    });
    let admin = Admin {
        live,
        config,
        judgements: judged,
        releases: released,
        histories: tellers.histories(),
        orders,
        drain: draining,
        meters,
        tokens: people.tokens,
        door: people.door.into(),
        writers: Writers::default(),
    };
    spawn("control", runtime, move |runtime| {
        runtime.block_on(async move {
            tokio::select! {
                () = source.run(documents) => {}
                () = config_loop.run() => {}
                () = judge_loop.run() => {}
                () = release_loop.run() => {}
                () = commit_loop.run() => {}
                () = guardrail_loop.run() => {}
                () = tellers.run() => {}
                () = tls.watch() => {}
                ended = admin::run(admin, people.socket) => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "admin listener ended");
                    }
                }
                _ = stopping.wait_for(|stop| *stop) => {}
            }
            judge_loop.end();
        });
        // A name server that does not answer must not hold the end.
        runtime.shutdown_background();
    })
}

impl App {
    /// Whether a routes file is in force.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.live.load().snapshot.generation > Generation(0)
    }

    /// Not ready any more; accepts for the lame-duck time, then ends what is in flight within the drain limit.
    pub fn drain(&self) {
        tracing::info!("draining");
        self.drain.send_replace(true);
    }

    /// Waits until everything has ended; [`Self::drain`] comes first.
    pub fn join(mut self) {
        for thread in self.data_threads.drain(..) {
            let _ = thread.join();
        }
        // Probes and metrics are answered until the last request is done.
        self.stop.send_replace(true);
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
    }
}

/// One thread per listener of its own on the same port; the kernel spreads connections over them.
fn data_threads(
    first: TcpListener,
    threads: usize,
    spec: impl Fn(usize) -> DataThread,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..threads {
        sockets.push(bind(address, true)?);
    }
    let start = |(index, socket): (usize, TcpListener)| {
        let thread = spec(index);
        spawn(&format!("data-{index}"), new_runtime()?, move |runtime| {
            if let Err(error) = LocalSet::new().block_on(&runtime, thread.run(socket)) {
                tracing::error!(%error, "data thread ended");
            }
        })
    };
    sockets.into_iter().enumerate().map(start).collect()
}

fn bind(address: SocketAddr, reuse_port: bool) -> anyhow::Result<TcpListener> {
    listener::bind(address, reuse_port)
        .with_context(|| format!("cannot listen on {address}; is another process there?"))
}

fn new_runtime() -> anyhow::Result<runtime::Runtime> {
    Ok(runtime::Builder::new_current_thread().enable_all().build()?)
}

fn spawn(
    name: &str,
    runtime: runtime::Runtime,
    run: impl FnOnce(runtime::Runtime) + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    Ok(std::thread::Builder::new().name(name.to_owned()).spawn(move || run(runtime))?)
}

fn proxy_settings(settings: &Settings, tls: &Tls) -> ProxySettings {
    let (connections, headers) = (settings.connections, settings.headers);
    let few = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let connections_max = connections.max.min(process::connections_allowed());
    if connections_max < connections.max {
        let help = "raise the limit of open files (ulimit -n) to twice the connections and 48 more";
        tracing::warn!(
            wanted = connections.max,
            allowed = connections_max,
            help,
            "fewer connections than the settings say"
        );
    }
    ProxySettings {
        header_read: connections.header_read,
        keep_alive: connections.keep_alive,
        handshake: tls.server.as_ref().map_or(Duration::ZERO, |(_, limit)| *limit),
        http2_idle: connections.http2_idle,
        write_stall: connections.write_stall,
        connections_max,
        tunnels_max: connections.tunnels,
        shadows_max: few(connections.shadows),
        backend_idle: connections.backend_idle,
        lame_duck: settings.drain.lame_duck,
        drain_limit: settings.drain.limit,
        headers: HeaderPolicy {
            trusted_hops: few(headers.trusted_hops),
            forwarded: headers.forwarded,
            via: headers.via,
            request_id: headers.request_id,
            trace: headers.trace,
        },
    }
}

fn ticket_key(path: Option<&Path>) -> anyhow::Result<TicketKey> {
    let Some(path) = path else {
        return Ok(TicketKey::new(&rand::random::<[u8; 32]>()));
    };
    let secret = std::fs::read(path).with_context(|| format!("cannot read the ticket key {}", path.display()))?;
    let secret = secret.trim_ascii();
    if secret.len() < TICKET_KEY_BYTES_MIN {
        bail!(
            "the ticket key {} has fewer than {TICKET_KEY_BYTES_MIN} bytes; write a longer random one",
            path.display()
        );
    }
    Ok(TicketKey::new(secret))
}

fn tokens(settings: &Settings) -> anyhow::Result<Tokens> {
    let mut tokens = Tokens::default();
    let files = &settings.tokens;
    for (path, role) in
        [(&files.viewer, Role::Viewer), (&files.labeler, Role::Labeler), (&files.operator, Role::Operator)]
    {
        let Some(path) = path else { continue };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the tokens {}", path.display()))?;
        if text.trim().is_empty() {
            bail!("the token file {} is empty; write one token a line, or remove the setting", path.display());
        }
        tokens.add(&text.into(), role);
    }
    Ok(tokens)
}
