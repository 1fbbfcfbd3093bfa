//! A name with two addresses: one data thread as `app` builds it, over a resolver that says what it is told.

use super::{
    backend::write,
    directory::Control,
    stage::routes,
    support::{Caller, message, wait},
};
use arc_swap::ArcSwap;
use coalmine::{
    config,
    core::{clamp::Clamps, name::Generation, snapshot::Live, tally::Board, ticket::TicketKey},
    io::{
        directory::{Directory, Resolver},
        meters::Meters,
    },
    proxy::{Callers, DataThread, Gates, ProxySettings},
};
use std::{
    io::BufReader,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::LocalSet};

/// A server on one address; it can be made sick, and counts the requests that are not questions after its health.
struct Pod {
    address: SocketAddr,
    sick: Arc<AtomicBool>,
    unready: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

impl Pod {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pod = Self { address, sick: Arc::default(), unready: Arc::default(), served: Arc::default() };
        let (sick, unready, served) = (pod.sick.clone(), pod.unready.clone(), pod.served.clone());
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (sick, unready, served) = (sick.clone(), unready.clone(), served.clone());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().ok()?);
                    while let Some((first, _, _)) = message(&mut reader) {
                        let asked = first.contains(" /ready ");
                        served.fetch_add(usize::from(!asked), SeqCst);
                        let ill = if asked { unready.load(SeqCst) } else { sick.load(SeqCst) };
                        write(&mut stream, if ill { 503 } else { 200 }, "", "{}")?;
                    }
                    Some(())
                });
            }
        });
        pod
    }

    fn served(&self) -> usize {
        self.served.load(SeqCst)
    }
}

/// A data thread; ends with this.
struct Named {
    data: SocketAddr,
    meters: Arc<Meters>,
    drain: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
    _control: Control,
}

impl Named {
    /// The backend is `models.test`, which has these addresses; `more` is lines of the route.
    fn new(addresses: Vec<SocketAddr>, more: &str) -> Self {
        let control = Control::new();
        let (meters, gates, callers) = (Arc::<Meters>::default(), Arc::<Gates>::default(), Arc::<Callers>::default());
        let resolver: Resolver = Arc::new(move |_, _| {
            let addresses = addresses.clone();
            Box::pin(async move { Ok(addresses) })
        });
        let every = Duration::from_secs(60);
        let directory = Directory::with_resolver(control.handle.clone(), meters.clone(), every, resolver).into();
        let text = routes("http://models.test:80", "http://models.test:80", 0, more);
        let (mut snapshot, _) = config::read(&text, &Clamps::default()).unwrap();
        snapshot.generation = Generation(1);
        let board = Board::default().next(&snapshot, 1);
        let live = Arc::new(ArcSwap::from_pointee(Live { snapshot, board }));
        let settings = ProxySettings { lame_duck: Duration::ZERO, ..ProxySettings::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let data = listener.local_addr().unwrap();
        let (drain, draining) = watch::channel(false);
        let of_thread = meters.clone();
        let thread = thread::spawn(move || {
            let thread = DataThread {
                index: 0,
                live,
                key: TicketKey::new(b"0123456789abcdef"),
                settings,
                drain: draining,
                meters: of_thread,
                gates,
                callers,
                directory,
                copies: coalmine::io::pairs::channel().0,
                tls: None,
                backend_tls: None,
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, thread.run(listener)).unwrap();
        });
        Self { data, meters, drain, thread: Some(thread), _control: control }
    }

    fn get(&self) -> u16 {
        Caller::new(self.data).call("GET", "/", "", "").status
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.drain.send_replace(true);
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn an_address_where_nobody_listens_costs_no_request() {
    let pod = Pod::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let named = Named::new(vec![pod.address, nobody], "");
    for number in 0..200 {
        let status = Caller::new(named.data).call("POST", "/", "", "hello").status;
        assert_eq!(status, 200, "request {number}");
    }
    assert_eq!(pod.served(), 200);
    assert!(named.meters.ejections.get() >= 1, "the dead one was tried again and again");
}

#[test]
fn a_sick_address_is_ejected_and_readmitted() {
    let (well, ill) = (Pod::new(), Pod::new());
    let outlier = "    outlier: { failures: 3, eject: 1s, eject_max: 1s }\n";
    let named = Named::new(vec![well.address, ill.address], outlier);
    wait("both to be used", || {
        named.get();
        (well.served() > 0 && ill.served() > 0).then_some(())
    });
    ill.sick.store(true, SeqCst);
    let (mut failed, begin) = (0, Instant::now());
    while named.meters.ejections.get() == 0 {
        assert!(begin.elapsed() < Duration::from_secs(10), "never ejected");
        failed += usize::from(named.get() == 503);
    }
    assert_eq!(failed, 3);
    let before = ill.served();
    for _ in 0..50 {
        assert_eq!(named.get(), 200);
    }
    assert_eq!(ill.served(), before, "an ejected address gets nothing");
    wait("the gauge", || (named.meters.endpoints_ejected.get() == 1).then_some(()));
    ill.sick.store(false, SeqCst);
    wait("it to be back", || {
        assert_eq!(named.get(), 200);
        (ill.served() > before + 3).then_some(())
    });
    wait("the gauge", || (named.meters.endpoints_ejected.get() == 0).then_some(()));
}

#[test]
fn the_last_address_is_never_ejected() {
    let (first, second) = (Pod::new(), Pod::new());
    let named =
        Named::new(vec![first.address, second.address], "    outlier: { failures: 2, eject: 60s, eject_max: 60s }\n");
    first.sick.store(true, SeqCst);
    second.sick.store(true, SeqCst);
    wait("both to be ejected", || {
        named.get();
        (named.meters.ejections.get() >= 2).then_some(())
    });
    let before = first.served() + second.served();
    for _ in 0..20 {
        assert_eq!(named.get(), 503, "it is the servers' own answer");
    }
    assert_eq!(first.served() + second.served(), before + 20);
}

#[test]
fn an_address_that_is_not_ready_gets_nothing() {
    let (well, busy) = (Pod::new(), Pod::new());
    let readiness = "    readiness: { path: /ready, every: 100ms, timeout: 1s }\n";
    let named = Named::new(vec![well.address, busy.address], readiness);
    wait("both to be used", || {
        named.get();
        (well.served() > 0 && busy.served() > 0).then_some(())
    });
    busy.unready.store(true, SeqCst);
    wait("it to be taken out", || (named.meters.endpoints_ready.get() == 1).then_some(()));
    let before = busy.served();
    for _ in 0..100 {
        assert_eq!(named.get(), 200);
    }
    assert_eq!(busy.served(), before);
    assert!(named.meters.checks_failed.get() >= 2);
    busy.unready.store(false, SeqCst);
    wait("it to be back", || {
        named.get();
        (busy.served() > before).then_some(())
    });
}
