//! A whole release through a real Argo CD, by commits over ssh, with traffic and labels: with the ConfigMap watched, with the
//! directory that the kubelet's own writer mounts, and without the right to tell Argo CD that there is a commit.

use super::{
    bed::{Bed, POLLING, await_state},
    journey::{Journey, MOUNTED, PLAN, UNTOLD, WATCHED, Way, manifest, said},
};
use crate::{
    githost::SshHost,
    repo::Repo,
    stage::metric,
    support::{Caller, model, routes},
};
use std::time::Duration;

/// A pushed commit should be in force sooner, where Argo CD is told of it.
const GOAL: Duration = Duration::from_secs(5);

#[test]
#[ignore = "wants a cluster: make test-k8s"]
fn a_release_goes_up_and_down_through_argo_cd_over_ssh() {
    let bed = Bed::with_argo_cd();
    let watched = up_and_down(bed, "up-watched", WATCHED);
    let mounted = up_and_down(bed, "up-mounted", MOUNTED);
    let untold = up_and_down(bed, "up-untold", UNTOLD);
    let told = median(&[watched.clone(), mounted.clone()].concat());
    println!(
        "from a pushed commit to the table in force, median: {:?} watched, {:?} mounted if Argo CD is told (the goal is {GOAL:?}); \
         {:?} of {} if nobody tells it, by its polling every {POLLING:?}",
        median(&watched),
        median(&mounted),
        median(&untold),
        untold.len()
    );
    // The goal is for a machine that has nothing else to do; this must be true of any.
    assert!(told < POLLING && told < median(&untold), "{watched:?} {mounted:?} {untold:?}");
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_owned();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Up by commits to the promotion and the end of its watch; then a bad one, and down. How long each commit took.
fn up_and_down(bed: &Bed, name: &str, way: Way) -> Vec<Duration> {
    let text = routes(model(200, 1), model(200, 1), 10).replace("    variants:\n", &format!("{PLAN}    variants:\n"));
    let (repo, host) = (Repo::new(&manifest(&text)), SshHost::new());
    let mut journey = Journey::begin(bed, name, way, &repo, &host);
    journey.up();
    journey.bring_a_bad_one(model(500, 1));
    await_state("the candidate, by Argo CD's polling", || {
        (said(&journey.route(), 2) == ("canary", "10")).then_some(())
    });
    journey.go("rollback(digits)", 1, |route| said(route, 2) == ("rejected", "0"));
    journey.is_synced();
    let syncs = await_state("its syncs to be counted", || Some(journey.syncs()).filter(|syncs| *syncs > 5.5));
    assert!(syncs < 6.5, "one for each commit, nothing was ever healed: {syncs}");
    let (asked, denied) = if way.told { (4.0, 0.0) } else { (0.0, 4.0) };
    let refreshes = |result: &str| metric(journey.app.admin, &["coalmine_refresh_total{", result]);
    assert!((refreshes("\"asked\"") - asked).abs() < 0.5, "{}", refreshes("\"asked\""));
    assert!((refreshes("\"denied\"") - denied).abs() < 0.5, "{}", refreshes("\"denied\""));
    assert_eq!(Caller::new(journey.app.data).infer().status, 200);
    if way.source == "kubernetes" {
        doctor(&journey, way);
    }
    let took = journey.took.clone();
    journey.end();
    took
}

/// A person with all rights sees that all is well; the chart's are enough to serve, and too few to read the Application.
fn doctor(journey: &Journey<'_>, way: Way) {
    let wrong = |found: &[(String, String, String)]| {
        found.iter().filter(|(_, level, _)| level != "ok").cloned().collect::<Vec<_>>()
    };
    let found = journey.doctor(journey.bed.kubeconfig());
    assert_eq!(wrong(&found), [], "{found:?}");
    assert!(found.iter().any(|(check, ..)| check == "argo sync"), "{found:?}");
    let found = wrong(&journey.doctor(&journey.account));
    let brief: Vec<(&str, &str)> = found.iter().map(|(check, level, _)| (check.as_str(), level.as_str())).collect();
    let rights: &[(&str, &str)] = if way.told { &[] } else { &[("argo refresh", "fail")] };
    assert_eq!(brief, [rights, &[("argo app", "warn")]].concat(), "{found:?}");
}
