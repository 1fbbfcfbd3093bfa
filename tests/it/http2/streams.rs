//! Many streams on one connection: what they share, how they end, and who is made to wait for whom.

use super::*;

#[tokio::test]
async fn a_hundred_streams_share_one_connection_to_the_backend() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "");
    let caller = H2Caller::new(stage.data()).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(caller.start(request("POST", "/slow"), Some(b"x"), None).await.0);
    }
    let arrived = || backend.look(|seen| seen.requests.iter().filter(|got| got.body == b"x").count()) == 100;
    until("a hundred at a time", || arrived().then_some(())).await;
    backend.go();
    for stream in streams {
        assert_eq!(whole(stream).await.unwrap().body, b"late");
    }
    assert_eq!(backend.look(|seen| (seen.connections, seen.together)), (1, 100));
    assert_eq!(stage.outcome("v1", "ok"), 100);
    stop(stage).await;
}

#[tokio::test]
async fn streams_in_flight_are_finished_when_it_drains() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "");
    let caller = H2Caller::new(stage.data()).await;
    let slow = caller.start(request("GET", "/slow"), None, None).await.0;
    let events = caller.start(request("GET", "/events"), None, None).await.0;
    until("both to arrive", || (backend.look(|seen| seen.requests.len()) == 2).then_some(())).await;
    let mut silent = TcpStream::connect(stage.data()).unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let _nothing = TcpStream::connect(stage.data()).unwrap();
    until("all to be accepted", || (stage.count(&["coalmine_connections_open"]) == 3).then_some(())).await;
    stage.app.drain();
    // After the GOAWAY no stream can be opened.
    let mut send = caller.send.clone();
    let closed = async {
        while let Ok(ready) = send.ready().await {
            send = ready;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("a GOAWAY");
    backend.go();
    assert_eq!(whole(slow).await.unwrap().body, b"late");
    assert_eq!(whole(events).await.unwrap().body, b"data: one\n\ndata: two\n\n");
    let begin = Instant::now();
    caller.ended.await.unwrap().expect("a polite end");
    stop(stage).await;
    assert!(begin.elapsed() < Duration::from_secs(6), "silent connections held the exit for {:?}", begin.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_closed_politely() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "connections: { http2_idle: 300ms }\n");
    let H2Caller { send, ended } = H2Caller::new(stage.data()).await;
    let caller = H2Caller { send, ended };
    assert_eq!(caller.get("/200").await.unwrap().head.status, StatusCode::OK);
    let begin = Instant::now();
    caller.ended.await.unwrap().expect("a polite end");
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    stop(stage).await;
}

#[tokio::test]
async fn a_reset_goes_through_and_tells_whose_doing_it_was() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "", "");
    let caller = H2Caller::new(stage.data()).await;
    // The caller's: before the head, and in the middle of the body.
    for (path, position) in [("/slow", 1), ("/events", 2)] {
        let (response, mut stream) = caller.start(request("GET", path), None, None).await;
        if position == 1 {
            until("it to arrive", || (!backend.look(|seen| seen.requests.is_empty())).then_some(())).await;
        } else {
            let mut body = response.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "data: one\n\n");
        }
        stream.send_reset(Reason::CANCEL);
        let begin = Instant::now();
        until("the backend to be told", || (backend.look(|seen| seen.resets.len()) == position).then_some(())).await;
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
    assert_eq!(backend.look(|seen| seen.resets.clone()), [Reason::CANCEL; 2]);
    until("the count", || (stage.outcome("v1", "client_gone") == 2).then_some(())).await;
    // The backend's.
    assert_eq!(caller.get("/reset").await.unwrap().head.status, StatusCode::BAD_GATEWAY);
    let half = caller.start(request("GET", "/half"), None, None).await.0;
    let mut body = half.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "data: one\n\n");
    backend.go();
    let broken = body.data().await.expect("no end").unwrap_err();
    assert!(broken.is_reset(), "{broken}");
    until("the count", || (stage.outcome("v1", "backend_reset") == 2).then_some(())).await;
    assert_eq!(caller.get("/200").await.unwrap().head.status, StatusCode::OK, "the connection lives on");
    assert_eq!(backend.look(|seen| seen.connections), 1);
    stop(stage).await;
}

/// More callers that do not read than a shared window would bear.
#[tokio::test]
async fn callers_that_do_not_read_hold_up_nobody_else() {
    let backend = H2Backend::new();
    let stage = Stage::one(&backend.url(), "    timeouts: { idle: 5s, first_byte: 5s }\n", "");
    let stream = tokio::net::TcpStream::connect(stage.data()).await.unwrap();
    let stalled = H2Caller::over(stream, 0).await;
    let mut held = Vec::new();
    for _ in 0..250 {
        held.push(stalled.start(request("GET", "/big"), None, None).await);
    }
    until("them to stand", || (backend.look(|seen| seen.requests.len()) == 250).then_some(())).await;
    let caller = H2Caller::new(stage.data()).await;
    for _ in 0..3 {
        assert_eq!(caller.get("/big").await.unwrap().body.len(), 8 << 20);
    }
    assert_eq!(stage.outcome("v1", "backend_timeout") + stage.outcome("v1", "backend_reset"), 0);
    assert_eq!(backend.look(|seen| seen.connections), 3, "a hundred streams each");
    drop((held, stalled));
    until("the empty ones to be closed", || (backend.look(|seen| seen.open) == 1).then_some(())).await;
    stop(stage).await;
}

/// What a backend says it has not touched goes out once more, also a POST, as long as its body is there.
#[tokio::test]
async fn a_refused_stream_is_sent_again_where_its_body_was_kept() {
    let backend = H2Backend::new();
    // The canary's bodies are kept, for a fallback that does not concern this.
    let stage = Stage::new(
        &backend.url(),
        &backend.url(),
        100,
        "    fallback: { to: stable, when: [\"502\"] }\n",
        "threads: 1\n",
    );
    let caller = H2Caller::new(stage.data()).await;
    assert_eq!(caller.get("/200").await.unwrap().head.status, StatusCode::OK);
    let answer = caller.call(request("POST", "/refuse"), Some(b"hello"), None).await.unwrap();
    assert_eq!(answer.head.status, StatusCode::OK);
    let bodies = backend.look(|seen| seen.requests[1..].iter().map(|got| got.body.clone()).collect::<Vec<_>>());
    assert_eq!(bodies, [b"hello", b"hello"]);
    assert_eq!((stage.count(&["coalmine_resends_total", "sent"]), stage.count(&["coalmine_fallback_total"])), (1, 0));
    let broken = caller.call(request("POST", "/reset"), Some(b"hello"), None).await.unwrap();
    assert_eq!(broken.head.status, StatusCode::BAD_GATEWAY, "what may have been done is not sent again");
    stop(stage).await;
}

/// A caller whose windows stay closed, for a long answer, for a short one and for one of our own.
#[tokio::test]
async fn a_caller_that_takes_nothing_is_cut_and_counted() {
    let (backend, plain) = (H2Backend::new(), http1());
    for (url, paths) in
        [(backend.url(), ["/big", "/echo"]), (format!("http://{}", plain.address), ["/chunks", "/sized"])]
    {
        let stage = Stage::one(&url, "", "connections: { write_stall: 500ms }\n");
        let stream = tokio::net::TcpStream::connect(stage.data()).await.unwrap();
        let caller = H2Caller::over(stream, 0).await;
        let own = Request::builder().uri("http://a/").header("host", "a").header("host", "b").body(()).unwrap();
        let mut cut = Vec::new();
        for request in [request("POST", paths[0]), request("POST", paths[1]), own] {
            cut.push(caller.start(request, Some(b"hello"), None).await.0);
        }
        for response in cut {
            let error = whole(response).await.unwrap_err();
            assert!(error.is_reset(), "{error}");
        }
        until("the count", || (stage.count(&["coalmine_callers_cut_total"]) == 3).then_some(())).await;
        until("the places to be free", || (stage.count(&["coalmine_in_flight{"]) == 0).then_some(())).await;
        assert_eq!(stage.outcome("v1", "backend_reset"), 0);
        stop(stage).await;
    }
}

/// A window of one byte: the answer is on its way as far as its stream is concerned, and never leaves.
#[tokio::test]
async fn a_caller_that_never_takes_the_rest_loses_its_connection() {
    let plain = http1();
    let stage = Stage::one(&format!("http://{}", plain.address), "", "connections: { write_stall: 500ms }\n");
    let stream = tokio::net::TcpStream::connect(stage.data()).await.unwrap();
    let caller = H2Caller::over(stream, 1).await;
    let (response, _stream) = caller.start(request("GET", "/sized"), None, None).await;
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "h");
    let ended = tokio::time::timeout(Duration::from_secs(10), caller.ended).await.expect("it was never cut");
    drop(ended);
    until("the count", || (stage.count(&["coalmine_callers_cut_total"]) == 1).then_some(())).await;
    assert_eq!(stage.outcome("v1", "ok"), 1);
    stop(stage).await;
}
