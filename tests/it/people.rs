//! The command line against a running Coalmine: what people see, and what they may do.

use super::support::{Caller, model, routes, settings, start_with, stop, wait};
use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

struct Shell {
    admin: String,
    token: String,
}

impl Shell {
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coalmine"));
        command.args(arguments).env("COALMINE_ADMIN", &self.admin).env("COALMINE_TOKEN", &self.token);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn good(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn bad(&self, arguments: &[&str], input: &str, part: &str) {
        let output = self.run(arguments, input);
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(1) && text.contains(part), "{arguments:?}: {text}");
    }
}

#[test]
fn a_release_is_seen_labelled_paused_and_taken_back_from_the_command_line() {
    let (mount, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(mount.path().join("routes.yaml"), routes(model(200, 7), model(200, 7), 10)).unwrap();
    let file = |role: &str| {
        let path = state.path().join(role);
        fs::write(&path, format!("token-of-{role}\n")).unwrap();
        format!("{role}_file: '{}'", path.display())
    };
    let tokens = format!("tokens: {{ {}, {} }}\n", file("labeler"), file("operator"));
    let app = start_with(settings(&tokens, mount.path(), &state.path().join("state")));
    let as_role = |role: &str| Shell { admin: app.admin.to_string(), token: format!("token-of-{role}") };
    let (labeler, operator) = (as_role("labeler"), as_role("operator"));
    as_role("nobody").bad(&["status"], "", "authorization: Bearer");

    let mut caller = Caller::new(app.data);
    let mut lines = (0..20).map(|_| {
        let ticket = caller.infer().headers.remove("x-coalmine-ticket").unwrap();
        format!("{{\"ticket\": \"{ticket}\", \"label\": 7}}\n")
    });
    let labels: String = lines.by_ref().collect();
    assert_eq!(labeler.good(&["feedback", "-"], &labels), "20 of 20 labels taken\n");
    labeler.bad(&["feedback", "-"], &labels, "label 20: duplicate");
    labeler.bad(&["rollback", "digits"], "", "authorization: Bearer");

    wait("the release", || operator.good(&["status"], "").contains("release ").then_some(()));
    let shown = operator.good(&["status", "digits"], "");
    for part in [
        "route digits",
        "v1               stable      90 %",
        "v2               canary      10 %",
        "verdict    undecided",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    assert!(operator.good(&["status", "--output", "json"], "").contains(r#""generation":1"#));
    operator.bad(&["status", "nowhere"], "", "there is no such route");
    operator.good(&["pause", "digits", "--by", "ann"], "");
    wait("the pause", || operator.good(&["status"], "").contains("paused by ann").then_some(()));
    operator.bad(&["promote", "digits"], "", "no Git remote");
    operator.good(&["resume", "digits"], "");
    operator.bad(&["resume", "digits"], "", "not paused");
    operator.good(&["rollback", "digits", "--reason", "complaints"], "");
    let shown = operator.good(&["status"], "");
    assert!(shown.contains("rolling_back") && shown.contains("complaints"), "{shown}");
    for _ in 0..100 {
        assert_eq!(caller.infer().headers.remove("x-coalmine-variant").unwrap(), "v1");
    }
    fs::write(mount.path().join("routes.yaml"), "apiVersion: 7\n").unwrap();
    wait("the refusal", || operator.good(&["status"], "").contains("routes.yaml:1:13: apiVersion: `7`").then_some(()));
    let shown = operator.good(&["status"], "");
    assert!(shown.starts_with("the newest routes file is refused; the last good one stays in force\n"), "{shown}");
    assert!(shown.contains("route digits"), "{shown}");
    stop(app);
    operator.bad(&["status"], "", "is Coalmine running there?");
}
