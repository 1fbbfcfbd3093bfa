//! How routes come to us, and whom we tell of what.

use super::Page;
use crate::io::meters::{KUBE_FAILURES, Meters};

impl Page {
    pub(super) fn delivery(&mut self, meters: &Meters) {
        for (reason, meter) in KUBE_FAILURES.iter().zip(&meters.watch_failures) {
            let name = ("coalmine_watch_failures_total", "Interruptions of watching the ConfigMap of the routes.");
            self.count(name, &[("reason", reason)], meter.get());
        }
        let name = ("coalmine_refresh_total", "Times that Argo CD was to be asked to look at Git.");
        self.count(name, &[("result", "asked")], meters.refreshes.get());
        for (reason, meter) in KUBE_FAILURES.iter().zip(&meters.refresh_failures) {
            self.count(name, &[("result", reason)], meter.get());
        }
        for (result, meter) in [("told", &meters.registry_told), ("failed", &meters.registry_failures)] {
            let name = ("coalmine_registry_total", "Promotions and rollbacks for the model registry.");
            self.count(name, &[("result", result)], meter.get());
        }
        for (result, meter) in
            [("sent", &meters.notices_sent), ("failed", &meters.notices_failed), ("dropped", &meters.notices_dropped)]
        {
            self.count(("coalmine_notices_total", "Notifications for hooks."), &[("result", result)], meter.get());
        }
    }
}
