//! gRPC with the real client: through Coalmine to the real MLServer, and to a server that does every kind of call.

use super::{
    mlserver,
    python::{self, Server, run},
    stage::{Stage, routes},
    support::{Caller, wait},
};
use serde_json::json;

fn server(arguments: &[&str]) -> Server {
    Server::start(&python::mlserver(), "grpc_server.py", arguments)
}

fn url(server: &Server) -> String {
    format!("h2c://127.0.0.1:{}", server.port)
}

fn client(stage: &Stage, calls: &[&str]) {
    let address = stage.data().to_string();
    run(&python::mlserver(), "grpc_client.py", &[&[address.as_str()], calls].concat());
}

#[test]
fn every_kind_of_call_goes_through_and_is_counted_by_its_status() {
    let server = server(&[]);
    let stage = Stage::one(&url(&server), "", "");
    client(&stage, &["echo", "statuses", "streams"]);
    // The client has its status a moment before the stream is over for us.
    let ended = || stage.outcome("v1", "ok") + stage.outcome("v1", "backend_status");
    wait("all to be counted", || (ended() == 12).then_some(()));
    // INTERNAL and UNAVAILABLE, each in the head and in the trailers; INVALID_ARGUMENT and NOT_FOUND are the caller's doing.
    assert_eq!(stage.outcome("v1", "backend_status"), 4);
    client(&stage, &["deadline", "cancel"]);
    wait("the server to hear of both", || (server.said("cancelled") == 2).then_some(()));
    wait("both to be over", || (stage.count(&["coalmine_in_flight{"]) == 0).then_some(()));
    assert!(stage.outcome("v1", "client_gone") >= 1);
    assert_eq!(stage.outcome("v1", "backend_reset"), 0);
    stage.stop();
}

#[test]
fn an_error_without_a_message_falls_back_where_the_route_says_so() {
    let (stable, canary) = (server(&[]), server(&["down"]));
    let fallback = "    fallback: { to: stable, when: [\"503\"], replay_body: 256KiB }\n";
    let stage = Stage::new(&url(&stable), &url(&canary), 50, fallback, "");
    client(&stage, &["saved"]);
    let saved = stage.count(&["coalmine_fallback_total", "\"v2\""]);
    assert!((1..20).contains(&saved), "{saved} of 20");
    assert_eq!(stage.outcome("v2", "backend_status"), saved);
    stage.stop();
}

#[test]
fn a_call_that_fails_after_its_head_falls_back_where_its_answer_is_read_first() {
    let (stable, canary) = (server(&[]), server(&["down"]));
    let more = "    protocol: v2\n    fallback: { to: stable, when: [\"503\"], replay_body: 256KiB }\n";
    let stage = Stage::new(&url(&stable), &url(&canary), 50, more, "");
    client(&stage, &["inferred"]);
    let saved = stage.count(&["coalmine_fallback_total", "\"v2\""]);
    assert!((1..20).contains(&saved), "{saved} of 20");
    assert_eq!(stage.outcome("v2", "backend_status"), saved);
    stage.stop();
}

#[test]
fn our_own_errors_are_statuses() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stage = Stage::one(&format!("h2c://{nobody}"), "", "");
    client(&stage, &["unavailable"]);
    assert_eq!(stage.outcome("v1", "backend_connect"), 1);
    stage.stop();
}

#[test]
fn the_real_model_server_answers_and_streams() {
    let mut server = mlserver::Server::start("good");
    server.wait();
    let url = format!("h2c://{}", server.grpc);
    let stage = Stage::over(&routes(&url, &url, 50, ""), "");
    client(&stage, &["mlserver", "mlstream"]);
    wait("all to be counted", || (stage.outcome("v1", "ok") + stage.outcome("v2", "ok") == 53).then_some(()));
    stage.stop();
}

#[test]
fn calls_to_the_real_model_server_are_labelled_by_what_they_should_have_said() {
    let mut server = mlserver::Server::start("weak");
    server.wait();
    let url = format!("h2c://{}", server.grpc);
    let stage = Stage::over(&routes(&url, &url, 50, "    protocol: v2\n"), "");
    let said = run(&python::mlserver(), "grpc_client.py", &[&stage.data().to_string(), "labels"]);
    let (mut wrong, mut labels) = (0, String::new());
    for line in said.lines().filter_map(|line| line.strip_prefix("label ")) {
        let [digit, said, ticket] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        wrong += u64::from(digit != said);
        labels += &format!("{}\n", json!({ "ticket": ticket, "label": digit.parse::<u64>().unwrap() }));
    }
    assert!(wrong > 0, "the weak model is wrong sometimes, or this shows nothing");
    let answer = Caller::new(stage.app.admin).call("POST", "/v1/feedback", "", &labels);
    assert!(answer.status == 200 && !answer.body.contains("error"), "{answer:?}");
    assert_eq!(stage.count(&["coalmine_labels_total{"]), 100);
    assert_eq!(stage.count(&["coalmine_labels_wrong_sum{"]), wrong);
    stage.stop();
}
