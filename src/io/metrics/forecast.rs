//! What a release still needs. A gauge that cannot be told is not there.

use super::Page;
use crate::core::{
    forecast::running::forecast,
    judge::{Judgement, Verdict},
};

impl Page {
    pub(super) fn ahead(&mut self, judgement: &Judgement) {
        if matches!(judgement.verdict, Verdict::Fail(_)) {
            return;
        }
        let (route, told) = (judgement.route.as_str(), forecast(judgement));
        if let Some(seconds) = told.pass_seconds.half {
            let help =
                "Seconds in which half of the canaries like stable have passed every signal, at the pace so far.";
            self.gauge(("coalmine_forecast_pass_seconds", help), &[("route", route)], seconds);
        }
        for of in told.signals {
            let help =
                "More canary requests, labels or pairs in which half of the canaries like stable pass the signal.";
            let labels = [("route", route), ("signal", of.signal.as_str()), ("unit", of.unit)];
            if let Some(exposures) = of.pass.exposures.half {
                self.gauge(("coalmine_forecast_needed", help), &labels, exposures);
            }
        }
    }
}
