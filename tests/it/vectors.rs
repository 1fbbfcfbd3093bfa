//! Every value of the reference implementation, within 1e-9.

use coalmine::core::{
    judge::{Arm, Block, LabelBlock, Policy, Reason, RequestBlock, Signal, Verdict, trial::Trial},
    stats::{
        Counts, bernoulli, disagreement,
        endpoint::{self, Units},
        histogram::{Histogram, bucket_of_ms},
        latency::{LatencyPromote, LatencyRollback, rank_increments},
        logs::log_sum,
        mixture::StartMixture,
        paired::{self, PairCounts, PairedPromote, PairedRollback},
        rate::{self, Edge, RatePromote, RateRollback},
        reference::Reference,
        sample_ratio::SampleRatio,
    },
};
use serde_json::Value;

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = all["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{file} holds no cases");
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

#[track_caller]
fn near(got: f64, wanted: &Value, what: &str) {
    let wanted = number(wanted);
    assert!((got - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{what}: {got}, wanted {wanted}");
}

/// `[A, B, n_c, n_s]`.
fn counts(block: &Value) -> Counts {
    let n = numbers(block);
    Counts { canary_events: n[0], stable_events: n[1], canary: n[2], stable: n[3] }
}

fn named_counts(case: &Value) -> Counts {
    let of = |key: &str| number(&case[key]);
    Counts { canary_events: of("A"), stable_events: of("B"), canary: of("n_c"), stable: of("n_s") }
}

fn edge(case: &Value) -> Edge {
    Edge { ratio: number(&case["r"]), margin: number(&case["d"]) }
}

fn histogram(buckets: &Value) -> Histogram {
    let mut histogram = Histogram::default();
    for (bucket, n) in buckets.as_object().unwrap() {
        histogram.add(bucket.parse().unwrap(), number(n) as u64);
    }
    histogram
}

fn horizon(case: &Value) -> u32 {
    number(&case["horizon"]) as u32
}

#[test]
fn increments() {
    for case in cases("rr_multipliers") {
        let of = |key: &str| number(&case[key]);
        let (x, y) = rate::multipliers(of("rho"), of("r"), of("R"));
        near(x, &case["x"], "x");
        near(y, &case["y"], "y");
    }
    for case in cases("rate_increment") {
        let got = rate::log_increment(&named_counts(&case), edge(&case), number(&case["R"]));
        near(got, &case["log_increment"], "rate");
    }
    for case in cases("bernoulli_increment") {
        let (block, rates) = (named_counts(&case), (number(&case["p_c"]), number(&case["p_s"])));
        let (c, s) = bernoulli::projection(block.canary, block.stable, rates, edge(&case));
        near(c, &case["theta_c"], "theta_c");
        near(s, &case["theta_s"], "theta_s");
        let got = bernoulli::log_increment(&block, rates, edge(&case));
        near(got, &case["log_increment"], "bernoulli");
    }
    for case in cases("logsumexp") {
        near(log_sum(&numbers(&case["xs"])), &case["value"], "log_sum");
    }
    for case in cases("bucket_index") {
        let bucket = bucket_of_ms(number(&case["value_ms"]));
        near(f64::from(bucket), &case["bucket"], "bucket");
    }
}

#[test]
fn increments_of_pairs_and_units() {
    for case in cases("paired_increment") {
        let of = |key: &str| number(&case[key]);
        // Discordant pairs are rates with rho = 1/2: as many exposures of the one as of the other.
        let block = Counts { canary_events: of("b"), stable_events: of("c"), canary: of("n"), stable: of("n") };
        let got = rate::log_increment(&block, Edge { ratio: 1.0, margin: of("d") }, of("R"));
        near(got, &case["log_increment"], "discordant pairs");
    }
    for case in cases("difference_increment") {
        let of = |key: &str| number(&case[key]);
        let block = PairCounts { canary_worse: of("b"), stable_worse: of("c"), n: of("n") };
        near(paired::log_increment(&block, of("d"), of("bet")), &case["log_increment"], "difference");
    }
    for case in cases("kelly_bet") {
        let of = |key: &str| number(&case[key]);
        near(paired::kelly_bet((of("p_b"), of("p_c")), of("d")), &case["bet"], "bet");
    }
    for case in cases("disagreement_increment") {
        let of = |key: &str| number(&case[key]);
        let got = disagreement::log_increment(of("k"), of("n"), of("q0"), of("R"));
        near(got, &case["log_increment"], "disagreement");
    }
    for case in cases("cluster_increment") {
        let units = Units { canary: numbers(&case["u_canary"]), stable: numbers(&case["u_stable"]) };
        let got = endpoint::log_increment(&units, edge(&case), number(&case["R"]));
        near(got, &case["log_increment"], "units");
    }
    for case in cases("unit_score") {
        let got = endpoint::unit_score(number(&case["mean_score"]), number(&case["n_u"]));
        near(got, &case["value"], "score of a unit");
    }
}

#[test]
fn streams_of_pairs() {
    const BLOCKS: &str = "blocks_b_c_n";
    let pairs = |block: &Value| {
        let n = numbers(block);
        PairCounts { canary_worse: n[0], stable_worse: n[1], n: n[2] }
    };
    let rollback = |case: &Value| PairedRollback::new(number(&case["d"]), horizon(case));
    stream("paired_rollback_stream", BLOCKS, rollback, |test, block| {
        test.update(&pairs(block));
        test.log_e()
    });
    stream(
        "paired_promote_stream",
        BLOCKS,
        |case| PairedPromote::new(number(&case["d"])),
        |test, block| {
            test.update(&pairs(block));
            test.log_e()
        },
    );
}

/// A file of the reference that no test reads would be a promise that nobody keeps.
#[test]
fn every_file_is_read() {
    let read = |path| std::fs::read_to_string(format!("{}/tests/it/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let these = read("vectors.rs") + &read("streams/shipped.rs");
    let files = std::fs::read_dir(format!("{}/tests/vectors", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let names = files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    let unread: Vec<_> = names
        .filter(|name| ![format!("\"{name}\""), format!("/{name}.json")].iter().any(|it| these.contains(it)))
        .collect();
    assert!(unread.is_empty(), "{unread:?}");
}

#[test]
fn start_mixture() {
    for case in cases("start_mixture") {
        let mut mixture = StartMixture::new(1, horizon(&case));
        for (increment, wanted) in numbers(&case["increments"]).iter().zip(case["log_e"].as_array().unwrap()) {
            mixture.update([*increment]);
            near(mixture.log_e()[0], wanted, "mixture");
        }
    }
}

/// Feeds every block of every case and compares after each.
fn stream<T>(file: &str, blocks: &str, new: impl Fn(&Value) -> T, feed: impl Fn(&mut T, &Value) -> f64) {
    for case in cases(file) {
        let mut test = new(&case);
        let pairs = case[blocks].as_array().unwrap().iter().zip(case["log_e"].as_array().unwrap());
        for (position, (block, wanted)) in pairs.enumerate() {
            near(feed(&mut test, block), wanted, &format!("{file}, block {position}"));
        }
    }
}

#[test]
fn streams_of_rates() {
    const BLOCKS: &str = "blocks_A_B_nc_ns";
    let rollback = |case: &Value| RateRollback::new(edge(case), &rate::ERRORS_GRID, horizon(case));
    stream("rate_rollback_stream", BLOCKS, rollback, |test, block| {
        test.update(&counts(block));
        test.log_e()
    });
    stream(
        "rate_promote_stream",
        BLOCKS,
        |case| RatePromote::new(edge(case)),
        |test, block| {
            test.update(&counts(block));
            test.log_e()
        },
    );
    let rollback = |case: &Value| bernoulli::BernoulliRollback::new(edge(case), horizon(case));
    stream("bernoulli_rollback_stream", BLOCKS, rollback, |test, block| {
        test.update(&counts(block));
        test.log_e()
    });
    let promote = |case: &Value| bernoulli::BernoulliPromote::new(edge(case));
    stream("bernoulli_promote_stream", BLOCKS, promote, |test, block| {
        test.update(&counts(block), None);
        test.log_e()
    });
    stream(
        "srm_stream",
        "blocks_canary_stable_rho",
        |_| SampleRatio::default(),
        |test, block| {
            let n = numbers(block);
            test.update(n[0] as u64, n[1] as u64, n[2]);
            test.log_e()
        },
    );
}

#[test]
fn ranks() {
    for file in ["reference_scores", "wilcoxon_increment"] {
        for case in cases(file) {
            let mut reference = Reference::default();
            reference.learn(&histogram(&case["reference"]));
            let distribution = reference.distribution();
            for (q, wanted) in case["tail_threshold"].as_object().into_iter().flatten() {
                let bucket = distribution.quantile(q.parse().unwrap());
                near(f64::from(bucket), wanted, "tail threshold");
            }
            for (bucket, wanted) in case["mid_rank_score"].as_object().into_iter().flatten() {
                near(distribution.mid_rank(bucket.parse().unwrap()), wanted, "mid rank");
            }
            if let Some(wanted) = case["log_increments"].as_array() {
                let (canary, stable) = (histogram(&case["canary"]), histogram(&case["stable"]));
                let got = rank_increments(&canary, &stable, 0, &distribution);
                got.iter().zip(wanted).for_each(|(got, wanted)| near(*got, wanted, "ranks"));
            }
        }
    }
}

#[test]
fn streams_of_latency() {
    for case in cases("latency_rollback_stream") {
        let mut test = LatencyRollback::new(number(&case["shift"]) as i32, 2000);
        let mut reference = Reference::default();
        for (block, wanted) in case["blocks"].as_array().unwrap().iter().zip(case["log_e"].as_array().unwrap()) {
            let (canary, stable) = (histogram(&block["canary"]), histogram(&block["stable"]));
            if reference.is_ready() {
                test.update(&canary, &stable, &reference.distribution());
            }
            reference.learn(&stable);
            near(test.log_e(), wanted, "latency rollback");
        }
    }
    for case in cases("latency_promote_stream") {
        let new = |pair: &Value| LatencyPromote::new(numbers(pair)[0], numbers(pair)[1] as i32);
        let mut tests: Vec<_> = case["tests"].as_array().unwrap().iter().map(new).collect();
        let mut reference = Reference::default();
        for (block, wanted) in case["blocks"].as_array().unwrap().iter().zip(case["log_e"].as_array().unwrap()) {
            let (canary, stable) = (histogram(&block["canary"]), histogram(&block["stable"]));
            for (test, wanted) in tests.iter_mut().zip(wanted.as_array().unwrap()) {
                if reference.is_ready() {
                    test.update(&canary, &stable, &reference, &reference.distribution());
                }
                near(test.log_e(), wanted, "latency promote");
            }
            reference.learn(&stable);
        }
    }
}

fn block_of(value: &Value) -> Block {
    let count = |key: &str| value[key].as_u64().unwrap();
    let arm = |completed: &str, assigned: &str, errors: &str, latency: &str| Arm {
        completed: count(completed),
        assigned: value[assigned].as_u64().unwrap_or_else(|| count(completed)),
        errors: count(errors),
        latency: histogram(&value[latency]),
        streams: None,
    };
    let micro = |key: &str| count(key) * 1_000_000;
    Block {
        requests: value.get("n_c").map(|_| RequestBlock {
            canary: arm("n_c", "assigned_c", "err_c", "hist_c"),
            stable: arm("n_s", "assigned_s", "err_s", "hist_s"),
            share: value["rho"].as_f64(),
            warming_up: false,
        }),
        labels: value.get("lab_c").map(|_| LabelBlock {
            canary: count("lab_c"),
            stable: count("lab_s"),
            canary_wrong_micro: micro("wrong_c"),
            stable_wrong_micro: micro("wrong_s"),
        }),
        ..Block::default()
    }
}

#[test]
fn the_whole_judge_and_a_restart_after_every_block() {
    let policy = Policy::default();
    for case in cases("judge_stream") {
        let mut trial = Trial::new(&policy);
        let mut promoted = false;
        for step in case["steps"].as_array().unwrap() {
            let verdict = trial.observe(&block_of(&step["block"]));
            near(trial.log_e_rollback(), &step["log_e_rollback"], "rollback");
            near(trial.log_e_split(), &step["log_e_srm"], "split");
            let evidence = trial.evidence();
            for (signal, key) in [
                (Signal::Errors, "log_e_errors"),
                (Signal::Latency, "log_e_latency"),
                (Signal::Accuracy, "log_e_accuracy"),
            ] {
                let found = evidence.signals.iter().find(|s| s.signal == signal).unwrap();
                near(found.log_e_rollback, &step[key], key);
            }
            match step["verdict"].as_str().unwrap() {
                "keep" => assert!(matches!(verdict, Verdict::Undecided(_)), "{verdict:?}"),
                "hold_srm" => assert_eq!(verdict, Verdict::Undecided(Reason::SplitMismatch)),
                "rollback" => assert!(matches!(verdict, Verdict::Fail(_)), "{verdict:?}"),
                // The reference says it once and for all; ours is said anew at each look.
                "promote" => {
                    assert!(promoted || verdict == Verdict::Pass, "{verdict:?}");
                    promoted = true;
                }
                other => panic!("unknown verdict {other}"),
            }
            let restored = Trial::restored(&policy, &trial.saved()).unwrap();
            assert_eq!(restored, trial, "a restart must lose no bit of evidence");
            trial = restored;
        }
    }
    assert!(Trial::restored(&policy, &[1, 2, 3]).is_none());
}
