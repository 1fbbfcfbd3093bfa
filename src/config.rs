//! Text to truth: the routes file and the settings file become core types, once, at the door - or a list of problems.
//!
//! Pure: text comes in, core types go out. Everything wrong with a text is told at once, each with its place.

pub mod compile;
pub mod diff;
pub mod edit;
mod embedded;
mod fields;
pub mod problem;
mod read;
pub mod settings;
pub mod spec;
mod tree;
mod units;

pub use problem::{Problem, Warning};
pub use read::{judge, read};
pub use units::{duration, fraction};
