//! What the file may say about backends, and what it is told if it may not.

use super::*;
use crate::{config::read, core::clamp::Clamps};

/// The problems of a url, or how it is understood.
fn understood(url: &str) -> Result<String, String> {
    address(url).map(|(address, wire)| format!("{} {wire:?}", Backend { address, wire: wire.clone(), readiness: None }))
}

#[test]
fn urls() {
    let check = |url: &str, wanted: &str| assert_eq!(understood(url).as_deref(), Ok(wanted), "{url}");
    let tls = "Tls { server_name: None }";
    check("http://digits-v1.models.svc:8080", "http://digits-v1.models.svc:8080 Http1");
    check("http://model_server", "http://model_server:80 Http1");
    check("http://models.svc./", "http://models.svc.:80 Http1");
    check("https://models.example.com", &format!("https://models.example.com:443 {tls}"));
    check("https://[2001:db8::1]:8443", &format!("https://[2001:db8::1]:8443 {tls}"));
    check("h2c://10.0.0.1:9000", "h2c://10.0.0.1:9000 Http2");
    check("h2c://[::1]", "h2c://[::1]:80 Http2");
    check("unix:/run/model.sock", "unix:/run/model.sock Http1");
    check("h2c+unix:/run/model:1.sock", "h2c+unix:/run/model:1.sock Http2");
    check(&format!("unix:/{}", "x".repeat(106)), &format!("unix:/{} Http1", "x".repeat(106)));
    let check = |url: &str, why: &str| {
        let problem = understood(url).expect_err(url);
        assert!(problem.contains(why), "{url}: {problem}");
    };
    check("models.svc", "the scheme is missing");
    check("models.svc:8080", "the scheme is missing");
    check("ftp://models.svc", "the scheme `ftp` is not known");
    check("https+unix:/run/model.sock", "the scheme is missing");
    check("http:/models.svc", "`//` is missing");
    check("http://models.svc/v2", "only host and port");
    check("http://user@models.svc", "only host and port");
    check("http://models.svc:", "the port is empty");
    for url in ["http://h:0", "http://h:99999", "http://h:x", "http://[::1]:99999", "http://h:-1"] {
        let problem = understood(url).expect_err(url);
        assert!(problem.contains("port is not valid"), "{url}: {problem}");
    }
    for host in ["", ".", "a..b", "a b", "a%20b", "[models]", "[::1", "a!b", &"x".repeat(64), &"x.".repeat(128)] {
        let problem = understood(&format!("https://{host}")).expect_err(host);
        assert!(problem.contains("not valid"), "{host}: {problem}");
    }
    check("unix:run/model.sock", "absolute path");
    check("unix:/run/", "absolute path");
    check("unix:///run/model.sock", "one slash");
    check("unix:", "absolute path");
    check(&format!("h2c+unix:/{}", "x".repeat(107)), "at most 107 bytes");
}

const HEAD: &str = "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: digits
    match: { path: / }
";

fn with(rest: &str) -> String {
    format!("{HEAD}{rest}")
}

#[test]
fn readiness_outlier_and_server_name_reach_the_route() {
    let text = with(
        "    readiness: { path: /v2/health/ready?deep=1, every: 1s }
    outlier: { failures: 2, eject: 10m }
    variants:
      - { name: v1, role: stable, weight: 100, url: 'https://10.0.0.1', server_name: models.internal }
      - { name: v2, role: rejected, weight: 0, url: 'unix:/run/v2.sock' }
",
    );
    let (snapshot, warnings) = read(&text, &Clamps::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let route = snapshot.routes.get(0).unwrap();
    let readiness = Readiness {
        path: "/v2/health/ready?deep=1".into(),
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
    };
    let [one, two] = &route.variants[..] else { panic!("two variants") };
    assert_eq!(one.backend.wire, Wire::Tls { server_name: Some("models.internal".into()) });
    assert_eq!(two.backend.address, Address::Unix("/run/v2.sock".into()));
    assert_eq!([&one.backend.readiness, &two.backend.readiness], [&Some(readiness.clone()), &Some(readiness)]);
    assert_eq!((one.artefact.as_str(), two.artefact.as_str()), ("https://10.0.0.1", "unix:/run/v2.sock"));
    let ten_minutes = Duration::from_secs(600);
    assert_eq!(route.outlier, Some(outlier::Policy { failures: 2, eject: ten_minutes, eject_max: ten_minutes }));
}

#[test]
fn missing_is_the_default_and_off_is_off() {
    let variants = "    variants: [{ name: v1, role: stable, weight: 100, url: 'http://h' }]\n";
    let route = |rest: &str| {
        let (snapshot, _) = read(&with(&format!("{variants}{rest}")), &Clamps::default()).unwrap();
        let route = snapshot.routes.get(0).unwrap();
        (route.outlier, route.variants[0].backend.readiness.clone())
    };
    assert_eq!(route(""), (Some(OUTLIER), None));
    assert_eq!(route("    outlier: off\n    readiness: off\n"), (None, None));
}

#[test]
fn every_problem_at_once_with_its_place_and_help() {
    let text = with(
        "    readiness: { path: health, every: 1ms, timeout: 0, evry: 5s }
    outlier: { failures: 0, eject: 10s, eject_max: 1s }
    variants:
      - { name: v1, role: stable, weight: 100, url: 'http://h', server_name: models.internal }
      - { name: v2, role: rejected, weight: 0, url: 'https://h', server_name: 'https://h' }
      - { name: v3, role: rejected, weight: 0, url: 'grpc://h' }
",
    );
    let problems = read(&text, &Clamps::default()).unwrap_err();
    let lines: Vec<String> = problems.iter().map(|problem| problem.one_line("f")).collect();
    let wanted = [
        ("f:6:24: routes[0].readiness.path: `health` is not a path", ""),
        ("f:6:39: routes[0].readiness.every: `1ms` is too often", "at least 50ms"),
        ("f:6:53: routes[0].readiness.timeout: a time limit of zero", ""),
        ("f:6:56: routes[0].readiness.evry: unknown key `evry`", "did you mean `every`?"),
        ("f:7:26: routes[0].outlier.failures: at least 1 failure", "outlier: off"),
        ("f:7:52: routes[0].outlier.eject_max: `eject_max` is shorter", "the first ejection lasts `eject`"),
        ("f:9:78: routes[0].variants[0].server_name: `server_name` is for https only", "url: https://"),
        ("f:10:79: routes[0].variants[1].server_name: `https://h` is not a name", "without scheme and port"),
        ("f:11:53: routes[0].variants[2].url: `grpc://h` is not a backend", "write http://host:port, https://"),
    ];
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for (line, (start, help)) in lines.iter().zip(wanted) {
        assert!(line.starts_with(start) && line.contains(help), "{line}\nis not\n{start} ... {help}");
    }
}
