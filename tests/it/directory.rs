//! Names become addresses, stay fresh, and their readiness is asked for: real sockets, the machine's own resolver, and where
//! answers must change a resolver that says what it is told.

use super::{
    backend::Backend as Server,
    support::{message, wait},
};
use coalmine::{
    core::{
        outlier::{Health, Policy},
        tally::Outcome,
        variant::{Address, Backend, Readiness, Wire},
    },
    io::{
        directory::{Directory, ENDPOINTS_MAX, EndpointAddress, Entry, Resolver},
        meters::{Lookup, Meters},
    },
};
use std::{
    future::pending,
    io::{self, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

const OFTEN: Duration = Duration::from_millis(5);

/// A control runtime on a thread of its own, as `app` has one; ends with this.
pub(super) struct Control {
    pub(super) handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Control {
    pub(super) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let _ = runtime.block_on(stopped);
        });
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

fn tcp(host: &str, port: u16) -> Backend {
    Backend { address: Address::Tcp { host: host.into(), port }, wire: Wire::Http1, readiness: None }
}

fn asked(backend: Backend) -> Backend {
    let readiness = Readiness { path: "/ready?deep=1".into(), every: OFTEN, timeout: Duration::from_secs(10) };
    Backend { readiness: Some(readiness), ..backend }
}

/// `address/slot` of everybody, in order.
fn seen(entry: &Entry) -> Vec<String> {
    entry.endpoints().list.iter().map(|e| format!("{}/{}", e.address, e.slot)).collect()
}

fn ready(entry: &Entry) -> Vec<bool> {
    entry.endpoints().list.iter().map(|e| e.ready).collect()
}

/// Waits as a data thread does, on another runtime than the directory's.
fn resolved(entry: &Entry) {
    Builder::new_current_thread().build().unwrap().block_on(entry.resolved());
}

/// What the scripted resolver says: the last octets of addresses, or a failure.
type Script = Arc<Mutex<Result<Vec<u8>, &'static str>>>;

fn scripted(script: &Script) -> Resolver {
    let script = script.clone();
    Arc::new(move |_, port| {
        let said = script.lock().unwrap().clone();
        let address = move |host: u8| SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), port));
        let found = said.map(|hosts| hosts.into_iter().map(address).collect());
        Box::pin(async move { found.map_err(io::Error::other) })
    })
}

#[test]
fn the_machines_resolver_knows_localhost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (control, meters) = (Control::new(), Arc::new(Meters::default()));
    let directory = Directory::new(control.handle.clone(), meters.clone(), OFTEN);
    let entry = directory.entry(&tcp("localhost", port));
    resolved(&entry);
    let endpoints = entry.endpoints();
    assert_eq!(endpoints.error, None, "does /etc/hosts know localhost?");
    let wanted = EndpointAddress::Tcp(listener.local_addr().unwrap());
    let found =
        endpoints.list.iter().find(|e| e.address == wanted).expect("127.0.0.1 among the addresses of localhost");
    assert!(found.ready && usize::from(found.slot) < ENDPOINTS_MAX);
    let lookups = || meters.lookups[Lookup::Ok as usize].get();
    let first = lookups();
    wait("a second look-up", || (lookups() > first).then_some(()));
    let known = endpoints.list.len() as u64;
    assert_eq!(directory.addresses(&tcp("localhost", port)), Some(endpoints.list.len()));
    assert_eq!(directory.addresses(&tcp("localhost", 1)), None, "nobody uses it");
    wait("the census", || (meters.endpoints_resolved.get() == known).then_some(()));
    assert_eq!((meters.endpoints_ready.get(), meters.endpoints_ejected.get()), (known, 0));
}

#[test]
fn literals_and_sockets_are_there_at_once_and_backends_share_their_entry() {
    // Nothing ever runs on this runtime.
    let idle = Builder::new_current_thread().enable_all().build().unwrap();
    let directory = Directory::new(idle.handle().clone(), Arc::default(), OFTEN);
    let socket = Backend { address: Address::Unix("/run/m.sock".into()), wire: Wire::Http2, readiness: None };
    let entries = [tcp("127.0.0.1", 1), tcp("::1", 2), socket.clone()].map(|backend| directory.entry(&backend));
    entries.iter().for_each(|entry| resolved(entry));
    assert_eq!(entries.each_ref().map(|e| seen(e).join(" ")), ["127.0.0.1:1/0", "[::1]:2/0", "unix:/run/m.sock/0"]);
    assert!(Arc::ptr_eq(&entries[2], &directory.entry(&socket)));
    assert!(!Arc::ptr_eq(&entries[2], &directory.entry(&Backend { wire: Wire::Http1, ..socket })));
    assert_eq!(directory.len(), 4);
    directory.sweep();
    assert_eq!(directory.len(), 3);
    drop(entries);
    directory.sweep();
    assert!(directory.is_empty());
}

#[test]
fn addresses_come_and_go_and_who_stays_keeps_slot_and_health() {
    let (control, meters) = (Control::new(), Arc::new(Meters::default()));
    let script = Script::new(Mutex::new(Err("no name server answers")));
    let directory = Directory::with_resolver(control.handle.clone(), meters.clone(), OFTEN, scripted(&script));
    let entry = directory.entry(&tcp("models.svc", 80));
    resolved(&entry);
    assert_eq!((seen(&entry).len(), entry.endpoints().error.as_deref()), (0, Some("no name server answers")));
    let says = |said: Result<Vec<u8>, &'static str>, list: &[&str], error: Option<&str>| {
        *script.lock().unwrap() = said;
        wait(&format!("{list:?} and {error:?}"), || {
            (seen(&entry) == list && entry.endpoints().error.as_deref() == error).then_some(())
        });
    };
    says(Ok(vec![2, 1]), &["10.0.0.1:80/0", "10.0.0.2:80/1"], None);
    let sick = entry.endpoints().list[1].vitals.clone();
    let policy = Policy { failures: 1, eject: Duration::from_secs(60), eject_max: Duration::from_secs(60) };
    sick.on_outcome(Outcome::BackendConnect, None, coalmine::io::clock::now().mono_ms, &policy);
    wait("the ejected one in the census", || (meters.endpoints_ejected.get() == 1).then_some(()));
    says(Ok(vec![3, 2]), &["10.0.0.2:80/1", "10.0.0.3:80/2"], None);
    assert!(matches!(entry.endpoints().list[0].vitals.health(), Health::Ejected { ejections: 1, .. }));
    says(Err("timed out"), &["10.0.0.2:80/1", "10.0.0.3:80/2"], Some("timed out"));
    says(Ok(vec![]), &["10.0.0.2:80/1", "10.0.0.3:80/2"], Some("the name has no address"));
    assert_eq!(meters.ejections.get(), 1);
    *script.lock().unwrap() = Ok((0..100).collect());
    wait("the first 64", || (entry.endpoints().list.len() == ENDPOINTS_MAX).then_some(()));
    assert_eq!(entry.endpoints().error.as_deref(), Some("100 addresses, of which 64 are used"));
    for result in Lookup::ALL {
        assert!(meters.lookups[result as usize].get() > 0, "{result:?}");
    }
}

#[test]
fn tasks_end_with_the_last_holder() {
    let control = Control::new();
    let held = Arc::new(());
    let in_resolver = held.clone();
    // A resolver that never answers, so that the task is in the middle of something.
    let resolver: Resolver = Arc::new(move |_, _| {
        let holds = in_resolver.clone();
        Box::pin(async move {
            let _holds = holds;
            pending().await
        })
    });
    let directory = Directory::with_resolver(control.handle.clone(), Arc::default(), OFTEN, resolver);
    let entry = directory.entry(&asked(tcp("models.svc", 80)));
    let other = directory.entry(&asked(tcp("models.svc", 80)));
    wait("the look-up to begin", || (Arc::strong_count(&held) == 3).then_some(()));
    drop(entry);
    assert!(seen(&other).is_empty());
    drop(other);
    wait("the look-up to end", || (Arc::strong_count(&held) == 2).then_some(()));
    drop(directory);
    wait("the directory to end", || (Arc::strong_count(&held) == 1).then_some(()));
}

#[test]
fn readiness_follows_the_server() {
    let well = Arc::new(AtomicBool::new(true));
    let says = well.clone();
    let server = Server::new(move |_, stream| {
        let code = if says.load(SeqCst) { 204 } else { 503 };
        stream.write_all(format!("HTTP/1.1 {code} X\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
        None
    });
    let (control, meters) = (Control::new(), Arc::new(Meters::default()));
    let directory = Directory::new(control.handle.clone(), meters.clone(), OFTEN);
    let entry = directory.entry(&asked(tcp("127.0.0.1", server.address.port())));
    let check = |passes: bool| {
        well.store(passes, SeqCst);
        wait("the readiness to follow", || (ready(&entry) == [passes]).then_some(()));
    };
    wait("a check that passes", || (meters.checks_passed.get() > 3).then_some(()));
    assert_eq!((ready(&entry), meters.checks_failed.get()), (vec![true], 0));
    check(false);
    assert!(meters.checks_failed.get() >= 2);
    wait("the unready one in the census", || {
        (meters.endpoints_resolved.get() == 1 && meters.endpoints_ready.get() == 0).then_some(())
    });
    check(true);
    check(false);
    let request = server.seen()[0].clone();
    assert_eq!(request.line, "GET /ready?deep=1 HTTP/1.1");
    assert_eq!(request.all("host"), [server.address.to_string()]);
    // Two that refuse connections: a closed port, and a name whose only address is one.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost"] {
        let entry = directory.entry(&asked(tcp(host, closed)));
        wait("nobody to be ready", || {
            let ready = ready(&entry);
            (!ready.is_empty() && !ready.contains(&true)).then_some(())
        });
    }
}

#[test]
fn readiness_over_a_unix_socket_and_by_connection_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.sock");
    let text: Box<str> = path.to_str().unwrap().into();
    let control = Control::new();
    let directory = Directory::new(control.handle.clone(), Arc::default(), OFTEN);
    let [asks, connects] = [Wire::Http1, Wire::Http2]
        .map(|wire| directory.entry(&asked(Backend { address: Address::Unix(text.clone()), wire, readiness: None })));
    let both = |what: &str, wanted: [bool; 2]| {
        wait(what, || ([ready(&asks)[0], ready(&connects)[0]] == wanted).then_some(()));
    };
    both("nobody, without a socket", [false, false]);
    let listener = UnixListener::bind(&path).unwrap();
    let status = Arc::new(AtomicU16::new(302));
    let says = status.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // The check that only connects sends nothing.
            if message(&mut BufReader::new(&stream)).is_some() {
                let head = format!("HTTP/1.1 {} X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", says.load(SeqCst));
                let _ = stream.write_all(head.as_bytes());
            }
        }
    });
    // A redirection is no "ready"; but a connection stands.
    both("the one that only connects", [false, true]);
    status.store(200, SeqCst);
    both("both", [true, true]);
}
