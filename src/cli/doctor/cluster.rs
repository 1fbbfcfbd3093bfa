//! The Kubernetes API: the ConfigMap of the routes, the rights to it, its clock, and the Argo CD Application.

use super::{Finding, argo, places::compiled};
use crate::{
    app::{application, kubernetes_access},
    config::settings::{Settings, SourceKind},
    io::{
        clock,
        kube::{Cluster, KubeError, What},
    },
};

/// Clocks that differ by more mislead deadlines and tickets.
const SKEW_MS_MAX: u64 = 5_000;

pub(super) async fn examine(settings: &Settings, tip: Option<&str>, findings: &mut Vec<Finding>) {
    let watched = settings.kubernetes.config_map.as_deref().filter(|_| settings.source == SourceKind::Kubernetes);
    if watched.is_none() && settings.argo.is_none() {
        return;
    }
    let cluster = match Cluster::connect(&kubernetes_access(settings)).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let next = "name a kubeconfig as `kubernetes.kubeconfig`, or run in a pod with a service account";
            findings.push(Finding::fail("kubernetes", error.to_string(), next));
            return;
        }
    };
    match cluster.clock_ms().await {
        Ok(there_ms) => findings.push(skew(there_ms, clock::now().wall_ms)),
        Err(error) => {
            findings.push(Finding::fail("kubernetes", error.to_string(), "can this machine reach the API server?"));
            return;
        }
    }
    if let Some(name) = watched {
        routes(&cluster, name, &settings.kubernetes.key, findings).await;
    }
    if let Some(application) = application(settings) {
        let may = What { group: "argoproj.io", resource: "applications", namespace: &application.namespace };
        findings.push(match cluster.may("patch", &may, &application.name).await {
            Ok(true) => Finding::ok("argo refresh", format!("{} may be annotated", application.name)),
            Ok(false) => Finding::fail(
                "argo refresh",
                format!("{} may not be annotated: commits wait for Argo CD's polling", application.name),
                "grant `patch` on this one Application, as the chart does with `argocd.application`",
            ),
            Err(error) => Finding::warn("argo refresh", error.to_string(), "ask again"),
        });
        findings.extend(match cluster.application(&application).await {
            Ok(object) => {
                let ours = argo::Ours {
                    git: settings.git.as_ref(),
                    config_map: watched,
                    tip,
                    now_ms: i64::try_from(clock::now().wall_ms).unwrap_or(i64::MAX),
                };
                argo::examine(&object, &ours)
            }
            Err(KubeError::Missing(_)) => {
                let what = format!("there is no Application {} in {}", application.name, application.namespace);
                vec![Finding::fail("argo app", what, "set `argocd.application` and `argocd.namespace`, or apply it")]
            }
            Err(KubeError::Denied(_)) => {
                let what =
                    format!("{} may not be read with these rights, which `serve` does not need", application.name);
                vec![Finding::warn("argo app", what, "run this with a kubeconfig that may `get` it")]
            }
            Err(error) => vec![Finding::warn("argo app", error.to_string(), "ask again")],
        });
    }
}

fn skew(there_ms: u64, here_ms: u64) -> Finding {
    // Dates on the wire have whole seconds.
    let apart_ms = there_ms.abs_diff(here_ms).saturating_sub(1_000);
    if apart_ms > SKEW_MS_MAX {
        let what = format!("the API server's clock is {} s from this one", apart_ms / 1000);
        return Finding::warn("kubernetes clock", what, "set both by NTP");
    }
    Finding::ok("kubernetes clock", "the API server's is this one")
}

async fn routes(cluster: &Cluster, name: &str, key: &str, findings: &mut Vec<Finding>) {
    const CHECK: &str = "configmap";
    let place = format!("{}/{name}", cluster.namespace());
    let grant = "grant `get` and `watch` on this one ConfigMap, as the chart does";
    let what = What { group: "", resource: "configmaps", namespace: cluster.namespace() };
    if let Ok(false) = cluster.may("watch", &what, name).await {
        findings.push(Finding::fail(CHECK, format!("{place} may not be watched"), grant));
    }
    findings.push(match cluster.config_map(name).await {
        Ok(None) => {
            Finding::fail(CHECK, format!("{place} is not there"), "has Argo CD synced it, and into this namespace?")
        }
        Ok(Some(data)) => match data.get(key) {
            Some(text) => compiled(CHECK, &place, text),
            None => {
                let keys = data.keys().cloned().collect::<Vec<_>>().join(", ");
                let what = format!("{place} has no key `{key}`; it has {keys}");
                Finding::fail(CHECK, what, "set `kubernetes.key`")
            }
        },
        Err(KubeError::Denied(why)) => Finding::fail(CHECK, why, grant),
        Err(error) => Finding::fail(CHECK, error.to_string(), "can this machine reach the API server?"),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn a_clock_may_differ_by_what_a_date_cannot_say() {
        assert_eq!(skew(100_000, 105_900).level, Level::Ok);
        let apart = skew(190_000, 100_000);
        assert_eq!((apart.level, apart.what.as_str()), (Level::Warn, "the API server's clock is 89 s from this one"));
    }
}
