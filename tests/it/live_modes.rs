//! What one observation is, live: windows of endpoints where both variants have several, users where they keep their variant.

use super::{
    backend::{Backend, write},
    repo::Repo,
    stage::metric,
    support::{Caller, settings, start_named, start_with, stop, wait},
};
use coalmine::app::App;
use std::{
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

const STABLE: &str = "http://stable.test";
const CANARY: &str = "http://canary.test";
const CALLERS: u64 = 6;

/// A routes file of one route, `digits`; `judge` is what its section says.
fn routes(stable: &str, canary: &str, canary_weight: u32, judge: &str, more: &str) -> String {
    let stable_weight = 100 - canary_weight;
    format!(
        "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: digits
    match: {{ path: / }}
    judge: {{ warmup: 0s, {judge} }}
    plan: {{ steps: [ {{ weight: {canary_weight}, hold: 1h }}, {{ weight: 100 }} ] }}
{more}    variants:
      - {{ name: v1, role: stable, weight: {stable_weight}, url: '{stable}', model: {{ version: '1', uri: m/1 }} }}
      - {{ name: v2, role: canary, weight: {canary_weight}, url: '{canary}', model: {{ version: '2', uri: m/2 }} }}
"
    )
}

/// What `coalmine explain` tells people.
fn explain(app: &App) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coalmine"));
    let output = command.args(["explain", "digits", "--admin", &app.admin.to_string()]).env("NO_COLOR", "1").output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// Ends the callers, also when a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Many requests at once, the headers of each by its number, until `there` gives something; what the judge says, if it never does.
#[track_caller]
fn asked_until<T>(
    app: &App,
    headers: impl Fn(u64) -> String + Sync,
    what: &str,
    mut there: impl FnMut() -> Option<T>,
) -> T {
    let (data, done, next, headers) = (app.data, &AtomicBool::new(false), &AtomicU64::new(0), &headers);
    let until = Instant::now() + Duration::from_secs(30);
    thread::scope(|scope| {
        let _ends = Ends(done);
        for _ in 0..CALLERS {
            scope.spawn(move || {
                let mut caller = Caller::new(data);
                while !done.load(Relaxed) {
                    caller.call("POST", "/", &headers(next.fetch_add(1, Relaxed)), "{}");
                }
            });
        }
        loop {
            if let Some(found) = there() {
                return found;
            }
            assert!(Instant::now() < until, "waited for {what}; the judge says:\n{}", explain(app));
        }
    })
}

fn anybody(_: u64) -> String {
    String::new()
}

/// -1: fail.
fn failed(app: &App) -> bool {
    metric(app.admin, &["coalmine_verdict{"]) < -0.5
}

fn judged(app: &App, held: &str) -> f64 {
    metric(app.admin, &["coalmine_judge_blocks_total{", &format!("\"{held}\"")])
}

fn errors(app: &App, variant: &str) -> f64 {
    metric(app.admin, &["coalmine_requests_total{", &format!("\"{variant}\""), "backend_status"])
}

fn mode(app: &App) -> String {
    let record = Caller::new(app.admin).call("GET", "/v1/verdict/digits", "", "").body;
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["mode"].as_str().unwrap_or("none").to_owned()
}

/// One endpoint of a variant: it fails one request of so many; 0: none.
struct Pod {
    address: SocketAddr,
    fails_every: Arc<AtomicU64>,
}

impl Pod {
    fn new() -> Self {
        let (fails_every, n) = (Arc::<AtomicU64>::default(), AtomicU64::new(0));
        let every = fails_every.clone();
        let pod = Backend::new(move |_, stream| {
            let every = every.load(Relaxed);
            let ill = every > 0 && n.fetch_add(1, Relaxed).is_multiple_of(every);
            write(stream, if ill { 500 } else { 200 }, "", "{}")
        });
        Self { address: pod.address, fails_every }
    }
}

/// Two variants of several endpoints each.
struct Pods {
    stable: Vec<Pod>,
    canary: Vec<Pod>,
}

impl Pods {
    fn new(n: usize) -> Self {
        let of = || (0..n).map(|_| Pod::new()).collect();
        Self { stable: of(), canary: of() }
    }

    fn names(&self) -> Vec<(&'static str, Vec<SocketAddr>)> {
        let of = |pods: &[Pod]| pods.iter().map(|pod| pod.address).collect();
        vec![("stable.test", of(&self.stable)), ("canary.test", of(&self.canary))]
    }
}

#[test]
fn a_canary_whose_endpoints_are_all_worse_is_taken_back_by_windows_of_endpoints() {
    let pods = Pods::new(4);
    let text = routes(STABLE, CANARY, 50, "latency: off, window: 1s", "");
    let repo = Repo::new(&text);
    let app = start_named(repo.settings("", ""), pods.names());
    asked_until(&app, anybody, "windows", || (judged(&app, "endpoints") > 1.5).then_some(()));
    assert_eq!(mode(&app), "endpoints");
    let told = explain(&app);
    assert!(told.contains("judged by endpoints: both variants have several endpoints"), "{told}");
    pods.canary.iter().for_each(|pod| pod.fails_every.store(20, Relaxed));
    asked_until(&app, anybody, "the rollback", || (repo.commits() == 2).then_some(()));
    assert_eq!(
        repo.tip(),
        text.replace("role: canary, weight: 50", "role: rejected, weight: 0")
            .replace("role: stable, weight: 50", "role: stable, weight: 100")
    );
    assert!(repo.message().contains("\nCoalmine-Verdict: fail errors\n"), "{}", repo.message());
    stop(app);
}

/// One endpoint of four fails everything for a while, alone; then it is well again. Whether the canary was taken back.
fn one_noisy_endpoint_fails_the_canary(mode_said: &str) -> (bool, String) {
    let pods = Pods::new(4);
    let repo = Repo::new(&routes(STABLE, CANARY, 50, &format!("latency: off, window: 1s{mode_said}"), ""));
    let app = start_named(repo.settings("", ""), pods.names());
    asked_until(&app, anybody, "windows", || (judged(&app, "endpoints") > 1.5).then_some(()));
    pods.canary[0].fails_every.store(1, Relaxed);
    asked_until(&app, anybody, "its failures", || (failed(&app) || errors(&app, "v2") > 60.0).then_some(()));
    pods.canary[0].fails_every.store(0, Relaxed);
    let before = judged(&app, "endpoints");
    let later = || (failed(&app) || judged(&app, "endpoints") > before + 2.5).then_some(());
    asked_until(&app, anybody, "more windows", later);
    assert!(errors(&app, "v2") > 30.0 && errors(&app, "v1") < 0.5);
    let said = (failed(&app), mode(&app));
    stop(app);
    said
}

#[test]
fn one_noisy_endpoint_of_many_is_no_bad_version_by_windows_and_is_one_by_requests() {
    assert_eq!(one_noisy_endpoint_fails_the_canary(""), (false, "endpoints".into()));
    assert_eq!(one_noisy_endpoint_fails_the_canary(", mode: requests"), (true, "requests".into()));
}

#[test]
fn an_endpoint_that_always_fails_holds_the_canary_and_is_told_by_its_address() {
    let pods = Pods::new(5);
    let repo = Repo::new(&routes(STABLE, CANARY, 50, "latency: off, window: 2s, errors: { may_rise: 0.02 }", ""));
    let chat = Backend::always(200, "ok");
    let hooks =
        format!("notify:\n  hooks:\n    - {{ url: 'http://{}/', format: slack, events: [endpoint] }}\n", chat.address);
    let app = start_named(repo.settings("", &hooks), pods.names());
    let ill = &pods.canary[2];
    ill.fails_every.store(1, Relaxed);
    let told = asked_until(&app, anybody, "its name", || {
        assert!(!failed(&app), "{}", explain(&app));
        Some(explain(&app)).filter(|told| told.contains("undecided (endpoint_differs)"))
    });
    let line = format!("endpoint {} fails 100.0 % of its requests, the canary's others 0.0 %", ill.address);
    assert!(told.contains("endpoints of the canary that are not like its others") && told.contains(&line), "{told}");
    assert!(told.contains("mend or replace it; by `mode: requests`, from the next"), "{told}");
    let differs = ["coalmine_judge_endpoint_differs{", &format!("\"{}\"", ill.address), "\"errors\""];
    assert!(metric(app.admin, &differs) > 0.5);
    assert!(metric(app.admin, &["coalmine_judge_guard{", "\"endpoints_alike\""]) > 1.5, "it holds");
    wait("the notice", || (!chat.seen().is_empty()).then_some(()));
    let notices: Vec<String> = chat.seen().into_iter().map(|received| received.body).collect();
    assert!(notices.len() == 1 && notices[0].contains(&format!("digits: {line}; until it is mended")), "{notices:?}");
    stop(app);
}

#[test]
fn the_mode_is_not_chosen_before_both_variants_have_shown_their_endpoints() {
    let pods = Pods::new(3);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    std::fs::write(dirs[0].path().join("routes.yaml"), routes(STABLE, CANARY, 99, "latency: off", "")).unwrap();
    let mut settings = settings("", dirs[0].path(), dirs[1].path());
    // So often that it looks after every request, among them stable's first, which one endpoint has answered.
    settings.judge_interval = Duration::from_millis(1);
    let app = start_named(settings, pods.names());
    let mut caller = Caller::new(app.data);
    while judged(&app, "requests") < 0.5 {
        caller.call("POST", "/", "", "{}");
    }
    assert_eq!(mode(&app), "endpoints", "{}", explain(&app));
    stop(app);
}

#[test]
fn a_name_with_an_address_where_nobody_listens_is_judged_by_requests() {
    let pods = Pods::new(1);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    std::fs::write(dirs[0].path().join("routes.yaml"), routes(STABLE, CANARY, 50, "latency: off", "")).unwrap();
    let names = pods.names().into_iter().map(|(name, addresses)| (name, [addresses, vec![nobody]].concat())).collect();
    let app = start_named(settings("", dirs[0].path(), dirs[1].path()), names);
    asked_until(&app, anybody, "a block", || (judged(&app, "requests") > 0.5).then_some(()));
    assert_eq!(mode(&app), "requests");
    stop(app);
}

/// Users by their number: each of `users` asks as often as the others.
fn user(users: u64) -> impl Fn(u64) -> String + Sync {
    move |n| format!("x-user-id: {}\r\n", n % users)
}

/// Coalmine over a canary that fails for the users that `fails` names, on a sticky route.
fn sticky(judge: &str, fails: impl Fn(u64) -> bool + Send + Sync + 'static) -> (App, Repo) {
    let well = Backend::new(|_, stream| write(stream, 200, "", "{}"));
    let ill = Backend::new(move |request, stream| {
        let user = request.all("x-user-id")[0].parse().unwrap();
        write(stream, if fails(user) { 500 } else { 200 }, "", "{}")
    });
    let urls = [well.address, ill.address].map(|address| format!("http://{address}"));
    let repo = Repo::new(&routes(&urls[0], &urls[1], 50, judge, "    sticky: { header: x-user-id }\n"));
    (start_with(repo.settings("", "")), repo)
}

#[test]
fn a_canary_that_fails_for_many_users_is_taken_back_by_their_first_failures() {
    let (app, repo) = sticky("latency: off", |user| user.is_multiple_of(4));
    asked_until(&app, user(1_000), "the rollback", || (repo.commits() == 2).then_some(()));
    assert_eq!(mode(&app), "users");
    assert!(repo.message().contains("\nCoalmine-Verdict: fail errors\n"), "{}", repo.message());
    let told = explain(&app);
    assert!(told.contains("judged by users: users keep their variant"), "{told}");
    stop(app);
}

#[test]
fn a_user_in_trouble_is_no_bad_version_however_often_they_ask() {
    let failed_after = |mode: &str| {
        // The user whose draw falls on the canary in this release asks half of the time; the others come once each.
        let (app, _repo) = sticky(&format!("latency: off{mode}"), |user| user < 100);
        let mut caller = Caller::new(app.data);
        let mut is_canarys = |user: &u64| {
            caller.call("POST", "/", &format!("x-user-id: {user}\r\n"), "").headers["x-coalmine-variant"] == "v2"
        };
        let unlucky = (0..100).find(|user| is_canarys(user)).unwrap();
        let headers = |n: u64| format!("x-user-id: {}\r\n", if n.is_multiple_of(2) { unlucky } else { 100 + n });
        asked_until(&app, headers, "failures", || (failed(&app) || errors(&app, "v2") > 3_000.0).then_some(()));
        let users = metric(app.admin, &["coalmine_failed_users{", "\"v2\""]);
        let said = (failed(&app), mode.is_empty().then_some(users < 1.5));
        stop(app);
        said
    };
    assert_eq!(failed_after(""), (false, Some(true)));
    assert!(failed_after(", mode: requests").0);
}
