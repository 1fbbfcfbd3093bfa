//! GitLab's merge requests by push options, from a real git server that takes them: what is asked, and what becomes of it.

use super::{
    git::{failing, load_until, show},
    repo::Repo,
    support::{Caller, settings, start_with, stop, wait},
};
use coalmine::app::App;
use serde_json::Value;
use std::fs;

/// A repository whose server takes push options and writes them down.
fn repo() -> Repo {
    let repo = Repo::new(&failing(30));
    repo.git("bare.git", &["config", "receive.advertisePushOptions", "true"]);
    let script = r#"i=0
while [ "$i" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ]; do
    eval "printf '%s\\n' \"\$GIT_PUSH_OPTION_$i\"" >> ../options
    i=$((i+1))
done"#;
    repo.hook("pre-receive", script);
    repo
}

fn start(repo: &Repo) -> App {
    let remote = repo.path("bare.git");
    let text = format!(
        "git: {{ remote: '{}', path: prod/routes.yaml, mode: pull_request, poll: 200ms, pull_request: {{ provider: gitlab_push_options }} }}",
        remote.display()
    );
    start_with(settings(&text, &repo.path("mount"), &repo.path("state")))
}

fn release(app: &App) -> Value {
    show(&mut Caller::new(app.admin))["release"].clone()
}

/// The branch of the merge request that the release waits for.
fn asked(app: &App) -> String {
    load_until(app.data, "the question", || release(app)["waits_for"].is_string());
    let place = release(app)["waits_for"].as_str().unwrap().to_owned();
    place.strip_prefix("the merge request of branch ").expect(&place).to_owned()
}

#[test]
fn a_merge_request_is_asked_for_with_the_push_brought_up_to_date_and_seen_to_be_merged() {
    let repo = repo();
    let before = repo.tip();
    let app = start(&repo);
    let branch = asked(&app);
    let options = fs::read_to_string(repo.path("options")).unwrap();
    let title = "merge_request.title=rollback(digits): v2 30 % -> 0 %, rejected; v1 70 % -> 100 %";
    let wanted = ["merge_request.create", "merge_request.target=main", title, "merge_request.remove_source_branch"];
    assert_eq!(options.lines().collect::<Vec<_>>(), wanted);
    assert_eq!(repo.tip(), before, "nothing is pushed to the branch itself");
    let head = || repo.git("bare.git", &["rev-parse", &branch]);
    let first = head();
    repo.person(&before.replace("routes:\n", "# a person's words\nroutes:\n"), "words");
    wait("the update", || (head() != first).then_some(()));
    repo.git("bare.git", &["merge-base", "--is-ancestor", first.trim(), &branch]);
    // As the host does it.
    repo.git("person", &["pull", "--quiet", "--ff-only"]);
    repo.git("person", &["fetch", "--quiet", "origin", &branch]);
    repo.git("person", &["merge", "--quiet", "--no-ff", "-m", "by the host", "FETCH_HEAD"]);
    repo.git("person", &["push", "--quiet", "origin", "HEAD:main", &format!(":{branch}")]);
    wait("the merge to be seen", || release(&app)["commit"].is_string().then_some(()));
    assert!(repo.tip().contains("# a person's words") && repo.tip().contains("rejected, weight: 0"), "{}", repo.tip());
    repo.deliver();
    wait("the delivery", || (release(&app)["state"] == "rolled_back").then_some(()));
    stop(app);
}

#[test]
fn a_branch_that_goes_without_a_merge_is_a_no_and_is_not_pushed_again() {
    let repo = repo();
    let app = start(&repo);
    let branch = asked(&app);
    repo.git("bare.git", &["branch", "-D", &branch]);
    let refused = || release(&app)["trouble"].as_str().is_some_and(|why| why.contains("closed without being merged"));
    wait("the no to be seen", || refused().then_some(()));
    assert_eq!(show(&mut Caller::new(app.admin))["variants"][1]["weight"]["effective"], "0", "the clamp holds");
    assert_eq!(repo.git("bare.git", &["branch", "--list", "coalmine/*"]), "");
    stop(app);
}
