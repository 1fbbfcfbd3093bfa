//! A real Gitea (`server`): a protected branch that refuses, and pull requests that people merge or close.

mod server;

use super::{
    backend::Backend,
    git::{load_until, show},
    githost::{Tinyproxy, Watch},
    python::installed,
    raw::process::Process,
    stage::{metric, real},
    support::{Caller, model, routes, settings, start_with, stop, wait},
};
use coalmine::app::App;
use http::Method;
use serde_json::{Value, json};
use server::Gitea;
use std::{
    cell::RefCell,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

const FILE: &str = "prod/routes.yaml";
/// A branch and a request are many calls, and Gitea may be busy with other tests.
const ASKED: Duration = Duration::from_secs(90);

/// A repository there, a person's clone of it, and where it is delivered to.
struct Hosted<'a> {
    gitea: &'a Gitea,
    name: String,
}

impl Hosted<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.gitea.home.path().join(&self.name).join(name)
    }

    #[track_caller]
    fn git(&self, dir: &str, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.current_dir(self.path(dir)).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]);
        let output = git.args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The routes file as the branch has it.
    fn tip(&self) -> String {
        self.git("person", &["pull", "--quiet", "--ff-only", "origin", "main"]);
        fs::read_to_string(self.path("person").join(FILE)).unwrap()
    }

    /// A person commits the routes file and pushes it.
    fn person(&self, text: &str) {
        fs::write(self.path("person").join(FILE), text).unwrap();
        self.git("person", &["add", "--all"]);
        self.git("person", &["commit", "--quiet", "-m", "by a person"]);
        self.git("person", &["push", "--quiet", "origin", "HEAD:main"]);
    }

    /// As Argo CD and the kubelet would, only at once.
    fn deliver(&self) {
        fs::write(self.path("mount/.new"), self.tip()).unwrap();
        fs::rename(self.path("mount/.new"), self.path("mount/routes.yaml")).unwrap();
    }

    fn start(&self, mode: &str) -> Running {
        self.replica(mode, "state")
    }

    fn replica(&self, mode: &str, state: &str) -> Running {
        let text = self.settings(mode);
        let app = start_with(settings(&text, &self.path("mount"), &self.path(state)));
        Running::new(app)
    }

    fn settings(&self, mode: &str) -> String {
        let (address, name, token) = (self.gitea.address, &self.name, self.path("token"));
        let token = token.display();
        format!(
            "git:
  remote: http://{address}/ops/{name}.git
  path: {FILE}
  mode: {mode}
  poll: 500ms
  username: ops
  token_file: '{token}'
  pull_request: {{ provider: gitea, api: 'http://{address}/api/v1' }}
"
        )
    }

    /// Every pull request that there ever was, oldest first; asked again and again, it does not keep Gitea busy.
    fn requests(&self) -> Vec<Value> {
        std::thread::park_timeout(Duration::from_millis(50));
        let path = format!("repos/ops/{}/pulls?state=all&sort=oldest", self.name);
        self.gitea.api(Method::GET, &path, &Value::Null).as_array().unwrap().clone()
    }

    /// The only one there is.
    #[track_caller]
    fn request(&self) -> Value {
        let all = self.requests();
        assert_eq!(all.len(), 1, "{all:#?}");
        all[0].clone()
    }

    fn merge(&self, number: u64, how: &str) {
        // It looks first whether that can be done.
        let mergeable = || self.requests().iter().any(|one| one["number"] == number && one["mergeable"] == true);
        wait("Gitea's own look at the request", || mergeable().then_some(()));
        let path = format!("repos/ops/{}/pulls/{number}/merge", self.name);
        wait("the merge", || self.gitea.asked(Method::POST, &path, &json!({ "Do": how })).ok());
    }

    fn turn(&self, number: u64, state: &str) {
        let path = format!("repos/ops/{}/pulls/{number}", self.name);
        self.gitea.api(Method::PATCH, &path, &json!({ "state": state }));
    }

    fn comments(&self, number: u64) -> Vec<String> {
        let path = format!("repos/ops/{}/issues/{number}/comments", self.name);
        let all = self.gitea.api(Method::GET, &path, &Value::Null);
        all.as_array().unwrap().iter().map(|one| one["body"].as_str().unwrap().to_owned()).collect()
    }
}

/// Coalmine, and one connection of a person to it.
struct Running {
    app: App,
    admin: RefCell<Caller>,
}

impl Running {
    fn new(app: App) -> Self {
        Self { admin: RefCell::new(Caller::new(app.admin)), app }
    }

    fn shown(&self) -> Value {
        show(&mut self.admin.borrow_mut())
    }

    fn release(&self) -> Value {
        self.shown()["release"].clone()
    }

    /// The canary's weight in force.
    fn effective(&self) -> Value {
        self.shown()["variants"][1]["weight"]["effective"].clone()
    }

    fn metric(&self, name: &str) -> String {
        metric(self.app.admin, &[name, r#"route="digits""#]).to_string()
    }

    #[track_caller]
    fn wait_for(&self, key: &str, part: &str) -> Value {
        wait(&format!("{part} in {key}"), || {
            let release = self.release();
            release[key].as_str().is_some_and(|text| text.contains(part)).then_some(release)
        })
    }

    /// Requests until the release asks people at this pull request, which is nothing wrong.
    #[track_caller]
    fn load_until_asked(&self, number: u64) {
        let place = format!("/pulls/{number}");
        let (mut caller, until) = (Caller::new(self.app.data), Instant::now() + ASKED);
        let release = loop {
            (0..20).for_each(|_| drop(caller.infer()));
            let release = self.release();
            if release["waits_for"].as_str().is_some_and(|url| url.ends_with(&place)) {
                break release;
            }
            assert!(Instant::now() < until, "waited {ASKED:?} for {place}: {release}");
        };
        assert!(release["trouble"].is_null(), "{release}");
        assert!(!release["alerts"].to_string().contains("write_blocked"), "{release}");
        assert_eq!(self.metric("coalmine_git_write_blocked"), "0");
        assert_eq!(self.metric("coalmine_git_waits_for_people"), "1");
    }

    /// Requests until the canary is held at 0.
    #[track_caller]
    fn fail(&self) {
        load_until(self.app.data, "the clamp", || self.effective() == "0");
    }

    #[track_caller]
    fn order(&self, command: &str, more: &Value) {
        let mut body = json!({ "route": "digits", "command": command, "by": "ann", "reason": "ann says so" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.admin.borrow_mut().call("POST", "/v1/commands", "", &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn stop(self) {
        stop(self.app);
    }
}

fn failing() -> String {
    routes(model(200, 1), model(500, 2), 30)
}

/// Two good models, and a plan that goes on as soon as the canary has answered some requests.
fn planned() -> String {
    let plan = "    judge: { latency: off, warmup: 0s, warmup_requests: 0 }
    plan: { steps: [{ weight: 30, requests: 20 }, { weight: 50, hold: 1h }, { weight: 100 }] }
    variants:\n";
    routes(model(200, 1), model(200, 1), 30).replace("    variants:\n", plan)
}

#[test]
fn a_protected_branch_alerts_and_the_clamp_holds() {
    let gitea = Gitea::start();
    let repo = gitea.repo("protected", &failing());
    let rule = json!({ "rule_name": "main", "enable_push": false });
    gitea.api(Method::POST, "repos/ops/protected/branch_protections", &rule);
    let app = repo.start("push");
    app.fail();
    app.wait_for("trouble", "the branch is protected");
    assert_eq!(app.effective(), "0", "the clamp holds");
    assert_eq!(app.metric("coalmine_git_write_blocked"), "1");
    assert_eq!(repo.requests().len(), 0);
    gitea.api(Method::DELETE, "repos/ops/protected/branch_protections/main", &Value::Null);
    wait("the commit", || repo.tip().contains("rejected, weight: 0").then_some(()));
    app.stop();
}

#[test]
fn a_rollback_is_one_pull_request_for_all_replicas_brought_up_to_date_and_merged() {
    let gitea = Gitea::start();
    let (text, proxy) = (failing(), Tinyproxy::new(""));
    let repo = gitea.repo("merged", &text);
    // Nobody may push: the request is the only way.
    let rule = json!({ "rule_name": "main", "enable_push": false });
    gitea.api(Method::POST, "repos/ops/merged/branch_protections", &rule);
    let app = repo.start(&format!("pull_request\n  proxy: {}", proxy.url()));
    app.fail();
    app.load_until_asked(1);
    let request = repo.request();
    assert_eq!(request["title"], "rollback(digits): v2 30 % -> 0 %, rejected; v1 70 % -> 100 %");
    let body = request["body"].as_str().unwrap();
    let id = body.split("Coalmine-Intent: ").nth(1).expect(body).lines().next().unwrap();
    let (asked, host) = (proxy.asked(), format!("http://{}", gitea.address));
    for part in ["POST {host}/ops/merged.git/git-receive-pack ", "POST {host}/api/v1/repos/ops/merged/pulls "] {
        let part = part.replace("{host}", &host);
        assert!(asked.iter().any(|line| line.starts_with(&part)), "the push and the API, through the proxy: {asked:?}");
    }
    let branch = request["head"]["ref"].as_str().unwrap();
    assert!(branch.starts_with("coalmine/rollback-") && branch.ends_with(id), "{branch} is named from {id}");
    assert!(body.contains("worse in errors"), "the evidence: {body}");

    // Another replica comes to the same, and asks nobody again.
    let other = repo.replica("pull_request", "other");
    other.fail();
    other.load_until_asked(1);

    // The branch moves under it: it is brought up to date, and stays the one.
    gitea.api(Method::DELETE, "repos/ops/merged/branch_protections/main", &Value::Null);
    let words = |text: &str| text.replace("routes:\n", "# a person's words\nroutes:\n");
    repo.person(&words(&text));
    gitea.api(Method::POST, "repos/ops/merged/branch_protections", &rule);
    let head = request["head"]["sha"].clone();
    wait("the update", || {
        let request = repo.request();
        (request["head"]["sha"] != head && request["mergeable"] == true).then_some(())
    });

    // A restart finds it again.
    app.stop();
    let app = repo.start("pull_request");
    app.load_until_asked(1);
    assert_eq!(app.effective(), "0", "the clamp holds meanwhile");
    assert_eq!(repo.request()["state"], "open");

    repo.merge(1, "merge");
    let wanted = text.replace("weight: 70", "weight: 100").replace("canary, weight: 30", "rejected, weight: 0");
    assert_eq!(repo.tip(), words(&wanted), "nothing of the person's is lost");
    let merged = wait("the merge to be seen", || app.release()["commit"].as_str().map(str::to_owned));
    assert_eq!(merged, repo.request()["merge_commit_sha"]);
    repo.deliver();
    for app in [app, other] {
        app.wait_for("state", "rolled_back");
        app.stop();
    }
    assert_eq!(repo.request()["merged"], true, "one for all of it");
}

#[test]
fn a_rollback_that_people_refuse_holds_until_they_decide() {
    let gitea = Gitea::start();
    let repo = gitea.repo("refused", &failing());
    let app = repo.start("pull_request");
    app.fail();
    app.load_until_asked(1);
    repo.turn(1, "closed");
    let release = app.wait_for("trouble", "closed without being merged");
    assert!(release["trouble"].as_str().unwrap().contains("/ops/refused/pulls/1"), "{release}");
    wait("the alert", || app.release()["alerts"].to_string().contains("diverged").then_some(()));
    assert_eq!(app.effective(), "0", "the clamp holds all the same");
    app.stop();
    let app = repo.start("pull_request");
    app.wait_for("trouble", "closed without being merged");
    assert_eq!(app.effective(), "0", "and after a restart");
    assert_eq!(repo.request()["state"], "closed", "a person's no is not asked again");
    // Until they say that it may go on.
    app.order("readmit", &json!({ "variant": "v2" }));
    wait("the clamp to be lifted", || (app.effective() == "30").then_some(()));
    // Worse again is another decision, and another question.
    app.fail();
    app.load_until_asked(2);
    app.stop();
}

#[test]
fn a_raise_that_people_refuse_is_held_and_only_their_own_order_asks_again() {
    let gitea = Gitea::start();
    let (repo, hook) = (gitea.repo("raise", &planned()), Backend::always(200, "ok"));
    let told =
        format!("notify: {{ hooks: [{{ url: 'http://{}/', events: [refused], format: slack }}] }}", hook.address);
    let text = repo.settings("pull_request") + &told;
    let app = Running::new(start_with(settings(&text, &repo.path("mount"), &repo.path("state"))));
    app.load_until_asked(1);
    // A pause takes it back, and says so; that is no answer to the raise.
    app.order("pause", &json!({}));
    wait("the end of the request", || (repo.request()["state"] == "closed").then_some(()));
    assert_eq!(repo.comments(1), ["Overtaken: this is not wanted any more."]);
    app.order("resume", &json!({}));
    app.load_until_asked(1);
    assert_eq!(repo.request()["state"], "open", "the same one");
    // This is.
    repo.turn(1, "closed");
    app.wait_for("reason", "taken_back");
    assert_eq!(repo.request()["state"], "closed", "not asked again");
    wait("a notice of it", || (!hook.seen().is_empty()).then_some(()));
    let words = &hook.seen()[0].body;
    assert!(
        words.contains("digits: the step to 50 % was refused, ") && words.contains("/pulls/1 is closed"),
        "{words}"
    );
    app.order("promote", &json!({ "override_judge": true }));
    app.load_until_asked(2);

    // Left over by a process that ended, for a file that is another one meanwhile.
    app.stop();
    repo.person(&repo.tip().replace("hold: 1h", "hold: 2h"));
    repo.deliver();
    let app = repo.start("pull_request");
    wait("the end of what was left over", || (repo.requests()[1]["state"] == "closed").then_some(()));
    app.load_until_asked(3);
    // A squash leaves nothing of our commit but its change.
    repo.merge(3, "squash");
    wait("the merge to be seen", || app.release()["commit"].is_string().then_some(()));
    repo.deliver();
    wait("the delivery", || (app.release()["weight"] == "50").then_some(()));
    assert_eq!(repo.requests().len(), 3);
    app.stop();
}

#[test]
fn the_token_is_seen_nowhere_and_a_pull_request_waits_for_a_valid_one() {
    let gitea = Gitea::start();
    let text = failing();
    let repo = gitea.repo("secret", &text);
    let watch = Watch::over(&[&gitea.token]);
    fs::write(repo.path("token"), "no-such-token-0123456789").unwrap();
    let state = repo.path("state").display().to_string();
    let more = format!("judge: {{ interval: 50ms }}\ndrain: {{ lame_duck: 0s }}\nstate: {{ dir: '{state}' }}\n");
    let path = format!("PATH='{}'; export PATH", std::env::var("PATH").unwrap());
    let process = Process::start(&path, &text, &(more + &repo.settings("pull_request")));
    let mut admin = Caller::new(process.admin);
    let mut release = || show(&mut admin)["release"].clone();
    load_until(process.data, "the trouble", || {
        release()["trouble"].as_str().is_some_and(|why| why.contains("not let in"))
    });
    assert!(release()["alerts"].to_string().contains("write_blocked"), "{}", release());
    fs::write(repo.path("token"), &gitea.token).unwrap();
    wait("the request", || release()["waits_for"].as_str().is_some_and(|url| url.ends_with("/pulls/1")).then_some(()));
    let said = [release().to_string(), Caller::new(process.admin).call("GET", "/metrics", "", "").body];
    assert!(watch.end() > 0, "nobody was seen at work");
    let log = process.log.lock().unwrap().clone();
    for text in said.iter().chain([&log]) {
        assert!(!text.contains(&gitea.token) && !text.contains("no-such-token"), "{text}");
    }
    assert!(log.contains("a pull request is opened"), "{log}");
}
