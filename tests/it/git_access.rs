//! Ways to a remote that large organisations have: tokens that a helper hands out, and a proxy that everything goes through.

use super::{
    backend::Backend,
    git::{failing, load_until, show},
    git_servers::{load_until_trouble, over_ssh, path, serve},
    githost::{HttpsHost, SshHost, Tinyproxy, Watch},
    raw::process::Process,
    repo::Repo,
    support::{Caller, wait},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use coalmine::io::outbound::{Answer, Outbound};
use http::{HeaderMap, HeaderValue, Method, header};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

const TOKEN: &str = "t0ken-7f1e";

/// Lines of the settings' `git` for this host.
fn over_https(host: &HttpsHost, more: &str) -> String {
    format!("  remote: '{}'\n  ca_file: '{}'\n{more}", host.url("bare.git"), host.ca.display())
}

/// A helper that writes down what it is asked, and leaves the answer to git's own `store`.
fn helper(dir: &Path) -> String {
    let (script, asked, store) = (dir.join("helper"), dir.join("asked"), dir.join("store"));
    let text = format!(
        "#!/bin/sh\ninput=$(cat)\nprintf '%s\\n%s\\n\\n' \"$1\" \"$input\" >>'{}'\n\
         [ \"$1\" = get ] || exit 0\nprintf '%s\\n\\n' \"$input\" | git credential-store --file '{}' get\n",
        asked.display(),
        store.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script.display().to_string()
}

#[test]
fn a_helper_hands_out_tokens_for_the_remote_alone_and_a_renewed_one_is_used_without_a_restart() {
    let repo = Repo::new(&failing(30));
    let host = HttpsHost::new(&repo.path("."), TOKEN);
    let (port, store) = (host.door.address.port(), repo.path("store"));
    let known = |token: &str| {
        let text = format!("https://robot:{token}@localhost%3a{port}\nhttps://robot:0ther@git.example\n");
        fs::write(&store, text).unwrap();
    };
    known("0ld-t0ken");
    let watch = Watch::over(&[TOKEN, "0ld-t0ken", "0ther"]);
    let process = serve(
        &repo,
        &failing(30),
        &over_https(&host, &format!("  credential_helper: '{}'", helper(&repo.path(".")))),
        &path(),
    );
    let told = load_until_trouble(&process, &mut Caller::new(process.admin), "Authentication failed");
    assert!(told.contains("is the key or token still valid"), "{told}");
    known(TOKEN);
    wait("the commit", || (repo.commits() == 2).then_some(()));
    assert!(repo.message().starts_with("rollback(digits)"));
    wait("the branch to be read back", || {
        show(&mut Caller::new(process.admin))["release"]["commit"].as_str().map(drop)
    });
    assert!(watch.end() > 0, "nobody was seen at work");
    let log = process.log.lock().unwrap().clone();
    assert!(!log.contains(TOKEN) && !log.contains("0ld-t0ken"), "{log}");

    let asked = fs::read_to_string(repo.path("asked")).unwrap();
    let questions: Vec<Vec<&str>> =
        asked.split("\n\n").map(|one| one.lines().collect()).filter(|one: &Vec<_>| !one.is_empty()).collect();
    let place = ["protocol=https".to_owned(), format!("host=localhost:{port}")];
    for question in &questions {
        let (verb, words) = question.split_first().unwrap();
        assert!(["get", "store", "erase"].contains(verb), "{question:?}");
        assert!(place.iter().all(|line| words.contains(&line.as_str())), "{question:?}");
        assert!(
            !words.iter().any(|line| line.starts_with("path=")),
            "which repository is not its business: {question:?}"
        );
        let named = words.iter().any(|line| line.starts_with("username="));
        assert!(!named || *verb != "get", "nobody has said which user: {question:?}");
    }
    let gets = questions.iter().filter(|question| question[0] == "get").count();
    // With the old token: one fetch. With the new one: the tip, the file, the push, and what came of it.
    println!("the helper was asked {gets} times for a token");
    assert!((2..=12).contains(&gets), "{asked}");
}

#[test]
fn a_helper_is_not_asked_about_a_remote_over_ssh_and_for_the_user_that_the_settings_name() {
    let (repo, ssh) = (Repo::new(&failing(30)), SshHost::new());
    let with = format!("host_key: {}\n  credential_helper: '{}'", ssh.host_key(), helper(&repo.path(".")));
    let process = serve(&repo, &failing(30), &over_ssh(&repo, &ssh, &with), &path());
    load_until(process.data, "the commit", || repo.commits() == 2);
    drop(process);
    assert!(!repo.path("asked").exists(), "nobody asks for a token there");

    let repo = Repo::new(&failing(30));
    let https = HttpsHost::new(&repo.path("."), TOKEN);
    let at = format!("localhost%3a{}", https.door.address.port());
    fs::write(repo.path("store"), format!("https://ann:0ther@{at}\nhttps://robot:{TOKEN}@{at}\n")).unwrap();
    let with = format!("  username: robot\n  credential_helper: '{}'", helper(&repo.path(".")));
    let process = serve(&repo, &failing(30), &over_https(&https, &with), &path());
    load_until(process.data, "the commit", || repo.commits() == 2);
    assert!(fs::read_to_string(repo.path("asked")).unwrap().contains("username=robot"));
}

/// Coalmine in an environment with these variables.
fn serve_in(repo: &Repo, environment: &str, git: &str) -> Process {
    let path = format!("{}'; {environment} X='", path());
    serve(repo, &failing(30), git, &path)
}

/// An address at which nobody listens.
fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

#[test]
fn pushes_and_web_hooks_go_through_the_proxy_of_the_environment_or_of_the_settings_and_past_it_where_that_is_said() {
    let token = "  token_file: TOKEN\n  username: robot";
    for (name, way) in [("environment", 0), ("settings", 1), ("past", 2)] {
        let repo = Repo::new(&failing(30));
        let (host, proxy, hook) =
            (HttpsHost::new(&repo.path("."), TOKEN), Tinyproxy::new(""), Backend::always(200, "ok"));
        fs::write(repo.path("token"), TOKEN).unwrap();
        let token = token.replace("TOKEN", &repo.path("token").display().to_string());
        let (url, nobody) = (proxy.url(), nobody());
        let (environment, more) = match way {
            0 => (format!("export https_proxy={url} http_proxy={url};"), String::new()),
            1 => (format!("export https_proxy={nobody} http_proxy={url};"), format!("\n  proxy: '{url}'")),
            _ => (
                format!("export https_proxy={nobody} http_proxy={nobody} no_proxy=localhost,127.0.0.1;"),
                String::new(),
            ),
        };
        let notify =
            format!("\nnotify: {{ hooks: [{{ url: 'http://{}/hook', events: [rollback_committed] }}] }}", hook.address);
        let process = serve_in(&repo, &environment, &over_https(&host, &format!("{token}{more}{notify}")));
        load_until(process.data, "the commit", || repo.commits() == 2);
        wait("the web-hook", || (!hook.seen().is_empty()).then_some(()));
        assert!(hook.seen()[0].line.starts_with("POST /hook HTTP/1.1"), "{name}: {:?}", hook.seen());
        let plain = format!("POST http://{}/hook HTTP/1.1", hook.address);
        let asked = proxy.asked();
        if way == 2 {
            assert_eq!(asked, Vec::<String>::new());
        } else {
            assert!(proxy.tunnels("localhost", &host.door) >= 2, "{name}: a fetch and a push: {asked:?}");
            assert!(asked.contains(&plain), "{name}: {asked:?}");
        }
    }
}

#[test]
fn a_proxy_that_is_away_is_told_with_what_helps_and_an_ssh_remote_is_reached_through_one_by_ssh_config() {
    let repo = Repo::new(&failing(30));
    let host = HttpsHost::new(&repo.path("."), TOKEN);
    fs::write(repo.path("token"), TOKEN).unwrap();
    let git = over_https(&host, &format!("  token_file: '{}'\n  username: robot", repo.path("token").display()));
    let process = serve_in(&repo, &format!("export https_proxy={};", nobody()), &git);
    load_until_trouble(&process, &mut Caller::new(process.admin), "the remote cannot be reached");
    drop(process);

    let (repo, host, proxy) = (Repo::new(&failing(30)), SshHost::new(), Tinyproxy::new(""));
    // What `connect-proxy`, `corkscrew` and `nc -X connect` do.
    let script = format!(
        "exec 2>/dev/null 3<>/dev/tcp/127.0.0.1/{}; printf 'CONNECT %s:%s HTTP/1.0\\r\\n\\r\\n' \"$1\" \"$2\" >&3\n\
         while read -r line <&3 && [ \"$line\" != $'\\r' ]; do :; done; cat <&3 & exec cat >&3\n",
        proxy.address.port()
    );
    fs::write(repo.path("connect"), script).unwrap();
    fs::write(repo.path("ssh_config"), format!("ProxyCommand bash '{}' %h %p\n", repo.path("connect").display()))
        .unwrap();
    let with = format!("host_key: {}\n  ssh_config: '{}'", host.host_key(), repo.path("ssh_config").display());
    let process = serve(&repo, &failing(30), &over_ssh(&repo, &host, &with), &path());
    load_until(process.data, "the commit", || repo.commits() == 2);
    assert!(proxy.tunnels("127.0.0.1", &host.door) >= 2, "{:?}", proxy.asked());
}

/// What a call to the git server gives, through a proxy and over TLS to an authority of its own.
fn call(host: &HttpsHost, proxy: &str) -> Result<Answer, String> {
    let url = format!("{}/info/refs?service=git-upload-pack", host.url("bare.git")).parse().unwrap();
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("robot:{TOKEN}")));
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&basic).unwrap())]);
    let outbound = Outbound::new(Some(host.ca.clone()), Duration::from_secs(20)).unwrap().through(proxy);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(outbound.call(Method::GET, &url, headers, String::new()))
}

#[test]
fn calls_over_https_go_through_a_tunnel_that_may_ask_for_a_password_and_its_no_is_told_without_it() {
    let repo = Repo::new(&failing(30));
    let host = HttpsHost::new(&repo.path("."), TOKEN);
    let proxy = Tinyproxy::new("BasicAuth me s3cret");
    let address = proxy.address;
    let answer = call(&host, &format!("http://me:s3cret@{address}")).unwrap();
    assert!(answer.status == 200 && answer.body.contains("refs/heads/main"), "{answer:?}");
    assert_eq!(proxy.tunnels("localhost", &host.door), 1);
    for (url, why) in [
        (format!("http://{address}"), format!("localhost: the proxy {address}: it answers 407")),
        (format!("http://me:wr0ng@{address}"), format!("localhost: the proxy {address}: it answers 40")),
        (nobody(), "Connection refused".to_owned()),
        (format!("socks5://{address}"), "none that we speak to; name one with http://".to_owned()),
    ] {
        let told = call(&host, &url).unwrap_err();
        assert!(told.contains(&why) && !told.contains("wr0ng"), "{told}");
    }
    host.door.shut(true);
    let told = call(&host, &format!("http://me:s3cret@{address}")).unwrap_err();
    assert!(told.starts_with("localhost: "), "{told}");
}
