//! Guardrails against a real Prometheus that scrapes a number the test sets: a breach rolls back, what cannot be told holds.

use super::{
    backend::{Backend, write},
    certs::{Ca, Mount},
    repo::Repo,
    stage::{Stage, metric, real},
    support::{Caller, model, routes, stop, wait},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

/// A Prometheus of our own, and what it scrapes: `canary_cost`, in hundredths.
struct Server {
    home: tempfile::TempDir,
    cost: Arc<AtomicU32>,
    target: Backend,
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// `web`: its own web configuration.
    fn new(web: &str) -> Self {
        let cost = Arc::new(AtomicU32::new(20));
        let told = cost.clone();
        let target = Backend::new(move |_, stream| {
            let value = f64::from(told.load(SeqCst)) / 100.0;
            let text = format!("canary_cost{{pod=\"a\"}} {value}\ncanary_cost{{pod=\"b\"}} 0.1\n");
            write(stream, 200, "content-type: text/plain; version=0.0.4\r\n", &text)
        });
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("web.yml"), web).unwrap();
        let scrape = format!(
            "global: {{ scrape_interval: 100ms, scrape_timeout: 100ms }}\nscrape_configs: [ {{ job_name: t, static_configs: [ {{ targets: ['{}'] }} ] }} ]\n",
            target.address
        );
        fs::write(home.path().join("prometheus.yml"), scrape).unwrap();
        let (child, address) = start(&home, "127.0.0.1:0");
        Self { home, cost, target, child, address }
    }

    /// Once more, where it was.
    fn again(&mut self) {
        (self.child, self.address) = start(&self.home, &self.address.to_string());
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(home: &tempfile::TempDir, address: &str) -> (Child, SocketAddr) {
    let file = |name: &str| home.path().join(name).display().to_string();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file("prometheus.yml")));
    command.arg(format!("--storage.tsdb.path={}", file("data")));
    command.arg(format!("--web.config.file={}", file("web.yml")));
    command.arg(format!("--web.listen-address={address}")).stderr(Stdio::piped()).stdout(Stdio::null());
    let setup = real("tests/real/prometheus/setup.sh");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("prometheus: {error}; run {}", setup.display()));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let listening = lines.find(|line| line.contains("\"Listening on\"")).expect("it listens");
    let address = listening.rsplit("address=").next().unwrap().trim().parse().unwrap();
    // Its pipe must not fill.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

/// The two models' routes with these guardrails, and a raise that asks for nothing but requests.
fn guarded(guardrails: &str, weight: u32) -> String {
    let more = format!(
        "    protocol: v2\n    judge: {{ errors: {{}}, latency: off, accuracy: off, guardrails: [ {guardrails} ] }}\n    plan: {{ steps: [ {{ weight: {weight}, requests: 60 }}, {{ weight: 50, hold: 1h }} ] }}\n"
    );
    routes(model(200, 7), model(200, 7), weight).replace("    protocol: v2\n", &more)
}

fn record(admin: SocketAddr) -> Option<Value> {
    let answer = Caller::new(admin).call("GET", "/v1/verdict/digits", "", "");
    (answer.status == 200).then(|| serde_json::from_str(&answer.body).unwrap())
}

fn guardrail(admin: SocketAddr) -> Option<Value> {
    Some(record(admin)?["guardrails"][0].take())
}

const COST: &str = "{ name: cost, query: 'max(canary_cost)', max: 0.5, for: 500ms }";

#[test]
fn a_breach_that_lasts_rolls_back_with_the_number_in_the_commit() {
    // Over TLS by a CA of its own, and with a token, which this Prometheus does not look at.
    let ca = Ca::new("ours");
    let mount = Mount::new(&ca.issue(&["127.0.0.1"]), &ca);
    let [cert, key, authority] = ["tls.crt", "tls.key", "ca.crt"].map(|name| mount.file(name).display().to_string());
    let server = Server::new(&format!("tls_server_config: {{ cert_file: '{cert}', key_file: '{key}' }}\n"));
    let text = guarded(COST, 30).replace("requests: 60", "hold: 1h");
    let repo = Repo::new(&text);
    fs::write(repo.path("token"), "s3cret\n").unwrap();
    let (address, token) = (server.address, repo.path("token"));
    let settings = format!(
        "prometheus: {{ url: 'https://{address}', ca_file: '{authority}', token_file: '{}', every: 100ms }}\n",
        token.display()
    );
    let app = repo.start_with("", &settings);
    let mut caller = Caller::new(app.data);
    let within = wait("a number within the bound", || {
        caller.infer();
        guardrail(app.admin).filter(|told| told["state"] == "within")
    });
    assert_eq!((&within["value"], &within["limit"]), (&0.2.into(), &0.5.into()), "{within}");
    assert!(metric(app.admin, &["coalmine_guardrail_value{", "\"cost\""]) > 0.19);
    assert_eq!(repo.commits(), 1);

    server.cost.store(90, SeqCst);
    wait("the commit", || {
        caller.infer();
        (repo.commits() == 2).then_some(())
    });
    assert_eq!(
        repo.tip(),
        text.replace("canary, weight: 30", "rejected, weight: 0").replace("weight: 70", "weight: 100")
    );
    let message = repo.message();
    for part in [
        "\nCoalmine-Verdict: fail guardrail\n",
        "guardrail cost breached: 0.9, max 0.5, for 1 s of 1 s",
        "beyond a guardrail",
    ] {
        assert!(message.contains(part), "{part:?} is missing in\n{message}");
    }
    let told = record(app.admin).unwrap();
    assert_eq!((&told["verdict"], &told["reason"]), (&"fail".into(), &"guardrail".into()));
    assert!(told["guardrails"][0]["broken_ms"].as_u64().unwrap() >= 500, "{told}");
    assert!(told["log_e_rollback"].as_f64().unwrap() < 1.0, "the evidence of requests says nothing against it");
    assert!(metric(app.admin, &["coalmine_guardrail_state{", "\"cost\""]) > 2.5);
    assert!(metric(app.admin, &["coalmine_guardrail_queries_total{", "\"number\""]) > 5.5);
    let command = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coalmine"));
        let output = command.args([verb, "digits", "--admin", &app.admin.to_string()]).env("NO_COLOR", "1").output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let shown = command("explain");
    assert!(shown.contains("fail (guardrail)") && shown.contains("  guardrail cost breached: 0.9"), "{shown}");
    stop(app);
}

#[test]
fn a_server_that_is_away_holds_and_the_release_goes_on_when_it_is_back() {
    let mut server = Server::new("");
    let text = guarded(COST, 30);
    let repo = Repo::new(&text);
    let settings = format!("prometheus: {{ url: 'http://{}', every: 100ms, timeout: 1s }}\n", server.address);
    let app = repo.start_with("", &settings);
    wait("a number", || guardrail(app.admin).filter(|told| told["state"] == "within"));
    server.kill();
    wait("that to be noticed", || guardrail(app.admin).filter(|told| told["unknown"] == "away"));
    let mut caller = Caller::new(app.data);
    let told = wait("what is known to be too old or gone", || {
        (0..20).for_each(|_| drop(caller.infer()));
        record(app.admin).filter(|told| told["reason"] == "guardrail" && told["canary_requests"].as_u64() > Some(200))
    });
    assert_eq!((&told["verdict"], &told["guardrails"][0]["unknown"]), (&"undecided".into(), &"away".into()), "{told}");
    assert!(told["would_change"][0].as_str().unwrap().contains("the server does not answer"), "{told}");
    assert_eq!(repo.commits(), 1, "neither a raise nor a rollback");
    let status = Caller::new(app.admin).call("GET", "/v1/routes/digits", "", "").body;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["release"]["state"], &status["release"]["reason"]), (&"holding".into(), &"guardrail".into()));

    server.again();
    wait("the raise", || (repo.commits() == 2).then_some(()));
    assert!(repo.tip().contains("canary, weight: 50"), "{}", repo.tip());
    assert!(!server.target.seen().is_empty());
    stop(app);
}

#[test]
fn whatever_is_not_one_finite_number_is_told_apart_and_holds() {
    let server = Server::new("");
    let ones = [
        ("none", "nothing_of_that_name", "no_series"),
        ("several", "canary_cost", "several_series"),
        ("not_a_number", "vector(0) / 0", "not_finite"),
        ("endless", "vector(1) / 0", "not_finite"),
        ("nonsense", "max(", "refused"),
        ("range", "canary_cost[1m]", "refused"),
        ("long", "\\\"{}\\\"", "refused"),
    ];
    let list = ones.map(|(name, query, _)| {
        let query = query.replace("{}", &"x".repeat(4_000)).replace("\\\"", "\"");
        format!("{{ name: {name}, query: '{query}', min: 1 }}")
    });
    let settings = |url: &str, more: &str| format!("prometheus: {{ url: '{url}', every: 100ms{more} }}\n");
    let text = guarded(&list.join(", "), 30);
    let stage = Stage::over(&text, &settings(&format!("http://{}", server.address), ""));
    let wanted = ones.map(|(name, _, unknown)| format!("{name} unknown {unknown}"));
    wait("each of them", || {
        let told = record(stage.app.admin)?["guardrails"].take();
        let of = |of: &Value| {
            ["guardrail", "state", "unknown"].map(|key| of[key].as_str().unwrap_or("").to_owned()).join(" ")
        };
        (told.as_array()?.iter().map(of).collect::<Vec<_>>() == wanted).then_some(())
    });
    stage.stop();

    // One that says too much, one that wants another token, one that redirects: the token goes to none but the first host.
    let elsewhere = Backend::always(200, "{}");
    let to = format!("location: http://{}/\r\n", elsewhere.address);
    let moody = Backend::new(move |request, stream| match () {
        () if request.line.contains("large") => write(stream, 200, "", &" ".repeat(70_000)),
        () if request.line.contains("moved") => write(stream, 302, &to, ""),
        () => write(stream, 401, "", "who are you?"),
    });
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), "s3cret").unwrap();
    let list = ["large", "moved", "barred"].map(|name| format!("{{ name: {name}, query: {name}, max: 1 }}"));
    let more = format!(", token_file: '{}'", token.path().display());
    let stage = Stage::over(&guarded(&list.join(", "), 30), &settings(&format!("http://{}", moody.address), &more));
    let told = wait("an answer to each", || {
        let told = record(stage.app.admin)?["guardrails"].take();
        told.as_array()?.iter().all(|of| of["unknown"] != "not_asked").then_some(told)
    });
    let kinds: Vec<_> = told.as_array().unwrap().iter().map(|of| of["unknown"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["away", "refused", "refused"], "{told}");
    assert!(moody.seen().iter().all(|request| request.all("authorization") == ["Bearer s3cret"]));
    assert!(elsewhere.seen().is_empty(), "redirects are not followed");
    assert!(!told.to_string().contains("s3cret"));
    stage.stop();

    // Nobody to ask at all.
    let stage = Stage::over(&guarded(COST, 30), "");
    let told = wait("that", || guardrail(stage.app.admin).filter(|told| told["unknown"] == "no_server"));
    assert!(told["why"].as_str().unwrap().contains("the settings name no server"), "{told}");
    stage.stop();
}
