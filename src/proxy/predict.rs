//! The prediction in an answer, where the route's protocol says it sits.

use crate::core::{
    infer, pointer,
    route::{Protocol, Route},
    ticket::Prediction,
};
use sonic_rs::{LazyValue, PointerNode};

/// What an answer told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// There it is.
    Prediction(Prediction),
    /// Valid as far as it was looked at; the prediction is not there.
    Nothing,
    /// Not JSON, or not the message that it should be.
    Malformed,
}

/// Whether anybody wants to know: whoever will label the answer, or a shadow's.
pub(super) fn is_wanted(route: &Route) -> bool {
    route.expose.ticket || !route.shadows.is_empty()
}

/// Whether answers of this protocol are worth a look.
pub(super) fn knows_where(protocol: &Protocol) -> bool {
    !matches!(protocol, Protocol::Raw { prediction: None })
}

/// Where it sits, by protocol.
const V2: [&str; 3] = ["outputs", "0", "data"];
const V1: [&str; 2] = ["predictions", "0"];
const OPENAI: [&str; 4] = ["choices", "0", "message", "content"];

/// Looks for the prediction. Only the way to it is parsed; the rest of the answer is not validated.
pub(super) fn find(protocol: &Protocol, body: &[u8]) -> Told {
    match protocol {
        Protocol::V2 => look(body, &V2, true),
        Protocol::V1 | Protocol::Mlflow => look(body, &V1, false),
        Protocol::OpenAi => look(body, &OPENAI, false),
        Protocol::Raw { prediction: Some(tokens) } => look(body, tokens, false),
        Protocol::Raw { prediction: None } => Told::Nothing,
    }
}

/// Whether answers to gRPC calls of this method tell, by this protocol.
pub(super) fn tells(protocol: &Protocol, method: &str) -> bool {
    *protocol == Protocol::V2 && method == infer::METHOD
}

/// Looks for the prediction in the message of such an answer.
pub(super) fn in_message(body: &[u8]) -> Told {
    match infer::prediction(body) {
        Ok(Some(json)) => Told::Prediction(Prediction::of_json(&json)),
        Ok(None) => Told::Nothing,
        Err(_) => Told::Malformed,
    }
}

/// `single`: a list of one value stands for the value, as in V2's `data`.
fn look(body: &[u8], path: &[impl AsRef<str>], single: bool) -> Told {
    // Nearly always it is where it should be, in a text as it should be; whatever else there may be is for the parser to say.
    let quick = std::str::from_utf8(body).ok().and_then(|text| pointer::find(text, path));
    match quick {
        Some(raw) => told(raw, single),
        None => parse(body, path).map_or_else(|told| told, |found| told(found.as_raw_str(), single)),
    }
}

/// The value by the parser, which also knows escapes and what is wrong.
fn parse<'a>(body: &'a [u8], path: &[impl AsRef<str>]) -> Result<LazyValue<'a>, Told> {
    let node = |token: &str| match token.parse() {
        Ok(number) => PointerNode::Index(number),
        Err(_) => PointerNode::Key(token.to_owned().into()),
    };
    let path: Vec<_> = path.iter().map(|token| node(token.as_ref())).collect();
    sonic_rs::get_from_slice(body, &path).map_err(|error| {
        if error.is_not_found() || error.is_unmatched_type() { Told::Nothing } else { Told::Malformed }
    })
}

fn told(raw: &str, single: bool) -> Told {
    let raw = raw.trim();
    let value = match raw.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) if single && !inner.contains([',', '[', '{']) => inner.trim(),
        _ => raw,
    };
    if value.is_empty() || raw == "null" {
        return Told::Nothing;
    }
    Told::Prediction(Prediction::of_json(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_protocol_has_its_place() {
        let value = |text: &str| Told::Prediction(Prediction::Value(text.into()));
        let check = |protocol: &Protocol, body: &str, wanted: Told| {
            assert_eq!(find(protocol, body.as_bytes()), wanted, "{body}");
        };
        check(&Protocol::V2, r#"{"outputs":[{"name":"p","data":[7]}]}"#, value("7"));
        check(&Protocol::V2, r#"{"outputs":[{"data":[7, 8]}]}"#, value("[7, 8]"));
        check(&Protocol::V2, r#"{"outputs":[{"data":["a,b"]}]}"#, value(r#"["a,b"]"#));
        check(&Protocol::V1, r#"{"predictions":[{"label":"cat"}]}"#, value(r#"{"label":"cat"}"#));
        check(&Protocol::Mlflow, r#"{"predictions":[0.5,1]}"#, value("0.5"));
        check(&Protocol::OpenAi, r#"{"choices":[{"message":{"content":"yes"}}]}"#, value(r#""yes""#));
        let raw = Protocol::Raw { prediction: Some(["a".into(), "1".into()].into()) };
        check(&raw, r#"{"a":[1,2]}"#, value("2"));
        check(&Protocol::V2, r#"{"error":"no"}"#, Told::Nothing);
        check(&Protocol::V2, r#"{"outputs":[]}"#, Told::Nothing);
        check(&Protocol::V2, "Internal Server Error", Told::Malformed);
        check(&Protocol::V2, "", Told::Malformed);
    }

    #[test]
    fn long_predictions_ride_as_their_digest() {
        let text = "x".repeat(200);
        let body = format!(r#"{{"predictions":["{text}"]}}"#);
        assert!(matches!(find(&Protocol::V1, body.as_bytes()), Told::Prediction(Prediction::Digest(_))));
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let scalar = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            "[a-c\"\\\\{}\\[\\],:\u{e9} ]{0,12}".prop_map(Into::into),
        ];
        let key = prop_oneof!["[ab01]{1}", "outputs|data|\"|\\\\"];
        scalar.prop_recursive(4, 40, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec((key.clone(), inner), 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Both readings agree wherever the quick one says something; on broken texts, wherever both do.
        #[test]
        fn the_quick_reading_is_the_parsers(
            value in json(),
            pretty in any::<bool>(),
            path in prop::collection::vec("[ab01]|outputs|data", 0..4),
            broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let mut body = text.unwrap().into_bytes();
            let whole = broken.is_none();
            if let Some((at, byte)) = broken {
                let at = at.index(body.len());
                body[at] = byte;
            }
            let quick = std::str::from_utf8(&body).ok().and_then(|text| pointer::find(text, &path));
            if let Some(quick) = quick {
                if whole {
                    let pointer: String = path.iter().map(|token| format!("/{token}")).collect();
                    let parsed: serde_json::Value = serde_json::from_str(quick).unwrap();
                    prop_assert_eq!(Some(&parsed), value.pointer(&pointer));
                }
                if let Ok(found) = parse(&body, &path) {
                    prop_assert_eq!(found.as_raw_str().trim(), quick);
                }
            }
        }
    }
}
