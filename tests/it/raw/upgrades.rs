//! Bytes that a caller sends right behind a wish for another protocol: they belong to what the answer makes of the connection.

use super::{
    Stage,
    caller::{End, Raw},
    table::{PATH, SMUGGLED, get},
};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

const WISH: &str = "host: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
const CHANGED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
const STAYED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers every head with `answer` once the test says so, and sends back whatever comes after it.
fn backend(answer: &'static str) -> (SocketAddr, std::sync::mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (go, wait) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            serve(stream, answer, &wait);
        }
    });
    (address, go)
}

fn serve(mut stream: TcpStream, answer: &str, go: &Receiver<()>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(1) = stream.read(&mut byte) else { return };
        head.push(byte[0]);
    }
    if go.recv().is_err() || stream.write_all(answer.as_bytes()).is_err() || answer == STAYED {
        return;
    }
    let mut bytes = [0; 1024];
    while let Ok(n @ 1..) = stream.read(&mut bytes) {
        let Ok(()) = stream.write_all(&bytes[..n]) else { return };
    }
}

#[test]
fn early_bytes_of_the_new_protocol_arrive_as_they_are() {
    for early in ["\n\0\u{1}\r no HTTP", SMUGGLED, ""] {
        let (address, go) = backend(CHANGED);
        let stage = Stage::new(address, address, 0, "");
        let mut raw = Raw::sent(stage.app.data, get(WISH) + early);
        go.send(()).unwrap();
        assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(101), "{early:?}");
        raw.send("\nlater\0");
        raw.until(&format!("{early}\nlater\0")).unwrap();
        drop(raw);
        stage.stop();
    }
}

#[test]
fn without_a_change_the_bytes_are_the_next_request() {
    let next = get("host: a\r\n");
    for (early, statuses) in [
        (next.clone(), &[200, 200][..]),
        (next.replace("\r\n", "\n"), &[200, 400]),
        ("\0\u{1}".to_owned(), &[200, 400]),
        (
            format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
            &[200, 400],
        ),
    ] {
        let (address, go) = backend(STAYED);
        let stage = Stage::new(address, address, 0, "");
        let mut raw = Raw::sent(stage.app.data, get(WISH) + &early);
        for status in statuses {
            let _ = go.send(());
            assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(*status), "{early:?}");
        }
        if statuses.contains(&400) {
            assert_eq!(raw.end(), End::Closed, "{early:?}");
        }
        drop(raw);
        stage.stop();
    }
}
