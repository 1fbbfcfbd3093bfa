//! Names to addresses, shared by all data threads, kept fresh on the control runtime.
//!
//! A data thread reads the list that holds now and never waits for a resolver. One entry per backend: a task looks its name up
//! again and again, a second one asks each address whether it is ready, and both end when nobody holds the entry any more.
//! The published list is never changed, only replaced. A look-up that fails keeps the last addresses: a name server that is
//! down must not take the models down with it.
//!
//! An address on the list need not answer: `localhost` may be `::1` and `127.0.0.1` while the server listens on one of them.
//! `TcpStream::connect` on a name tries all of them; whoever picks one endpoint and cannot connect must pick again among the
//! others, which costs nothing since nothing has been sent.

mod check;
mod probe;
mod roster;
mod vitals;

pub use self::{
    probe::{Probed, Trouble, probe},
    roster::{Endpoint, EndpointAddress, Endpoints},
    vitals::Vitals,
};

use self::{check::Check, roster::Roster};
use super::{clock, meters::Meters};
use crate::core::variant::{Address, Backend};
use arc_swap::{ArcSwap, Guard};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    net::lookup_host,
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

/// Most addresses of one backend that are used.
pub const ENDPOINTS_MAX: usize = 64;
/// While a name has no address at all, it is looked up at least so often.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How often endpoints are counted for the metrics.
const CENSUS_EVERY: Duration = Duration::from_secs(1);

/// The addresses behind a name and port, some time later.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// What looks names up.
pub type Resolver = Arc<dyn Fn(&str, u16) -> Resolving + Send + Sync>;

type Entries = Mutex<HashMap<Backend, Weak<Entry>>>;

/// All backends in use. Its tasks end with it.
pub struct Directory {
    runtime: Handle,
    meters: Arc<Meters>,
    resolve_every: Duration,
    resolver: Resolver,
    entries: Arc<Entries>,
    /// Aborted on drop.
    _census: JoinSet<()>,
}

impl Directory {
    /// A directory whose tasks run on `runtime` and look names up with the system's resolver, each again after `resolve_every`.
    ///
    /// The system's resolver blocks a thread of the runtime's blocking pool, one per name at most, and cannot be stopped: end
    /// the runtime with `shutdown_background`, or a name server that does not answer holds the exit up.
    #[must_use]
    pub fn new(runtime: Handle, meters: Arc<Meters>, resolve_every: Duration) -> Self {
        Self::with_resolver(runtime, meters, resolve_every, system())
    }

    /// The same, with another way to look names up.
    #[must_use]
    pub fn with_resolver(runtime: Handle, meters: Arc<Meters>, resolve_every: Duration, resolver: Resolver) -> Self {
        let entries = Arc::<Entries>::default();
        let mut census = JoinSet::new();
        census.spawn_on(count_always(entries.clone(), meters.clone()), &runtime);
        Self { runtime, meters, resolve_every, resolver, entries, _census: census }
    }

    /// The entry of `backend`: the same one for as long as anybody holds it.
    #[must_use]
    pub fn entry(&self, backend: &Backend) -> Arc<Entry> {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(backend).and_then(Weak::upgrade) {
            return entry;
        }
        let entry = Arc::new(self.new_entry(backend));
        entries.insert(backend.clone(), Arc::downgrade(&entry));
        entry
    }

    /// How many addresses a backend has that somebody uses; `None` while its name has not been looked up.
    #[must_use]
    pub fn addresses(&self, backend: &Backend) -> Option<usize> {
        let entry = lock(&self.entries).get(backend).and_then(Weak::upgrade)?;
        let known = *entry.state.first.borrow();
        known.then(|| entry.endpoints().list.len())
    }

    /// The address that has this place in a backend's tallies, if somebody uses the backend.
    #[must_use]
    pub fn address_at(&self, backend: &Backend, slot: u16) -> Option<EndpointAddress> {
        let entry = lock(&self.entries).get(backend).and_then(Weak::upgrade)?;
        let endpoints = entry.endpoints();
        endpoints.list.iter().find(|one| u16::from(one.slot) == slot).map(|one| one.address.clone())
    }

    /// Forgets entries that nobody holds.
    pub fn sweep(&self) {
        lock(&self.entries).retain(|_, entry| entry.strong_count() > 0);
    }

    /// How many entries are known, forgotten ones among them until the next sweep.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn new_entry(&self, backend: &Backend) -> Entry {
        let mut roster = Roster::new(backend.to_string(), self.meters.clone());
        let mut tasks = JoinSet::new();
        let name = match &backend.address {
            Address::Unix(path) => {
                roster.replace(vec![EndpointAddress::Unix((&**path).into())]);
                None
            }
            Address::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => {
                    roster.replace(vec![EndpointAddress::Tcp((ip, *port).into())]);
                    None
                }
                Err(_) => Some((host.clone(), *port)),
            },
        };
        let (first, _) = watch::channel(name.is_none());
        let published = ArcSwap::from_pointee(roster.list());
        let state = Arc::new(State { published, roster: Mutex::new(roster), first });
        if let Some((host, port)) = name {
            let resolver = self.resolver.clone();
            tasks.spawn_on(resolve_always(state.clone(), resolver, host, port, self.resolve_every), &self.runtime);
        }
        if let Some(check) = Check::of(backend) {
            tasks.spawn_on(check_always(state.clone(), check, self.meters.clone()), &self.runtime);
        }
        Entry { state, _tasks: tasks }
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Directory({} entries)", self.len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The system's resolver.
#[must_use]
pub fn system() -> Resolver {
    Arc::new(|host, port| {
        let host = host.to_owned();
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    })
}

/// The addresses of one backend.
#[derive(Debug)]
pub struct Entry {
    state: Arc<State>,
    /// Aborted on drop.
    _tasks: JoinSet<()>,
}

impl Entry {
    /// The endpoints that hold now: one load, nothing is waited for.
    #[must_use]
    pub fn endpoints(&self) -> Guard<Arc<Endpoints>> {
        self.state.published.load()
    }

    /// Returns once the name has been looked up a first time, well or not. A resolver may take long: give it a time limit.
    pub async fn resolved(&self) {
        self.state.resolved().await;
    }
}

/// What the tasks of an entry share with it.
#[derive(Debug)]
struct State {
    published: ArcSwap<Endpoints>,
    /// Both tasks write; the one that changes something publishes.
    roster: Mutex<Roster>,
    /// Whether there has been a first resolution.
    first: watch::Sender<bool>,
}

impl State {
    async fn resolved(&self) {
        // The sender is ours, so the wait can only end with a resolution.
        let _ = self.first.subscribe().wait_for(|first| *first).await;
    }

    /// Changes the roster and publishes it if `change` says so.
    fn update(&self, change: impl FnOnce(&mut Roster) -> bool) {
        let mut roster = lock(&self.roster);
        if change(&mut roster) {
            self.published.store(Arc::new(roster.list()));
        }
    }
}

async fn resolve_always(state: Arc<State>, resolver: Resolver, host: Box<str>, port: u16, every: Duration) {
    loop {
        let found = resolver(&host, port).await;
        state.update(|roster| roster.resolved(found));
        state.first.send_replace(true);
        let none = state.published.load().list.is_empty();
        sleep(if none { every.min(RETRY_EVERY) } else { every }).await;
    }
}

async fn check_always(state: Arc<State>, check: Check, meters: Arc<Meters>) {
    state.resolved().await;
    let check = Arc::new(check);
    let mut beat = interval(check.every());
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        // All at once, or 64 silent addresses would take minutes. Aborted with this task.
        let mut round = JoinSet::new();
        for endpoint in &*state.published.load().list {
            let (check, address) = (check.clone(), endpoint.address.clone());
            round.spawn(async move { (check.passes(&address).await, address) });
        }
        while let Some(Ok((passed, address))) = round.join_next().await {
            if passed {
                meters.checks_passed.up()
            } else {
                meters.checks_failed.up()
            }
            state.update(|roster| roster.checked(&address, passed));
        }
    }
}

async fn count_always(entries: Arc<Entries>, meters: Arc<Meters>) {
    let mut beat = interval(CENSUS_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let now_ms = clock::now().mono_ms;
        let held: Vec<Arc<Entry>> = lock(&entries).values().filter_map(Weak::upgrade).collect();
        let (mut resolved, mut ready, mut ejected) = (0, 0, 0);
        for entry in held {
            for endpoint in &*entry.endpoints().list {
                resolved += 1;
                ready += u64::from(endpoint.ready);
                ejected += u64::from(endpoint.vitals.is_ejected(now_ms));
            }
        }
        meters.endpoints_resolved.set(resolved);
        meters.endpoints_ready.set(ready);
        meters.endpoints_ejected.set(ejected);
    }
}
