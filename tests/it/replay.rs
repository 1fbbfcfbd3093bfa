//! `coalmine replay`: recordings in, one JSON line a file out.

use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output},
};

fn replay(files: &[impl AsRef<OsStr>], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coalmine")).arg("replay").args(files).args(arguments).output().unwrap()
}

/// The lines of a replay that must go well.
#[track_caller]
pub(super) fn replayed(files: &[impl AsRef<OsStr>], arguments: &[&str]) -> Vec<Value> {
    let output = replay(files, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines(&output)
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

const HEADER: &str = "t_ms,variant,latency_ms,ok,correct,label_t_ms\n";

/// `n` requests, a hundred a second, every tenth the canary's, of which every `bad`th fails.
fn rows(n: usize, bad: usize, row: impl Fn(usize, &str, u8) -> String) -> String {
    let one = |i: usize| {
        let canary = i.is_multiple_of(10);
        row(
            i * 10,
            if canary { "canary" } else { "stable" },
            u8::from(!(canary && bad > 0 && (i / 10).is_multiple_of(bad))),
        )
    };
    (0..n).map(one).collect()
}

fn csv(n: usize, bad: usize) -> String {
    HEADER.to_owned() + &rows(n, bad, |t, variant, ok| format!("{t},{variant},12.5,{ok},,\n"))
}

#[test]
fn formats_and_column_orders_say_the_same() {
    let dir = Dir::new();
    let shuffled = "\u{feff}note,ok, variant ,latency_ms,label_t_ms,correct,t_ms\r\n".to_owned()
        + &rows(3000, 5, |t, variant, ok| format!("\"a, b\",{ok},{variant},12.5,,,{t}\r\n"));
    let json = rows(3000, 5, |t, variant, ok| {
        format!(
            "{{\"variant\":\"{variant}\",\"t_ms\":{t},\"latency_ms\":12.5,\"ok\":{ok},\"correct\":null,\"x\":[1]}}\n"
        )
    });
    // A label that is never given: `correct` must be there once.
    let json = json + "{\"variant\":\"stable\",\"t_ms\":30000,\"latency_ms\":12.5,\"ok\":true,\"correct\":1}\n";
    let mut backwards: Vec<String> = csv(3000, 5).lines().skip(1).map(|line| format!("{line}\n")).collect();
    backwards.reverse();
    let files = [
        dir.file("a.csv", csv(3000, 5)),
        dir.file("b.csv", shuffled),
        dir.file("c.ndjson", json),
        dir.file("d.csv", HEADER.to_owned() + &backwards.concat()),
    ];
    let said = replayed(&files, &[]);
    let names: Vec<&str> = said.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c", "d"], "in the order in which they were named");
    for line in &said {
        assert_eq!((&line["verdict"], &line["signal"]), (&"rollback".into(), &"errors".into()), "{line}");
        let (at, canary) = (line["at_request"].as_u64().unwrap(), line["at_canary"].as_u64().unwrap());
        assert!(at < 2000 && at == canary * 10, "{line}");
        assert_eq!(line["at_request"], said[0]["at_request"]);
        assert_eq!(line["evidence"]["canary_requests"], canary);
        assert_eq!(line["evidence"]["signals"][0]["signal"], "errors");
    }
}

#[test]
fn margins_come_from_flags_or_from_a_route() {
    let dir = Dir::new();
    let file = [dir.file("a.csv", csv(30_000, 100))];
    let verdict = |arguments: &[&str]| replayed(&file, arguments)[0]["verdict"].as_str().unwrap().to_owned();
    assert_eq!(verdict(&[]), "rollback");
    assert_eq!(verdict(&["--may-rise", "2%"]), "keep");
    assert_eq!(verdict(&["--set", "errors.may_rise=0.02", "--split", "20"]), "hold_srm");
    assert_eq!(
        // One latency for all shows no tail that could be compared: that signal is off, too.
        verdict(&[
            "--may-rise=2%",
            "--split=10",
            "--set=accuracy=off",
            "--set=latency=off",
            "--set=errors.pass_margin=3%"
        ]),
        "promote"
    );
    let routes = |name: &str, judge: &str, weight: u32| {
        format!(
            "  - name: {name}\n    match: {{ path: /{name} }}\n    judge: {judge}\n    variants:\n      - {{ name: v1, role: stable, weight: {}, url: 'http://h:1' }}\n      - {{ name: v2, role: canary, weight: {weight}, url: 'http://h:2' }}\n",
            100 - weight
        )
    };
    let head = "apiVersion: coalmine.dev/v1alpha1\nkind: RouteTable\nroutes:\n";
    let one = dir.file("one.yaml", head.to_owned() + &routes("a", "{ errors: { may_rise: 2% } }", 20));
    assert_eq!(verdict(&["--routes", &one]), "hold_srm");
    assert_eq!(verdict(&["--routes", &one, "--split", "10"]), "keep");
    assert_eq!(verdict(&["--routes", &one, "--split", "10", "--may-rise", "0.05%"]), "rollback");
    let two = dir.file("two.yaml", head.to_owned() + &routes("a", "{}", 10) + &routes("b", "{ errors: off }", 10));
    assert_eq!(verdict(&["--routes", &two, "--route", "a"]), "rollback");
    assert_eq!(verdict(&["--routes", &two, "--route", "b"]), "keep");
    for (arguments, said) in [
        (vec!["--routes", &two], "pick one with --route, of a, b"),
        (vec!["--routes", &two, "--route", "c"], "no route c: its routes are a, b"),
        (vec!["--routes", "/nowhere.yaml"], "cannot read /nowhere.yaml"),
        (vec!["--may-rise", "lots"], "errors.may_rise: `lots` is not a share"),
        (vec!["--set", "errors.may_rice=1%"], "may_rise"),
        (vec!["--set", "alpha"], "KEY=VALUE"),
        (vec!["--split", "0"], "per cent"),
        (vec!["--every", "0"], "2s"),
    ] {
        let output = replay(&file, &arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(said), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty());
    }
}

/// What is said of one bad file beside a good one, whose line must be there.
#[track_caller]
fn check(name: &str, text: impl AsRef<[u8]>, code: i32, wanted: &[&str]) {
    let dir = Dir::new();
    let (bad, good) = (dir.file(name, text), dir.file("good.csv", csv(3000, 5)));
    let output = replay(&[&bad, &good], &[]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{error}");
    for part in wanted {
        assert!(error.contains(part), "{part:?} is missing in {error}");
    }
    assert!(error.contains(&bad), "the file is named: {error}");
    let said = lines(&output);
    assert!(said.len() == 1 && said[0]["name"] == "good" && said[0]["verdict"] == "rollback", "{said:?}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_by_line_and_column_and_hides_no_other() {
    let row = |text: &str| format!("{HEADER}1,stable,2,1,,\n{text}\n");
    check("a.csv", row("2,canary,fast,1,,"), 1, &["a.csv:3: latency_ms: `fast` is not a number"]);
    check("a.csv", row("2,v2,3,1,,"), 1, &["a.csv:3: variant: `v2` is no variant; write `stable` or `canary`"]);
    check("a.csv", row("2,canary,3,1"), 1, &["a.csv:3: 4 fields, and the header has 6"]);
    check("a.csv", row(&"2,canary,3,1,9,\n".repeat(30)), 1, &[":3: correct:", ":12: correct", "and 20 problems more"]);
    check(
        "a.csv",
        "t_ms,varaint,latency_ms,ok,correct,label_t_ms\n",
        1,
        &["variant: there is no such column; did you mean `varaint`"],
    );
    check(
        "a.csv",
        "t_ms,variant,latency_ms,ok\n1,stable,2,1\n",
        1,
        &["correct: there is no such column", "accuracy=off"],
    );
    let users = HEADER.replace('\n', ",user\n") + "1,stable,2,1,,,ann\n2,canary,2,1,,,bob\n";
    check("a.csv", &users, 1, &["a.csv:1: user: whom a first failure befalls", "--split"]);
    check("a.csv", users.replace("user", "first_token_ms"), 1, &["a.csv:2: first_token_ms: `ann` is not a number"]);
    check("a.csv", "t_ms;variant;latency_ms;ok\n", 1, &["by commas"]);
    check("a.csv", HEADER.replace("correct", "ok"), 1, &["ok: there are two columns"]);
    check("a.csv", "", 1, &["a.csv:1: there is not one request"]);
    check("a.csv", HEADER, 1, &["there is not one request"]);
    check("a.csv", b"t_ms,variant,latency_ms,ok,correct,label_t_ms\n1,\xff\xfe,1,1,,\n", 1, &["not UTF-8"]);
    check(
        "a.ndjson",
        "{\"t_ms\":1}\n\n{\"t_ms\":",
        1,
        &["a.ndjson:1: variant: there is no value", "a.ndjson:3:8: not a JSON object"],
    );
    let unlabelled = "{\"t_ms\":1,\"variant\":\"stable\",\"latency_ms\":1,\"ok\":1}\n";
    check("a.ndjson", unlabelled, 1, &["correct: no line has it"]);
    let dir = Dir::new();
    let gone = dir.0.path().join("gone.csv");
    for (path, said) in [(gone.as_path(), "cannot be read"), (Path::new("/"), "this is a directory")] {
        let output = replay(&[path], &[]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(said), "{error}");
    }
}

#[test]
fn labels_are_not_needed_where_they_are_not_judged_and_many_files_go_side_by_side() {
    let dir = Dir::new();
    let text = "t_ms,variant,latency_ms,ok\n".to_owned()
        + &rows(3000, 5, |t, variant, ok| format!("{t},{variant},12.5,{ok}\n"));
    let files: Vec<String> = (0..20).map(|i| dir.file(&format!("{i:02}.csv"), &text)).collect();
    let said = replayed(&files, &["--set", "accuracy=off"]);
    assert_eq!(said.len(), 20);
    for (i, line) in said.iter().enumerate() {
        assert_eq!(
            (line["name"].as_str().unwrap(), line["verdict"].as_str().unwrap()),
            (format!("{i:02}").as_str(), "rollback")
        );
    }
}

#[test]
fn endpoints_and_users_are_taken_from_csv_and_from_json_alike() {
    let dir = Dir::new();
    let header = HEADER.replace('\n', ",split,endpoint,user,first_token_ms\n");
    let of = |t: usize| (format!("pod-{}", t / 10 % 3), if (t / 10).is_multiple_of(10) { "new" } else { "old" });
    let csv = |user: &str| {
        let row = |t: usize, variant: &str, ok| {
            let (pod, release) = of(t);
            format!("{t},{variant},12.5,{ok},,,10,{release}-{pod},{user},3\n")
        };
        header.clone() + &rows(3000, 5, row)
    };
    let json = rows(3000, 5, |t, variant, ok| {
        let (pod, release) = of(t);
        let line = json!({ "t_ms": t, "variant": variant, "latency_ms": 12.5, "ok": ok, "correct": 1, "split": 10,
            "endpoint": format!("{release}-{pod}"), "user": null, "first_token_ms": 3 });
        format!("{line}\n")
    });
    let files = [dir.file("pods.csv", csv("")), dir.file("pods.ndjson", json), dir.file("users.csv", csv("ann"))];
    let said = replayed(&files, &["--set", "accuracy=off"]);
    let modes: Vec<_> = said.iter().map(|line| line["evidence"]["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["endpoints", "endpoints", "users"]);
    assert_eq!(said[0]["at_request"], said[1]["at_request"]);
    assert_eq!(said[0]["evidence"]["signals"], said[1]["evidence"]["signals"]);
    assert_ne!(said[2]["verdict"], "rollback", "one user is one failure: {}", said[2]);
    let parts = said[2]["evidence"]["signals"][1]["parts"].to_string();
    assert!(parts.contains("first_token_p99") && !parts.contains("answer_"), "{parts}");
}
