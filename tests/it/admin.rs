//! The admin listener against those who send too much, twice, or from the wrong place.

use super::{
    stage::metric,
    support::{Caller, model, routes, settings, start_with, stop, wait},
};
use std::{fs, io::Write as _, net::TcpStream};

#[test]
fn a_label_counts_once_also_after_a_restart() {
    let (mount, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(mount.path().join("routes.yaml"), routes(model(200, 7), model(200, 7), 10)).unwrap();
    let key = state.path().join("key");
    fs::write(&key, "0123456789abcdef").unwrap();
    let start = || {
        let more = format!("ticket_key_file: '{}'\n", key.display());
        start_with(settings(&more, mount.path(), &state.path().join("state")))
    };
    let app = start();
    let ticket = || Caller::new(app.data).infer().headers.remove("x-coalmine-ticket").unwrap();
    let (first, second) = (ticket(), ticket());
    let post = |app: &coalmine::app::App, ticket: &str| {
        let body = format!(r#"{{"ticket":"{ticket}","label":7}}"#);
        Caller::new(app.admin).call("POST", "/v1/feedback", "", &body).body
    };
    assert!(post(&app, &first).contains("counted"));
    stop(app);
    let app = start();
    assert!(post(&app, &first).contains("duplicate"));
    assert!(
        post(&app, &second).contains("counted"),
        "one of before the restart that was not used yet is as good as ever"
    );
    stop(app);
}

#[test]
fn labels_that_wait_outlive_a_restart_and_count_once() {
    let (mount, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let delayed = "    protocol: v2\n    judge: { accuracy: { label_delay: 2s } }\n";
    let text = routes(model(200, 7), model(200, 7), 10).replace("    protocol: v2\n", delayed);
    assert!(text.contains("label_delay"), "{text}");
    fs::write(mount.path().join("routes.yaml"), text).unwrap();
    let key = state.path().join("key");
    fs::write(&key, "0123456789abcdef").unwrap();
    let start = || {
        let more = format!("ticket_key_file: '{}'\n", key.display());
        start_with(settings(&more, mount.path(), &state.path().join("state")))
    };
    let post = |app: &coalmine::app::App, tickets: &[String]| {
        let line = |ticket: &String| format!(r#"{{"ticket":"{ticket}","label":7}}"#);
        let lines: Vec<String> = tickets.iter().map(line).collect();
        let told = Caller::new(app.admin).call("POST", "/v1/feedback", "", &lines.join("\n")).body;
        ["held", "counted", "duplicate"].map(|result| told.matches(&format!("\"{result}\"")).count())
    };
    let app = start();
    let tickets: Vec<String> =
        (0..9).map(|_| Caller::new(app.data).infer().headers.remove("x-coalmine-ticket").unwrap()).collect();
    assert_eq!(post(&app, &tickets), [9, 0, 0]);
    stop(app);
    let app = start();
    assert_eq!(post(&app, &tickets), [0, 0, 9], "they wait here, too");
    wait("all of them", || (metric(app.admin, &["coalmine_labels_total{"]) > 8.5).then_some(()));
    stop(app);
    let app = start();
    assert_eq!(post(&app, &tickets), [0, 0, 9], "they have counted");
    assert!(metric(app.admin, &["coalmine_labels_total{"]) < 0.5, "and do not wait any more");
    stop(app);
}

#[test]
fn one_address_cannot_flood_it_and_pages_of_others_cannot_use_it() {
    let (mount, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(mount.path().join("routes.yaml"), routes(model(200, 7), model(200, 7), 10)).unwrap();
    let app = start_with(settings("", mount.path(), state.path()));
    let mut admin = Caller::new(app.admin);
    // A name that somebody else's DNS points at this machine.
    let mut stream = TcpStream::connect(app.admin).unwrap();
    stream.write_all(b"POST /v1/commands HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 0\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    let statuses: Vec<u16> = (0..1000).map(|_| admin.call("POST", "/v1/feedback", "", "{}").status).collect();
    let limit = usize::try_from(coalmine::admin::WRITES_PER_SECOND.get()).unwrap();
    assert!(statuses[..limit].iter().all(|status| *status == 200), "up to the limit all are taken");
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 0, "1000 in a row were taken");
    let metrics = admin.call("GET", "/metrics", "", "").body;
    assert!(metrics.contains(&format!("coalmine_admin_limited_total {refused}")), "{metrics}");
    stop(app);
}
