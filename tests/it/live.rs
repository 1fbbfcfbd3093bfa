//! What live traffic tells the judge: copies and the labels of pairs, streams.

use super::{
    backend::{Backend, Received, write},
    repo::Repo,
    stage::{Stage, metric},
    support::{Caller, model, stop, wait},
};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

const JSON: &str = "content-type: application/json\r\n";

/// A routes file of one route, `digits`, with `more` lines of the route and `canary` for what the canary's line says besides.
fn routes(stable: &str, canary: &str, weights: [u32; 2], more: &str, extra: &str) -> String {
    let [canary_weight, stable_weight] = weights;
    format!(
        "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: digits
    match: {{ path: / }}
    protocol: v2
{more}    variants:
      - {{ name: v1, role: stable, weight: {stable_weight}, url: '{stable}', model: {{ version: '1', uri: m/1 }} }}
      - {{ name: v2, role: canary, weight: {canary_weight}, {extra}url: '{canary}', model: {{ version: '2', uri: m/2 }} }}
"
    )
}

/// Requests, each labelled with 7 once its copy has had its time, until `there` is true.
fn label_until(data: SocketAddr, admin: SocketAddr, what: &str, mut there: impl FnMut() -> bool) {
    let (mut caller, mut labeler) = (Caller::new(data), Caller::new(admin));
    let mut labels = String::new();
    wait(what, || {
        let known = std::mem::take(&mut labels);
        for _ in 0..50 {
            let ticket = caller.infer().headers.remove("x-coalmine-ticket").unwrap();
            labels += &format!("{{\"ticket\": \"{ticket}\", \"label\": 7}}\n");
        }
        if !known.is_empty() {
            let told = labeler.call("POST", "/v1/feedback", "", &known).body;
            assert_eq!(told.matches("\"counted\"").count(), 50, "{told}");
        }
        there().then_some(())
    });
}

/// A canary without any weight that gets copies of half of the requests, and a plan.
fn shadow_only(canary: SocketAddr) -> String {
    let more = "    judge: { latency: off, warmup: 0s }\n    plan: { steps: [ { weight: 5 }, { weight: 100 } ] }\n";
    routes(&format!("http://{}", model(200, 7)), &format!("http://{canary}"), [0, 100], more, "share: 50, ")
}

#[test]
fn a_canary_that_only_gets_copies_is_judged_by_labels_of_pairs_and_raised_to_its_first_step() {
    let text = shadow_only(model(200, 7));
    let repo = Repo::new(&text);
    let app = repo.start("");
    label_until(app.data, app.admin, "the raise", || repo.commits() == 2);
    let wanted =
        text.replace("canary, weight: 0", "canary, weight: 5").replace("stable, weight: 100", "stable, weight: 95");
    assert_eq!(repo.tip(), wanted);
    assert!(repo.message().contains("\nCoalmine-Verdict: pass\n"), "{}", repo.message());
    let seen = |parts: &[&str]| metric(app.admin, parts);
    assert!(seen(&["coalmine_requests_total{", "\"v2\""]) < 0.5, "it answered nobody");
    let labels = seen(&["coalmine_paired_labels_total{", "\"v2\""]);
    assert!(labels > 50.0 && labels <= seen(&["coalmine_shadow_total{", "\"agreed\""]), "{labels} labels of pairs");
    stop(app);
}

#[test]
fn a_worse_canary_is_rejected_by_labels_of_pairs_before_it_answers_anybody() {
    let text = shadow_only(model(200, 8));
    let repo = Repo::new(&text);
    let app = repo.start("");
    label_until(app.data, app.admin, "the rollback", || repo.commits() == 2);
    assert_eq!(repo.tip(), text.replace("role: canary", "role: rejected"));
    assert!(repo.message().contains("\nCoalmine-Verdict: fail accuracy\n"), "{}", repo.message());
    assert!(metric(app.admin, &["coalmine_requests_total{", "\"v2\""]) < 0.5, "it answered nobody");
    // Nor does it get copies any more, from the clamp on.
    wait("the clamp", || {
        let sent = || metric(app.admin, &["coalmine_shadow_total{", "\"sent\""]);
        let before = sent();
        let mut caller = Caller::new(app.data);
        (0..30).for_each(|_| drop(caller.infer()));
        (sent() - before < 0.5).then_some(())
    });
    stop(app);
}

#[test]
fn a_label_counts_once_for_its_pair_or_once_for_its_answer() {
    let canary = Backend::new(|request, stream| match request.body.as_str() {
        "fails" => write(stream, 500, "", "no"),
        "other" => write(stream, 200, JSON, r#"{"outputs":[{"data":[8]}]}"#),
        _ => write(stream, 200, JSON, r#"{"outputs":[{"data":[7]}]}"#),
    });
    let stable = Backend::new(|request, stream| match request.body.as_str() {
        "both fail" | "stable fails" => write(stream, 500, "", "no"),
        _ => write(stream, 200, JSON, r#"{"outputs":[{"data":[7]}]}"#),
    });
    let urls = [stable.address, canary.address].map(|address| format!("http://{address}"));
    let stage = Stage::over(&routes(&urls[0], &urls[1], [0, 100], "", "share: 100, "), "");
    let (mut caller, mut labeler) = (stage.caller(), Caller::new(stage.app.admin));
    let total = |result: &str| stage.count(&["coalmine_shadow_total{", &format!("\"{result}\"")]);
    let mut tickets = Vec::new();
    for body in ["same", "other", "fails", "stable fails", "same", "same"] {
        let mut answer = caller.call("POST", "/v2/models/digits/infer", "", body);
        tickets.push(answer.headers.remove("x-coalmine-ticket").unwrap());
    }
    wait("all copies", || (total("paired") == 6).then_some(()));
    wait("the book", || (stage.count(&["coalmine_pairs_waiting"]) == 4).then_some(()));
    assert_eq!([total("worse"), total("better"), total("failed")], [1, 1, 1]);
    // The truth of the second is 8: its copy was right. The third has none, and a score is about one answer.
    let says = [(0, "label", "7"), (1, "label", "8"), (2, "label", "7"), (4, "score", "0.5"), (0, "label", "7")];
    let lines: Vec<String> =
        says.map(|(at, key, truth)| format!("{{\"ticket\": \"{}\", \"{key}\": {truth}}}", tickets[at])).into();
    let told = labeler.call("POST", "/v1/feedback", "", &lines.join("\n")).body;
    assert_eq!((told.matches("\"counted\"").count(), told.matches("\"duplicate\"").count()), (4, 1), "{told}");
    let paired = |result: &str| stage.count(&["coalmine_paired_labels_total{", "\"v2\"", &format!("\"{result}\"")]);
    assert_eq!([paired("worse"), paired("better"), paired("alike")], [0, 1, 1]);
    assert_eq!(stage.count(&["coalmine_labels_total{", "\"v1\""]), 2);
    assert_eq!(stage.count(&["coalmine_pairs_total{", "\"labelled\""]), 2);
    stage.stop();
}

#[test]
fn a_canary_with_weight_gets_copies_of_what_stable_answers_and_of_nothing_that_is_pinned() {
    let (stable, canary) = (model(200, 7), Backend::always(200, "{}"));
    let text = routes(
        &format!("http://{stable}"),
        &format!("http://{}", canary.address),
        [50, 50],
        "    pin: true\n",
        "share: 100, ",
    );
    let stage = Stage::over(&text, "");
    let mut caller = stage.caller();
    for _ in 0..100 {
        caller.infer();
        caller.call("POST", "/v2/x", "x-coalmine-pin: v1\r\n", "{}");
    }
    let own = stage.outcome("v2", "ok");
    let copies = |canary: &Backend| {
        canary.seen().iter().filter(|r: &&Received| r.all("x-coalmine-shadow").len() == 1).count() as u64
    };
    wait("the copies", || (copies(&canary) == 100 - own).then_some(()));
    assert_eq!(canary.seen().len(), 100);
    stage.stop();
}

/// A stream of six tokens with a pause before each but the first.
fn tokens(pause: Duration) -> Backend {
    Backend::new(move |_, stream| {
        write!(stream, "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").ok()?;
        for n in 0..6 {
            if n > 0 {
                // The server's own time, which is what is judged here.
                thread::sleep(pause);
            }
            write!(stream, "data: {{\"choices\":[{{\"delta\":{{\"content\":\"t\"}}}}]}}\n\n").ok()?;
        }
        write!(stream, "data: [DONE]\n\n").ok()?;
        None
    })
}

/// Asks for a stream and reads it to its end.
fn stream(data: SocketAddr) {
    let mut caller = TcpStream::connect(data).unwrap();
    caller.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    let mut whole = String::new();
    caller.read_to_string(&mut whole).unwrap();
    assert!(whole.contains("[DONE]"), "{whole}");
}

#[test]
fn a_canary_whose_tokens_come_slowly_is_taken_back_although_its_first_token_is_as_quick() {
    let (stable, canary) = (tokens(Duration::from_millis(2)), tokens(Duration::from_millis(8)));
    let more = "    judge: { errors: off, warmup: 0s, warmup_requests: 0 }\n";
    let urls = [stable.address, canary.address].map(|address| format!("http://{address}"));
    let text = routes(&urls[0], &urls[1], [50, 50], more, "").replace("protocol: v2", "protocol: openai");
    let stage = Stage::over(&text, "");
    let data = stage.data();
    let done = &AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    stream(data);
                }
            });
        }
        wait("the verdict", || (stage.metric(&["coalmine_verdict{"]) < -0.5).then_some(()));
        done.store(true, Relaxed);
    });
    let seen = |name: &str, variant: &str| stage.metric(&[name, &format!("\"{variant}\"")]);
    assert!(seen("coalmine_first_token_seconds_count", "v2") > 50.0);
    assert!(seen("coalmine_request_duration_seconds_count", "v2") < 0.5, "a stream is no whole answer");
    stage.stop();
}
