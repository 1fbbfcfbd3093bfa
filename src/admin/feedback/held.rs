//! Labels that wait until their request is old enough, as they outlive the process: their tickets, sealed, with what they say.

use super::{Waiting, Wrong};
use crate::{
    core::ticket::{Ticket, TicketKey},
    io::store::Store,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The store's document.
const HELD: &str = "held";

#[derive(Serialize, Deserialize)]
struct Saved {
    due_ms: u64,
    ticket: String,
    answer_micro: u64,
    #[serde(default)]
    copy_micro: Option<u64>,
}

/// Those that were saved; without a key that outlives the process none can be opened.
pub(super) fn load(store: &Store, key: &TicketKey) -> VecDeque<Waiting> {
    let read = store.get(HELD).map_err(|error| error.to_string());
    let parsed = read.and_then(|bytes| {
        bytes.map_or(Ok(Vec::new()), |bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
    });
    let saved: Vec<Saved> = parsed.unwrap_or_else(|error| {
        tracing::error!(error, "labels that wait cannot be read: they may be sent again");
        Vec::new()
    });
    let all = saved.len();
    let open = |Saved { due_ms, ticket, answer_micro, copy_micro }: Saved| {
        let ticket = Ticket::open(&ticket, key).ok()?;
        Some(Waiting { due_ms, ticket, wrong: Wrong { answer_micro, copy_micro } })
    };
    let held: VecDeque<Waiting> = saved.into_iter().filter_map(open).collect();
    if held.len() < all {
        tracing::warn!(
            lost = all - held.len(),
            "labels that wait are sealed with another ticket key: set `ticket_key_file`"
        );
    }
    held
}

pub(super) fn save(store: &Store, key: &TicketKey, held: &VecDeque<Waiting>) {
    let saved = |waiting: &Waiting| Saved {
        due_ms: waiting.due_ms,
        ticket: waiting.ticket.seal(key),
        answer_micro: waiting.wrong.answer_micro,
        copy_micro: waiting.wrong.copy_micro,
    };
    let all: Vec<Saved> = held.iter().map(saved).collect();
    let written = serde_json::to_vec(&all)
        .map_err(|error| error.to_string())
        .and_then(|bytes| store.put(HELD, &bytes).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::error!(error, "labels that wait are not saved: after a restart now they have to be sent again");
    }
}
