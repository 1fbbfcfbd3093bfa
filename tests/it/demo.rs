//! `coalmine demo` as people run it: the bad candidate is caught by its accuracy and rolled back by a signed commit.

use std::process::Command;

#[test]
fn the_demo_ends_with_a_rollback_on_the_branch() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_coalmine"));
    demo.args(["demo", "--act", "bad", "--seed", "7", "--rate", "600", "--home"]).arg(home.path());
    let output = demo.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for part in ["bad candidate: rolled back after", "blamed     accuracy", "failed requests: 0\n"] {
        assert!(told.contains(part), "{part:?} is missing in\n{told}");
    }
    let mut git = Command::new("git");
    git.current_dir(home.path().join("remote.git")).args(["log", "-1", "--format=%an%n%B", "main"]);
    let log = String::from_utf8(git.output().expect("git must be installed").stdout).unwrap();
    for part in [
        "Coalmine\nrollback(digits): v2 ",
        "worse in accuracy",
        "accuracy: canary 0.",
        "\nCoalmine-Verdict: fail accuracy\n",
    ] {
        assert!(log.contains(part), "{part:?} is missing in\n{log}");
    }
}
