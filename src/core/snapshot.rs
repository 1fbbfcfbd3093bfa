//! What is true now: the routes file after parsing, checking and clamping. Immutable; a request keeps the one it loaded.
//!
//! `Snapshot` holds only what was *said*. What was *seen* (counts) sits beside it in a `Board`, whose cells survive a swap.
//! The two travel together as `Live`, so that one load gives a request both and they can never be of different worlds.

use super::{
    name::{Generation, Revision},
    route::RouteTable,
    tally::Board,
};

/// An immutable, valid, resolved routes file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// Which swap brought it in; 0 before the first good file.
    pub generation: Generation,
    /// Identity of the document it was compiled from; `None` before the first good file.
    pub revision: Option<Revision>,
    /// The routes.
    pub routes: RouteTable,
}

/// What a request loads, once: what was said, and where it is counted.
#[derive(Debug, Default)]
pub struct Live {
    /// What was said.
    pub snapshot: Snapshot,
    /// Where this snapshot's traffic is counted: one entry per route, in the table's order.
    pub board: Board,
}
