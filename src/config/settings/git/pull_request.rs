//! How pull requests are made. The repository and its API follow from the remote where that says enough.

use super::{GitMode, GitSettings};
use crate::config::{
    fields::Map,
    settings::{notify, path_of},
};
use std::path::PathBuf;

/// How pull requests are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PullRequestSettings {
    /// Who makes them.
    pub provider: Provider,
    /// Where the API begins. Default: what goes with the provider and the remote's host.
    pub api: String,
    /// The repository, `owner/name`. Default: that of the remote.
    pub project: String,
    /// The API's token. Default: the remote's.
    pub token_file: Option<PathBuf>,
    /// Who vouches for the API. Default: the platform's roots.
    pub ca_file: Option<PathBuf>,
}

/// Who makes pull requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provider {
    /// GitHub's API.
    GitHub,
    /// GitLab's API.
    GitLab,
    /// The API of Gitea and Forgejo.
    Gitea,
    /// GitLab, from the push alone: no API and no token for it, and no news of what becomes of them.
    GitLabPushOptions,
}

const PROVIDERS: [(&str, Provider); 4] = [
    ("github", Provider::GitHub),
    ("gitlab", Provider::GitLab),
    ("gitea", Provider::Gitea),
    ("gitlab_push_options", Provider::GitLabPushOptions),
];

pub(super) fn of(git: &Map<'_>, settings: &GitSettings) -> Option<PullRequestSettings> {
    let Some(field) = git.get("pull_request") else {
        if settings.mode == GitMode::PullRequest {
            git.field.wrong("it is not said how pull requests are made", "add `pull_request: { provider: ... }`");
        }
        return None;
    };
    let map = field.map()?;
    let provider =
        map.need("provider", "github, gitlab, gitea or gitlab_push_options").and_then(|f| f.word(&PROVIDERS));
    let (host, project) = place(&settings.remote).unzip();
    let api = map.get("api").and_then(|field| field.parse(notify::url));
    let project = map.get("project").and_then(|field| field.parse(repository)).or(project);
    let read = PullRequestSettings {
        provider: provider?,
        api: api.or_else(|| host.and_then(|host| default_api(provider?, &host))).unwrap_or_default(),
        project: project.unwrap_or_default(),
        token_file: path_of(&map, "token_file").or_else(|| settings.token_file.clone()),
        ca_file: path_of(&map, "ca_file").or_else(|| settings.ca_file.clone()),
    };
    map.done();
    if read.provider != Provider::GitLabPushOptions {
        for (missing, key) in [
            (read.api.is_empty(), "api"),
            (read.project.is_empty(), "project"),
            (read.token_file.is_none(), "token_file"),
        ] {
            if missing {
                field.wrong(format!("`{key}` is missing"), "it does not follow from the remote");
            }
        }
    }
    Some(read)
}

fn default_api(provider: Provider, host: &str) -> Option<String> {
    Some(match provider {
        Provider::GitHub if host == "github.com" => "https://api.github.com".to_owned(),
        Provider::GitHub => format!("https://{host}/api/v3"),
        Provider::GitLab => format!("https://{host}/api/v4"),
        Provider::Gitea => format!("https://{host}/api/v1"),
        Provider::GitLabPushOptions => return None,
    })
}

fn repository(text: &str) -> Result<String, String> {
    let good = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            && part != ".."
    };
    if text.split('/').count() >= 2 && text.split('/').all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a repository; write owner/name"))
    }
}

/// Host and repository of a remote: `git@host:owner/name.git`, `ssh://git@host/owner/name`, `https://host/owner/name.git`.
pub(super) fn place(remote: &str) -> Option<(String, String)> {
    let (host, path) = match remote.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?,
        None => remote.split_once(':')?,
    };
    let host = host.rsplit('@').next()?.split(':').next()?;
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    Some((host.to_owned(), repository(path).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    fn read(remote: &str, more: &str) -> Result<PullRequestSettings, Vec<String>> {
        let text = format!("git:\n  remote: '{remote}'\n  mode: pull_request\n  token_file: /t\n{more}");
        match Settings::read(&text, &[]) {
            Ok(settings) => Ok(settings.git.unwrap().pull_request.unwrap()),
            Err(problems) => Err(problems.iter().map(|p| format!("{}: {}", p.path, p.what)).collect()),
        }
    }

    #[test]
    fn what_follows_from_the_remote_need_not_be_said() {
        for (remote, provider, api, project) in [
            ("git@github.com:ml/models.git", "github", "https://api.github.com", "ml/models"),
            ("https://git.example/ml/models", "github", "https://git.example/api/v3", "ml/models"),
            ("ssh://git@git.example:2222/ml/deep/models.git", "gitlab", "https://git.example/api/v4", "ml/deep/models"),
            ("https://git.example/ml/models.git", "gitea", "https://git.example/api/v1", "ml/models"),
        ] {
            let read = read(remote, &format!("  pull_request: {{ provider: {provider} }}\n")).unwrap();
            assert_eq!((read.api.as_str(), read.project.as_str()), (api, project), "{remote}");
            assert_eq!(read.token_file, Some("/t".into()));
        }
        assert!(read("/srv/models.git", "  pull_request: { provider: gitlab_push_options }\n").is_ok());
        let local = read("/srv/models.git", "  pull_request: { provider: gitea }\n").unwrap_err();
        assert_eq!(local, ["git.pull_request: `api` is missing", "git.pull_request: `project` is missing"]);
        assert_eq!(read("git@h:a/b", "").unwrap_err(), ["git: it is not said how pull requests are made"]);
        let odd = read("git@h:a/b", "  pull_request: { provider: gitae, project: x }\n").unwrap_err();
        assert_eq!(odd.len(), 2, "{odd:?}");
    }
}
