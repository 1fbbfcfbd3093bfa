//! The share of traffic that a variant gets, as callers see it; and who stays with which variant.

use super::{Stage, process::replace, unjudged};
use crate::support::{Caller, model, settings, start_with, stop, wait};
use std::net::SocketAddr;

fn variant(caller: &mut Caller, headers: &str) -> String {
    let answer = caller.call("POST", "/v2/models/digits/infer", headers, "{}");
    assert_eq!(answer.status, 200, "{answer:?}");
    // Who says that it answered is who answered.
    assert_eq!(answer.headers["x-coalmine-variant"] == "v2", answer.body.contains("[2]"));
    answer.headers["x-coalmine-variant"].clone()
}

fn canaries(data: SocketAddr, connections: u32, each: u32) -> u32 {
    (0..connections)
        .map(|_| {
            let mut caller = Caller::new(data);
            (0..each).map(|_| u32::from(variant(&mut caller, "") == "v2")).sum::<u32>()
        })
        .sum()
}

/// Waits until this weight is in force.
fn in_force(stage: &Stage, weight: u32) {
    let wanted = f64::from(weight) / 100.0;
    wait("the weight", || {
        let now = stage.metric(&["weight_ratio{", "\"v2\"", "\"effective\""]);
        ((now - wanted).abs() < 1e-9).then_some(())
    });
}

#[test]
fn shares_are_what_the_file_says_on_one_connection_and_on_many() {
    let (stable, canary) = (model(200, 1), model(200, 2));
    let stage = Stage::new(stable, canary, 0, "");
    for weight in [0, 1, 10, 33, 50, 99, 100, 0] {
        replace(stage.dirs[0].path(), unjudged(stable, canary, weight, "").as_bytes());
        in_force(&stage, weight);
        for (name, connections, each) in [("one connection", 1, 2_000), ("many", 400, 5)] {
            let (n, seen) = (f64::from(connections * each), f64::from(canaries(stage.app.data, connections, each)));
            let expected = n * f64::from(weight) / 100.0;
            if weight == 0 || weight == 100 {
                assert!((seen - expected).abs() < 0.5, "{weight} % on {name}: {seen} of {n}");
                continue;
            }
            let chi2 = (seen - expected).powi(2) / expected + (seen - expected).powi(2) / (n - expected);
            println!("{weight} % on {name}: {seen} of {n}, chi-square {chi2:.2}");
            // One degree of freedom: 25 is exceeded by chance once in 1.7 million.
            assert!(chi2 < 25.0, "{weight} % on {name}: {seen} of {n}");
        }
    }
    stage.stop();
}

#[test]
fn a_user_stays_across_connections_reloads_restarts_and_replicas() {
    let (stable, canary) = (model(200, 1), model(200, 2));
    let more = "    sticky: { header: x-user }\n";
    let stage = Stage::new(stable, canary, 30, more);
    let draws = |data: SocketAddr| -> Vec<bool> {
        let mut caller = Caller::new(data);
        (0..500).map(|user| variant(&mut caller, &format!("x-user: u{user}\r\n")) == "v2").collect()
    };
    let first = draws(stage.app.data);
    assert!(first.contains(&true) && first.contains(&false));
    assert_eq!(draws(stage.app.data), first, "another connection");

    let (dir, state) = (stage.dirs[0].path().to_owned(), stage.dirs[1].path().to_owned());
    replace(&dir, unjudged(stable, canary, 60, more).as_bytes());
    in_force(&stage, 60);
    let raised = draws(stage.app.data);
    assert!(first.iter().zip(&raised).all(|(before, after)| !before || *after), "a user was thrown back");
    replace(&dir, unjudged(stable, canary, 30, more).as_bytes());
    in_force(&stage, 30);
    assert_eq!(draws(stage.app.data), first, "there and back");

    let elsewhere = tempfile::tempdir().unwrap();
    let replica = start_with(settings("", &dir, elsewhere.path()));
    assert_eq!(draws(replica.data), first, "another replica");
    stop(replica);
    stop(stage.app);
    let again = start_with(settings("", &dir, &state));
    assert_eq!(draws(again.data), first, "a restart");
    stop(again);
}
