//! The page at `/` of the admin listener, over HTTP and in a real browser, driven by WebDriver.

use super::{
    repo::Repo,
    stage::{Stage, real},
    support::{Caller, model, routes, stop, wait},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

fn within<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map(|(within, _)| within).unwrap()
}

#[test]
fn anybody_may_have_it_and_it_lets_in_only_its_own_script_and_style() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "viewer\n").unwrap();
    let more = format!("tokens: {{ viewer_file: '{}' }}\n", token.path().display());
    let stage = Stage::over(&routes(model(200, 7), model(200, 7), 10), &more);
    let mut caller = Caller::new(stage.app.admin);
    assert_eq!(caller.call("GET", "/v1/routes", "", "").status, 401);
    let page = caller.call("GET", "/", "", "");
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let policy = &page.headers["content-security-policy"];
    let digest = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    let script = digest(within(&page.body, "<script>", "</script>"));
    let style = digest(within(&page.body, "<style>", "</style>"));
    for part in [
        "default-src 'none';",
        &format!("script-src {script};"),
        &format!("style-src {style};"),
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part} is missing in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(
        (page.headers["x-content-type-options"].as_str(), page.headers["referrer-policy"].as_str()),
        ("nosniff", "no-referrer")
    );
    // One of each, nothing from elsewhere, nothing that a policy would refuse, and nothing that could make markup of a name.
    assert_eq!((page.body.matches("<script").count(), page.body.matches("<style").count()), (1, 1));
    for never in
        [" src=", "<link", "https://", "style=\"", "onclick", "innerHTML", "insertAdjacent", "document.write", "eval("]
    {
        assert!(!page.body.contains(never), "{never}");
    }
    assert_eq!(page.body.matches("http://").count(), 1, "the name of SVG");
    stage.stop();
}

/// Several drivers that look for a free port at once take it from one another.
static ONE: Mutex<()> = Mutex::new(());

/// A browser without a screen; one at a time.
struct Browser {
    driver: Child,
    caller: Caller,
    session: String,
    _home: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

/// A driver and its port. It asks for a free one by IPv4, takes the same by IPv6, and ends if somebody has that: then another one.
fn drive(home: &Path) -> (Child, u16) {
    let mut told = Vec::new();
    for _ in 0..10 {
        let mut driver = Command::new("chromedriver")
            .args(["--port=0"])
            .env("HOME", home)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chromedriver: {error}; run {}", real("tests/real/browser/setup.sh").display())
            });
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        for line in lines.by_ref() {
            if let Some((_, port)) = line.split_once("success").and_then(|(_, rest)| rest.split_once("on port ")) {
                let port = port.trim_end_matches('.').parse().unwrap();
                std::thread::spawn(move || lines.for_each(drop));
                return (driver, port);
            }
            told.push(line);
        }
        driver.wait().unwrap();
    }
    panic!("no driver has a port: {told:?}");
}

impl Browser {
    fn new() -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::tempdir().unwrap();
        let (driver, port) = drive(home.path());
        let mut caller = Caller::new(SocketAddr::from(([127, 0, 0, 1], port)));
        let profile = format!("--user-data-dir={}", home.path().join("profile").display());
        // Whoever runs tests as root has no sandbox, and a container little shared memory.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", &profile];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let answer = caller.call("POST", "/session", "content-type: application/json\r\n", &wanted.to_string());
        let value: Value = serde_json::from_str(&answer.body).unwrap();
        let session = value["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {value}")).to_owned();
        Self { driver, caller, session, _home: home, _one: one }
    }

    #[track_caller]
    fn tell(&mut self, what: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{what}", self.session);
        let answer = self.caller.call("POST", &path, "content-type: application/json\r\n", &body.to_string());
        let mut value: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer.status, 200, "{what}: {value}");
        value["value"].take()
    }

    #[track_caller]
    fn script(&mut self, text: &str) -> Value {
        self.tell("execute/sync", &json!({ "script": text, "args": [] }))
    }

    fn cdp(&mut self, command: &str, parameters: &Value) -> Value {
        self.tell("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// A screen of this width, dark or light.
    fn look(&mut self, width: u32, scheme: &str) {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", &size);
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.cdp("Emulation.setEmulatedMedia", &media);
    }

    fn text(&mut self) -> String {
        self.script("return document.body.innerText").as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let path = format!("/session/{}", self.session);
        let _ = self.caller.call("DELETE", &path, "", "");
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Everything that shows text, by its contrast with what is behind it: what is harder to read than WCAG 2.2 allows (AA).
const FAINT: &str = "
    const canvas = document.createElement('canvas').getContext('2d');
    const parts = color => color.match(/[0-9.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = node => { for (let n = node; n; n = n.parentElement) { const c = parts(getComputedStyle(n).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } };
    const faint = [];
    for (const node of document.querySelectorAll('body *')) {
        if (['SCRIPT', 'NOSCRIPT'].includes(node.tagName) || node.closest('noscript') || !node.getClientRects().length) continue;
        if (![...node.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
        const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) faint.push(node.tagName + ' ' + node.textContent.slice(0, 30) + ' ' + ratio.toFixed(2));
    }
    return faint;
";

#[test]
fn a_browser_shows_a_release_from_its_first_requests_to_its_rollback() {
    let stage = Stage::over(&routes(model(200, 7), model(500, 7), 50), "");
    let mut caller = Caller::new(stage.data());
    let mut browser = Browser::new();
    browser.tell("url", &json!({ "url": format!("http://{}/", stage.app.admin) }));
    wait("the route", || browser.text().contains("v2 (canary) 50 %").then_some(()));
    assert!(browser.text().contains("undecided (no_data)"), "{}", browser.text());
    let parts = [
        "Both models side by side",
        "difference, 95 % at any time",
        "error rate, judged",
        "v2: 50 % in the file, held at 0 %",
        "all together, against: over a million of 100 to 1",
        "none: what has failed has nothing before it",
        "nothing that is still seen",
        "verdict: fail (errors)",
        "weights in force: v1 100 %, v2 0 %",
        "What has happened",
    ];
    // What has happened is asked after what is, so for one round either may be ahead.
    let failed = wait(&format!("the rollback, all of {parts:?}"), || {
        (0..40).for_each(|_| drop(caller.infer()));
        Some(browser.text()).filter(|text| parts.iter().all(|part| text.contains(part)))
    });
    assert!(
        failed.contains("100 %")
            && !failed.contains("NaN")
            && !failed.contains("undefined")
            && !failed.contains("[object"),
        "{failed}"
    );

    // Narrow and wide, light and dark: nothing is wider than the screen, and everything can be read.
    for (width, scheme) in [(360, "light"), (360, "dark"), (1400, "dark"), (1400, "light")] {
        browser.look(width, scheme);
        let wide = browser.script("return [document.documentElement.scrollWidth, innerWidth]");
        assert!(wide[0].as_u64() <= wide[1].as_u64() && wide[1] == width, "{width}: {wide}");
        let back = browser.script("return getComputedStyle(document.body).backgroundColor");
        assert_eq!(back == "rgb(21, 23, 26)", scheme == "dark", "{back}");
        assert_eq!(browser.script(FAINT), json!([]), "{width} {scheme}");
    }

    // By keyboard: past the header, to the token, to the table that may have to be scrolled; each can be seen to have the focus.
    let mut focused = Vec::new();
    for _ in 0..4 {
        let tab = json!({ "actions": [{ "type": "key", "id": "k", "actions": [{ "type": "keyDown", "value": "\u{e004}" }, { "type": "keyUp", "value": "\u{e004}" }] }] });
        browser.tell("actions", &tab);
        let now = browser.script("const e = document.activeElement; return e.tagName + ' ' + (e.id || e.getAttribute('aria-label') || e.textContent) + ' ' + getComputedStyle(e).outlineStyle");
        focused.push(now.as_str().unwrap().to_owned());
    }
    assert_eq!(focused[..3], ["A To the routes solid", "INPUT token solid", "DIV both models solid"], "{focused:?}");

    // To a screen reader: headings in order, a named region for each route, a name for every picture and field.
    let tree = browser.cdp("Accessibility.getFullAXTree", &json!({}));
    let nodes: Vec<(&str, &str)> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["ignored"] != true)
        .map(|node| (node["role"]["value"].as_str().unwrap_or(""), node["name"]["value"].as_str().unwrap_or("")))
        .collect();
    let named = |role: &str| nodes.iter().filter(|(of, _)| *of == role).map(|(_, name)| *name).collect::<Vec<_>>();
    assert_eq!(named("heading")[..3], ["Coalmine", "digits", "Evidence"], "{nodes:?}");
    assert_eq!(named("region"), ["digits", "both models"]);
    assert_eq!(named("textbox"), ["token, if one is needed"]);
    let pictures = [named("image"), named("img")].concat();
    assert!(pictures.len() > 5 && pictures.iter().all(|name| name.contains(": ")), "{pictures:?}");
    assert!(!named("columnheader").is_empty() && !named("rowheader").is_empty(), "{nodes:?}");

    // Coalmine away: what is shown is said to be old.
    let log = browser.tell("se/log", &json!({ "type": "browser" }));
    // Advice is none of it, and this page has no icon.
    let is_trouble = |line: &&Value| line["level"] != "DEBUG" && !line["message"].as_str().unwrap().contains("favicon");
    let told = log.as_array().unwrap().iter().filter(is_trouble);
    assert_eq!(told.collect::<Vec<_>>(), Vec::<&Value>::new(), "nothing is refused by the policy, and nothing fails");
    stage.stop();
    wait("that to be said", || browser.text().contains("no answer: ").then_some(()));
    let text = browser.text();
    assert!(text.contains("; what is shown is of ") && text.contains("fail (errors)"), "{text}");
}

/// What happened to `digits` after the one of this number.
fn history(admin: SocketAddr, after: u64) -> Value {
    let answer = Caller::new(admin).call("GET", &format!("/v1/history/digits?after={after}"), "", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn what_happened_before_the_page_was_opened_is_on_it_with_links_to_the_commits() {
    let repo = Repo::new(&routes(model(200, 7), model(500, 7), 50));
    let url = ", commit_url: 'https://git.example/models/commit/{commit}'";
    let app = repo.start_with(url, "");
    let mut caller = Caller::new(app.data);
    wait("the commit", || {
        (0..40).for_each(|_| drop(caller.infer()));
        (repo.commits() == 2).then_some(())
    });
    repo.deliver();
    let tip = repo.git("bare.git", &["rev-parse", "main"]);
    let commit = tip.trim();
    let told = wait("the end of the release and its commit", || {
        let told = history(app.admin, 0);
        let happened = told["happened"].to_string();
        (happened.contains("rolled back") && happened.contains("\"what\":\"commit\"")).then_some(told)
    });
    let of = |what: &str| -> Vec<&str> {
        let all = told["happened"].as_array().unwrap().iter();
        all.filter(|one| one["what"] == what).map(|one| one["text"].as_str().unwrap()).collect()
    };
    assert_eq!(of("weights")[0], "v1 50 %, v2 50 %");
    assert!(of("weights").contains(&"v1 100 %, v2 0 %"), "{told}");
    assert!(of("verdict").contains(&"fail (errors)") && of("release")[0].starts_with("attempt 1, "), "{told}");
    assert_eq!(of("commit"), ["the rollback"]);
    let numbers: Vec<u64> =
        told["happened"].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=told["last"].as_u64().unwrap()), "{numbers:?}");
    assert!(!told["points"].as_array().unwrap().is_empty(), "{told}");
    let rest = history(app.admin, 2);
    assert!(rest["happened"][0]["number"] == 3 && rest["points"] == json!([]), "{rest}");
    assert_eq!(Caller::new(app.admin).call("GET", "/v1/history/nowhere", "", "").status, 404);

    let mut browser = Browser::new();
    browser.tell("url", &json!({ "url": format!("http://{}/", app.admin) }));
    let text = wait("the rollback", || Some(browser.text()).filter(|text| text.contains("the rollback")));
    for part in ["verdict: fail (errors)", "weights in force: v1 50 %, v2 50 %", "weights in force: v1 100 %, v2 0 %"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let links =
        browser.script("return [...document.querySelectorAll('li a')].map(a => [a.textContent, a.href, a.rel])");
    assert_eq!(links, json!([[&commit[..12], format!("https://git.example/models/commit/{commit}"), "noreferrer"]]));
    stop(app);
}

#[test]
fn a_browser_shows_accuracy_with_both_values_and_an_interval() {
    let stage = Stage::over(&routes(model(200, 7), model(200, 3), 50), "");
    let (mut caller, mut admin) = (Caller::new(stage.data()), Caller::new(stage.app.admin));
    let mut browser = Browser::new();
    browser.tell("url", &json!({ "url": format!("http://{}/", stage.app.admin) }));
    let row = wait("accuracy of both", || {
        let labels: Vec<String> = (0..20)
            .map(|_| json!({ "ticket": caller.infer().headers["x-coalmine-ticket"], "label": 7 }).to_string())
            .collect();
        admin.call("POST", "/v1/feedback", "", &labels.join("\n"));
        let rows = "return [...document.querySelectorAll('tr')].map(tr => [...tr.children].map(td => td.textContent))";
        let rows = browser.script(rows);
        let row = rows.as_array().unwrap().iter().find(|row| row[0] == "accuracy")?.clone();
        (row[1] == "100 %" && row[2] == "0 %" && row[3].as_str()?.starts_with("-100 % (-")).then_some(row)
    });
    assert!(row[3].as_str().unwrap().contains(" to -"), "an interval that leaves out 0: {row}");
    stage.stop();
}
