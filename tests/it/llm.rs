//! Generated text: the real openai client, the real llama.cpp server, Coalmine between them.

use super::{
    python::{self, Server, run},
    stage::Stage,
    support::{Caller, wait},
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// The tokens that the client would get if it stayed.
const ASKED: u64 = 30_000;

fn llama() -> Server {
    let model = python::installed("target/real/clients/tiny.gguf");
    Server::start(&python::clients(), "llama_server.py", &[model.to_str().unwrap()])
}

fn client(stage: &Stage, what: &str) -> Value {
    let url = format!("http://{}", stage.data());
    serde_json::from_str(&run(&python::clients(), "llm_client.py", &[&url, what])).unwrap()
}

#[test]
fn a_chat_streams_and_its_tokens_are_counted() {
    let llama = llama();
    let stage = Stage::one(&format!("http://127.0.0.1:{}", llama.port), "    protocol: openai\n", "");
    let seen = client(&stage, "stream");
    let tokens = seen["tokens"].as_u64().unwrap();
    assert_eq!((tokens, seen["choices_of_last"].as_u64()), (2000, Some(0)), "the usage chunk: {seen}");
    assert!(seen["first"].as_f64().unwrap() < 0.9 * seen["whole"].as_f64().unwrap(), "held back: {seen}");
    wait("the stream to be counted", || (stage.outcome("v1", "ok") == 1).then_some(()));
    assert_eq!(stage.count(&["coalmine_tokens_total", "\"v1\""]), tokens);
    assert_eq!(stage.count(&["coalmine_first_token_seconds_count", "\"v1\""]), 1);
    assert_eq!(stage.count(&["coalmine_token_gap_seconds_count", "\"v1\""]), seen["pieces"].as_u64().unwrap() - 1);
    assert_eq!(stage.count(&["coalmine_stream_finish_total", "\"v1\"", "\"length\""]), 1);
    let (first, gaps) = (
        stage.metric(&["coalmine_first_token_seconds_sum", "\"v1\""]),
        stage.metric(&["coalmine_token_gap_seconds_sum", "\"v1\""]),
    );
    let whole = seen["whole"].as_f64().unwrap();
    assert!(first > 0.0 && gaps > 0.0 && first + gaps < 1.1 * whole, "{first} and {gaps} of {whole} s");

    let seen = client(&stage, "unary");
    assert_eq!((seen["tokens"].as_u64(), seen["finish"].as_str()), (Some(16), Some("length")), "{seen}");
    assert!(!seen["text"].as_str().unwrap().is_empty() && seen["ticket"].is_string(), "{seen}");
    assert_eq!(stage.count(&["coalmine_tokens_total", "\"v1\""]), tokens + 16);
    assert_eq!(stage.count(&["coalmine_stream_finish_total", "\"v1\"", "\"length\""]), 2);
    assert_eq!(stage.count(&["coalmine_first_token_seconds_count", "\"v1\""]), 1, "a whole answer has no first token");
    assert_eq!(stage.outcome("v1", "ok"), 2);
    stage.stop();
}

#[test]
fn a_client_that_leaves_stops_the_generating() {
    let llama = llama();
    let address = ([127, 0, 0, 1], llama.port).into();
    let stage = Stage::one(&format!("http://{address}"), "    protocol: openai\n", "");
    assert_eq!(client(&stage, "abort")["pieces"], 20);
    let begin = Instant::now();
    let busy = || Caller::new(address).call("GET", "/slots", "", "").body.contains("\"is_processing\":true");
    wait("the model to stop", || (!busy()).then_some(()));
    assert!(begin.elapsed() < Duration::from_secs(2), "it went on for {:?}", begin.elapsed());
    let page = Caller::new(address).call("GET", "/metrics", "", "").body;
    let line = page.lines().find(|line| line.starts_with("llamacpp:tokens_predicted_total")).unwrap();
    let made: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    println!("{made} of {ASKED} tokens were made");
    assert!(made < ASKED as f64 * 0.9, "{made} tokens were made for nobody");
    wait("the count", || (stage.outcome("v1", "client_gone") == 1).then_some(()));
    stage.stop();
}
