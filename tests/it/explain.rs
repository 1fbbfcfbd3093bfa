//! `coalmine explain` and `/v1/verdict/{route}` over real traffic: one record of why.

use super::{
    backend::{Backend, write},
    stage::Stage,
    support::{Caller, model, routes, wait},
};
use serde_json::Value;
use std::{process::Command, time::Duration};

fn explain(stage: &Stage, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coalmine"));
    command.args(["explain", "digits", "--admin", &stage.app.admin.to_string()]).args(more).env("NO_COLOR", "1");
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
    )
}

fn record(stage: &Stage) -> Option<Value> {
    let answer = Caller::new(stage.app.admin).call("GET", "/v1/verdict/digits", "", "");
    (answer.status == 200).then(|| serde_json::from_str(&answer.body).unwrap())
}

#[test]
fn what_is_still_needed_is_told_by_the_api_the_command_and_the_metrics() {
    let stage = Stage::over(&routes(model(200, 7), model(200, 7), 50), "");
    let mut caller = Caller::new(stage.data());
    let told = wait("a forecast of errors", || {
        (0..40).for_each(|_| drop(caller.infer()));
        let told = record(&stage)?["forecast"].take();
        told["signals"][0]["pass"]["seconds"]["half"].is_number().then_some(told)
    });
    assert_eq!((&told["signals"][0]["signal"], &told["signals"][0]["unit"]), (&"errors".into(), &"requests".into()));
    assert!(told["pass_seconds"]["half"].is_null(), "no label comes: {told}");
    assert!(stage.metric(&["coalmine_forecast_needed", "errors"]) > 100.0);
    let (_, text) = explain(&stage, &[]);
    for part in ["forecast, at the pace so far", "errors    to pass: ", " more requests, ", "to see "] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    stage.stop();
}

#[test]
fn a_verdict_is_explained_by_the_command_and_by_the_api_alike() {
    // The canary fails every time.
    let stage = Stage::over(&routes(model(200, 7), model(500, 7), 50), "");
    let mut caller = Caller::new(stage.data());
    let failed = wait("the verdict", || {
        (0..40).for_each(|_| drop(caller.infer()));
        record(&stage).filter(|record| record["verdict"] == "fail")
    });
    assert_eq!(failed["reason"], "errors");
    assert!(failed["forecast"].is_null(), "what has failed has nothing before it");
    let errors = &failed["signals"][0];
    let difference = ["low", "value", "high"].map(|key| errors["difference"][key].as_f64().unwrap());
    assert!(difference.is_sorted() && difference[0] > 0.1, "{errors}");
    assert!(errors["log_e_rollback"].as_f64() > errors["log_e_rollback_at"].as_f64(), "{errors}");
    assert!(failed["would_change"][0].as_str().unwrap().starts_with("nothing that is still seen"));
    let of_route: Value =
        serde_json::from_str(&Caller::new(stage.app.admin).call("GET", "/v1/routes/digits", "", "").body).unwrap();
    assert_eq!(of_route["judgement"]["verdict"], "fail");
    assert!(of_route["judgement"]["signals"][0]["difference"]["low"].is_number());

    let (code, text) = explain(&stage, &[]);
    assert_eq!(code, Some(0), "{text}");
    for part in ["route digits, attempt 1: fail (errors)", "errors", "100 %", "what would change it", "  - nothing"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let (_, json) = explain(&stage, &["--output", "json"]);
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["signals"][0]["signal"], "errors");

    let nowhere = Caller::new(stage.app.admin).call("GET", "/v1/verdict/nowhere", "", "");
    assert_eq!(nowhere.status, 404, "{}", nowhere.body);
    stage.stop();
}

#[test]
fn latency_differs_by_a_factor_with_an_interval_at_each_quantile() {
    let judge = "    protocol: v2\n    judge: { warmup: 0s, warmup_requests: 10 }\n";
    // Models that take their time: below a tenth of a millisecond all is one bucket.
    let slow = || {
        Backend::new(|_, stream| {
            std::thread::sleep(Duration::from_millis(2));
            write(stream, 200, "content-type: application/json\r\n", r#"{"outputs":[{"data":[7]}]}"#)
        })
    };
    let text = routes(slow().address, slow().address, 50).replace("    protocol: v2\n", judge);
    let stage = Stage::over(&text, "");
    let mut caller = Caller::new(stage.data());
    let latency = wait("two ends at the median", || {
        (0..40).for_each(|_| drop(caller.infer()));
        let latency = record(&stage)?["signals"][1].take();
        let median = &latency["parts"].as_array()?.iter().find(|part| part["part"] == "answer_p50")?["difference"];
        let [low, value, high] = ["low", "value", "high"].map(|key| median[key].as_f64());
        assert!(high.is_none_or(|high| high >= value.unwrap()) && low? <= value?, "{median}");
        (low? > 0.0 && high.is_some()).then_some(latency)
    });
    let of_signal = &latency["difference"];
    assert!(of_signal["low"].as_f64().unwrap() <= of_signal["value"].as_f64().unwrap(), "p99's: {latency}");
    let (_, text) = explain(&stage, &[]);
    let line = text.lines().find(|line| line.contains("answer_p50")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(" (x") && line.contains(" to x"), "{line}");
    stage.stop();
}
