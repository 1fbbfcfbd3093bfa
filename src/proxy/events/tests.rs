//! Streams as servers send them, cut at every byte, and what they are said to have been like.

use super::*;
use proptest::prelude::*;

/// As `OpenAI` sends a chat with `stream_options.include_usage`: a role, two tokens, a reason, the usage.
const CHAT: &str = r#"data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}

data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Grüß"},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" "},"finish_reason":null}],"usage":null}

data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}

data: {"id":"c1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":17,"total_tokens":26}}

data: [DONE]

"#;

/// As a proxy in between may frame it: a byte order mark, comments, ids, a text over several data lines, no space after colons.
const FRAMED: &str = "\u{feff}: ping\nid: 1\nevent: message\nretry: 10\ndata:{\"choices\":\ndata:[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n\
    data\n\n:\n\nevent\nother: x\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\"}}]}}]}\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":null,\"tool_calls\":[ ]},\"finish_reason\":\"tool_calls\"}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"never ended\"}}]}\n";

const COMPLETIONS: &str = "data: {\"object\":\"text_completion\",\"choices\":[{\"text\":\"a\",\"index\":0,\"finish_reason\":null}]}\n\n\
    data: {\"choices\":[{\"text\":\"b\",\"index\":0,\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";

const RESPONSES: &str = r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"r","object":"response","status":"in_progress","error":null,"output":[]}}

event: response.output_item.added
data: {"type":"response.output_item.added","output_index":0,"item":{"type":"message","status":"in_progress","content":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","delta":"Hel"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","delta":"lo"}

event: response.output_text.done
data: {"type":"response.output_text.done","text":"Hello"}

event: response.completed
data: {"type":"response.completed","response":{"object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}],"usage":{"input_tokens":5,"output_tokens":42,"output_tokens_details":{"reasoning_tokens":0}}}}

"#;

const V2: &str = "data: {\"model_name\":\"m\",\"text_output\":\"a\"}\n\ndata: {\"model_name\":\"m\",\"text_output\":\"b\"}\n\n\
    data: {\"model_name\":\"m\",\"text_output\":\"\",\"details\":{\"finish_reason\":\"length\",\"logprobs\":null}}\n\n";

const BROKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"del\n\ndata: {\"error\":{\"message\":\"CUDA out of memory\",\"type\":\"server_error\",\"code\":500}}\n\n";

fn scan(chunks: &[&[u8]], step: Duration) -> (Summary, Vec<Duration>) {
    let (mut scanner, mut gaps) = (Scanner::new(&Protocol::OpenAi).unwrap(), Vec::new());
    for (chunk, n) in chunks.iter().zip(1..) {
        scanner.feed(chunk, step * n, &mut |gap| gaps.push(gap));
        assert!(scanner.line.capacity() <= 2 * LINE_BYTES_MAX && scanner.event.data.capacity() <= 2 * LINE_BYTES_MAX);
    }
    (scanner.summary(), gaps)
}

fn whole(text: &str) -> (Summary, usize) {
    let (summary, gaps) = scan(&[text.as_bytes()], Duration::from_millis(5));
    (summary, gaps.len())
}

#[test]
fn every_stream_tells_what_it_was_like() {
    let check = |text: &str, tokens, finish, gaps| {
        let first_token = Some(Duration::from_millis(5));
        let mean_gap = (gaps > 0).then_some(Duration::ZERO);
        let wanted = Summary { first_token, mean_gap, tokens, finish, ..Summary::default() };
        assert_eq!(whole(text), (wanted, gaps), "{text}");
        assert_eq!(wanted.fault(), None);
    };
    check(CHAT, 17, Finish::Stop, 1);
    check(FRAMED, 2, Finish::ToolCalls, 1);
    check(COMPLETIONS, 2, Finish::Length, 1);
    check(RESPONSES, 42, Finish::Stop, 1);
    check(V2, 2, Finish::Length, 1);
    let broken = whole(BROKEN).0;
    assert_eq!((broken.malformed, broken.failed, broken.empty, broken.tokens), (true, true, false, 1));
}

#[test]
fn a_stream_is_the_same_however_it_is_cut_and_whatever_ends_its_lines() {
    for text in [CHAT, FRAMED, COMPLETIONS, RESPONSES, V2, BROKEN] {
        let wanted = whole(text);
        for end in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', end);
            assert_eq!(whole(&text), wanted, "{text:?}");
            let count = |chunks: &[&[u8]]| {
                let (mut scanner, mut gaps) = (Scanner::new(&Protocol::V2).unwrap(), 0);
                chunks.iter().for_each(|chunk| scanner.feed(chunk, Duration::from_millis(5), &mut |_| gaps += 1));
                (scanner.summary(), gaps)
            };
            for at in 0..=text.len() {
                let (before, after) = text.as_bytes().split_at(at);
                assert_eq!(count(&[before, b"", after]), wanted, "{end:?} cut at {at}: {text}");
            }
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(count(&bytes), wanted, "{end:?} byte by byte: {text}");
        }
    }
}

#[test]
fn the_first_token_is_the_first_content_and_gaps_lie_between_contents() {
    let events: Vec<&[u8]> = CHAT.split_inclusive("\n\n").map(str::as_bytes).collect();
    let ms = Duration::from_millis;
    let (summary, gaps) = scan(&events, ms(10));
    assert_eq!((summary.first_token, summary.mean_gap, gaps), (Some(ms(20)), Some(ms(10)), vec![ms(10)]));
    let pauses =
        ["a", "", "b", "c"].map(|text| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"));
    let (summary, gaps) = scan(&pauses.each_ref().map(String::as_bytes), ms(10));
    assert_eq!((summary.mean_gap, gaps), (Some(ms(15)), vec![ms(20), ms(10)]), "three contents, a pause of two steps");
    assert_eq!(scan(&[pauses[0].as_bytes()], ms(10)).0.mean_gap, None, "a single content");
}

#[test]
fn an_answer_without_content_is_empty_unless_something_says_why() {
    let check = |text: &str, wanted: Option<Outcome>| {
        assert_eq!(whole(text).0.fault(), wanted, "{text:?}");
    };
    let empty = Some(Outcome::BackendEmpty);
    check("", empty);
    check("data: [DONE]\n\n", empty);
    check(": ping\n\n", empty);
    check("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\ndata: [DONE]\n\n", empty);
    check("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", empty);
    check("data: {\"text_output\":\"\"}\n\n", empty);
    check("data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n", empty);
    check("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\n", None);
    // Streams of other kinds under the same route.
    check("data: {\"content\":\"llama\",\"stop\":false}\n\n", None);
    check("data: [1,2]\n\n", None);
    // Responses that only say everything at the end.
    let last = r#"{"response":{"output":[{"type":"message","content":[{"text":"x"}]}]},"type":"response.completed"}"#;
    check(&format!("data: {last}\n\n"), None);
    let call = r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call"}]}}"#;
    assert_eq!(whole(&format!("data: {call}\n\n")).0.finish, Finish::ToolCalls);
}

#[test]
fn errors_in_a_stream_are_the_backends_unless_the_request_caused_them() {
    let check =
        |data: &str, wanted: Option<Outcome>| assert_eq!(whole(&format!("{data}\n\n")).0.fault(), wanted, "{data}");
    let failed = Some(Outcome::BackendStatus);
    check(r#"data: {"error":"model crashed"}"#, failed);
    check(r#"data: {"error":{"message":"x","type":"InternalServerError","code":500}}"#, failed);
    check(r#"data: {"type":"error","code":"server_error","message":"x"}"#, failed);
    check(r#"data: {"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"}}}"#, failed);
    check("event: error\ndata: {\"message\":\"x\"}", failed);
    check(r#"data: {"error":{"message":"too long","type":"BadRequestError","code":400}}"#, None);
    check(r#"data: {"error":{"type":"invalid_request_error","code":null}}"#, None);
    check(r#"data: {"type":"response.failed","response":{"status":"failed","error":{"code":"invalid_prompt"}}}"#, None);
    check(r#"data: {"error":null,"choices":[{"delta":{"content":"x"}}]}"#, None);
    check("data: Internal Server Error", Some(Outcome::BackendMalformed));
    check("data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]", Some(Outcome::BackendMalformed));
    check("data: {\"choices\":[", Some(Outcome::BackendMalformed));
}

#[test]
fn what_is_too_long_is_not_kept_and_counts_as_content() {
    let long = "x".repeat(3 * LINE_BYTES_MAX);
    let chat = |text: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let text = [chat("a"), chat(&long), format!(": {long}\n\n"), chat("b"), chat(&long)].concat();
    for size in [7, 1000, LINE_BYTES_MAX, text.len()] {
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let (summary, gaps) = scan(&chunks, Duration::from_micros(1));
        assert_eq!((summary.tokens, gaps.len(), summary.fault()), (4, 3, None), "chunks of {size}");
    }
    let mut scanner = Scanner::new(&Protocol::OpenAi).unwrap();
    scanner.feed(text.as_bytes(), Duration::ZERO, &mut |_| {});
    assert!(scanner.line.capacity() <= KEPT_BYTES && scanner.event.data.capacity() <= KEPT_BYTES, "given back");
    // Many data lines of one event are bounded as well.
    let lines = format!("data: {}\n", "y".repeat(1000)).repeat(1000) + "\n";
    assert_eq!(whole(&lines).0.tokens, 1);
    // A response's last event repeats everything: no token of its own, and its name tells that it is done.
    let done = RESPONSES.replace("Hello\"}]", &format!("{long}\"}}]"));
    let (summary, gaps) = whole(&done);
    assert_eq!((summary.tokens, summary.finish, gaps), (2, Finish::Stop, 1));
}

#[test]
fn whole_answers_tell_the_same() {
    let check = |body: &str, wanted: Option<(u64, Finish, Option<Outcome>)>| {
        let seen = unary(&Protocol::OpenAi, body.as_bytes());
        assert_eq!(seen.map(|seen| (seen.tokens, seen.finish, seen.fault())), wanted, "{body}");
    };
    let (empty, failed) = (Some(Outcome::BackendEmpty), Some(Outcome::BackendStatus));
    check(
        r#"{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}"#,
        Some((2, Finish::Stop, None)),
    );
    check(
        r#"{"choices":[{"message":{"role":"assistant","content":null,"annotations":[1],"tool_calls":[{"id":"x"}]},"finish_reason":"tool_calls"}]}"#,
        Some((0, Finish::ToolCalls, None)),
    );
    check(
        r#"{"choices":[{"text":"","finish_reason":"stop"}],"usage":{"completion_tokens":1}}"#,
        Some((1, Finish::Stop, empty)),
    );
    check(r#"{"choices":[{"text":"x"}],"usage":{"completion_tokens":3}}"#, Some((3, Finish::None, None)));
    check(r#"{"choices":[]}"#, Some((0, Finish::None, empty)));
    check(
        r#"{"choices":[{"message":{"content":""},"finish_reason":"content_filter"}]}"#,
        Some((0, Finish::ContentFilter, None)),
    );
    check(
        r#"{"object":"response","status":"incomplete","error":null,"incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"output_tokens":9}}"#,
        Some((9, Finish::Length, None)),
    );
    check(
        r#"{"object":"response","status":"completed","output":[{"type":"reasoning","summary":[]}]}"#,
        Some((0, Finish::Stop, empty)),
    );
    check(r#"{"object":"response","status":"queued","output":[]}"#, Some((0, Finish::None, None)));
    check(
        r#"{"object":"response","status":"completed","output":[{"type":"function_call","name":"f"}]}"#,
        Some((0, Finish::ToolCalls, None)),
    );
    check(r#"{"text_output":"x"}"#, Some((0, Finish::None, None)));
    check(r#"{"error":{"message":"x","code":503}}"#, Some((0, Finish::None, failed)));
    check(r#"{"object":"list","data":[{"embedding":[1]}],"usage":{"prompt_tokens":3}}"#, None);
    check(r#"{"model_name":"m","outputs":[{"data":[7]}]}"#, None);
    check("[[0.1,0.2]]", None);
    check("Internal Server Error", Some((0, Finish::None, Some(Outcome::BackendMalformed))));
    check("", Some((0, Finish::None, Some(Outcome::BackendMalformed))));
    assert_eq!(unary(&Protocol::V1, b"{}"), None);
    assert!(Scanner::new(&Protocol::Mlflow).is_none() && Scanner::new(&Protocol::Raw { prediction: None }).is_none());
}

proptest! {
    /// Whatever bytes a backend sends, in whatever pieces: no panic, bounded buffers, and the pieces make no difference.
    #[test]
    fn pieces_make_no_difference(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("data: "), Just("data"), Just(":"), Just("\n"), Just("\r"), Just("\n\n"), Just("event: response.x.delta"),
                Just("{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}"), Just("{\"error\":1}"), Just("[DONE]"), Just("\u{feff}"),
                Just("{"), Just("é"), Just(" "),
            ],
            0..40,
        ),
        cuts in proptest::collection::vec(1_usize..20, 1..60),
    ) {
        let text = parts.concat();
        let (mut rest, mut chunks) = (text.as_bytes(), Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = tail;
        }
        let (mut one, mut many) = (scan(&[text.as_bytes()], Duration::ZERO), scan(&chunks, Duration::ZERO));
        prop_assert_eq!(one.1.drain(..).count(), many.1.drain(..).count());
        prop_assert_eq!(one.0, many.0);
    }
}
