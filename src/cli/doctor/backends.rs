//! The backends of the routes: whether this machine can reach them, and whether they are ready.

use super::Finding;
use crate::{
    app::Tls,
    config::{
        self,
        settings::{Settings, SourceKind},
    },
    core::{
        clamp::Clamps,
        snapshot::Snapshot,
        split::Weight,
        variant::{Address, Backend, Variant},
    },
    io::directory::{Probed, Trouble, probe},
};
use std::{fs, sync::Arc, time::Duration};

const CHECK: &str = "backends";
/// Longest time of one look-up, and of one question.
const LIMIT: Duration = Duration::from_secs(5);

/// `branch` is the routes file at the tip of the branch, if it could be read: the one that counts where none is mounted.
pub(super) async fn examine(settings: &Settings, branch: Option<&str>) -> Vec<Finding> {
    let Some(snapshot) = routes(settings, branch) else { return Vec::new() };
    let tls = match Tls::load(settings, &Arc::default()) {
        Ok(tls) => tls.client,
        Err(error) => {
            let next = "are the certificates, keys and authorities mounted, and in PEM?";
            return vec![Finding::fail("tls", format!("{error:#}"), next)];
        }
    };
    let (mut findings, mut good) = (Vec::new(), 0);
    for (backend, names, needed) in backends(&snapshot) {
        match judged(&backend, probe(&backend, &tls, LIMIT).await) {
            None => good += 1,
            Some((what, trouble, some)) => {
                let (what, next) = (format!("{backend} ({names}) {what}"), next_step(&trouble));
                // Staged ones may still be on their way.
                let finding = if some || !needed { Finding::warn } else { Finding::fail };
                findings.push(finding(CHECK, what, next));
            }
        }
    }
    if findings.is_empty() {
        let what = format!("{good} backend(s) of {} route(s) take requests from here", snapshot.routes.len());
        findings.push(Finding::ok(CHECK, what));
    }
    findings
}

fn routes(settings: &Settings, branch: Option<&str>) -> Option<Snapshot> {
    let mounted = settings.routes.as_ref().filter(|_| settings.source == SourceKind::File);
    let mounted = mounted.map(|path| if path.is_dir() { path.join("routes.yaml") } else { path.clone() });
    let text = mounted.and_then(|file| fs::read_to_string(file).ok()).or_else(|| branch.map(str::to_owned))?;
    config::read(&text, &Clamps::default()).ok().map(|(snapshot, _)| snapshot)
}

/// Each backend once, with who uses it, and whether anybody gives it traffic.
fn backends(snapshot: &Snapshot) -> Vec<(Backend, String, bool)> {
    let mut all: Vec<(Backend, String, bool)> = Vec::new();
    for (route, variant) in snapshot.routes.iter().flat_map(|route| route.variants.iter().map(move |v| (route, v))) {
        let (name, needed) = (format!("{} {}", route.name, variant.name), served(variant));
        match all.iter_mut().find(|(backend, ..)| *backend == variant.backend) {
            Some((_, names, of)) => {
                names.push_str(&format!(", {name}"));
                *of |= needed;
            }
            None => all.push((variant.backend.clone(), name, needed)),
        }
    }
    all
}

fn served(variant: &Variant) -> bool {
    variant.said > Weight::ZERO
}

/// What is wrong, the first trouble, and whether other addresses take requests; `None` if nothing is.
fn judged(backend: &Backend, asked: Result<Probed, Trouble>) -> Option<(String, Trouble, bool)> {
    let asked = match asked {
        Ok(asked) => asked,
        Err(trouble) => return Some((format!("has no address: {trouble}"), trouble, false)),
    };
    let all = asked.len();
    let mut bad = asked.into_iter().filter_map(|(address, told)| Some((address, told.err()?)));
    let (address, trouble) = bad.next()?;
    match 1 + bad.count() {
        bad if bad == all => Some((format!("takes no requests: {trouble}"), trouble, false)),
        // It may be two addresses while a server listens on one of them.
        _ if matches!(&backend.address, Address::Tcp { host, .. } if &**host == "localhost") => None,
        bad => Some((format!("has {all} addresses, and {bad} take no requests: {address}: {trouble}"), trouble, true)),
    }
}

fn next_step(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Name(_) => "is the name right, and does this machine's resolver know it?",
        Trouble::Connection(_) => "is it running, is the port right, and may this machine reach it?",
        Trouble::Tls(_) => {
            "is `backend_tls.ca_file` who vouches for it, and `server_name` the name in its certificate?"
        }
        Trouble::NotReady(_) => "is it still loading, or is the `readiness` path another one? its log says",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{core::variant::Wire, io::directory::EndpointAddress};

    #[test]
    fn one_of_two_addresses_is_a_warning_unless_it_is_this_machine_under_two_names() {
        let at = |host: &str| Backend {
            address: Address::Tcp { host: host.into(), port: 80 },
            wire: Wire::Http1,
            readiness: None,
        };
        let address = |n: u8| EndpointAddress::Tcp(([10, 0, 0, n], 80).into());
        let refused = || Err(Trouble::Connection("refused".into()));
        let told = |host: &str, asked: Probed| judged(&at(host), Ok(asked)).map(|(what, _, some)| (what, some));
        assert_eq!(told("m", vec![(address(1), Ok(())), (address(2), Ok(()))]), None);
        let one = vec![(address(1), Ok(())), (address(2), refused())];
        let words = "has 2 addresses, and 1 take no requests: 10.0.0.2:80: refused".to_owned();
        assert_eq!(told("m", one.clone()), Some((words, true)));
        assert_eq!(told("localhost", one), None);
        let none = vec![(address(1), refused()), (address(2), refused())];
        assert_eq!(told("localhost", none), Some(("takes no requests: refused".into(), false)));
        let nowhere = judged(&at("m"), Err(Trouble::Name("unknown".into())));
        assert_eq!(nowhere.unwrap().0, "has no address: unknown");
    }
}
