//! Where routes come from, and the Kubernetes around: the ConfigMap that is watched, the Argo CD Application that is told.

use super::{path_of, text_of};
use crate::config::fields::{Field, Map};
use std::path::PathBuf;

/// Longest name of an object.
const NAME_CHARS_MAX: usize = 253;

/// Exactly one per process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SourceKind {
    /// The file (or mounted ConfigMap) that `routes` names.
    #[default]
    File,
    /// The ConfigMap that `kubernetes` names, watched through the API.
    Kubernetes,
    /// The branch that `git` names, polled.
    Git,
}

/// How to get to the Kubernetes API, and to which ConfigMap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KubernetesSettings {
    /// Missing: `KUBECONFIG`, `~/.kube/config`, or the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Missing: that of the pod, or of the kubeconfig's context.
    pub namespace: Option<String>,
    /// The ConfigMap of the routes.
    pub config_map: Option<String>,
    /// The key in it. Default `routes.yaml`.
    pub key: String,
}

/// The Application that delivers the branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArgoSettings {
    /// Its name.
    pub application: String,
    /// Where it is. Default `argocd`.
    pub namespace: String,
}

pub(super) fn read(field: &Field<'_>) -> Option<KubernetesSettings> {
    let map = field.map()?;
    let settings = KubernetesSettings {
        kubeconfig: path_of(&map, "kubeconfig"),
        namespace: map.get("namespace").and_then(|field| field.parse(name)),
        config_map: map.get("config_map").and_then(|field| field.parse(name)),
        key: text_of(&map, "key").unwrap_or_else(|| "routes.yaml".to_owned()),
    };
    map.done();
    Some(settings)
}

pub(super) fn argo(field: &Field<'_>) -> Option<ArgoSettings> {
    let map = field.map()?;
    let application = map.need("application", "the one that delivers the branch").and_then(|field| field.parse(name));
    let namespace = map.or("namespace", "argocd".to_owned(), name);
    map.done();
    Some(ArgoSettings { application: application?, namespace })
}

/// The word, and whether what it needs is there.
pub(super) fn source(map: &Map<'_>, config_map: bool, git: bool) -> SourceKind {
    let words = [("file", SourceKind::File), ("kubernetes", SourceKind::Kubernetes), ("git", SourceKind::Git)];
    let Some(field) = map.get("source") else { return SourceKind::default() };
    let kind = field.word(&words).unwrap_or_default();
    match kind {
        SourceKind::Kubernetes if !config_map => {
            field.wrong("no ConfigMap is named", "say which one, as kubernetes.config_map");
        }
        SourceKind::Git if !git => field.wrong("no repository is named", "say which one, as git.remote"),
        SourceKind::File | SourceKind::Kubernetes | SourceKind::Git => {}
    }
    kind
}

fn name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let ends = text.starts_with(['-', '.']) || text.ends_with(['-', '.']);
    if text.len() > NAME_CHARS_MAX || ends || !text.chars().all(good) {
        return Err(format!("`{text}` is not a name that Kubernetes takes; lower-case letters, digits, `-` and `.`"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    #[test]
    fn one_source_and_what_it_needs() {
        let kind = |text: &str| {
            Settings::read(text, &[])
                .map(|settings| settings.source)
                .map_err(|problems| problems.iter().map(|problem| problem.one_line("s")).collect::<Vec<_>>().join("\n"))
        };
        assert_eq!(kind(""), Ok(SourceKind::File));
        assert_eq!(kind("source: kubernetes\nkubernetes: { config_map: routes }"), Ok(SourceKind::Kubernetes));
        assert_eq!(kind("source: git\ngit: { remote: 'ssh://git.example/x' }"), Ok(SourceKind::Git));
        let refused = |text: &str, part: &str| {
            let why = kind(text).expect_err(text);
            assert!(why.contains(part), "{text}: {why}");
        };
        refused("source: kubernetes", "s:1:9: source: no ConfigMap is named; say which one, as kubernetes.config_map");
        refused("source: git", "no repository is named");
        refused("source: kubernets\nkubernetes: { config_map: routes }", "did you mean `kubernetes`");
        refused("kubernetes: { config_map: Routes }", "`Routes` is not a name that Kubernetes takes");
        refused("argocd: { namespace: argocd }", "`application` is missing");
    }
}
