//! The shapes of requests to GitHub and GitLab, against a server that records them. They are what those APIs document; no real
//! one of either runs here (Gitea's does: `gitea.rs`).

use super::backend::{Backend, write};
use coalmine::io::{
    forge::{Forge, Host, PullRequest, State, Words},
    git::GitError,
    outbound::Outbound,
};
use serde_json::{Value, json};
use std::{fs, path::Path, time::Duration};

const WORDS: Words<'static> = Words { title: "rollback(digits)", body: "why" };
const BRANCH: &str = "coalmine/0123";

fn forge(host: Host, api: String, dir: &Path) -> Forge {
    fs::write(dir.join("token"), "s3cret\n").unwrap();
    let outbound = Outbound::new(None, Duration::from_secs(10)).unwrap();
    Forge { host, api, project: "ml/models".into(), token_file: dir.join("token"), outbound }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Finds, opens, rewords, closes, reopens; what the server was asked, and what was found.
fn story(
    host: Host,
    found: &'static str,
    opened: &'static str,
) -> (Vec<(String, Value)>, Option<PullRequest>, Backend) {
    let server = Backend::new(move |asked, stream| {
        let body = if asked.line.starts_with("GET ") { found } else { opened };
        write(stream, 200, "content-type: application/json\r\n", body)
    });
    let dir = tempfile::tempdir().unwrap();
    let forge = forge(host, format!("http://{}/api/", server.address), dir.path());
    let found = run(async {
        let found = forge.find(BRANCH, "main").await.unwrap();
        let opened = forge.open(BRANCH, "main", WORDS).await.unwrap();
        assert_eq!((opened.number, &opened.state), (7, &State::Open));
        forge.reword(7, WORDS).await.unwrap();
        forge.close(&opened, "overtaken").await.unwrap();
        forge.reopen(7, WORDS).await.unwrap();
        found
    });
    let body = |text: &str| if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap() };
    let asked = server.seen().iter().map(|asked| (asked.line.clone(), body(&asked.body))).collect();
    (asked, found, server)
}

/// What one says that we have closed: people see no difference.
fn closed() -> String {
    format!("{}\n\n<!-- coalmine: withdrawn -->", WORDS.body)
}

/// What a host's answer comes to.
fn found(host: Host, body: &'static str) -> Result<Option<PullRequest>, GitError> {
    let server = Backend::new(move |_, stream| write(stream, 200, "content-type: application/json\r\n", body));
    let dir = tempfile::tempdir().unwrap();
    let forge = forge(host, format!("http://{}", server.address), dir.path());
    run(forge.find(BRANCH, "main"))
}

#[test]
fn what_we_have_closed_is_told_from_a_persons_no_and_every_way_to_merge_has_its_commit() {
    let state = |host, body| found(host, body).unwrap().unwrap().state;
    let ours = r#"[{"number":6,"html_url":"u","state":"closed","body":"why\n\n<!-- coalmine: withdrawn -->"}]"#;
    assert_eq!(state(Host::GitHub, ours), State::Withdrawn);
    let theirs = r#"[{"number":6,"html_url":"u","state":"closed","body":null,"merge_commit_sha":"a test merge"}]"#;
    assert_eq!(state(Host::GitHub, theirs), State::Closed);
    let ours = r#"[{"iid":6,"web_url":"u","state":"closed","description":"<!-- coalmine: withdrawn -->"}]"#;
    assert_eq!(state(Host::GitLab, ours), State::Withdrawn);
    let locked = r#"[{"iid":6,"web_url":"u","state":"locked"}]"#;
    assert_eq!(state(Host::GitLab, locked), State::Open, "it is being merged");
    for (commits, wanted) in [
        (r#""merge_commit_sha":"m","squash_commit_sha":"s","sha":"h""#, "m"),
        (r#""merge_commit_sha":null,"squash_commit_sha":"s","sha":"h""#, "s"),
        (r#""merge_commit_sha":null,"squash_commit_sha":null,"sha":"h""#, "h"),
    ] {
        let body = format!(r#"[{{"iid":6,"web_url":"u","state":"merged",{commits}}}]"#);
        assert_eq!(state(Host::GitLab, body.leak()), State::Merged(wanted.into()));
    }
    assert_eq!(found(Host::GitHub, "[]"), Ok(None));
    assert!(found(Host::GitHub, "<html>").is_err());
    assert!(found(Host::GitHub, r#"[{"state":"open"}]"#).is_err());
}

#[test]
fn github_is_asked_as_its_api_says() {
    let merged = r#"[{"number":6,"html_url":"https://g/6","state":"closed","merged_at":"2026-11-20T10:00:00Z","merge_commit_sha":"abc"}]"#;
    let open = r#"{"number":7,"html_url":"https://g/7","state":"open","merged_at":null,"merge_commit_sha":"def","body":"why"}"#;
    let (asked, found, server) = story(Host::GitHub, merged, open);
    let state = State::Merged("abc".into());
    assert_eq!(found, Some(PullRequest { number: 6, url: "https://g/6".into(), state, body: String::new() }));
    let pulls = "/api/repos/ml/models/pulls";
    let query = "head=ml%3Acoalmine%2F0123&state=all&sort=created&direction=desc&per_page=1";
    assert_eq!(
        asked,
        [
            (format!("GET {pulls}?{query} HTTP/1.1"), Value::Null),
            (
                format!("POST {pulls} HTTP/1.1"),
                json!({ "head": BRANCH, "base": "main", "title": WORDS.title, "body": WORDS.body })
            ),
            (format!("PATCH {pulls}/7 HTTP/1.1"), json!({ "title": WORDS.title, "body": WORDS.body })),
            ("POST /api/repos/ml/models/issues/7/comments HTTP/1.1".to_owned(), json!({ "body": "overtaken" })),
            (format!("PATCH {pulls}/7 HTTP/1.1"), json!({ "state": "closed", "body": closed() })),
            (format!("PATCH {pulls}/7 HTTP/1.1"), json!({ "title": WORDS.title, "body": WORDS.body, "state": "open" })),
        ]
    );
    for asked in server.seen() {
        assert_eq!(asked.all("authorization"), ["Bearer s3cret"]);
        assert_eq!(asked.all("x-github-api-version"), ["2022-11-28"]);
        assert_eq!(asked.all("accept"), ["application/vnd.github+json"]);
        assert_eq!(asked.all("user-agent"), ["coalmine"]);
    }
}

#[test]
fn gitlab_is_asked_as_its_api_says() {
    let refused = r#"[{"iid":6,"web_url":"https://g/6","state":"closed","merge_commit_sha":null}]"#;
    let open = r#"{"iid":7,"web_url":"https://g/7","state":"opened","merge_commit_sha":null,"description":"why"}"#;
    let (asked, found, server) = story(Host::GitLab, refused, open);
    let state = State::Closed;
    assert_eq!(found, Some(PullRequest { number: 6, url: "https://g/6".into(), state, body: String::new() }));
    let requests = "/api/projects/ml%2Fmodels/merge_requests";
    let query = "source_branch=coalmine%2F0123&state=all&order_by=created_at&sort=desc&per_page=1";
    assert_eq!(
        asked,
        [
            (format!("GET {requests}?{query} HTTP/1.1"), Value::Null),
            (
                format!("POST {requests} HTTP/1.1"),
                json!({ "source_branch": BRANCH, "target_branch": "main", "title": WORDS.title, "description": WORDS.body,
                "remove_source_branch": true })
            ),
            (format!("PUT {requests}/7 HTTP/1.1"), json!({ "title": WORDS.title, "description": WORDS.body })),
            (format!("POST {requests}/7/notes HTTP/1.1"), json!({ "body": "overtaken" })),
            (format!("PUT {requests}/7 HTTP/1.1"), json!({ "state_event": "close", "description": closed() })),
            (
                format!("PUT {requests}/7 HTTP/1.1"),
                json!({ "title": WORDS.title, "description": WORDS.body, "state_event": "reopen" })
            ),
        ]
    );
    for asked in server.seen() {
        assert_eq!(asked.all("private-token"), ["s3cret"]);
    }
}

#[test]
fn what_an_api_refuses_is_told_without_the_token() {
    for (status, kind) in
        [(401, "auth"), (403, "auth"), (404, "missing"), (422, "failed"), (429, "network"), (502, "network")]
    {
        // It says what it was sent.
        let server = Backend::always(status, r#"{"message":"no, Bearer s3cret"}"#);
        let dir = tempfile::tempdir().unwrap();
        let forge = forge(Host::GitHub, format!("http://{}", server.address), dir.path());
        let why: GitError = run(forge.find(BRANCH, "main")).unwrap_err();
        assert_eq!(why.as_str(), kind, "{status}: {why}");
        assert!(kind == "missing" || why.to_string().contains("no, Bearer [token]"), "{why}");
        assert!(!format!("{why:?} {forge:?}").contains("s3cret"));
    }
}
