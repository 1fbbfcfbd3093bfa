//! An endpoint of the canary that is not like the canary's others, as plain data.

use super::{Part, Signal};
use crate::core::stats::{histogram::ms_at, siblings::Sibling};

/// One of the canary's endpoints that is worse than its others, window after window. It is no evidence against the canary.
#[derive(Clone, PartialEq, Debug)]
pub struct EndpointEvidence {
    /// Its place in the tallies; in a recording by the order in which they came.
    pub endpoint: u16,
    /// Its address, once somebody who knows has filled it in.
    pub address: Box<str>,
    /// On which signal.
    pub signal: Signal,
    /// What is looked at.
    pub part: Part,
    /// Its error rate, or milliseconds at the part's quantile, of late.
    pub value: f64,
    /// The same of the canary's others.
    pub others: f64,
    /// Natural log of the e-value against "it is like the others".
    pub log_e: f64,
    /// Where that is enough to name it.
    pub log_e_at: f64,
}

impl EndpointEvidence {
    pub(super) fn new(signal: Signal, part: Part, one: Sibling, log_e_at: f64) -> Self {
        // Latencies are compared by their buckets.
        let shown = |value: f64| if part == Part::Rate { value } else { ms_at(value) };
        let (value, others) = (shown(one.value), shown(one.others));
        let Sibling { endpoint, log_e, .. } = one;
        Self { endpoint, address: Box::default(), signal, part, value, others, log_e, log_e_at }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        if self.address.is_empty() { format!("number {}", self.endpoint) } else { self.address.to_string() }
    }

    /// For people: `endpoint 10.0.0.7:8080 fails 100 % of its requests, the canary's others 0 %`.
    #[must_use]
    pub fn line(&self) -> String {
        let (name, value, others) = (self.name(), self.value, self.others);
        if self.part == Part::Rate {
            let (value, others) = (value * 100.0, others * 100.0);
            return format!("endpoint {name} fails {value:.1} % of its requests, the canary's others {others:.1} %");
        }
        let part = self.part.as_str().replace('_', " ");
        format!("endpoint {name} takes {value:.1} ms ({part}), the canary's others {others:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::Quantile;

    #[test]
    fn an_endpoint_is_told_in_a_line() {
        let one = |value, others| Sibling { endpoint: 3, log_e: 14.0, value, others, is_apart: true };
        let mut errors = EndpointEvidence::new(Signal::Errors, Part::Rate, one(1.0, 0.002), 10.0);
        assert_eq!(errors.line(), "endpoint number 3 fails 100.0 % of its requests, the canary's others 0.2 %");
        errors.address = "10.0.0.7:8080".into();
        assert!(errors.line().starts_with("endpoint 10.0.0.7:8080 fails"));
        let slow = EndpointEvidence::new(Signal::Latency, Part::Answer(Quantile::P90), one(112.0, 96.0), 10.0);
        assert_eq!(slow.line(), "endpoint number 3 takes 128.0 ms (answer p90), the canary's others 64.0 ms");
    }
}
