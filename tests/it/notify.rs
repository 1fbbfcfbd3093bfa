//! Notifications: signed web-hooks that arrive whatever receivers do, and that nothing waits for.

use super::{
    backend::{Backend, Received, write},
    certs::{Ca, Mount},
    repo::Repo,
    stage::{Stage, metric},
    support::{Caller, model, routes, stop, wait},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

const KEY: &[u8] = b"0123456789abcdef01234567";

fn hook(url: &str, more: &str) -> String {
    format!("    - {{ url: '{url}'{more} }}\n")
}

/// As a receiver does it: recompute, compare, look at the age.
#[track_caller]
fn event(received: &Received) -> Value {
    let one =
        |name: &str| received.all(name).first().map(|text| (*text).to_owned()).unwrap_or_else(|| panic!("{name}"));
    let (id, at, signature) = (one("webhook-id"), one("webhook-timestamp"), one("webhook-signature"));
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(format!("{id}.{at}.{}", received.body).as_bytes());
    let given = BASE64_STANDARD.decode(signature.strip_prefix("v1,").expect("a version")).unwrap();
    mac.verify_slice(&given).expect("the signature is that of the body");
    let now = coalmine::io::clock::wall_ms() / 1000;
    assert!(now.abs_diff(at.parse::<u64>().unwrap()) < 60, "{at}");
    assert_eq!(one("content-type"), "application/cloudevents+json; charset=utf-8");
    let event: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!((&event["id"], &event["specversion"]), (&Value::from(id), &Value::from("1.0")));
    event
}

fn kinds(receiver: &Backend) -> Vec<String> {
    let kind = |received: &Received| {
        let kind = event(received)["type"].as_str().unwrap().to_owned();
        kind.strip_prefix("dev.coalmine.release.").unwrap().to_owned()
    };
    receiver.seen().iter().map(kind).collect()
}

#[test]
fn a_rollback_is_told_signed_and_again_until_it_is_taken() {
    let repo = Repo::new(&routes(model(200, 1), model(500, 2), 30));
    fs::write(repo.path("secret"), format!("whsec_{}\n", BASE64_STANDARD.encode(KEY))).unwrap();
    let signed = format!(", secret_file: '{}'", repo.path("secret").display());
    // Refuses the first, asks for a pause with the second, hangs up on the third.
    let count = AtomicUsize::new(0);
    let moody = Backend::new(move |_, stream| match count.fetch_add(1, SeqCst) {
        0 => write(stream, 500, "", "no"),
        1 => write(stream, 503, "retry-after: 1\r\n", "not now"),
        2 => None,
        _ => write(stream, 204, "", ""),
    });
    // Takes everything and never answers.
    let slow = Backend::new(|_, _| Some(()));
    let chat = Backend::always(200, "ok");
    // And one over TLS, by a CA of its own: Coalmine itself stands before it.
    let behind = Backend::always(200, "ok");
    let ca = Ca::new("ours");
    let mount = Mount::new(&ca.issue(&["127.0.0.1"]), &ca);
    let (cert, key) = (mount.file("tls.crt"), mount.file("tls.key"));
    let tls = format!("tls:\n  certificates: [ {{ cert_file: {}, key_file: {} }} ]\n", cert.display(), key.display());
    let front = Stage::one(&format!("http://{}", behind.address), "", &tls);
    // A url that is a secret.
    fs::write(repo.path("chat-url"), format!("http://{}/T0/B0/s3cret\n", chat.address)).unwrap();

    let mut hooks = String::from("notify:\n  source: /prod\n  queue: 2\n  timeout: 1s\n  attempts: 5\n  hooks:\n");
    hooks += &hook(&format!("http://{}/hook", moody.address), &signed);
    hooks += &hook(&format!("http://{}/hook", slow.address), "");
    hooks += &format!("    - {{ url_file: '{}', format: slack }}\n", repo.path("chat-url").display());
    let ca_file = format!(", ca_file: '{}', events: [rollback_committed]", mount.file("ca.crt").display());
    hooks += &hook(&format!("https://127.0.0.1:{}/hook", front.data().port()), &format!("{signed}{ca_file}"));
    let app = repo.start_with("", &hooks);

    let mut caller = Caller::new(app.data);
    let begun = Instant::now();
    wait("the commit", || {
        (0..20).for_each(|_| drop(caller.infer()));
        (repo.commits() == 2).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "nothing waits for receivers: {:?}", begun.elapsed());
    wait("the chat", || (chat.seen().len() == 3).then_some(()));
    let lines: Vec<String> = chat.seen().into_iter().map(|received| received.body).collect();
    assert!(lines[0].contains("digits: the judge says fail errors"), "{lines:?}");
    assert!(lines[1].contains("the canary is held at 0 from now on: worse in errors (judge)"), "{lines:?}");
    assert!(lines[2].contains("the rollback is on the branch, commit "), "{lines:?}");
    assert!(chat.seen()[0].line.starts_with("POST /T0/B0/s3cret "));

    wait("everything at the moody one", || (moody.seen().len() == 6).then_some(()));
    assert_eq!(kinds(&moody), ["verdict", "verdict", "verdict", "verdict", "rollback", "rollback_committed"]);
    let ids: Vec<Value> = moody.seen()[..4].iter().map(|received| event(received)["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "the same event, tried again: {ids:?}");
    let told = event(&moody.seen()[5]);
    assert_eq!((&told["source"], &told["subject"]), (&Value::from("/prod"), &Value::from("digits")));
    let data = &told["data"];
    assert_eq!((&data["action"], &data["by"]), (&Value::from("rollback"), &Value::from("judge")));
    assert!(data["evidence"][0].as_str().unwrap().starts_with("errors: canary 1.0000 of "), "{told}");
    let commit = repo.git("bare.git", &["rev-parse", "main"]);
    assert_eq!(data["commit"].as_str(), Some(commit.trim()));
    assert!(repo.message().contains(&format!("Coalmine-Intent: {}\n", data["intent"].as_str().unwrap())));

    wait("the one over TLS", || (behind.seen().len() == 1).then_some(()));
    assert_eq!(kinds(&behind), ["rollback_committed"], "only what it wants");
    // The slow one costs what it was sent, nobody else: one under way, two in its queue, given up one by one.
    wait("the slow one to be given up", || {
        (metric(app.admin, &["coalmine_notices_total", "failed"]) > 0.5).then_some(())
    });
    assert!(metric(app.admin, &["coalmine_notices_total", "sent"]) > 6.5);
    stop(app);
    front.stop();
}

#[test]
fn a_blocked_write_is_told_once_and_a_full_queue_drops() {
    let repo = Repo::new(&routes(model(200, 1), model(500, 2), 30));
    repo.hook("pre-receive", "echo 'main is protected' >&2; exit 1");
    let (all, slow) = (Backend::always(200, "ok"), Backend::new(|_, _| Some(())));
    fs::write(repo.path("secret"), KEY).unwrap();
    let signed = format!(", secret_file: '{}'", repo.path("secret").display());
    let hooks = format!(
        "notify:\n  queue: 2\n  timeout: 30s\n  hooks:\n{}{}",
        hook(&format!("http://{}/", all.address), &signed),
        hook(&format!("http://{}/", slow.address), "")
    );
    let app = repo.start_with("", &hooks);
    let mut caller = Caller::new(app.data);
    wait("the trouble", || {
        (0..20).for_each(|_| drop(caller.infer()));
        (metric(app.admin, &["coalmine_git_commits_total", "failed"]) > 1.5).then_some(())
    });
    wait("the third", || (all.seen().len() == 3).then_some(()));
    assert_eq!(kinds(&all), ["verdict", "rollback", "write_blocked"], "a failure that goes on is told once");
    let told = event(&all.seen()[2]);
    assert!(told["data"]["trouble"].as_str().unwrap().contains("main is protected"), "{told}");
    // One is under way to the slow one and two wait for it: the fourth finds no place.
    assert!(metric(app.admin, &["coalmine_notices_total", "dropped"]) < 0.5);
    fs::remove_file(repo.path("bare.git/hooks/pre-receive")).unwrap();
    wait("the fourth", || (all.seen().len() == 4).then_some(()));
    assert_eq!(kinds(&all)[3], "rollback_committed");
    assert!(metric(app.admin, &["coalmine_notices_total", "dropped"]) > 0.5);
    stop(app);
}
