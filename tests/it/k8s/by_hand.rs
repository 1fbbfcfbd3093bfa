//! What people do in the cluster in mid-release: they edit the ConfigMap that belongs to Git, and they delete the Application.

use super::{
    bed::{Bed, await_state},
    journey::{Journey, PLAN, WATCHED, application, manifest, said},
    weights::Weights,
};
use crate::{
    githost::SshHost,
    repo::Repo,
    stage::metric,
    support::{Caller, model, routes},
};
use serde_json::Value;
use std::{net::SocketAddr, time::Instant};

fn reloads(admin: SocketAddr) -> f64 {
    metric(admin, &["coalmine_config_reloads_total"])
}

fn labels(route: &Value) -> u64 {
    route["judgement"]["canary_labels"].as_u64().unwrap_or(0)
}

#[test]
#[ignore = "wants a cluster: make test-k8s"]
fn what_is_edited_by_hand_in_mid_release_is_put_back_and_costs_no_verdict() {
    let text = routes(model(200, 1), model(200, 1), 10).replace("    variants:\n", &format!("{PLAN}    variants:\n"));
    let (repo, host) = (Repo::new(&manifest(&text)), SshHost::new());
    let mut journey = Journey::begin(Bed::with_argo_cd(), "by-hand", WATCHED, &repo, &host);
    let admin = journey.app.admin;

    // Half of what the step asks for has been seen. An edit cannot take that away.
    let weights = Weights::of(admin, 1);
    await_state("some labels", || {
        journey.traffic();
        (labels(&journey.route()) >= 20).then_some(())
    });
    let before = journey.route();
    journey.edit_by_hand(|text| {
        text.replace("weight: 90", "weight: 70").replace("canary, weight: 10", "canary, weight: 30")
    });
    let at = Instant::now();
    await_state("the edit to be loaded", || (said(&journey.route(), 1) == ("canary", "30")).then_some(()));
    await_state("it to be put back", || (said(&journey.route(), 1) == ("canary", "10")).then_some(()));
    println!("an edit by hand in mid-release was put back after {:?}", at.elapsed());
    let after = journey.route();
    assert!(labels(&after) >= labels(&before), "{after}");
    for of in ["key", "attempt"] {
        assert_eq!(after["release"][of], before["release"][of]);
    }
    assert_eq!(repo.commits(), 1, "nobody commits because of it");
    journey.up();
    let [weights, _] = weights.end();
    assert_eq!(weights, ["10", "30", "10", "50", "95", "100"], "no flapping");
    assert!((reloads(admin) - 6.0).abs() < 0.5, "nothing in between: {}", reloads(admin));

    // The verdict falls while, or just after, the edit is in force: down it goes, once, and stays there.
    journey.bring_a_bad_one(model(500, 1));
    journey.refresh();
    await_state("the candidate", || (said(&journey.route(), 2) == ("canary", "10")).then_some(()));
    let weights = Weights::of(admin, 2);
    journey.edit_by_hand(|text| {
        text.replace("weight: 90", "weight: 40").replace("canary, weight: 10", "canary, weight: 60")
    });
    await_state("the edit to be loaded", || (said(&journey.route(), 2) == ("canary", "60")).then_some(()));
    journey.go("rollback(digits)", 1, |route| said(route, 2) == ("rejected", "0"));

    // Nor does an edit bring back what was rejected.
    journey.edit_by_hand(|text| {
        text.replace("weight: 100", "weight: 60").replace("rejected, weight: 0", "canary, weight: 40")
    });
    await_state("the edit to be loaded", || (said(&journey.route(), 2) == ("canary", "40")).then_some(()));
    await_state("it to be put back", || {
        journey.traffic();
        (said(&journey.route(), 2) == ("rejected", "0")).then_some(())
    });
    let [said, effective] = weights.end();
    assert_eq!(effective.last().unwrap(), "0");
    assert_eq!(effective.iter().filter(|weight| *weight == "0").count(), 1, "{effective:?} of {said:?}");
    assert_eq!(effective.iter().filter(|weight| *weight == "60").count(), 1, "{effective:?} of {said:?}");
    assert_eq!(repo.commits(), 6, "three up, a person's, one down, and the first");
    journey.is_synced();
    journey.end();
}

#[test]
#[ignore = "wants a cluster: make test-k8s"]
fn without_its_application_serving_goes_on_and_a_rollback_waits_for_the_next_one() {
    let text = routes(model(200, 1), model(500, 1), 10).replace("    variants:\n", &format!("{PLAN}    variants:\n"));
    let (repo, host) = (Repo::new(&manifest(&text)), SshHost::new());
    let bed = Bed::with_argo_cd();
    let journey = Journey::begin(bed, "deleted", WATCHED, &repo, &host);
    let admin = journey.app.admin;

    // With all that it has made.
    bed.kubectl(&["-n", "argocd", "delete", "--timeout=120s", "application", &journey.name], "");
    let problems = || super::weights::shown(admin)["problems"].to_string();
    await_state("the ConfigMap to be gone", || problems().contains("is not there").then_some(()));
    assert!(metric(admin, &["coalmine_config_valid"]) < 0.5);
    assert_eq!(said(&journey.route(), 1), ("canary", "10"), "the last table stays");
    assert_eq!(Caller::new(admin).call("GET", "/readyz", "", "").status, 200);
    let found = journey.doctor(bed.kubeconfig());
    assert!(
        found.iter().any(|(check, level, what)| {
            (check.as_str(), level.as_str()) == ("argo app", "fail") && what.contains("there is no Application")
        }),
        "{found:?}"
    );

    // Nothing can be delivered: the clamp holds, the commit is made, and nobody is there to be told.
    await_state("the rollback's commit", || {
        journey.traffic();
        (journey.said("rollback(digits)") == 1).then_some(())
    });
    await_state("nobody to be told", || {
        (metric(admin, &["coalmine_refresh_total{", "\"missing\""]) > 0.5).then_some(())
    });
    let variant = journey.variant(1);
    assert_eq!((&variant["weight"]["said"], &variant["weight"]["effective"]), (&"10".into(), &"0".into()));
    let mut caller = Caller::new(journey.app.data);
    for _ in 0..100 {
        assert_eq!(caller.infer().status, 200, "all go to the one that is well");
    }
    assert_eq!(journey.route()["release"]["state"], "rolling_back");

    // Somebody applies it again.
    bed.apply(&application(&journey.name, &host.url(&repo.path("bare.git"))));
    await_state("the rollback, by the new Application", || {
        (said(&journey.route(), 1) == ("rejected", "0")).then_some(())
    });
    await_state("its end", || (journey.route()["release"]["state"] == "rolled_back").then_some(()));
    assert!(metric(admin, &["coalmine_config_valid"]) > 0.5);
    assert_eq!(repo.commits(), 2);
    journey.is_synced();
    journey.end();
}
