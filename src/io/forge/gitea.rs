//! Pull requests of Gitea and Forgejo (API version 1): how they are found. All else is asked as of GitHub, whose form theirs has.

use super::{Forge, Names, PullRequest, State, escaped};
use crate::io::git::GitError;
use http::Method;
use serde_json::Value;

const NAMES: Names = Names { number: "number", url: "html_url", body: "body", commits: &["merge_commit_sha"] };

/// Pull requests that are looked through for a second one of the same branch.
const PAGE: u32 = 50;

/// The API knows one by its two branches, whatever has become of it; that a merged one has a successor, which there is only if
/// people have put their branch back to before the merge, is seen in the list.
pub(super) async fn find(forge: &Forge, branch: &str, into: &str) -> Result<Option<PullRequest>, GitError> {
    let by_branches = format!("{}/{}/{branch}", base(forge), escaped(into));
    let Some(found) = forge.call(Method::GET, &by_branches, None).await? else { return Ok(None) };
    let found = read(&found)?;
    if !matches!(found.state, State::Merged(_)) {
        return Ok(Some(found));
    }
    let list = format!("{}?state=all&sort=recentupdate&limit={PAGE}", base(forge));
    let list = forge.ask(Method::GET, &list, None).await?;
    // The label is the branch's name also when the branch is gone.
    let says = |one: &Value, place: &str, word: &str| one.pointer(place).and_then(Value::as_str) == Some(word);
    let ours = |one: &&Value| says(one, "/head/label", branch) && says(one, "/base/ref", into);
    let newest = list.as_array().into_iter().flatten().filter(ours).max_by_key(|one| one["number"].as_u64());
    newest.map_or(Ok(Some(found)), |newest| read(newest).map(Some))
}

fn base(forge: &Forge) -> String {
    format!("repos/{}/pulls", forge.project)
}

fn read(answer: &Value) -> Result<PullRequest, GitError> {
    super::read(answer, &NAMES, answer["state"] == "open", answer["merged"] == true)
}
