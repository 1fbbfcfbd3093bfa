//! `source: git`: the branch itself is where routes come from, and a commit of ours is back without waiting for the next poll.

use super::{
    repo::Repo,
    support::{Caller, model, routes, settings, start_with, stop, wait},
};
use coalmine::app::App;
use serde_json::Value;

fn start(repo: &Repo, poll: &str, mode: &str) -> App {
    let remote = repo.path("bare.git").display().to_string();
    let text =
        format!("source: git\ngit: {{ remote: '{remote}', path: prod/routes.yaml, mode: {mode}, poll: {poll} }}\n");
    start_with(settings(&text, &repo.path("mount"), &repo.path("state")))
}

fn shown(app: &App) -> Value {
    serde_json::from_str(&Caller::new(app.admin).call("GET", "/v1/routes", "", "").body).unwrap()
}

fn tip(repo: &Repo) -> String {
    repo.git("bare.git", &["rev-parse", "main"]).trim().to_owned()
}

#[test]
fn the_branch_is_followed_and_a_bad_or_missing_file_takes_nothing_away() {
    let text = |weight| routes(model(200, 1), model(200, 2), weight);
    let repo = Repo::new(&text(1));
    let app = start(&repo, "50ms", "off");
    let weight = |wanted: &str| {
        wait(wanted, || (shown(&app)["routes"][0]["variants"][1]["weight"]["said"] == wanted).then_some(()));
    };
    weight("1");
    assert_eq!(shown(&app)["revision"], tip(&repo), "the commit is the revision");
    repo.person(&text(2), "two");
    weight("2");
    repo.person("routes: what?", "nonsense");
    wait("the problem", || (!shown(&app)["problems"].as_array().unwrap().is_empty()).then_some(()));
    weight("2");
    repo.git("bare.git", &["branch", "--quiet", "-m", "main", "elsewhere"]);
    wait("the missing branch", || {
        shown(&app)["problems"][0].as_str().is_some_and(|why| why.contains("the branch cannot be read")).then_some(())
    });
    weight("2");
    repo.git("bare.git", &["branch", "--quiet", "-m", "elsewhere", "main"]);
    repo.person(&text(3), "three");
    weight("3");
    stop(app);
}

#[test]
fn a_commit_of_ours_is_back_at_once() {
    let repo = Repo::new(&routes(model(200, 1), model(500, 2), 30));
    let app = start(&repo, "1h", "push");
    let mut caller = Caller::new(app.data);
    wait("the rollback to come back", || {
        (0..20).for_each(|_| drop(caller.infer()));
        (repo.commits() == 2 && shown(&app)["revision"] == tip(&repo)).then_some(())
    });
    assert_eq!(shown(&app)["routes"][0]["variants"][1]["role"], "rejected");
    stop(app);
}
