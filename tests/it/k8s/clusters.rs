//! One ApplicationSet, a folder of the repository for each cluster: what is decided in one stays in its folder.

use super::{
    bed::Bed,
    journey::{Journey, PLAN, URL, WATCHED, example, let_argo_cd_in, manifest, said},
};
use crate::{
    githost::SshHost,
    repo::Repo,
    support::{model, routes, stop},
};
use std::thread;

#[test]
#[ignore = "wants a cluster: make test-k8s"]
fn two_clusters_of_one_application_set_release_each_in_its_own_folder() {
    let bed = Bed::with_argo_cd();
    let with_plan = |canary| {
        let text = routes(model(200, 1), canary, 10);
        manifest(&text.replace("    variants:\n", &format!("{PLAN}    variants:\n")))
    };
    // The same candidate: it is good in the east, and in the west it cannot be reached well.
    let (east_text, west_text) = (with_plan(model(200, 1)), with_plan(model(500, 1)));
    let (repo, host) = (Repo::new("# not delivered to anybody\n"), SshHost::new());
    let [set, east, west] = ["fleet", "east", "west"].map(|name| bed.name(name));
    for (name, text) in [(&east, &east_text), (&west, &west_text)] {
        bed.namespace(name);
        repo.file(&format!("clusters/{name}/routes.yaml"), text);
    }
    let before = repo.git("bare.git", &["rev-parse", "main"]).trim().to_owned();
    let url = let_argo_cd_in(bed, &set, &repo, &host);
    bed.apply(&example("applicationset").replace("coalmine-routes", &set).replace(URL, &url));
    let path = |name: &str| format!("clusters/{name}/routes.yaml");
    let join = |name: &str| Journey::join(bed, &format!("{set}-{name}"), name, WATCHED, (&repo, &host, &path(name)));
    let (mut in_east, mut in_west) = (join(&east), join(&west));

    // Both at once, into one branch.
    thread::scope(|scope| {
        scope.spawn(|| in_east.up());
        scope.spawn(|| in_west.go("rollback(digits)", 1, |route| said(route, 1) == ("rejected", "0")));
    });
    for (journey, commits, other) in [(&in_east, 3, &west), (&in_west, 1, &east)] {
        let name = if other == &west { &east } else { &west };
        let range = format!("{before}..main");
        let log = |path: &str| repo.git("bare.git", &["log", "--format=%H", &range, "--", path]);
        assert_eq!(log(&path(name)).lines().count(), commits, "{name}");
        for commit in log(&path(name)).lines() {
            let files = repo.git("bare.git", &["show", "--format=", "--name-only", commit]);
            assert_eq!(files.trim(), path(name), "its own file only");
        }
        journey.is_synced();
        let reloads = crate::stage::metric(journey.app.admin, &["coalmine_config_reloads_total"]);
        println!("{name}: {commits} commits, {reloads} tables");
    }
    assert_eq!(repo.git("bare.git", &["rev-list", "--count", &format!("{before}..main")]).trim(), "4");
    let syncs = (in_east.syncs(), in_west.syncs());
    assert!((syncs.0 - 4.0).abs() < 0.5 && (syncs.1 - 2.0).abs() < 0.5, "the other's commits are no syncs: {syncs:?}");
    let (of_east, of_west) = (in_east.name, in_west.name);
    stop(in_east.app);
    stop(in_west.app);
    bed.kubectl(&["-n", "argocd", "delete", "--timeout=120s", "applicationset", &set], "");
    // A cluster without a garbage collector keeps what it has made.
    let delete = ["-n", "argocd", "delete", "--timeout=120s", "--ignore-not-found", "application", &of_east, &of_west];
    bed.kubectl(&delete, "");
}
