//! The core alone, with the tests that hold it to its word without the rest of the program; see `run.sh`. One unit, so that a mutant
//! is built once.
#![allow(dead_code, missing_docs, reason = "worlds and helpers are used by more tests than these")]

extern crate self as coalmine;

pub mod config;
pub mod core;

/// What a restart finds again.
pub mod control {
    pub mod record;
}

/// Where it is kept meanwhile.
pub mod io {
    pub mod store;
}

#[cfg(test)]
mod null;
#[cfg(test)]
mod releases;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod vectors;
