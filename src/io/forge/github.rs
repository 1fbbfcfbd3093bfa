//! GitHub's pull requests (REST, version 2022-11-28).

use super::{Forge, Names, PullRequest, Words, escaped};
use crate::io::git::GitError;
use http::Method;
use serde_json::{Value, json};

const NAMES: Names = Names { number: "number", url: "html_url", body: "body", commits: &["merge_commit_sha"] };

pub(super) async fn find(forge: &Forge, branch: &str) -> Result<Option<PullRequest>, GitError> {
    let owner = forge.project.split('/').next().unwrap_or("");
    let head = escaped(&format!("{owner}:{branch}"));
    let path = format!("repos/{}/pulls?head={head}&state=all&sort=created&direction=desc&per_page=1", forge.project);
    let found = forge.ask(Method::GET, &path, None).await?;
    found.get(0).map(read).transpose()
}

pub(super) async fn open(forge: &Forge, branch: &str, into: &str, words: Words<'_>) -> Result<PullRequest, GitError> {
    let body = json!({ "head": branch, "base": into, "title": words.title, "body": words.body });
    read(&forge.ask(Method::POST, &format!("repos/{}/pulls", forge.project), Some(body)).await?)
}

pub(super) async fn reword(forge: &Forge, number: u64, words: Words<'_>) -> Result<(), GitError> {
    change(forge, number, json!({ "title": words.title, "body": words.body })).await
}

pub(super) async fn reopen(forge: &Forge, number: u64, words: Words<'_>) -> Result<(), GitError> {
    change(forge, number, json!({ "title": words.title, "body": words.body, "state": "open" })).await
}

pub(super) async fn close(forge: &Forge, number: u64, why: &str, body: &str) -> Result<(), GitError> {
    let comment = format!("repos/{}/issues/{number}/comments", forge.project);
    forge.ask(Method::POST, &comment, Some(json!({ "body": why }))).await?;
    change(forge, number, json!({ "state": "closed", "body": body })).await
}

async fn change(forge: &Forge, number: u64, body: Value) -> Result<(), GitError> {
    forge.ask(Method::PATCH, &format!("repos/{}/pulls/{number}", forge.project), Some(body)).await.map(drop)
}

fn read(answer: &Value) -> Result<PullRequest, GitError> {
    super::read(answer, &NAMES, answer["state"] == "open", answer["merged_at"].is_string())
}
