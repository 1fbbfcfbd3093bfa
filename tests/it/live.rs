//! What live traffic tells the judge: copies, and labels of pairs.

use super::{
    backend::{Backend, Received, write},
    stage::Stage,
    support::{Caller, model, wait},
};

const JSON: &str = "content-type: application/json\r\n";

/// A routes file of one route, `digits`, with `more` lines of the route and `canary` for what the canary's line says besides.
fn routes(stable: &str, canary: &str, weights: [u32; 2], more: &str, extra: &str) -> String {
    let [canary_weight, stable_weight] = weights;
    format!(
        "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: digits
    match: {{ path: / }}
    protocol: v2
{more}    variants:
      - {{ name: v1, role: stable, weight: {stable_weight}, url: '{stable}', model: {{ version: '1', uri: m/1 }} }}
      - {{ name: v2, role: canary, weight: {canary_weight}, {extra}url: '{canary}', model: {{ version: '2', uri: m/2 }} }}
"
    )
}

#[test]
fn a_label_counts_once_for_its_pair_or_once_for_its_answer() {
    let canary = Backend::new(|request, stream| match request.body.as_str() {
        "fails" => write(stream, 500, "", "no"),
        "other" => write(stream, 200, JSON, r#"{"outputs":[{"data":[8]}]}"#),
        _ => write(stream, 200, JSON, r#"{"outputs":[{"data":[7]}]}"#),
    });
    let stable = Backend::new(|request, stream| match request.body.as_str() {
        "both fail" | "stable fails" => write(stream, 500, "", "no"),
        _ => write(stream, 200, JSON, r#"{"outputs":[{"data":[7]}]}"#),
    });
    let urls = [stable.address, canary.address].map(|address| format!("http://{address}"));
    let stage = Stage::over(&routes(&urls[0], &urls[1], [0, 100], "", "share: 100, "), "");
    let (mut caller, mut labeler) = (stage.caller(), Caller::new(stage.app.admin));
    let total = |result: &str| stage.count(&["coalmine_shadow_total{", &format!("\"{result}\"")]);
    let mut tickets = Vec::new();
    for body in ["same", "other", "fails", "stable fails", "same", "same"] {
        let mut answer = caller.call("POST", "/v2/models/digits/infer", "", body);
        tickets.push(answer.headers.remove("x-coalmine-ticket").unwrap());
    }
    wait("all copies", || (total("paired") == 6).then_some(()));
    wait("the book", || (stage.count(&["coalmine_pairs_waiting"]) == 4).then_some(()));
    assert_eq!([total("worse"), total("better"), total("failed")], [1, 1, 1]);
    // The truth of the second is 8: its copy was right. The third has none, and a score is about one answer.
    let says = [(0, "label", "7"), (1, "label", "8"), (2, "label", "7"), (4, "score", "0.5"), (0, "label", "7")];
    let lines: Vec<String> =
        says.map(|(at, key, truth)| format!("{{\"ticket\": \"{}\", \"{key}\": {truth}}}", tickets[at])).into();
    let told = labeler.call("POST", "/v1/feedback", "", &lines.join("\n")).body;
    assert_eq!((told.matches("\"counted\"").count(), told.matches("\"duplicate\"").count()), (4, 1), "{told}");
    let paired = |result: &str| stage.count(&["coalmine_paired_labels_total{", "\"v2\"", &format!("\"{result}\"")]);
    assert_eq!([paired("worse"), paired("better"), paired("alike")], [0, 1, 1]);
    assert_eq!(stage.count(&["coalmine_labels_total{", "\"v1\""]), 2);
    assert_eq!(stage.count(&["coalmine_pairs_total{", "\"labelled\""]), 2);
    stage.stop();
}

#[test]
fn a_canary_with_weight_gets_copies_of_what_stable_answers_and_of_nothing_that_is_pinned() {
    let (stable, canary) = (model(200, 7), Backend::always(200, "{}"));
    let text = routes(
        &format!("http://{stable}"),
        &format!("http://{}", canary.address),
        [50, 50],
        "    pin: true\n",
        "share: 100, ",
    );
    let stage = Stage::over(&text, "");
    let mut caller = stage.caller();
    for _ in 0..100 {
        caller.infer();
        caller.call("POST", "/v2/x", "x-coalmine-pin: v1\r\n", "{}");
    }
    let own = stage.outcome("v2", "ok");
    let copies = |canary: &Backend| {
        canary.seen().iter().filter(|r: &&Received| r.all("x-coalmine-shadow").len() == 1).count() as u64
    };
    wait("the copies", || (copies(&canary) == 100 - own).then_some(()));
    assert_eq!(canary.seen().len(), 100);
    stage.stop();
}
