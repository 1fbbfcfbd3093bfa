//! Every command in the README is run: each `sh` block of it, in its order, before two model servers and a bare repository.

use super::support::{model, wait};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output},
};

/// Commands that this test does not run, and where they are run instead.
const ELSEWHERE: [(&str, &str); 2] = [
    ("cargo run --release -- demo", "tests/it/demo.rs, with the binary under test"),
    ("make test", "it is what runs this"),
];

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("\n```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect()
}

/// The README names its ports, so port 0 will not do, and they must stay free between two starts: these lie below those that
/// the system hands out by itself.
fn free_ports() -> [SocketAddr; 2] {
    let start = 10_000 + u16::try_from(std::process::id() % 2_000).unwrap() * 10;
    let addresses = (start..32_000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut free = addresses.filter(|address| TcpListener::bind(address).is_ok());
    [(); 2].map(|()| free.next().expect("a free port"))
}

/// A shell in a directory where somebody has just built Coalmine, with ports of its own instead of the README's.
struct Terminal {
    home: tempfile::TempDir,
    ports: Vec<(&'static str, SocketAddr)>,
    /// What every terminal begins with.
    begin: String,
}

impl Terminal {
    fn new(begin: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("target/release")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_coalmine"), home.path().join("target/release/coalmine"))
            .unwrap();
        let [data, admin] = free_ports();
        let ports = vec![
            ("127.0.0.1:8080", data),
            ("127.0.0.1:9090", admin),
            ("127.0.0.1:9001", model(200, 7)),
            ("127.0.0.1:9002", model(200, 7)),
        ];
        Self { home, ports, begin: begin.to_owned() }
    }

    fn here(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (said, here)| text.replace(said, &here.to_string()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("target/try").join(name)
    }

    fn bash(&self, script: &str) -> Command {
        let mut bash = Command::new("bash");
        bash.arg("-euo").arg("pipefail").arg("-c").arg(self.here(&format!("{}\n{script}", self.begin)));
        bash.current_dir(self.home.path()).env("COALMINE_ADMIN", self.ports[1].1.to_string()).env("USER", "ann");
        for role in ["AUTHOR", "COMMITTER"] {
            bash.env(format!("GIT_{role}_NAME"), "Ann").env(format!("GIT_{role}_EMAIL"), "ann@example.com");
        }
        bash.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env_remove("COALMINE_TOKEN");
        bash
    }

    /// Runs a block to its end; what it printed.
    #[track_caller]
    fn run(&self, block: &str) -> String {
        let output: Output = self.bash(block).output().expect("bash must be installed");
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{block}\n{out}{err}");
        out
    }

    /// Starts a block that ends with `coalmine serve`, and waits until it is ready.
    #[track_caller]
    fn serve(&self, block: &str) -> Serving {
        let (before, serve) = block.rsplit_once('\n').expect("something before the last line");
        assert!(serve.starts_with("coalmine serve "), "{serve}");
        // The process itself, not a shell around it: so that it can be told to end.
        let log = self.home.path().join("log");
        let mut bash = self.bash(&format!("{before}\nexec {serve}"));
        let child = bash.stderr(fs::File::create(&log).unwrap()).spawn().expect("bash must be installed");
        let mut serving = Serving(child);
        wait("coalmine serve", || {
            let gone = serving.0.try_wait().unwrap();
            assert!(gone.is_none(), "it ended: {gone:?}\n{}", fs::read_to_string(&log).unwrap());
            TcpStream::connect(self.ports[1].1).ok()?;
            self.bash("curl -sf 127.0.0.1:9090/readyz").output().unwrap().status.success().then_some(())
        });
        serving
    }
}

/// A running `coalmine serve`.
struct Serving(Child);

impl Serving {
    /// As Ctrl-C does it.
    #[track_caller]
    fn stop(mut self) {
        assert!(Command::new("kill").arg("-INT").arg(self.0.id().to_string()).status().unwrap().success());
        assert!(self.0.wait().unwrap().success(), "it did not end well");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn what_the_readme_tells_people_to_type_works() {
    let text = readme();
    let shell = blocks(&text, "sh");
    let [two, begin, serve, ask, git, order, after] = shell.as_slice() else {
        panic!("{} sh blocks; teach this test the new ones", shell.len());
    };
    for line in two.lines() {
        let command = line.split('#').next().unwrap().trim();
        assert!(ELSEWHERE.iter().any(|(known, _)| *known == command), "nothing runs `{command}`");
    }
    let terminal = Terminal::new(begin);
    terminal.run("");
    fs::write(terminal.path("routes.yaml"), terminal.here(&blocks(&text, "yaml")[0])).unwrap();
    fs::write(terminal.path("request.json"), r#"{"inputs":[]}"#).unwrap();

    let first = terminal.serve(serve);
    let said = terminal.run(ask);
    has(&said, &["x-coalmine-variant: v", "x-coalmine-ticket: ", r#""result":"counted""#, "50 of 50 labels taken"]);
    has(&said, &["route digits", "90 %", "10 %", "verdict    undecided", "coalmine_config_valid 1"]);
    first.stop();

    let second = terminal.serve(git);
    wait("the release", || terminal.run("coalmine status digits").contains("release ").then_some(()));
    has(&terminal.run(order), &["paused", "resumed", "frozen", "unfrozen", "20 % for ", "clamped to 0"]);
    let commits = || terminal.run("git -C models.git log --format=%h main").lines().count();
    wait("the commit", || (commits() == 2).then_some(()));
    let told = terminal.run(after);
    has(
        &told,
        &["rollback(digits): v2 10 % -> 0 %, rejected", "complaints about sevens", "Coalmine-Requested-By: ann"],
    );
    has(&fs::read_to_string(terminal.path("mounted/routes.yaml")).unwrap(), &["role: rejected, weight: 0"]);
    wait("the delivery", || terminal.run("coalmine status digits").contains("rolled_back").then_some(()));
    second.stop();
}

#[test]
fn the_readme_names_every_verb() {
    let help = Command::new(env!("CARGO_BIN_EXE_coalmine")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let verbs = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let verbs: Vec<&str> = verbs
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty() && *verb != "help")
        .collect();
    let text = readme();
    let table = text.split("## Command line").nth(1).unwrap().split("\n## ").next().unwrap();
    let named: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(named, verbs);
}
