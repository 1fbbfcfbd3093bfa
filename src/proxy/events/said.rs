//! What one event of a stream, or one whole answer, says about the text being generated.
//!
//! Known by their members, so that one reader serves them all: `OpenAI` chat and completions (`choices`), `OpenAI` responses
//! (`type: response.*`, or `object: response`), V2 generate (`text_output`). Only the way to what is asked is parsed.

use crate::core::tally::Finish;
use sonic_rs::{JsonType, JsonValueTrait as _, LazyValue, ObjectJsonIter, to_object_iter};

/// The text is not JSON, or not an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotJson;

/// What was said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Said {
    /// It is of a kind that generates.
    pub(super) known: bool,
    /// It holds content: text, reasoning, a refusal, a tool's call.
    pub(super) content: bool,
    /// It repeats all content so far.
    pub(super) whole: bool,
    /// It calls a tool; said of responses only, which end as `completed` whether with words or with a call.
    pub(super) tools: bool,
    /// It is an error that the backend answers for.
    pub(super) failed: bool,
    /// It is an error that the caller answers for, as a 4xx would be.
    pub(super) refused: bool,
    /// Tokens generated so far.
    pub(super) tokens: Option<u64>,
    /// Why it ended.
    pub(super) finish: Finish,
}

/// What the name of an event says it is: `type` in the data of a response's event, and the same in its `event:` field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Delta {
        tools: bool,
    },
    /// `completed`, `incomplete` or `failed`: repeats everything.
    Last(Finish),
    Failed,
    /// Something about the generation that is no content of its own.
    Aside,
}

impl Kind {
    pub(super) fn of(name: &str) -> Option<Self> {
        let Some(event) = name.strip_prefix("response.") else {
            return (name == "error").then_some(Self::Failed);
        };
        Some(match event {
            "completed" => Self::Last(Finish::Stop),
            // The reason stands in its data.
            "incomplete" => Self::Last(Finish::Other),
            "failed" => Self::Failed,
            _ if event.ends_with(".delta") => Self::Delta { tools: event.contains("call") },
            _ => Self::Aside,
        })
    }
}

/// What is to be assumed about an event that is too long to be read.
pub(super) fn unread(name: Option<Kind>) -> Said {
    let said = Said { known: true, ..Said::default() };
    match name {
        None => Said { content: true, ..said },
        Some(Kind::Delta { tools }) => Said { content: true, tools, ..said },
        Some(Kind::Last(finish)) => Said { whole: true, finish, ..said },
        Some(Kind::Failed) => Said { failed: true, ..said },
        Some(Kind::Aside) => said,
    }
}

/// Reads an event's data, or an answer. `name` is what its `event:` field says, if its data does not.
pub(super) fn read(json: &[u8], name: Option<Kind>) -> Result<Said, NotJson> {
    let mut said = Said::default();
    if let Some(b'[' | b'"') = json.trim_ascii_start().first() {
        // JSON, and nothing that generates: embeddings and ranks come as lists.
        return Ok(said);
    }
    let (mut kind, mut delta, mut inner, mut error) = (name, false, None, None);
    let (mut response, mut code) = (false, None);
    for member in to_object_iter(json) {
        let (key, value) = member.map_err(|_| NotJson)?;
        match &*key {
            "choices" => choices(value, &mut said),
            "usage" => said.tokens = tokens(value).or(said.tokens),
            "type" => kind = Kind::of(text(&value)).or(kind),
            "delta" => delta = is_some(&value),
            "response" => inner = value.into_object_iter(),
            "object" => response = text(&value) == "response",
            "error" if is_some(&value) => error = Some(value),
            "code" => code = Some(value),
            "text_output" => {
                said.known = true;
                said.content |= is_some(&value);
            }
            "details" => {
                let members = value.into_object_iter().into_iter().flatten().flatten();
                let reason = members.filter(|(key, _)| &**key == "finish_reason").last();
                said.finish = reason.map_or(said.finish, |(_, value)| finish(&value));
            }
            "finish_reason" => said.finish = finish(&value),
            _ => {}
        }
    }
    if response {
        whole(to_object_iter(json), &mut said);
    }
    match kind {
        Some(Kind::Delta { tools }) => (said.known, said.content, said.tools) = (true, delta, tools && delta),
        Some(Kind::Last(finish)) => {
            (said.known, said.finish) = (true, finish);
            inner.into_iter().for_each(|members| whole(members, &mut said));
        }
        Some(Kind::Failed) => {
            said.known = true;
            inner.into_iter().for_each(|members| whole(members, &mut said));
            // The error event of responses has no `error` member: it is one.
            if error.is_none() && !said.failed && !said.refused {
                blame(code.as_ref().is_some_and(is_callers), &mut said);
            }
        }
        Some(Kind::Aside) => said.known = true,
        None => {}
    }
    if let Some(error) = error {
        blame_for(error, &mut said);
    }
    Ok(said)
}

fn choices(value: LazyValue<'_>, said: &mut Said) {
    said.known = true;
    for choice in value.into_array_iter().into_iter().flatten().flatten() {
        for (key, value) in choice.into_object_iter().into_iter().flatten().flatten() {
            match &*key {
                "text" => said.content |= is_some(&value),
                "finish_reason" if value.is_str() => said.finish = finish(&value),
                "delta" | "message" => {
                    for (key, value) in value.into_object_iter().into_iter().flatten().flatten() {
                        // `content`, `reasoning_content`, `refusal`, `tool_calls`, `audio` and what else servers come to say: a
                        // new name for content must not make a good model look as if it said nothing.
                        said.content |= !matches!(&*key, "role" | "name" | "id" | "annotations") && is_some(&value);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Reads a response object, the whole of it.
fn whole(members: ObjectJsonIter<'_>, said: &mut Said) {
    said.known = true;
    for (key, value) in members.flatten() {
        match &*key {
            "output" => {
                for item in value.into_array_iter().into_iter().flatten().flatten() {
                    output(item, said);
                }
            }
            "usage" => said.tokens = tokens(value).or(said.tokens),
            "error" if !value.is_null() => blame_for(value, said),
            "incomplete_details" => {
                let reason = value.into_object_iter().into_iter().flatten().flatten().find(|(key, _)| key == "reason");
                said.finish = reason.map_or(said.finish, |(_, value)| finish(&value));
            }
            "status" => match text(&value) {
                "completed" => said.finish = Finish::Stop,
                // It goes on in the background: nothing is there yet, and nothing has to be.
                "queued" | "in_progress" => said.whole = true,
                "failed" => said.failed |= !said.refused,
                _ => {}
            },
            _ => {}
        }
    }
    if said.tools && said.finish == Finish::Stop {
        said.finish = Finish::ToolCalls;
    }
}

/// One item of a response: a message or a thought counts if there is anything in it, a call by being there.
fn output(item: LazyValue<'_>, said: &mut Said) {
    let (mut kind, mut some) = (None, false);
    for (key, value) in item.into_object_iter().into_iter().flatten().flatten() {
        match &*key {
            "type" => kind = Some(value),
            "content" | "summary" => {
                for part in value.into_array_iter().into_iter().flatten().flatten() {
                    let mut members = part.into_object_iter().into_iter().flatten().flatten();
                    some |= members.any(|(key, value)| matches!(&*key, "text" | "refusal") && is_some(&value));
                }
            }
            _ => {}
        }
    }
    let kind = kind.as_ref().map_or("", text);
    let call = !matches!(kind, "message" | "reasoning");
    said.whole |= some || call;
    said.tools |= call && kind.contains("function_call");
}

fn tokens(usage: LazyValue<'_>) -> Option<u64> {
    let mut members = usage.into_object_iter()?.flatten();
    members.find_map(|(key, value)| match &*key {
        "completion_tokens" | "output_tokens" => value.as_u64(),
        _ => None,
    })
}

fn finish(value: &LazyValue<'_>) -> Finish {
    if !value.is_str() {
        return Finish::None;
    }
    match text(value) {
        "stop" | "eos_token" | "stop_sequence" | "end_turn" => Finish::Stop,
        "length" | "max_tokens" | "max_output_tokens" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        _ => Finish::Other,
    }
}

fn blame_for(error: LazyValue<'_>, said: &mut Said) {
    let members = error.into_object_iter().into_iter().flatten().flatten();
    let callers = members.filter(|(key, _)| matches!(&**key, "code" | "type")).any(|(_, value)| is_callers(&value));
    blame(callers, said);
}

fn blame(callers: bool, said: &mut Said) {
    (said.failed, said.refused) = (!callers, callers);
}

/// Whether a code or type of an error is about the request: a number as in HTTP, or the names that `OpenAI` and vLLM give.
fn is_callers(code: &LazyValue<'_>) -> bool {
    match code.as_u64() {
        Some(number) => (400..500).contains(&number),
        None => ["invalid_", "rate_limit", "BadRequest"].iter().any(|start| text(code).starts_with(start)),
    }
}

/// A string as it stands between its quotes; none of the words looked for has an escape in it.
fn text<'a>(value: &'a LazyValue<'_>) -> &'a str {
    let raw = value.as_raw_str();
    raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or_default()
}

/// A string, list or object with something in it. A space is something: it is a token as any other.
fn is_some(value: &LazyValue<'_>) -> bool {
    let raw = value.as_raw_str();
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    match value.get_type() {
        JsonType::String => !inner.is_empty(),
        JsonType::Array | JsonType::Object => !inner.trim_ascii().is_empty(),
        JsonType::Null | JsonType::Boolean | JsonType::Number => false,
    }
}
