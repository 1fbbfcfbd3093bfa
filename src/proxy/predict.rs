//! The prediction in an answer, where the route's protocol says it sits.

use crate::core::{route::Protocol, ticket::Prediction};
use sonic_rs::{JsonValueTrait as _, PointerNode};
use std::sync::LazyLock;

/// What an answer told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// There it is.
    Prediction(Prediction),
    /// Valid as far as it was looked at; the prediction is not there.
    Nothing,
    /// Not JSON.
    Malformed,
}

/// Whether answers of this protocol are worth a look.
pub(super) fn knows_where(protocol: &Protocol) -> bool {
    !matches!(protocol, Protocol::Raw { prediction: None })
}

/// Where it sits, by protocol.
static V2: LazyLock<[PointerNode; 3]> = LazyLock::new(|| [key("outputs"), PointerNode::Index(0), key("data")]);
static V1: LazyLock<[PointerNode; 2]> = LazyLock::new(|| [key("predictions"), PointerNode::Index(0)]);
static OPENAI: LazyLock<[PointerNode; 4]> =
    LazyLock::new(|| [key("choices"), PointerNode::Index(0), key("message"), key("content")]);

fn key(text: &'static str) -> PointerNode {
    PointerNode::Key(text.into())
}

/// Looks for the prediction. Only the way to it is parsed; the rest of the answer is not validated.
pub(super) fn find(protocol: &Protocol, body: &[u8]) -> Told {
    match protocol {
        Protocol::V2 => look(body, &*V2, true),
        Protocol::V1 | Protocol::Mlflow => look(body, &*V1, false),
        Protocol::OpenAi => look(body, &*OPENAI, false),
        Protocol::Raw { prediction: Some(tokens) } => {
            let node = |token: &str| match token.parse() {
                Ok(number) => PointerNode::Index(number),
                Err(_) => PointerNode::Key(token.to_owned().into()),
            };
            look(body, &tokens.iter().map(|token| node(token)).collect::<Vec<_>>(), false)
        }
        Protocol::Raw { prediction: None } => Told::Nothing,
    }
}

/// `single`: a list of one value stands for the value, as in V2's `data`.
fn look(body: &[u8], path: &[PointerNode], single: bool) -> Told {
    let found = match sonic_rs::get_from_slice(body, path) {
        Ok(found) => found,
        Err(error) if error.is_not_found() || error.is_unmatched_type() => return Told::Nothing,
        Err(_) => return Told::Malformed,
    };
    let raw = found.as_raw_str().trim();
    let value = match raw.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) if single && !inner.contains([',', '[', '{']) => inner.trim(),
        _ => raw,
    };
    if value.is_empty() || found.is_null() {
        return Told::Nothing;
    }
    Told::Prediction(Prediction::of_json(value))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
