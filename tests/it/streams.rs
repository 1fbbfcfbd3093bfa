//! Made-up recordings, the same for ever by their seed: what the judge is tried on, and what `config/streams` ships.

use coalmine::core::{
    replay::{Event, Label},
    split::siphash,
    stats::histogram::bucket_of_ms,
};

mod shipped;

/// A generator of its own (SplitMix64), so that an upgrade of a library never changes a stream.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub(super) fn draw(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.draw() < p
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.draw(), self.draw());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.draw()).ln()
    }
}

/// How both variants behave, and what happens around them. Everything is off by default.
#[derive(Clone)]
pub(super) struct World {
    pub(super) requests: usize,
    /// Requests a second.
    pub(super) rate: f64,
    /// Configured canary share from which request on: a ramp.
    pub(super) splits: Vec<(usize, f64)>,
    /// The odds that draws are really made with, over the configured ones.
    pub(super) odds: f64,
    /// Error rate of stable and canary.
    pub(super) errors: (f64, f64),
    /// Wrong answers of stable and canary.
    pub(super) wrong: (f64, f64),
    /// The canary's latency over stable's: all of it, and of its slowest 3 %.
    pub(super) slower: (f64, f64),
    /// The canary is worse from this request on; before, it is like stable.
    pub(super) from: usize,
    /// Share of requests that are labelled, right answers and wrong ones.
    pub(super) labelled: (f64, f64),
    pub(super) label_delay_ms: f64,
    /// Errors, wrong answers and latency of both swing by this share, once over the recording.
    pub(super) drift: f64,
    /// Now and then both fail and are slow for some seconds.
    pub(super) bursts: bool,
    /// The canary's first requests are slow.
    pub(super) cold: usize,
    /// Endpoints of each variant; 0: nobody says which one answered.
    pub(super) endpoints: usize,
    /// One endpoint of each variant fails half of its requests now and then, for some seconds: how often a minute.
    pub(super) spells: f64,
    /// Users, each with a variant of their own; 0: nobody says who asked.
    pub(super) users: usize,
    /// Everything fails for this user.
    pub(super) unlucky: Option<usize>,
    /// Answers are streamed, and their first token comes so much later from the canary; 0: they are not.
    pub(super) first_token: f64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            requests: 100_000,
            rate: 100.0,
            splits: vec![(0, 0.1)],
            odds: 1.0,
            errors: (0.001, 0.001),
            wrong: (0.05, 0.05),
            slower: (1.0, 1.0),
            from: 0,
            labelled: (0.2, 0.2),
            label_delay_ms: 60_000.0,
            drift: 0.0,
            bursts: false,
            cold: 0,
            endpoints: 0,
            spells: 0.0,
            users: 0,
            unlucky: None,
            first_token: 0.0,
        }
    }
}

/// One request as it stands in a recording; latencies as they are written there.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) t_ms: f64,
    pub(super) canary: bool,
    pub(super) latency_ms: f64,
    pub(super) ok: bool,
    /// Right or not, and when that was known.
    pub(super) label: Option<(bool, f64)>,
    pub(super) share: f64,
    pub(super) endpoint: Option<usize>,
    pub(super) user: Option<usize>,
    pub(super) first_token_ms: Option<f64>,
}

fn rounded(x: f64, digits: f64) -> f64 {
    (x * digits).round() / digits
}

impl World {
    /// Whether it says neither who answered, nor who asked, nor of tokens.
    fn is_plain(&self) -> bool {
        self.endpoints == 0 && self.users == 0 && self.first_token <= 0.0
    }

    /// A recording.
    pub(super) fn rows(&self, seed: u64) -> Vec<Row> {
        let mut dice = Dice::new(seed);
        let (mut t_ms, mut burst_until, mut canaries) = (0.0, 0.0, 0);
        let mut ill_until = [0.0; 2];
        let one = |index: usize| {
            t_ms += dice.exponential() * 1000.0 / self.rate;
            let share = self.splits.iter().rev().find(|(from, _)| *from <= index).map_or(0.0, |(_, share)| *share);
            let user = (self.users > 0).then(|| (dice.draw() * self.users as f64) as usize);
            let canary = match user {
                Some(user) => (user as f64) < share * self.users as f64,
                None => dice.chance(share * self.odds / (share * self.odds + 1.0 - share)),
            };
            canaries += usize::from(canary);
            let worse = canary && index >= self.from;
            let swing = 1.0 + self.drift * (std::f64::consts::TAU * index as f64 / self.requests as f64).sin();
            if self.bursts && dice.chance(0.0005) {
                burst_until = t_ms + 3000.0;
            }
            let burst = t_ms < burst_until;
            let of = |pair: (f64, f64)| if worse { pair.1 } else { pair.0 };
            let endpoint = (self.endpoints > 0).then(|| (dice.draw() * self.endpoints as f64) as usize);
            let ill = &mut ill_until[usize::from(canary)];
            if endpoint == Some(0) && dice.chance(self.spells * self.endpoints as f64 / (60.0 * self.rate * share)) {
                *ill = t_ms + 4000.0;
            }
            let ill = endpoint == Some(0) && t_ms < *ill;
            let unlucky = user.is_some() && user == self.unlucky;
            let errors = if ill { 0.5 } else { of(self.errors) * swing };
            let ok = !dice.chance(if burst { 0.2 } else { errors }) && !unlucky;
            let latency_ms = self.latency(&mut dice, worse) * swing * if burst { 3.0 } else { 1.0 };
            let cold = if canary && canaries <= self.cold { 5.0 } else { 1.0 };
            let right = !dice.chance(of(self.wrong) * swing);
            let told = dice.chance(if right { self.labelled.0 } else { self.labelled.1 });
            let known = t_ms + self.label_delay_ms * (0.5 + dice.draw());
            let label = (told && ok).then(|| (right, rounded(known, 1.0)));
            let first_token_ms = (self.first_token > 0.0).then(|| {
                let later = if worse { self.first_token } else { 1.0 };
                rounded(latency_ms * (0.1 + 0.1 * dice.draw()) * later, 100.0)
            });
            let (t_ms, latency_ms) = (rounded(t_ms, 10.0), rounded(latency_ms * cold, 100.0));
            Row { t_ms, canary, latency_ms, ok, label, share, endpoint, user, first_token_ms }
        };
        (0..self.requests).map(one).collect()
    }

    /// Some 20 ms, lognormal, with 2 % of stragglers that are Pareto.
    pub(super) fn latency(&self, dice: &mut Dice, worse: bool) -> f64 {
        let (all, tail) = if worse { self.slower } else { (1.0, 1.0) };
        let straggler = dice.chance(0.02);
        let body = 20.0 * (0.5 * dice.normal()).exp();
        // The slowest 3 %: all stragglers, and what lies beyond p99 of the body.
        let slow = straggler || body > 20.0 * (0.5_f64 * 2.326).exp();
        let ms = if straggler { 60.0 * (1.0 - dice.draw()).powf(-1.0 / 1.5) } else { body };
        ms.min(20_000.0) * all * if slow { tail } else { 1.0 }
    }
}

/// As `coalmine replay` reads them.
pub(super) fn events(rows: &[Row]) -> Vec<Event> {
    let event = |row: &Row| Event {
        at_ms: row.t_ms,
        canary: row.canary,
        ok: row.ok,
        bucket: bucket_of_ms(row.latency_ms),
        share: Some(row.share),
        label: row.label.map(|(right, at_ms)| Label { at_ms, wrong_micro: if right { 0 } else { 1_000_000 } }),
        endpoint: row.endpoint.map(|endpoint| u16::try_from(endpoint).unwrap()),
        user: row.user.map(|user| siphash(&[format!("u{user}").as_bytes()])),
        first_token: row.first_token_ms.map(bucket_of_ms),
    };
    rows.iter().map(event).collect()
}

/// As CSV. What no row says has no column.
pub(super) fn csv(rows: &[Row]) -> String {
    use std::fmt::Write as _;
    let mut text = "t_ms,variant,latency_ms,ok,correct,label_t_ms,split".to_owned();
    type Optional = (&'static str, fn(&Row) -> Option<String>);
    let more: [Optional; 3] = [
        ("endpoint", |row| row.endpoint.map(|n| format!("{}-{n}", if row.canary { "new" } else { "old" }))),
        ("user", |row| row.user.map(|n| format!("u{n}"))),
        ("first_token_ms", |row| row.first_token_ms.map(|ms| ms.to_string())),
    ];
    let more: Vec<_> = more.into_iter().filter(|(_, of)| rows.iter().any(|row| of(row).is_some())).collect();
    more.iter().for_each(|(name, _)| text += &format!(",{name}"));
    text.push('\n');
    for row in rows {
        let variant = if row.canary { "canary" } else { "stable" };
        let (correct, known) =
            row.label.map_or_else(Default::default, |(right, at_ms)| (u8::from(right).to_string(), at_ms.to_string()));
        let (ok, split) = (u8::from(row.ok), rounded(row.share * 100.0, 100.0));
        write!(text, "{},{variant},{},{ok},{correct},{known},{split}", row.t_ms, row.latency_ms).unwrap();
        more.iter().for_each(|(_, of)| text += &format!(",{}", of(row).unwrap_or_default()));
        text.push('\n');
    }
    text
}
