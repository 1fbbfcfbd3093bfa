//! The whole process over real sockets: split, reload, labels, verdict, clamp, restart.

use super::support::{Caller, model, routes, start, stop, wait};
use serde_json::Value;
use std::{fs, path::Path};

fn write(dir: &Path, text: &str) {
    // As an editor does: beside, then over it.
    fs::write(dir.join("next"), text).unwrap();
    fs::rename(dir.join("next"), dir.join("routes.yaml")).unwrap();
}

fn effective(admin: &mut Caller, variant: usize) -> String {
    let answer = admin.call("GET", "/v1/routes/digits", "", "");
    let route: Value = serde_json::from_str(&answer.body).unwrap();
    route["variants"][variant]["weight"]["effective"].as_str().unwrap().to_owned()
}

#[test]
fn traffic_is_split_as_said_and_follows_the_file_without_a_failed_request() {
    let dir = tempfile::tempdir().unwrap();
    let (stable, canary) = (model(200, 1), model(200, 2));
    write(dir.path(), &routes(stable, canary, 10));
    let app = start(dir.path(), &dir.path().join("state"));
    let mut caller = Caller::new(app.data);
    let mut of_canary = 0;
    for _ in 0..4000 {
        let answer = caller.infer();
        assert_eq!(answer.status, 200, "{answer:?}");
        let variant = answer.headers.get("x-coalmine-variant").unwrap();
        assert_eq!(answer.body.contains("[2]"), variant == "v2", "{answer:?}");
        of_canary += u32::from(variant == "v2");
    }
    // 10 % of 4000 is 400, standard deviation 19: five of them either way.
    assert!((305..=495).contains(&of_canary), "{of_canary} of 4000 at 10 %");

    write(dir.path(), &routes(stable, canary, 100));
    let mut seen = || {
        let answer = caller.infer();
        assert_eq!(answer.status, 200, "{answer:?}");
        (answer.headers.get("x-coalmine-variant").unwrap() == "v2").then_some(())
    };
    for _ in 0..50 {
        wait("the new weights", &mut seen);
    }

    write(dir.path(), "routes: [");
    let mut admin = Caller::new(app.admin);
    let metrics = wait("the bad file to be seen", || {
        let answer = admin.call("GET", "/metrics", "", "");
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = answer.body;
        text.contains("coalmine_config_valid 0").then_some(text)
    });
    assert!(metrics.contains(r#"coalmine_config_reloads_total{result="refused"} 1"#), "{metrics}");
    assert!(
        metrics.contains(r#"coalmine_requests_total{outcome="ok",role="canary",route="digits",variant="v2"}"#)
            || metrics.contains(r#"coalmine_requests_total{route="digits",variant="v2",role="canary",outcome="ok"}"#),
        "{metrics}"
    );
    assert_eq!(caller.infer().status, 200, "the last good table stays");
    assert_eq!(caller.call("GET", "/nowhere", "", "").status, 404);
    stop(app);
}

#[test]
fn labels_count_once_and_bad_ones_say_why() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &routes(model(200, 7), model(200, 7), 50));
    let app = start(dir.path(), &dir.path().join("state"));
    let ticket = Caller::new(app.data).infer().headers.remove("x-coalmine-ticket").expect("a ticket");
    let mut admin = Caller::new(app.admin);
    let forged = format!("{}AAAA", &ticket[..ticket.len() - 4]);
    let body = [
        format!(r#"{{"ticket":"{ticket}","label":7}}"#),
        format!(r#"{{"ticket":"{ticket}","label":7}}"#),
        format!(r#"{{"ticket":"{forged}","label":7}}"#),
        r#"{"ticket":"nonsense","label":7}"#.to_owned(),
        "not json".to_owned(),
    ]
    .join("\n");
    let answer = admin.call("POST", "/v1/feedback", "", &body);
    let results: Value = serde_json::from_str(&answer.body).unwrap();
    let results: Vec<_> =
        results["results"].as_array().unwrap().iter().map(|r| r["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["counted", "duplicate", "forged", "malformed", "malformed"]);
    let page = admin.call("POST", "/v1/feedback", "origin: http://elsewhere\r\n", &body);
    assert_eq!(page.status, 401, "a foreign page may not post labels");
    stop(app);
}

#[test]
fn a_failing_canary_is_clamped_and_stays_clamped_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (stable, canary) = (model(200, 1), model(500, 2));
    write(dir.path(), &routes(stable, canary, 30));
    let app = start(dir.path(), &dir.path().join("state"));
    let (mut caller, mut admin) = (Caller::new(app.data), Caller::new(app.admin));
    wait("the clamp", || {
        (0..50).for_each(|_| drop(caller.infer()));
        (effective(&mut admin, 1) == "0").then_some(())
    });
    assert_eq!(effective(&mut admin, 0), "100");
    let judged: Value = serde_json::from_str(&admin.call("GET", "/v1/routes/digits", "", "").body).unwrap();
    assert_eq!(judged["judgement"]["verdict"], "fail");
    assert_eq!(judged["judgement"]["reason"], "errors");
    for _ in 0..200 {
        assert_eq!(caller.infer().status, 200, "the canary still gets traffic");
    }
    stop(app);

    let app = start(dir.path(), &dir.path().join("state"));
    let (mut caller, mut admin) = (Caller::new(app.data), Caller::new(app.admin));
    assert_eq!(effective(&mut admin, 1), "0", "a restart must not bring it back");
    for _ in 0..200 {
        assert_eq!(caller.infer().status, 200);
    }
    // A person changes the route and still gives it weight: a newer decision, and a fresh trial.
    write(dir.path(), &routes(stable, canary, 20));
    wait("the clamp to be lifted", || (effective(&mut admin, 1) == "20").then_some(()));
    stop(app);
}

#[test]
fn a_canary_that_is_worse_only_in_accuracy_is_clamped() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &routes(model(200, 7), model(200, 3), 30));
    let app = start(dir.path(), &dir.path().join("state"));
    let (mut caller, mut admin) = (Caller::new(app.data), Caller::new(app.admin));
    wait("the clamp", || {
        let lines: Vec<String> = (0..100)
            .map(|_| caller.infer().headers.remove("x-coalmine-ticket").unwrap())
            .map(|ticket| format!(r#"{{"ticket":"{ticket}","label":7}}"#))
            .collect();
        assert_eq!(admin.call("POST", "/v1/feedback", "", &lines.join("\n")).status, 200);
        (effective(&mut admin, 1) == "0").then_some(())
    });
    let judged: Value = serde_json::from_str(&admin.call("GET", "/v1/routes/digits", "", "").body).unwrap();
    assert_eq!(judged["judgement"]["reason"], "accuracy");
    stop(app);
}
