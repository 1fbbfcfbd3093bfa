//! GitLab's merge requests (API version 4).

use super::{Forge, Names, PullRequest, Words, escaped};
use crate::io::git::GitError;
use http::Method;
use serde_json::{Value, json};

const NAMES: Names = Names {
    number: "iid",
    url: "web_url",
    body: "description",
    // A squash or a fast-forward has no merge commit.
    commits: &["merge_commit_sha", "squash_commit_sha", "sha"],
};

pub(super) async fn find(forge: &Forge, branch: &str) -> Result<Option<PullRequest>, GitError> {
    let (base, branch) = (base(forge), escaped(branch));
    let path = format!("{base}?source_branch={branch}&state=all&order_by=created_at&sort=desc&per_page=1");
    let found = forge.ask(Method::GET, &path, None).await?;
    found.get(0).map(read).transpose()
}

pub(super) async fn open(forge: &Forge, branch: &str, into: &str, words: Words<'_>) -> Result<PullRequest, GitError> {
    let body = json!({ "source_branch": branch, "target_branch": into, "title": words.title,
        "description": words.body, "remove_source_branch": true });
    read(&forge.ask(Method::POST, &base(forge), Some(body)).await?)
}

pub(super) async fn reword(forge: &Forge, number: u64, words: Words<'_>) -> Result<(), GitError> {
    change(forge, number, json!({ "title": words.title, "description": words.body })).await
}

pub(super) async fn reopen(forge: &Forge, number: u64, words: Words<'_>) -> Result<(), GitError> {
    let body = json!({ "title": words.title, "description": words.body, "state_event": "reopen" });
    change(forge, number, body).await
}

pub(super) async fn close(forge: &Forge, number: u64, why: &str, body: &str) -> Result<(), GitError> {
    forge.ask(Method::POST, &format!("{}/{number}/notes", base(forge)), Some(json!({ "body": why }))).await?;
    change(forge, number, json!({ "state_event": "close", "description": body })).await
}

async fn change(forge: &Forge, number: u64, body: Value) -> Result<(), GitError> {
    forge.ask(Method::PUT, &format!("{}/{number}", base(forge)), Some(body)).await.map(drop)
}

fn base(forge: &Forge) -> String {
    format!("projects/{}/merge_requests", escaped(&forge.project))
}

fn read(answer: &Value) -> Result<PullRequest, GitError> {
    // It is locked while it is being merged.
    let open = matches!(answer["state"].as_str(), Some("opened" | "locked"));
    super::read(answer, &NAMES, open, answer["state"] == "merged")
}
