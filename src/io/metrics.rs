//! Tallies, verdicts and meters in the Prometheus text format. Reads the very cells that the judge reads.

mod delivery;
mod forecast;
mod judge;

use super::meters::{FEEDBACK_RESULTS, Lookup, Meters, Refusal};
use crate::core::{
    judge::Judgement,
    name::RouteName,
    release::{Alert, State},
    route::Route,
    snapshot::Live,
    stats::histogram::Histogram,
    status::{ConfigStatus, ReleaseStatus},
    tally::{Finish, Outcome, Reading},
    variant::Variant,
};
use prometheus::{
    TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram as HistogramProto, LabelPair, Metric, MetricFamily, MetricType},
};
use std::collections::BTreeMap;

/// Exposed bounds of latency histograms: every octave, 2^-3 to 2^17 ms.
const OCTAVES: std::ops::RangeInclusive<i32> = -3..=17;

/// Everything, as text.
///
/// # Errors
/// What the encoder says.
pub fn render(
    live: &Live,
    config: &ConfigStatus,
    judgements: &BTreeMap<RouteName, Judgement>,
    releases: &BTreeMap<RouteName, ReleaseStatus>,
    meters: &Meters,
) -> Result<String, String> {
    let mut page = Page::default();
    page.traffic(live);
    page.judge(judgements);
    page.releases(releases);
    page.config(config);
    page.meters(meters);
    let mut families: Vec<MetricFamily> = page.families.into_values().collect();
    families.extend(prometheus::gather());
    TextEncoder::new().encode_to_string(&families).map_err(|error| error.to_string())
}

#[derive(Default)]
struct Page {
    families: BTreeMap<&'static str, MetricFamily>,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

#[allow(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
impl Page {
    fn add(&mut self, (name, help): (&'static str, &str), kind: MetricType, labels: Labels<'_>, mut metric: Metric) {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        metric.set_label(labels.iter().map(pair).collect());
        let family = self.families.entry(name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }

    fn count(&mut self, name: (&'static str, &str), labels: Labels<'_>, value: u64) {
        let (mut metric, mut counter) = (Metric::default(), Counter::default());
        counter.set_value(value as f64);
        metric.set_counter(counter);
        self.add(name, MetricType::COUNTER, labels, metric);
    }

    fn gauge(&mut self, name: (&'static str, &str), labels: Labels<'_>, value: f64) {
        let (mut metric, mut gauge) = (Metric::default(), Gauge::default());
        gauge.set_value(value);
        metric.set_gauge(gauge);
        self.add(name, MetricType::GAUGE, labels, metric);
    }

    fn histogram(&mut self, name: (&'static str, &str), labels: Labels<'_>, (counts, sum_us): (&Histogram, u64)) {
        let bucket = |octave: i32| {
            let below = counts.iter().filter(|(b, _)| *b <= octave * 16).map(|(_, n)| n).sum();
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(f64::from(octave).exp2() / 1e3);
            bucket.set_cumulative_count(below);
            bucket
        };
        let mut histogram = HistogramProto::default();
        histogram.set_sample_count(counts.total());
        histogram.set_sample_sum(sum_us as f64 / 1e6);
        histogram.set_bucket(OCTAVES.map(bucket).collect());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.add(name, MetricType::HISTOGRAM, labels, metric);
    }

    fn traffic(&mut self, live: &Live) {
        for (position, route) in live.snapshot.routes.iter().enumerate() {
            for (index, variant) in route.variants.iter().enumerate() {
                if let Some(tally) = live.board.tally(position, index) {
                    let seen = tally.read();
                    self.variant(route, variant, &seen);
                    let names = names(route, variant);
                    self.judged(&names, route.sticky.is_some(), &seen, tally);
                }
            }
        }
    }

    fn variant(&mut self, route: &Route, variant: &Variant, seen: &Reading) {
        let names = names(route, variant);
        let with = |key, value| [names[0], names[1], names[2], (key, value)];
        for (outcome, n) in Outcome::ALL.iter().zip(seen.outcomes) {
            let name = ("coalmine_requests_total", "Requests drawn for a variant, by how its own attempt ended.");
            self.count(name, &with("outcome", outcome.as_str()), n);
        }
        let name = ("coalmine_request_duration_seconds", "Latency of whole answers that were successes.");
        self.histogram(name, &names, (&seen.latency, seen.latency_sum_us));
        let name = ("coalmine_first_byte_seconds", "Time to the first byte of the answer.");
        self.histogram(name, &names, (&seen.first_byte, seen.first_byte_sum_us));
        for (name, value) in [
            (("coalmine_pinned_total", "Requests forced to a variant; judged by nobody."), seen.pinned),
            (("coalmine_fallback_total", "Requests of a failed variant that stable answered."), seen.saved_by_fallback),
            (("coalmine_labels_total", "Labels that counted."), seen.labelled),
            (("coalmine_request_body_bytes_total", "Request body bytes sent to the backend."), seen.bytes_in),
            (("coalmine_response_body_bytes_total", "Response body bytes sent to callers."), seen.bytes_out),
        ] {
            self.count(name, &names, value);
        }
        let name = ("coalmine_labels_wrong_sum", "What the labels' answers lacked to right: 1 for a wrong one.");
        self.gauge(name, &names, seen.wrong_micro as f64 / 1e6);
        self.gauge(("coalmine_in_flight", "Requests in flight."), &names, seen.in_flight as f64);
        self.generation(&names, seen);
        for (kind, weight) in [("said", variant.said), ("effective", variant.effective)] {
            let name = ("coalmine_variant_weight_ratio", "Share of traffic: as the file says, and after clamps.");
            self.gauge(name, &with("kind", kind), weight.fraction());
        }
    }

    /// What only routes with generated answers or shadows have: left out where nothing happened, so that series stay few.
    fn generation(&mut self, names: &[(&str, &str); 3], seen: &Reading) {
        let with = |key, value| [names[0], names[1], names[2], (key, value)];
        for (name, timed) in [
            (("coalmine_first_token_seconds", "Time to the first content of a successful stream."), &seen.first_token),
            (("coalmine_token_gap_seconds", "Time between two pieces of a stream's content."), &seen.token_gap),
        ] {
            if timed.counts.total() > 0 {
                self.histogram(name, names, (&timed.counts, timed.sum_us));
            }
        }
        if seen.tokens > 0 {
            self.count(("coalmine_tokens_total", "Tokens generated, as far as told."), names, seen.tokens);
        }
        if seen.empty_answers > 0 {
            let name = ("coalmine_empty_answers_total", "Generated answers without any content.");
            self.count(name, names, seen.empty_answers);
        }
        if seen.finishes.iter().any(|n| *n > 0) {
            for (finish, n) in Finish::ALL.iter().zip(seen.finishes) {
                let name = ("coalmine_stream_finish_total", "Generated answers, streamed or not, by why they ended.");
                self.count(name, &with("reason", finish.as_str()), n);
            }
        }
        let shadow = seen.shadow.labelled();
        if shadow.iter().any(|(_, n)| *n > 0) {
            for (result, n) in shadow {
                let name = ("coalmine_shadow_total", "Copies of requests for a shadow, by what became of them.");
                self.count(name, &with("result", result), n);
            }
        }
    }

    fn releases(&mut self, releases: &BTreeMap<RouteName, ReleaseStatus>) {
        for (route, release) in releases {
            for state in State::ALL {
                let is = if release.state == state { 1.0 } else { 0.0 };
                let name = ("coalmine_release_state", "1 for the state that the route's release is in.");
                self.gauge(name, &[("route", route.as_str()), ("state", state)], is);
            }
            for alert in Alert::ALL {
                let is = if release.alerts.contains(&alert) { 1.0 } else { 0.0 };
                let name = ("coalmine_release_alert", "1: a person should know of this.");
                self.gauge(name, &[("route", route.as_str()), ("alert", alert.as_str())], is);
            }
            if let Some(one) = &release.by_hand {
                let name = ("coalmine_weight_by_hand_ratio", "The candidate's weight while a person has set it.");
                self.gauge(name, &[("route", route.as_str())], one.weight.fraction());
                let name = ("coalmine_weight_by_hand_until_seconds", "When that ends, seconds since 1970 UTC.");
                self.gauge(name, &[("route", route.as_str())], one.until.wall_ms as f64 / 1000.0);
            }
            let blocked = if release.alerts.contains(&Alert::WriteBlocked) { 1.0 } else { 0.0 };
            let name = ("coalmine_git_write_blocked", "1: a commit does not reach the branch.");
            self.gauge(name, &[("route", route.as_str())], blocked);
            let waits = if release.waits_for.is_some() { 1.0 } else { 0.0 };
            let name = ("coalmine_git_waits_for_people", "1: people are asked to merge a commit.");
            self.gauge(name, &[("route", route.as_str())], waits);
        }
    }

    fn config(&mut self, config: &ConfigStatus) {
        let valid = if config.problems.is_empty() && config.generation.0 > 0 { 1.0 } else { 0.0 };
        self.gauge(("coalmine_config_valid", "1: the newest routes file is in force."), &[], valid);
        let generation = config.generation.0 as f64;
        self.gauge(("coalmine_config_generation", "Swaps of the routes so far."), &[], generation);
        for (result, n) in [("swapped", config.reloads), ("refused", config.refusals)] {
            self.count(("coalmine_config_reloads_total", "Routes files seen."), &[("result", result)], n);
        }
        let version = env!("CARGO_PKG_VERSION");
        self.gauge(("coalmine_build_info", "Which build this is."), &[("version", version)], 1.0);
    }

    fn meters(&mut self, meters: &Meters) {
        let open = meters.connections_open.get() as f64;
        self.gauge(("coalmine_connections_open", "Connections of callers, now."), &[], open);
        let parked = meters.connections_parked.get() as f64;
        self.gauge(("coalmine_connections_parked", "Kept connections that nobody uses, now."), &[], parked);
        for (result, meter) in [
            ("accepted", &meters.connections_accepted),
            ("refused", &meters.connections_refused),
            ("failed", &meters.accept_errors),
        ] {
            self.count(("coalmine_connections_total", "Connections of callers."), &[("result", result)], meter.get());
        }
        for (refusal, meter) in Refusal::ALL.iter().zip(&meters.refusals) {
            let name = ("coalmine_refusals_total", "Requests that we answered ourselves.");
            self.count(name, &[("reason", refusal.as_str())], meter.get());
        }
        for (result, meter) in FEEDBACK_RESULTS.iter().zip(&meters.feedback) {
            self.count(("coalmine_feedback_total", "Labels sent, by result."), &[("result", result)], meter.get());
        }
        for (result, meter) in [("sent", &meters.resends), ("denied", &meters.resends_denied)] {
            let name = ("coalmine_resends_total", "Requests sent again after a kept connection broke.");
            self.count(name, &[("result", result)], meter.get());
        }
        for (result, meter) in
            [("pushed", &meters.git_commits), ("asked", &meters.git_asked), ("failed", &meters.git_failures)]
        {
            self.count(("coalmine_git_commits_total", "Commits of ours."), &[("result", result)], meter.get());
        }
        self.judge_meters(meters);
        self.delivery(meters);
        self.tls(meters);
        self.endpoints(meters);
        let open = meters.tunnels_open.get() as f64;
        self.gauge(("coalmine_tunnels_open", "Connections that have changed their protocol, now."), &[], open);
        let cut = meters.callers_cut.get();
        self.count(("coalmine_callers_cut_total", "Streams ended because their caller did not read."), &[], cut);
        let lost = meters.replays_lost.get();
        self.count(("coalmine_replays_lost_total", "Requests too large to be kept for sending again."), &[], lost);
        let limited = meters.admin_limited.get();
        self.count(
            ("coalmine_admin_limited_total", "Writes turned away because one address sent too many."),
            &[],
            limited,
        );
        let failures = meters.store_failures.get();
        self.count(("coalmine_store_failures_total", "State that could not be written down."), &[], failures);
        let denied = meters.admin_denied.get();
        self.count(("coalmine_admin_denied_total", "Admin requests turned away for want of rights."), &[], denied);
    }

    fn tls(&mut self, meters: &Meters) {
        for (result, meter) in [("swapped", &meters.tls_reloads), ("refused", &meters.tls_reload_failures)] {
            let name = ("coalmine_tls_reloads_total", "Certificates, keys and CAs that changed on disk.");
            self.count(name, &[("result", result)], meter.get());
        }
        let name = ("coalmine_tls_handshake_failures_total", "Connections of callers that ended before TLS stood.");
        self.count(name, &[], meters.tls_handshake_failures.get());
        for (side, meter) in [("callers", &meters.tls_expiry_callers), ("backends", &meters.tls_expiry_backends)] {
            let expires_s = meter.get();
            if expires_s > 0 {
                let name = (
                    "coalmine_tls_certificate_expiry_timestamp_seconds",
                    "When the first of the certificates shown to this side expires.",
                );
                self.gauge(name, &[("side", side)], expires_s as f64);
            }
        }
    }

    /// Without addresses as labels: these come and go with every rollout, and series must stay few.
    fn endpoints(&mut self, meters: &Meters) {
        for (state, meter) in [
            ("resolved", &meters.endpoints_resolved),
            ("ready", &meters.endpoints_ready),
            ("ejected", &meters.endpoints_ejected),
        ] {
            let name = ("coalmine_endpoints", "Addresses of all backends in use, now: known, ready, left out.");
            self.gauge(name, &[("state", state)], meter.get() as f64);
        }
        for (result, meter) in Lookup::ALL.iter().zip(&meters.lookups) {
            let name = ("coalmine_resolve_total", "Look-ups of backends' names.");
            self.count(name, &[("result", result.as_str())], meter.get());
        }
        let ejections = meters.ejections.get();
        self.count(("coalmine_ejections_total", "Endpoints left out for failures in a row."), &[], ejections);
        for (result, meter) in [("ready", &meters.checks_passed), ("failed", &meters.checks_failed)] {
            let name = ("coalmine_readiness_checks_total", "Checks whether an endpoint takes requests.");
            self.count(name, &[("result", result)], meter.get());
        }
    }
}

fn names<'a>(route: &'a Route, variant: &'a Variant) -> [(&'a str, &'a str); 3] {
    [("route", route.name.as_str()), ("variant", variant.name.as_str()), ("role", variant.role.as_str())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tally::{ShadowReading, Timed};

    #[test]
    fn no_series_stands_on_the_page_twice() {
        let none = (BTreeMap::default(), BTreeMap::default());
        let page = render(&Live::default(), &ConfigStatus::default(), &none.0, &none.1, &Meters::default()).unwrap();
        let series = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        let mut names: Vec<&str> = series.map(|(series, _)| series).collect();
        assert!(names.len() > 20, "{page}");
        names.sort_unstable();
        let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn routes_that_generate_nothing_have_no_series_for_it() {
        let names = [("route", "chat"), ("variant", "v2"), ("role", "canary")];
        let page = |seen: &Reading| {
            let mut page = Page::default();
            page.generation(&names, seen);
            let series = |(name, family): (_, MetricFamily)| (name, family.get_metric().len());
            page.families.into_iter().map(series).collect::<Vec<(&str, usize)>>()
        };
        assert_eq!(page(&Reading::default()), []);
        let mut timed = Timed { sum_us: 5, ..Timed::default() };
        timed.counts.add(3, 1);
        let seen = Reading {
            first_token: timed.clone(),
            token_gap: timed,
            tokens: 7,
            finishes: [1, 0, 0, 0, 0, 0],
            empty_answers: 1,
            shadow: ShadowReading { dropped: 1, ..ShadowReading::default() },
            ..Reading::default()
        };
        let wanted = [
            ("coalmine_empty_answers_total", 1),
            ("coalmine_first_token_seconds", 1),
            ("coalmine_shadow_total", 8),
            ("coalmine_stream_finish_total", 6),
            ("coalmine_token_gap_seconds", 1),
            ("coalmine_tokens_total", 1),
        ];
        assert_eq!(page(&seen), wanted);
    }
}
