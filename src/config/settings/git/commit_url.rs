//! Where people may look at a commit: said, or what follows from the remote where its host or the provider says enough.

use super::{GitSettings, Provider, pull_request::place};
use crate::{
    config::{fields::Map, settings::notify},
    core::history::COMMIT,
};

pub(super) fn of(git: &Map<'_>, settings: &GitSettings) -> Option<String> {
    let said = git.get("commit_url").map(|field| field.parse(template));
    said.unwrap_or_else(|| derived(settings))
}

fn template(text: &str) -> Result<String, String> {
    let (before, _) = text.split_once(COMMIT).ok_or_else(|| format!("`{text}` does not say where {COMMIT} stands"))?;
    notify::url(before)?;
    Ok(text.to_owned())
}

/// `/commit/` of GitHub, Gitea and Forgejo, `/-/commit/` of GitLab. Over another port than the web's nothing follows, but for a remote
/// that is on the web itself.
fn derived(settings: &GitSettings) -> Option<String> {
    let (host, project) = place(&settings.remote)?;
    let host_says = |words: &[&str]| words.iter().any(|word| host.split('.').any(|part| part == *word));
    let is_gitlab = match settings.pull_request.as_ref().map(|of| of.provider) {
        Some(Provider::GitLab | Provider::GitLabPushOptions) => true,
        Some(Provider::GitHub | Provider::Gitea) => false,
        None if host_says(&["gitlab"]) => true,
        None if host_says(&["github", "gitea", "forgejo", "codeberg"]) => false,
        None => return None,
    };
    let (scheme, authority) = match settings.remote.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest.split('/').next()?.rsplit('@').next()?),
        _ => ("https", host.as_str()),
    };
    let way = if is_gitlab { "-/commit" } else { "commit" };
    Some(format!("{scheme}://{authority}/{project}/{way}/{COMMIT}"))
}

#[cfg(test)]
mod tests {
    use crate::config::settings::Settings;

    fn read(remote: &str, more: &str) -> Result<Option<String>, String> {
        let text = format!("git:\n  remote: '{remote}'\n  token_file: /t\n{more}");
        let settings = Settings::read(&text, &[]);
        settings.map(|settings| settings.git.unwrap().commit_url).map_err(|problems| problems[0].what.clone())
    }

    #[test]
    fn it_follows_from_remotes_that_say_enough_and_else_is_said() {
        for (remote, url) in [
            ("git@github.com:ml/models.git", Some("https://github.com/ml/models/commit/{commit}")),
            ("https://bot@github.com/ml/models", Some("https://github.com/ml/models/commit/{commit}")),
            ("ssh://git@gitlab.example:2222/a/b/c.git", Some("https://gitlab.example/a/b/c/-/commit/{commit}")),
            ("http://gitea.example:3000/ml/models.git", Some("http://gitea.example:3000/ml/models/commit/{commit}")),
            ("https://codeberg.org/ml/models.git", Some("https://codeberg.org/ml/models/commit/{commit}")),
            ("https://git.example/ml/models.git", None),
            ("/srv/github/models.git", None),
            ("file:///srv/models.git", None),
        ] {
            assert_eq!(read(remote, "").unwrap().as_deref(), url, "{remote}");
        }
        let provider = "  mode: pull_request\n  pull_request: { provider: gitlab }\n";
        let of_provider = read("git@git.example:ml/models.git", provider).unwrap();
        assert_eq!(of_provider.as_deref(), Some("https://git.example/ml/models/-/commit/{commit}"));
        let said =
            read("/srv/models.git", "  commit_url: 'https://cgit.example/models/commit/?id={commit}'\n").unwrap();
        assert_eq!(said.as_deref(), Some("https://cgit.example/models/commit/?id={commit}"));
        for (wrong, why) in [
            ("https://git.example/commits", "does not say where {commit} stands"),
            ("javascript:alert({commit})", "is not a url"),
            ("https://a:b@git.example/{commit}", "a user or a password"),
        ] {
            let told = read("/srv/models.git", &format!("  commit_url: '{wrong}'\n")).unwrap_err();
            assert!(told.contains(why), "{wrong}: {told}");
        }
    }
}
