//! Request head: raw bytes into the whole proxy over a real socket, a backend behind it that minds everything.
//!
//! The checks of `proxy/strict` have no door of their own, so this goes through `app::start`, as traffic does: whatever a caller sends,
//! a backend sees well-formed, unambiguous messages of ours or nothing, and the caller sees well-formed answers.

use super::wire;
use coalmine::{app, config::settings::Settings};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::LazyLock,
    time::Duration,
};

/// An unfinished head or body is given up after so long, so that every exchange ends soon.
const PATIENCE: &str = "25ms";
/// Far more than that: an exchange that takes so long hangs.
const HANG: Duration = Duration::from_secs(10);

static PROXY: LazyLock<SocketAddr> = LazyLock::new(|| {
    let backend = wire::backend();
    let dir = tempfile::tempdir().expect("a directory");
    let routes = format!(
        "apiVersion: coalmine.dev/v1alpha1\nkind: RouteTable\nroutes:\n  - name: all\n    match: {{ path: / }}\n    \
         timeouts: {{ first_byte: {PATIENCE}, idle: {PATIENCE}, total: 1s }}\n    variants:\n      \
         - {{ name: v1, role: stable, weight: 100, url: 'http://{backend}' }}\n"
    );
    std::fs::write(dir.path().join("routes.yaml"), routes).expect("the routes are written");
    let mut settings = Settings::read(&format!("connections: {{ header_read: {PATIENCE} }}\n"), &[]).expect("settings");
    settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    settings.admin = settings.listen;
    settings.threads = Some(1);
    settings.routes = Some(dir.path().to_owned());
    let app = app::start(&settings).expect("it starts");
    while !answer(app.admin, b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .starts_with(b"HTTP/1.1 200")
    {
        std::thread::yield_now();
    }
    let data = app.data;
    // It serves until the process ends.
    std::mem::forget(app);
    data
});

/// The input is what a caller sends.
pub fn check(data: &[u8]) {
    // From here on it is HTTP/2, and its end is another matter.
    if data.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
        return;
    }
    let seen = answer(*PROXY, data);
    let complaints = std::mem::take(&mut *wire::COMPLAINTS.lock().expect("no panic holds it"));
    assert!(complaints.is_empty(), "the backend saw: {complaints:?}");
    // An answer to HEAD may promise a body; everything begins with a status line all the same.
    let status = seen.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    assert!(
        seen.is_empty() || status.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit)),
        "the caller saw: {}",
        seen.escape_ascii()
    );
}

/// Sends bytes, waits for as many answers as there may be, and closes.
fn answer(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).expect("the proxy accepts");
    stream.set_read_timeout(Some(HANG)).expect("a time limit");
    // The proxy may have closed already: then there is an answer to read, or nothing.
    let _ = stream.write_all(bytes);
    let heads = bytes.windows(2).filter(|pair| pair == b"\n\n").count()
        + bytes.windows(3).filter(|three| three == b"\n\r\n").count();
    let mut seen = Vec::new();
    let mut open = true;
    let frames = bytes.starts_with(b"PRI * HTTP/2.0");
    loop {
        // A request is only carried on while its caller is there, so the end comes after the answers.
        let answers = if frames { seen.len() } else { seen.windows(7).filter(|word| word == b"HTTP/1.").count() };
        if open && answers >= heads {
            let _ = stream.shutdown(Shutdown::Write);
            open = false;
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return seen,
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("no end after {HANG:?} for {}", bytes.escape_ascii())
            }
            Err(_) => return seen,
        }
    }
}
