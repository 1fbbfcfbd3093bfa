//! Pull requests of a Git host, by its API: found by their branch, opened, kept up to date, closed. GitLab calls them merge requests.
//!
//! Three hosts, one file each; this one knows what they have in common.

mod gitea;
mod github;
mod gitlab;

use super::{
    git::GitError,
    outbound::{Outbound, secret, value},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::Value;
use std::path::PathBuf;

/// Longest part of an answer that is told.
const WHY_CHARS_MAX: usize = 300;

/// Ends the words of a pull request that we have closed ourselves; people do not see it.
const WITHDRAWN: &str = "<!-- coalmine: withdrawn -->";

/// Whose API it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host {
    /// GitHub, also an enterprise's own.
    GitHub,
    /// GitLab.
    GitLab,
    /// Gitea or Forgejo.
    Gitea,
}

/// A repository at a Git host.
#[derive(Clone, Debug)]
pub struct Forge {
    /// Whose API.
    pub host: Host,
    /// Where it begins, such as `https://api.github.com`.
    pub api: String,
    /// The repository: `owner/name`.
    pub project: String,
    /// The token.
    pub token_file: PathBuf,
    /// The way out.
    pub outbound: Outbound,
}

/// A pull request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// Where people see it.
    pub url: String,
    /// What has become of it.
    pub state: State,
    /// What it says below its title.
    pub body: String,
}

/// What has become of a pull request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// People have not decided yet.
    Open,
    /// It is on the branch, by this commit.
    Merged(String),
    /// Closed by people, without having been merged.
    Closed,
    /// Closed by us: nobody wanted it any more.
    Withdrawn,
}

/// What a pull request says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words<'a> {
    /// One line.
    pub title: &'a str,
    /// Everything else.
    pub body: &'a str,
}

impl Forge {
    /// The newest one from `branch`, whatever has become of it.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn find(&self, branch: &str, into: &str) -> Result<Option<PullRequest>, GitError> {
        match self.host {
            Host::GitHub => github::find(self, branch).await,
            Host::GitLab => gitlab::find(self, branch).await,
            Host::Gitea => gitea::find(self, branch, into).await,
        }
    }

    /// Opens one.
    ///
    /// # Errors
    /// [`GitError`]; also if there is an open one already.
    pub async fn open(&self, branch: &str, into: &str, words: Words<'_>) -> Result<PullRequest, GitError> {
        match self.host {
            Host::GitHub | Host::Gitea => github::open(self, branch, into, words).await,
            Host::GitLab => gitlab::open(self, branch, into, words).await,
        }
    }

    /// Says it anew.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn reword(&self, number: u64, words: Words<'_>) -> Result<(), GitError> {
        match self.host {
            Host::GitHub | Host::Gitea => github::reword(self, number, words).await,
            Host::GitLab => gitlab::reword(self, number, words).await,
        }
    }

    /// Opens one again that we have closed, and says it anew.
    ///
    /// # Errors
    /// [`GitError`]; also if its branch is gone.
    pub async fn reopen(&self, number: u64, words: Words<'_>) -> Result<(), GitError> {
        match self.host {
            Host::GitHub | Host::Gitea => github::reopen(self, number, words).await,
            Host::GitLab => gitlab::reopen(self, number, words).await,
        }
    }

    /// Closes it, with a comment that says why, and so that it is known that it was us.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn close(&self, one: &PullRequest, why: &str) -> Result<(), GitError> {
        let body = format!("{}\n\n{WITHDRAWN}", one.body.trim_end());
        match self.host {
            Host::GitHub | Host::Gitea => github::close(self, one.number, why, &body).await,
            Host::GitLab => gitlab::close(self, one.number, why, &body).await,
        }
    }

    /// One call; `None` for a 404.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Option<Value>, GitError> {
        let failed = |why: String| GitError::Failed(why);
        let url: Uri = format!("{}/{path}", self.api.trim_end_matches('/'))
            .parse()
            .map_err(|_| failed(format!("{} is no url of an API", self.api)))?;
        let token = secret(&self.token_file).map_err(GitError::Auth)?;
        let (name, text, accept) = match self.host {
            Host::GitHub => (header::AUTHORIZATION, format!("Bearer {token}"), "application/vnd.github+json"),
            Host::GitLab => (HeaderName::from_static("private-token"), token.clone(), "application/json"),
            Host::Gitea => (header::AUTHORIZATION, format!("token {token}"), "application/json"),
        };
        let mut text = value(&text).map_err(GitError::Auth)?;
        text.set_sensitive(true);
        let mut headers = HeaderMap::from_iter([
            (name, text),
            (header::ACCEPT, HeaderValue::from_static(accept)),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        if self.host == Host::GitHub {
            headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
        }
        let body = body.map_or(String::new(), |body| body.to_string());
        let answer = self.outbound.call(method, &url, headers, body).await.map_err(GitError::Network)?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if answer.status.is_success() {
            let read = serde_json::from_str(&answer.body);
            return read
                .map(Some)
                .map_err(|_| failed("the API of the Git host answers something else than JSON".into()));
        }
        // A server may say anything, also what it was sent.
        let said = answer.body.replace(&token, "[token]").split_whitespace().collect::<Vec<_>>().join(" ");
        let why = format!(
            "the API of the Git host answers {}: {}",
            answer.status,
            said.chars().take(WHY_CHARS_MAX).collect::<String>()
        );
        Err(match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => GitError::Auth(why),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => GitError::Network(why),
            _ => failed(why),
        })
    }

    /// The same, where a 404 means that the repository is not there, or not for us.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, GitError> {
        let missing = || GitError::Missing(format!("the Git host has no {path}"));
        self.call(method, path, body).await?.ok_or_else(missing)
    }
}

/// What the hosts call the same things.
struct Names {
    number: &'static str,
    url: &'static str,
    body: &'static str,
    /// The commit by which it was merged: the first of these that is there.
    commits: &'static [&'static str],
}

/// What an answer says, given the host's own way of saying that it is open, or was merged.
fn read(answer: &Value, names: &Names, open: bool, merged: bool) -> Result<PullRequest, GitError> {
    let odd = || GitError::Failed("the API of the Git host answers something else than a pull request".into());
    let text = |name: &str| answer[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let body = text(names.body).unwrap_or_default();
    let state = match (merged, open) {
        (true, _) => State::Merged(names.commits.iter().find_map(|name| text(name)).ok_or_else(odd)?),
        (false, true) => State::Open,
        (false, false) if body.ends_with(WITHDRAWN) => State::Withdrawn,
        (false, false) => State::Closed,
    };
    let number = answer[names.number].as_u64().ok_or_else(odd)?;
    Ok(PullRequest { number, url: text(names.url).ok_or_else(odd)?, state, body })
}

/// A part of a path or of a query.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url_are_escaped() {
        assert_eq!(escaped("ml/models.x"), "ml%2Fmodels.x");
        assert_eq!(escaped("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
