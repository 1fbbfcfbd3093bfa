//! Everything that can happen to a mounted file: written in place, renamed over, gone, a link into nowhere, not text.

use super::support::{Caller, model, routes, start, stop, wait};
use serde_json::Value;
use std::{fs, os::unix::fs::symlink, path::Path};

#[test]
fn every_way_a_file_changes_is_seen_and_no_bad_one_takes_over() {
    let (mount, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dir, file) = (mount.path(), mount.path().join("routes.yaml"));
    let (stable, canary) = (model(200, 1), model(200, 2));
    let text = |weight| routes(stable, canary, weight);
    fs::write(&file, text(1)).unwrap();
    let app = start(dir, state.path());
    let mut admin = Caller::new(app.admin);
    let mut show = || serde_json::from_str::<Value>(&admin.call("GET", "/v1/routes", "", "").body).unwrap();
    let mut weight = |wanted: &str, how: &str| {
        wait(how, || (show()["routes"][0]["variants"][1]["weight"]["said"] == wanted).then_some(()));
    };
    weight("1", "the start");
    fs::write(&file, text(2)).unwrap();
    weight("2", "a write in place");
    replace(dir, &text(3));
    weight("3", "a rename over it");
    replace(dir, &text(4));
    weight("4", "a second rename");
    fs::remove_file(&file).unwrap();
    fs::write(dir.join("other"), text(5)).unwrap();
    symlink("other", &file).unwrap();
    weight("5", "a link in its place");

    let mut admin = Caller::new(app.admin);
    let mut problem = |part: &str| {
        wait(part, || {
            let shown: Value = serde_json::from_str(&admin.call("GET", "/v1/routes", "", "").body).unwrap();
            assert_eq!(shown["routes"][0]["variants"][1]["weight"]["said"], "5", "the last good one stays");
            let problems = shown["problems"].as_array().unwrap().clone();
            problems.iter().any(|problem| problem.as_str().unwrap().contains(part)).then_some(())
        });
        assert_eq!(Caller::new(app.data).infer().status, 200);
    };
    fs::remove_file(dir.join("other")).unwrap();
    problem("is not there");
    fs::write(dir.join("other"), b"routes: \xff\xfe").unwrap();
    problem("UTF-8");
    fs::write(dir.join("other"), "routes: &a [*a, *a]\n").unwrap();
    problem("anchor");
    fs::write(dir.join("other"), format!("{}\nmore: {}", text(7), "x".repeat(3 * 1024 * 1024))).unwrap();
    problem("bytes");
    fs::write(dir.join("other"), text(6)).unwrap();
    let mut admin = Caller::new(app.admin);
    wait("the good file", || {
        let shown: Value = serde_json::from_str(&admin.call("GET", "/v1/routes", "", "").body).unwrap();
        let good = shown["routes"][0]["variants"][1]["weight"]["said"] == "6";
        (good && shown["problems"].as_array().unwrap().is_empty()).then_some(())
    });
    stop(app);
}

fn replace(dir: &Path, text: &str) {
    fs::write(dir.join(".new"), text).unwrap();
    fs::rename(dir.join(".new"), dir.join("routes.yaml")).unwrap();
}
