//! `coalmine doctor` before a real Git host over ssh and a running process: what is well, what is wrong, what to do about it.

use super::{
    githost::{SshHost, key},
    repo::Repo,
    support::{model, routes, start, stop, wait},
};
use serde_json::Value;
use std::{fs, net::SocketAddr, process::Command};

/// A patient: its settings, and what it lies in.
struct Patient {
    repo: Repo,
    host: SshHost,
    admin: SocketAddr,
}

impl Patient {
    fn settings(&self) -> String {
        let (url, at) = (self.host.url(&self.repo.path("bare.git")), |name: &str| self.repo.path(name));
        format!(
            "routes: '{}'\nstate: {{ dir: '{}' }}\ngit:\n  remote: '{url}'\n  path: prod/routes.yaml\n  ssh_key: '{}'\n  \
             host_key: {}\n  signing_key: '{}'\n",
            at("mount").display(),
            at("doctor").display(),
            self.host.key.display(),
            self.host.host_key(),
            at("signing").display()
        )
    }

    fn run(&self, settings: &str, more: &[&str]) -> (i32, String) {
        let file = self.repo.path("doctor.yaml");
        fs::write(&file, settings).unwrap();
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_coalmine"));
        doctor.arg("doctor").arg("--settings").arg(file).env("COALMINE_ADMIN", self.admin.to_string());
        let output = doctor.args(more).env_remove("COALMINE_TOKEN").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// Just this check is not ok, and says these words.
    #[track_caller]
    fn check(&self, settings: &str, code: i32, (name, level, what, next): (&str, &str, &str, &str)) {
        let (ended, text) = self.run(settings, &["--output", "json"]);
        let findings: Vec<Value> = serde_json::from_str(&text).unwrap();
        let of = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        let told: Vec<&Value> = findings.iter().filter(|finding| of(finding, "level") != "ok").collect();
        assert_eq!(ended, code, "{text}");
        let found = told.iter().find(|finding| of(finding, "check") == name).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((told.len(), of(found, "level").as_str()), (1, level), "{text}");
        assert!(of(found, "what").contains(what) && of(found, "next").contains(next), "{found}");
    }
}

#[test]
fn what_is_wrong_is_told_with_what_to_do_about_it() {
    let text = routes(model(200, 1), model(200, 1), 10);
    let (repo, host) = (Repo::new(&text), SshHost::new());
    key(&repo.path("."), "signing");
    let app = start(&repo.path("mount"), &repo.path("state"));
    let mut patient = Patient { repo, host, admin: app.admin };
    let good = patient.settings();

    let (code, told) = patient.run(&good, &[]);
    assert_eq!(code, 0, "{told}");
    assert!(told.lines().all(|line| line.starts_with("ok    ")), "{told}");
    let checks = ["settings", "mount", "routes", "state", "keys", "git host", "git remote", "git file", "clock"];
    for check in checks.into_iter().chain(["git signing", "git push", "backends", "process"]) {
        assert_eq!(
            told.lines().filter(|line| line[6..].starts_with(&format!("{check}  "))).count(),
            1,
            "{check}: {told}"
        );
    }
    assert_eq!(patient.repo.commits(), 1, "a look changes nothing");

    let other = good.replace("  path:", "  branch: nowhere\n  path:");
    patient.check(&other, 1, ("git remote", "fail", "nowhere", "`git.branch`"));
    let keyless = format!("ticket_key_file: '{}'\n{good}", patient.repo.path("missing").display());
    patient.check(&keyless, 1, ("keys", "fail", "missing", "is the secret mounted"));
    fs::write(patient.repo.path("odd"), "no key").unwrap();
    let odd = good.replace("signing'\n", "odd'\n");
    let (code, told) = patient.run(&odd, &[]);
    assert!(code == 1 && told.contains("fail  git signing ") && !told.contains("git push"), "{told}");
    let strange = good.replace("state:", "stat:");
    patient.check(&strange, 1, ("settings", "fail", "unknown key `stat`", "config/settings.yaml"));
    let forgetful = good.lines().filter(|line| !line.starts_with("state")).collect::<Vec<_>>().join("\n");
    patient.check(&forgetful, 0, ("state", "warn", "forgets what was rejected", "`state: { dir: ... }`"));

    fs::write(patient.repo.path("mount/routes.yaml"), text.replace("weight: 10", "weight: 20")).unwrap();
    let (code, told) = patient.run(&good, &[]);
    assert!(code == 1 && told.contains("fail  routes ") && told.contains("see `coalmine check`"), "{told}");
    patient.repo.deliver();

    what_is_wrong_with_backends(&patient, &good, &text);
    what_replicas_have(&patient, &good, &text);

    patient.host.read_only();
    patient.check(&good, 1, ("git push", "fail", "read only", "right to read and to push"));
    patient.host.lock(true);
    patient.check(&good, 1, ("git remote", "fail", "Permission denied", "or renew it"));
    patient.host.lock(false);
    let believed = patient.host.host_key();
    let wrong = fs::read_to_string(patient.repo.path("signing.pub")).unwrap();
    let wrong = wrong.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let (code, told) = patient.run(&good.replace(&believed, &wrong), &[]);
    assert!(code == 1 && told.contains("fail  git host ") && told.contains("`git.host_key`"), "{told}");

    stop(app);
    patient.admin = "127.0.0.1:9".parse().unwrap();
    patient.check(&good.replace("git:", "x:"), 1, ("settings", "fail", "unknown key `x`", "config/settings.yaml"));
    let (code, told) = patient.run(&good, &[]);
    assert!(code == 1 && told.contains("warn  process          nobody answers at 127.0.0.1:9; next: start"), "{told}");
}

fn what_is_wrong_with_backends(patient: &Patient, good: &str, text: &str) {
    let file = patient.repo.path("mount/routes.yaml");
    let url = |name: &str| {
        let line = text.lines().find(|line| line.contains(name)).unwrap();
        line.split("url: '").nth(1).unwrap().split('\'').next().unwrap().to_owned()
    };
    let loading = model(503, 1);
    let (stable, canary) = (url("name: v1"), url("name: v2"));
    let gone = format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let ready = |line: &str| text.replace("    variants:\n", &format!("{line}    variants:\n"));
    for (routes, level, what, next) in [
        (text.replace(&stable, &gone), "fail", "(digits v1) takes no requests: Connection refused", "is it running"),
        (
            text.replace(&canary, "http://no-such-host.invalid:1"),
            "fail",
            "(digits v2) has no address",
            "is the name right",
        ),
        (
            ready("    readiness: { path: /ready }\n").replace(&canary, &format!("http://{loading}")),
            "fail",
            "(digits v2) takes no requests: /ready answers 503",
            "still loading",
        ),
        (
            text.replace(&canary, &canary.replace("http:", "https:")),
            "fail",
            "(digits v2) takes no requests: ",
            "`backend_tls.ca_file`",
        ),
        // Nobody has given it traffic yet.
        (
            text.replace(&canary, &gone)
                .replace("weight: 90", "weight: 100")
                .replace("canary, weight: 10", "canary, weight: 0"),
            "warn",
            "(digits v2) takes no requests",
            "is it running",
        ),
    ] {
        fs::write(&file, routes).unwrap();
        patient.check(good, i32::from(level == "fail"), ("backends", level, what, next));
    }
    patient.repo.deliver();
}

fn what_replicas_have(patient: &Patient, good: &str, text: &str) {
    let dir = patient.repo.path("other");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("routes.yaml"), text).unwrap();
    let other = start(&dir, &patient.repo.path("other-state"));
    let both = format!("{},{}", patient.admin, other.admin);
    let two = format!("replicas: 2\nticket_key_file: '{}'\n{good}", patient.repo.path("signing").display());
    let told = || patient.run(&two, &["--admin", &both]).1;
    let same = "ok    replicas         2 have the same routes";
    wait("both to have the file", || told().contains(same).then_some(()));
    fs::write(dir.join("routes.yaml"), text.replace("path: /v2/models/digits", "path: /v2")).unwrap();
    let found = wait("the other file", || Some(told()).filter(|told| told.contains("have other files for digits")));
    assert!(found.contains("warn  replicas") && found.contains("which of them has an old one"), "{found}");
    let (_, told) = patient.run(&two, &[]);
    assert!(told.contains("ok    replicas         1 of 2 asked: name all of them with --admin"), "{told}");
    stop(other);
}
